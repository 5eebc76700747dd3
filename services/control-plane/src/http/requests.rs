//! `/orgs/{org}/requests`: the request log, newest first.

mod filter;
mod table;
mod view;

use axum::body::Body;
use futures_util::stream::{self, Stream, StreamExt as _};
use turnpike_domain::id::{KeyId, RequestId};
use turnpike_domain::state::Organisation;
use turnpike_store::requests::{self, Search};
use turnpike_wire::api::page::Page;
use turnpike_wire::api::request::LoggedRequest;

use super::ask::{Ask, PAGE, SPAN};
use super::cursor::{self, Rank};
use super::reply::Reply;
use super::route::{Answer, Gives, Param, Route, Verb, shape};
use crate::auth::Caller;
use crate::problem::Problem;
use filter::Filter;
use table::CSV;

/// Rows read at once.
const STEP: usize = 500;
/// The most rows that one page looks through for matches; the next goes on behind them.
const MAX_WALK: usize = 10_000;
/// The most keys whose lists are merged for a member: beyond them the whole log is looked through.
const MAX_MERGED: usize = 32;
const NDJSON: &str = "application/x-ndjson";

const FILTERS: &[Param] = &[
    Param::text("key", "A key's id; of a deleted key too."),
    Param::text("model", "A model's name, as callers wrote it."),
    Param::text("provider", "A provider's id."),
    Param::text("status", "The HTTP status that the caller saw, or its class: 429 or 4xx."),
    Param::text("code", "Why no provider has answered, e.g. rate_limited."),
    Param::text("format", "`ndjson` or `csv`: everything that fits, one request a line."),
];

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::new(Verb::Get, "/orgs/{org}/requests", "listRequests", list)
            .about(
                "Lists requests, the newest first; a member sees those of their own keys. A page \
                 looks through 10,000 requests at most: with few matches it is short, even empty, \
                 and its next_cursor goes on.",
            )
            .query(&[PAGE, SPAN, FILTERS])
            .gives(Gives::Page(shape::<LoggedRequest>()))
            .also(&[NDJSON, CSV]),
        Route::new(Verb::Get, "/orgs/{org}/requests/{request}", "getRequest", get)
            .about("Shows a request; it stays when its key is deleted.")
            .gives(Gives::Thing(shape::<LoggedRequest>())),
    ]
}

/// A search on its way back through the log.
struct Walk {
    filter: Filter,
    search: Search,
    /// Nothing older is left.
    done: bool,
}

async fn list(ask: Ask, caller: Caller) -> Answer {
    let mut walk = Walk::begin(&ask, &caller).await?;
    match ask.query("format") {
        None => {}
        Some("ndjson") => {
            let lines = export(ask, caller, walk, line);
            return Ok(Reply::body(NDJSON, Body::from_stream(lines)));
        }
        Some("csv") => {
            let header = stream::once(async { Ok(table::header()) });
            let lines = header.chain(export(ask, caller, walk, table::line));
            return Ok(Reply::body(CSV, Body::from_stream(lines)));
        }
        Some(_) => return Err(Problem::field("?format", "must be ndjson or csv")),
    }
    let limit = ask.span(true)?.limit;
    let (mut data, mut walked) = (Vec::new(), 0);
    while data.len() < limit && walked < MAX_WALK && !walk.done {
        let (found, rows) = walk.step(&ask, &caller).await?;
        data.extend(found);
        walked = rows.saturating_add(walked);
    }
    let mut next = walk.search.before.filter(|_| !walk.done);
    if data.len() > limit {
        data.truncate(limit);
        next = data.last().map(|request| request.id.0);
    }
    let next_cursor = next.map(|id| cursor::write(&(Rank::Number(0), id.0)));
    Reply::json(&Page { data, next_cursor })
}

async fn get(ask: Ask, caller: Caller) -> Answer {
    let id: RequestId = ask.id("request", "request")?;
    let row = requests::one(&*ask.snapshot().await?, ask.org, id).await?;
    let shown = view::shown(&ask, &caller, row.into_iter().collect()).await?;
    Reply::json(shown.first().ok_or_else(|| Problem::not_found("request"))?)
}

/// All that fits, each request in the form that `line` gives it.
fn export(
    ask: Ask,
    caller: Caller,
    walk: Walk,
    line: fn(&LoggedRequest) -> Option<String>,
) -> impl Stream<Item = std::io::Result<String>> {
    stream::unfold((ask, caller, walk), move |(ask, caller, mut walk)| async move {
        if walk.done {
            return None;
        }
        // An export that breaks off is told by the connection: a short one must not look whole.
        let lines = match walk.step(&ask, &caller).await {
            Ok((found, _)) => Ok(found.iter().filter_map(line).collect::<String>()),
            Err(problem) => {
                walk.done = true;
                Err(std::io::Error::other(problem.detail))
            }
        };
        Some((lines, (ask, caller, walk)))
    })
}

fn line(request: &LoggedRequest) -> Option<String> {
    serde_json::to_string(request).ok().map(|text| text + "\n")
}

impl Walk {
    async fn begin(ask: &Ask, caller: &Caller) -> Result<Self, Problem> {
        let filter = Filter::read(ask)?;
        let key: Option<KeyId> = ask.text("key")?;
        let keys = match key {
            Some(key) => Some(vec![key]),
            None => ask.read(|state| own_keys(state, caller)).await?,
        };
        let (from, until) = (ask.text("from")?, ask.text("until")?);
        let search = Search { keys, from, until, before: before(ask)? };
        Ok(Self { filter, search, done: false })
    }

    /// The matches among the next rows, and how many rows were read.
    async fn step(
        &mut self,
        ask: &Ask,
        caller: &Caller,
    ) -> Result<(Vec<LoggedRequest>, usize), Problem> {
        // A moment of its own for each step: a long walk would outlive any one moment of the store.
        let snapshot = ask.snapshot().await?;
        let mut rows = requests::newest(&*snapshot, ask.org, &self.search, STEP).await?;
        let read = rows.len();
        self.done = read < STEP || rows.last().is_some_and(|row| self.search.is_over(row));
        self.search.before = rows.last().map(|row| row.record.request).or(self.search.before);
        rows.retain(|row| self.search.fits(row) && self.filter.fits(&row.record));
        Ok((view::shown(ask, caller, rows).await?, read))
    }
}

/// The keys that a member sees, if they are few; `None`: all are looked through.
fn own_keys(state: &Organisation, caller: &Caller) -> Option<Vec<KeyId>> {
    if caller.reads_all().is_ok() {
        return None;
    }
    let keys = state.keys.values().filter(|key| caller.requester.may_see(key));
    let own: Vec<KeyId> = keys.map(|key| key.id).take(MAX_MERGED.saturating_add(1)).collect();
    (own.len() <= MAX_MERGED).then_some(own)
}

fn before(ask: &Ask) -> Result<Option<RequestId>, Problem> {
    let Some(text) = ask.query("cursor") else { return Ok(None) };
    let (_, id) = cursor::read(text)?;
    Ok(Some(RequestId(id)))
}
