//! `/orgs/{org}/requests`: the request log, newest first.

use turnpike_domain::id::{KeyId, RequestId};
use turnpike_domain::state::{Key, Organisation};
use turnpike_domain::time::Timestamp;
use turnpike_store::usage;
use turnpike_wire::api::page::Page;
use turnpike_wire::api::request::LoggedRequest;
use turnpike_wire::api::text::Text;
use turnpike_wire::form::Json as _;
use turnpike_wire::spend::LogRow;

use super::ask::{Ask, PAGE, SPAN};
use super::cursor::{self, Rank};
use super::reply::Reply;
use super::route::{Answer, Gives, Param, Route, Verb, shape};
use crate::auth::Caller;
use crate::problem::Problem;

/// Rows read at once.
const STEP: usize = 500;
/// The most rows that one page looks through for matches; the next goes on behind them.
const MAX_WALK: usize = 10_000;

const FILTERS: &[Param] = &[
    Param::text("key", "A key's id."),
    Param::text("model", "A model's name."),
    Param::number("status", "The HTTP status that the caller saw."),
];

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::new(Verb::Get, "/orgs/{org}/requests", "listRequests", list)
            .about("Lists requests, the newest first; a member sees those of their own keys.")
            .query(&[PAGE, SPAN, FILTERS])
            .gives(Gives::Page(shape::<LoggedRequest>())),
        Route::new(Verb::Get, "/orgs/{org}/requests/{request}", "getRequest", get)
            .about("Shows a request; it stays when its key is deleted.")
            .gives(Gives::Thing(shape::<LoggedRequest>())),
    ]
}

/// What is asked of the log.
struct Filter {
    key: Option<KeyId>,
    model: Option<String>,
    status: Option<u16>,
    from: Option<Timestamp>,
    until: Option<Timestamp>,
}

async fn list(ask: Ask, caller: Caller) -> Answer {
    let filter = Filter {
        key: ask.text("key")?,
        model: ask.query("model").map(Into::into),
        status: ask.number("status", 100, 599)?,
        from: ask.text("from")?,
        until: ask.text("until")?,
    };
    let limit = ask.span(true)?.limit;
    let mut before = before(&ask)?;
    let snapshot = ask.snapshot().await?;
    let (mut data, mut walked, mut end) = (Vec::new(), 0, false);
    while data.len() < limit && walked < MAX_WALK && !end {
        let rows = usage::requests(&*snapshot, ask.org, before, STEP).await?;
        walked += rows.len();
        end = rows.len() < STEP || rows.last().is_some_and(|row| filter.is_over(row));
        let fitting: Vec<&LogRow> = rows.iter().filter(|row| filter.fits(row)).collect();
        let seen = |state: &Organisation| -> Vec<LoggedRequest> {
            fitting.iter().filter_map(|row| seen(state, &caller, row)).collect()
        };
        data.extend(ask.read(seen).await?);
        before = rows.last().map(|row| row.record.request).or(before);
    }
    if data.len() > limit {
        data.truncate(limit);
        before = data.last().map(|request| request.id.0);
        end = false;
    }
    let next = before.filter(|_| !end);
    let next_cursor = next.map(|id| cursor::write(&(Rank::Number(0), id.0)));
    Reply::json(&Page { data, next_cursor })
}

async fn get(ask: Ask, caller: Caller) -> Answer {
    let id: RequestId = ask.id("request", "request")?;
    let row = usage::request(&*ask.snapshot().await?, ask.org, id).await?;
    let row = row.ok_or_else(|| Problem::not_found("request"))?;
    let seen = ask.read(|state| seen(state, &caller, &row)).await?;
    Reply::json(&seen.ok_or_else(|| Problem::not_found("request"))?)
}

fn before(ask: &Ask) -> Result<Option<RequestId>, Problem> {
    let Some(text) = ask.query("cursor") else { return Ok(None) };
    let (_, id) = cursor::read(text)?;
    Ok(Some(RequestId(id)))
}

/// A request, if the caller may see it: a member sees those of the keys that are theirs now.
fn seen(state: &Organisation, caller: &Caller, row: &LogRow) -> Option<LoggedRequest> {
    let key = state.keys.get(&row.record.key).map(|key| &**key);
    let may = match key {
        Some(key) => caller.requester.may_see(key),
        None => caller.reads_all().is_ok(),
    };
    may.then(|| shown(key, row))
}

fn shown(key: Option<&Key>, row: &LogRow) -> LoggedRequest {
    let record = &row.record;
    let metadata = key.and_then(|key| key.profile.metadata.as_deref());
    LoggedRequest {
        id: Text(record.request),
        at: Text(record.at),
        key_id: Text(record.key),
        key_name: key.map(|key| key.profile.name.to_string()),
        metadata: metadata.and_then(|text| serde_json::from_str(text).ok()),
        model: record.model.to_string(),
        provider_id: record.provider.map(Text),
        status: record.status,
        usage: record.usage.json(),
        source: Text(record.source),
        suspect: record.suspect,
        cost_usd: Text(record.cost),
        reserved_usd: Text(record.reserved),
        price_version: record.price_version,
        multiplier: Text(record.multiplier),
        latency_ms: record.latency_ms,
        gateway_id: Text(row.gateway),
        epoch: Text(row.epoch),
        number: row.number,
    }
}

impl Filter {
    fn fits(&self, row: &LogRow) -> bool {
        let record = &row.record;
        self.key.is_none_or(|key| record.key == key)
            && self.model.as_ref().is_none_or(|model| *record.model == **model)
            && self.status.is_none_or(|status| record.status == status)
            && self.from.is_none_or(|from| record.at >= from)
            && self.until.is_none_or(|until| record.at < until)
    }

    /// Whether nothing older than this row can fit: ids are made in the order of time, to within
    /// the difference of the gateways' clocks.
    fn is_over(&self, row: &LogRow) -> bool {
        const CLOCKS_MS: u64 = 600_000;
        self.from.is_some_and(|from| row.record.at.plus_ms(CLOCKS_MS) < from)
    }
}
