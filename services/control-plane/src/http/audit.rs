//! `/orgs/{org}/audit`: who did what, when and from where; and whether the chain holds.

mod chain;

use axum::body::Body;
use futures_util::stream;
use serde_json::Value;
use turnpike_domain::event::Who;
use turnpike_domain::id::KeyId;
use turnpike_domain::state::Organisation;
use turnpike_domain::time::Timestamp;
use turnpike_store::log;
use turnpike_wire::api::audit::{AuditEntry, Verification};
use turnpike_wire::api::page::Page;
use turnpike_wire::event;
use turnpike_wire::record::Received;

use super::ask::{Ask, PAGE, SPAN};
use super::cursor::{self, Rank};
use super::reply::Reply;
use super::route::{Answer, Gives, Param, Route, Verb, shape};
use super::stream as stored;
use crate::auth::Caller;
use crate::problem::Problem;

/// The content type of an export: one JSON text a line.
const NDJSON: &str = "application/x-ndjson";
/// Events read at once, going backwards.
const STEP: u64 = 500;
/// The most events that one page looks through for matches; the next goes on behind them.
const MAX_WALK: u64 = 10_000;

const FILTERS: &[Param] = &[
    Param::text("type", "The event's name, e.g. KeyCreated."),
    Param::text("actor", "The id of a member, token or gateway, or `system`."),
    Param::text("key", "A key's id."),
    Param::text("format", "`ndjson`: everything that fits, one entry a line."),
];

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::new(Verb::Get, "/orgs/{org}/audit", "listAudit", audit)
            .about("Everything that was changed, the newest first.")
            .query(&[PAGE, SPAN, FILTERS])
            .also(&[NDJSON])
            .gives(Gives::Page(shape::<AuditEntry>())),
        Route::new(Verb::Get, "/orgs/{org}/audit/verify", "verifyAudit", chain::verify)
            .about("Walks the whole stream and checks its chain of hashes.")
            .query(&[chain::CHECKPOINT])
            .gives(Gives::Thing(shape::<Verification>())),
        Route::new(Verb::Get, "/orgs/{org}/audit/chain", "exportChain", chain::export)
            .about(
                "The whole stream as it is stored, the oldest event first: a CBOR sequence whose \
                 chain can be checked offline.",
            )
            .gives(Gives::Other(chain::CBOR_SEQUENCE))
            .also(&[chain::CBOR_SEQUENCE]),
    ]
}

/// What is asked of the log.
struct Filter {
    kind: Option<String>,
    actor: Option<String>,
    key: Option<KeyId>,
    from: Option<Timestamp>,
    until: Option<Timestamp>,
}

async fn audit(ask: Ask, caller: Caller) -> Answer {
    caller.reads_all()?;
    let filter = Filter::read(&ask)?;
    let limit = ask.span(true)?.limit;
    let head = log::head(&*ask.snapshot().await?, ask.org).await?;
    match ask.query("format") {
        None => {}
        Some("ndjson") => return Ok(export(ask, filter, head.seq)),
        Some(_) => return Err(Problem::field("?format", "must be ndjson")),
    }
    // The cursor names the last event that was seen; what came since is before the first page.
    let mut upper = match ask.seq_cursor()? {
        Some(seq) => seq.saturating_sub(1).min(head.seq),
        None => head.seq,
    };
    let least = upper.saturating_sub(MAX_WALK);
    let mut data: Vec<AuditEntry> = Vec::new();
    while upper > least && data.len() < limit && !filter.is_over(data.last()) {
        let (entries, lower) = step(&ask, &filter, upper).await?;
        data.extend(entries);
        upper = lower;
    }
    if data.len() > limit {
        data.truncate(limit);
        upper = data.last().map_or(upper, |entry| entry.seq.saturating_sub(1));
    }
    let next_cursor = (upper > 0).then(|| seq_cursor(upper.saturating_add(1)));
    Reply::json(&Page { data, next_cursor })
}

/// The matches among the last events up to `upper`, newest first, and the seq before them.
async fn step(ask: &Ask, filter: &Filter, upper: u64) -> Result<(Vec<AuditEntry>, u64), Problem> {
    let lower = upper.saturating_sub(STEP);
    let snapshot = ask.snapshot().await?;
    let received = stored::page(&*snapshot, ask.org, lower, upper).await?;
    let fitting = received.iter().rev().filter(|received| filter.fits(received));
    let entries = |state: &Organisation| {
        fitting.filter_map(|received| stored::entry(received, state)).collect()
    };
    Ok((ask.read(entries).await?, lower))
}

fn export(ask: Ask, filter: Filter, upper: u64) -> Reply {
    let lines = stream::unfold((ask, filter, upper), |(ask, filter, upper)| async move {
        if upper == 0 {
            return None;
        }
        let found = step(&ask, &filter, upper).await;
        // An export that breaks off is told by the connection: a short one must not look whole.
        let (entries, lower) = match found {
            Ok(found) => found,
            Err(problem) => {
                let cut = std::io::Error::other(problem.detail);
                return Some((Err(cut), (ask, filter, 0)));
            }
        };
        let line = |entry: &AuditEntry| serde_json::to_string(entry).ok().map(|it| it + "\n");
        Some((Ok(entries.iter().filter_map(line).collect::<String>()), (ask, filter, lower)))
    });
    Reply::body(NDJSON, Body::from_stream(lines))
}

/// A cursor behind the event of a seq.
pub(super) fn seq_cursor(seq: u64) -> String {
    cursor::write(&(Rank::Number(u128::from(seq)), 0))
}

impl Ask {
    /// The seq that the cursor names.
    pub(super) fn seq_cursor(&self) -> Result<Option<u64>, Problem> {
        let Some(text) = self.query("cursor") else { return Ok(None) };
        let wrong = || Problem::field("?cursor", "must be a next_cursor of this list");
        match cursor::read(text)? {
            (Rank::Number(seq), 0) => u64::try_from(seq).map(Some).map_err(|_| wrong()),
            (Rank::Number(_) | Rank::Text(_), _) => Err(wrong()),
        }
    }
}

impl Filter {
    fn read(ask: &Ask) -> Result<Self, Problem> {
        let kind = ask.query("type");
        if kind.is_some_and(|kind| !event::FORMS.iter().any(|(name, _)| *name == kind)) {
            return Err(Problem::field("?type", "must be an event's name, e.g. KeyCreated"));
        }
        Ok(Self {
            kind: kind.map(Into::into),
            actor: ask.query("actor").map(Into::into),
            key: ask.text("key")?,
            from: ask.text("from")?,
            until: ask.text("until")?,
        })
    }

    fn fits(&self, received: &Received) -> bool {
        let Ok(record) = &received.record else { return false };
        let who = || match record.actor.who {
            Who::System => "system".to_owned(),
            Who::Member(id) => id.to_string(),
            Who::Token(id) => id.to_string(),
            Who::Gateway(id) => id.to_string(),
        };
        // A budget's events name the key as the account.
        let is_about = |key: KeyId| {
            let (told, key) = (event::json(&record.event), Value::from(key.to_string()));
            ["key_id", "account"].into_iter().any(|field| told.get(field) == Some(&key))
        };
        self.kind.as_ref().is_none_or(|kind| record.event.name() == kind)
            && self.from.is_none_or(|from| record.at >= from)
            && self.until.is_none_or(|until| record.at < until)
            && self.actor.as_ref().is_none_or(|actor| *actor == who())
            && self.key.is_none_or(is_about)
    }

    /// Whether nothing older than this entry can fit any more.
    fn is_over(&self, oldest: Option<&AuditEntry>) -> bool {
        match (self.from, oldest) {
            (Some(from), Some(oldest)) => oldest.at.0 < from,
            (Some(_) | None, _) => false,
        }
    }
}
