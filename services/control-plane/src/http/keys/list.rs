//! The list of keys: searched, filtered, sorted, in pages.

use std::sync::Arc;

use turnpike_domain::id::{KeyId, MemberId, ProjectId};
use turnpike_domain::state::{Key as Known, Organisation, Status};
use turnpike_domain::time::Timestamp;
use turnpike_wire::api::page::Page;

use super::view;
use crate::auth::Caller;
use crate::http::ask::Ask;
use crate::http::balances::{self, Balance};
use crate::http::cursor::Rank;
use crate::http::figures::{Figures, figures};
use crate::http::reply::Reply;
use crate::http::route::Answer;
use crate::problem::Problem;

/// What keys can be sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sort {
    Name,
    Owner,
    Status,
    Requests,
    CreatedAt,
}

/// What is asked of the list.
struct Filter {
    search: Option<String>,
    status: Option<Status>,
    owner: Option<MemberId>,
    project: Option<ProjectId>,
    legacy: Option<bool>,
    sort: Sort,
    descending: bool,
}

pub(super) async fn list(ask: Ask, caller: Caller) -> Answer {
    let filter = Filter::read(&ask)?;
    let span = ask.span(filter.descending)?;
    let figures = figures(&ask).await?;
    let listed = |state: &Organisation| {
        let found = state.keys.values().filter(|key| caller.requester.may_see(key));
        let found = found.filter_map(|key| {
            let exhausted = state.is_exhausted(key.id, ask.now);
            let status = key.status(ask.now, exhausted);
            let rank = || filter.rank(state, key, status, &figures);
            filter
                .fits(key, status, ask.now)
                .then(|| ((rank(), key.id.0), (Arc::clone(key), exhausted)))
        });
        span.page(found)
    };
    let page = ask.read(listed).await?;
    let places = page.data.iter().map(|(key, _)| balances::of(key)).collect();
    let balances = balances::read(&ask, places).await?;
    let shown = |((key, exhausted), balance): (&(Arc<Known>, bool), &Balance)| {
        view::shown(key, *exhausted, &figures, balance, ask.now)
    };
    let data = page.data.iter().zip(&balances).map(shown).collect();
    Reply::json(&Page { data, next_cursor: page.next_cursor })
}

impl Filter {
    fn read(ask: &Ask) -> Result<Self, Problem> {
        let sort = ask.query("sort").unwrap_or("-created_at");
        let (descending, sort) = match sort.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, sort),
        };
        let sort = match sort {
            "name" => Sort::Name,
            "owner" => Sort::Owner,
            "status" => Sort::Status,
            "requests" => Sort::Requests,
            "created_at" => Sort::CreatedAt,
            _ => {
                let message = "must be name, owner, status, requests or created_at, with - before \
                               it to descend";
                return Err(Problem::field("?sort", message));
            }
        };
        Ok(Self {
            search: ask.query("search").map(str::to_lowercase),
            status: ask.text("status")?,
            owner: ask.text("owner")?,
            project: ask.text("project")?,
            legacy: ask.flag("legacy")?,
            sort,
            descending,
        })
    }

    fn fits(&self, key: &Known, status: Status, now: Timestamp) -> bool {
        let found = |search: &String| {
            key.profile.name.to_lowercase().contains(search)
                || key.secret.preview.to_lowercase().contains(search)
        };
        self.search.as_ref().is_none_or(found)
            && self.status.is_none_or(|wanted| wanted == status)
            && self.owner.is_none_or(|wanted| key.profile.owner == Some(wanted))
            && self.project.is_none_or(|wanted| key.profile.project == Some(wanted))
            && self.legacy.is_none_or(|wanted| key.is_legacy(now) == wanted)
    }

    /// What a key is sorted by. Names are sorted as people read them, without regard to case.
    fn rank(&self, state: &Organisation, key: &Known, status: Status, figures: &Figures) -> Rank {
        match self.sort {
            Sort::Name => Rank::Text(key.profile.name.to_lowercase()),
            Sort::Owner => {
                let owner = key.profile.owner.and_then(|owner| state.members.get(&owner));
                Rank::Text(owner.map(|owner| owner.name.to_lowercase()).unwrap_or_default())
            }
            Sort::Status => Rank::Text(status.name().to_owned()),
            Sort::Requests => Rank::Number(u128::from(requests(figures, key.id))),
            Sort::CreatedAt => Rank::Number(u128::from(key.created_at.0)),
        }
    }
}

fn requests(figures: &Figures, key: KeyId) -> u64 {
    figures.total(key).requests
}
