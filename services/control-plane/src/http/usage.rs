//! `/orgs/{org}/usage`: what was used, by key, project, model, hour or day.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use turnpike_domain::id::{KeyId, ProjectId};
use turnpike_domain::state::Organisation;
use turnpike_domain::time::{DAY_MS, HOUR_MS, Timestamp};
use turnpike_store::rows::Total;
use turnpike_store::usage;
use turnpike_wire::api::text::Text;
use turnpike_wire::api::usage::{Figures, Usage, UsageRow};

use super::ask::{Ask, SPAN};
use super::figures::complete_up_to;
use super::reply::Reply;
use super::route::{Answer, Gives, Param, Route, Verb, shape};
use crate::auth::Caller;
use crate::problem::Problem;

/// The span if none is asked for.
const USUAL_MS: u64 = 30 * DAY_MS;
/// The longest span: a year and a day of leap.
const MAX_MS: u64 = 367 * DAY_MS;
/// The most hourly figures that one answer adds up: some seconds of reading.
const MAX_WALK: usize = 2_000_000;
/// The most groups of one answer.
const MAX_ROWS: usize = 10_000;

const GROUPS: &[Param] = &[
    Param::text(
        "group_by",
        "Any of key, project, model, hour, day, with commas between; day if absent.",
    ),
    Param::text("model", "Only this model."),
];
const WHOSE: &[Param] = &[
    Param::text("key", "Only this key."),
    Param::text("project", "Only the keys that are in this project now."),
];

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::new(Verb::Get, "/orgs/{org}/usage", "getUsage", of_organisation)
            .about("What was used; a member sees that of their own keys.")
            .query(&[SPAN, GROUPS, WHOSE])
            .gives(Gives::Thing(shape::<Usage>())),
        Route::new(Verb::Get, "/orgs/{org}/keys/{key}/usage", "getKeyUsage", of_key)
            .about("What one key used.")
            .query(&[SPAN, GROUPS])
            .gives(Gives::Thing(shape::<Usage>())),
    ]
}

/// What rows are told apart by.
#[derive(Clone, Copy, Default)]
struct By {
    key: bool,
    project: bool,
    model: bool,
    span_ms: Option<u64>,
}

/// One group, in the order of the answer.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Group {
    start: Option<Timestamp>,
    key: Option<KeyId>,
    project: Option<ProjectId>,
    model: Option<String>,
}

async fn of_organisation(ask: Ask, caller: Caller) -> Answer {
    let key = ask.text("key")?;
    let project = ask.text("project")?;
    answer(&ask, &caller, key, project).await
}

async fn of_key(ask: Ask, caller: Caller) -> Answer {
    let key: KeyId = ask.id("key", "key")?;
    let visible = |state: &Organisation| {
        state.keys.get(&key).is_some_and(|key| caller.requester.may_see(key))
    };
    if !ask.read(visible).await? {
        return Err(Problem::not_found("key"));
    }
    answer(&ask, &caller, Some(key), None).await
}

async fn answer(
    ask: &Ask,
    caller: &Caller,
    key: Option<KeyId>,
    project: Option<ProjectId>,
) -> Answer {
    let (from, until) = span(ask)?;
    let by = By::read(ask.query("group_by").unwrap_or("day"))?;
    let seen = ask.read(|state| seen(state, caller)).await?;
    let mut sums: BTreeMap<Group, Figures> = BTreeMap::new();
    let mut walked = 0_usize;
    let each = |row: usage::HourTotal| {
        walked = walked.saturating_add(1);
        let known = seen.get(&row.key);
        let own = known.is_some() || caller.reads_all().is_ok();
        let of = known.copied().flatten();
        let wanted = key.is_none_or(|key| key == row.key)
            && project.is_none_or(|project| of == Some(project))
            && ask.query("model").is_none_or(|model| *row.model == *model);
        if own && wanted {
            add(sums.entry(by.group(&row, of)).or_default(), &row.total);
        }
        let fits = sums.len() <= MAX_ROWS && walked <= MAX_WALK;
        if fits { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    };
    usage::each_hour(&**ask.app().streams().kv(), ask.org, from, until, each).await?;
    if sums.len() > MAX_ROWS {
        let message = "gives more than 10,000 rows: ask for a shorter span or fewer groups";
        return Err(Problem::field("?group_by", message));
    }
    if walked > MAX_WALK {
        let message = "leaves more than 2,000,000 hourly figures to add up: ask for a shorter span";
        return Err(Problem::field("?from", message));
    }
    let mut total = Figures::default();
    sums.values().for_each(|figures| plus(&mut total, figures));
    let data = sums.into_iter().map(|(group, figures)| UsageRow {
        start: group.start.map(Text),
        key_id: group.key.map(Text),
        project_id: group.project.map(Text),
        model: group.model,
        figures,
    });
    let complete_up_to = complete_up_to(ask).await?.map(Text);
    let (from, until) = (Text(from), Text(until));
    Reply::json(&Usage { from, until, data: data.collect(), total, complete_up_to })
}

/// The keys that the caller may see, with their projects.
fn seen(state: &Organisation, caller: &Caller) -> BTreeMap<KeyId, Option<ProjectId>> {
    let keys = state.keys.values().filter(|key| caller.requester.may_see(key));
    keys.map(|key| (key.id, key.profile.project)).collect()
}

/// The span in full hours: that is how totals are kept.
fn span(ask: &Ask) -> Result<(Timestamp, Timestamp), Problem> {
    let hours = |ms: u64| Timestamp(ms.div_ceil(HOUR_MS).saturating_mul(HOUR_MS));
    let until: Timestamp = ask.text("until")?.unwrap_or(ask.now.plus_ms(1));
    let until = hours(until.0);
    let usual = Timestamp(until.0.saturating_sub(USUAL_MS));
    let from: Timestamp = ask.text("from")?.unwrap_or(usual);
    let from = Timestamp(from.0 / HOUR_MS * HOUR_MS);
    if from >= until {
        return Err(Problem::field("?from", "must be before until"));
    }
    if until.since(from) > MAX_MS {
        return Err(Problem::field("?from", "must be at most a year before until"));
    }
    Ok((from, until))
}

impl By {
    fn read(text: &str) -> Result<Self, Problem> {
        let mut by = Self::default();
        for name in text.split(',') {
            match name {
                "key" => by.key = true,
                "project" => by.project = true,
                "model" => by.model = true,
                "hour" if by.span_ms.is_none() => by.span_ms = Some(HOUR_MS),
                "day" if by.span_ms.is_none() => by.span_ms = Some(DAY_MS),
                _ => {
                    let message = "must be any of key, project, model and either hour or day, with \
                                   commas between";
                    return Err(Problem::field("?group_by", message));
                }
            }
        }
        Ok(by)
    }

    fn group(self, row: &usage::HourTotal, project: Option<ProjectId>) -> Group {
        Group {
            start: self.span_ms.map(|span_ms| Timestamp(row.hour.0 / span_ms * span_ms)),
            key: self.key.then_some(row.key),
            project: project.filter(|_| self.project),
            model: Some(&row.model).filter(|model| self.model && !model.is_empty()).cloned(),
        }
    }
}

fn add(figures: &mut Figures, total: &Total) {
    plus(
        figures,
        &Figures {
            requests: total.requests,
            estimated_requests: total.estimated,
            refused_requests: total.refused,
            input_tokens: total.input,
            cached_input_tokens: total.cached_input,
            output_tokens: total.output,
            cost_usd: Text(total.cost),
        },
    );
}

fn plus(sum: &mut Figures, more: &Figures) {
    sum.requests = sum.requests.saturating_add(more.requests);
    sum.estimated_requests = sum.estimated_requests.saturating_add(more.estimated_requests);
    sum.refused_requests = sum.refused_requests.saturating_add(more.refused_requests);
    sum.input_tokens = sum.input_tokens.saturating_add(more.input_tokens);
    sum.cached_input_tokens = sum.cached_input_tokens.saturating_add(more.cached_input_tokens);
    sum.output_tokens = sum.output_tokens.saturating_add(more.output_tokens);
    sum.cost_usd = Text(sum.cost_usd.0.plus(more.cost_usd.0));
}
