//! `/orgs/{org}/keys/import`: keys of secrets that their callers have already, many at once.

mod row;
mod run;

use std::collections::VecDeque;
use std::sync::Arc;

use axum::body::Body;
use axum::http::header;
use bytes::Bytes;
use futures_util::stream;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tokio::sync::OwnedSemaphorePermit;
use turnpike_domain::state::Role;
use turnpike_runtime::clock::deadline;
use turnpike_wire::api::import::split::{Format, MAX_ROW_BYTES, Raw, Splitter};
use turnpike_wire::api::import::table::Columns;
use turnpike_wire::api::import::{ImportReport, ImportRow};

use self::run::Run;
use crate::auth::Caller;
use crate::http::ask::{Ask, WAIT};
use crate::http::reply::{JSON, Reply};
use crate::http::route::{Answer, Gives, Param, Route, Verb, shape};
use crate::problem::{Code, Problem};

/// Imports at once: each may hold a chunk of rows and a report.
pub(crate) const MAX_IMPORTS: usize = 8;

/// The most bytes of one file, so that one import ends within minutes.
const MAX_BYTES: usize = 64 << 20;
/// The most rows of one file: their report stays below some ten megabytes.
const MAX_ROWS: u64 = 100_000;
/// The most rows of one commit, and the most bytes: it holds events of up to three times the size
/// and must stay below one megabyte.
const CHUNK_ROWS: usize = 200;
const CHUNK_BYTES: usize = 192 << 10;
/// How long the next piece of a file may take to arrive.
const PIECE_MS: u64 = 30_000;

const CSV: &str = "text/csv";
const LINES: &str = "application/x-ndjson";
/// Seconds after which a place may be free again.
const RETRY_S: u64 = 5;

const DRY_RUN: &[Param] = &[Param::text("dry_run", "`true`: say what would become of each row.")];

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::streaming(Verb::Post, "/orgs/{org}/keys/import", "importKeys", import)
            .about(
                "Makes keys of secrets that their callers have already, given as text or as \
                    SHA-256, in CSV, in JSON Lines, or as one JSON list of rows.",
            )
            .query(&[WAIT, DRY_RUN])
            .takes::<ImportRow>()
            .streams(&[LINES, CSV, JSON])
            .gives(Gives::Thing(shape::<ImportReport>()))
            .also(&[LINES]),
    ]
}

async fn import(mut ask: Ask, caller: Caller, incoming: Body) -> Answer {
    caller.requester.at_least(Role::Admin)?;
    let dry_run = ask.flag("dry_run")?.unwrap_or(false);
    ask.wait()?;
    let format = format(&ask)?;
    let place = Arc::clone(&ask.api.importers).try_acquire_owned();
    let place = place.map_err(|_| {
        let full = Problem::new(Code::RateLimited, "too many imports run at this moment");
        Problem { retry_after: Some(RETRY_S), ..full }
    })?;
    let (incoming, list) = match format {
        Some(_) => (incoming, Vec::new()),
        None => {
            ask.receive(incoming).await?;
            (Body::empty(), rows(&ask)?)
        }
    };
    let tells = ask.header(header::ACCEPT.as_str()).is_some_and(|accept| accept.contains(LINES));
    let run = Run::new(ask, caller, dry_run)?;
    let mut file = File::new(run, incoming, format.unwrap_or(Format::Lines), place);
    file.waiting.extend(list);
    // What is wrong with the file as a whole shows in its first chunk, and has a status.
    let mut more = file.step().await?;
    if tells {
        return Ok(Reply::body(LINES, Body::from_stream(progress(file, more))));
    }
    while more {
        more = file.step().await?;
    }
    Reply::json(&file.run.finish().await?)
}

/// The format that the caller says; `None` is one JSON list.
fn format(ask: &Ask) -> Result<Option<Format>, Problem> {
    let given = ask.header(header::CONTENT_TYPE.as_str()).unwrap_or_default();
    let given = given.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match given.as_str() {
        CSV => Ok(Some(Format::Csv)),
        LINES => Ok(Some(Format::Lines)),
        JSON => Ok(None),
        _ => {
            let detail = "the body must be text/csv, application/x-ndjson or application/json, \
                          and its Content-Type must say so";
            Err(Problem::new(Code::UnsupportedMediaType, detail))
        }
    }
}

/// The rows of a JSON list, or the one row that stands in its place. They count as its lines.
fn rows(ask: &Ask) -> Result<Vec<Raw>, Problem> {
    let rows = match ask.value()? {
        Value::Array(rows) => rows,
        row @ Value::Object(_) => vec![row],
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            return Err(Problem::field("", "must be a list of rows"));
        }
    };
    let raw = |(line, row): (u64, Value)| {
        let text = Some(row.to_string().into_bytes()).filter(|text| text.len() <= MAX_ROW_BYTES);
        Raw { line, text }
    };
    Ok((1..).zip(rows).map(raw).collect())
}

/// A file that is being imported.
struct File {
    run: Run,
    incoming: Body,
    format: Format,
    splitter: Splitter,
    columns: Option<Columns>,
    /// Rows that arrived and are not imported yet.
    waiting: VecDeque<Raw>,
    bytes: usize,
    ended: bool,
    _place: OwnedSemaphorePermit,
}

impl File {
    fn new(run: Run, incoming: Body, format: Format, place: OwnedSemaphorePermit) -> Self {
        Self {
            run,
            incoming,
            format,
            splitter: Splitter::new(format),
            columns: None,
            waiting: VecDeque::new(),
            bytes: 0,
            ended: false,
            _place: place,
        }
    }

    /// Imports the next chunk; whether there is more.
    async fn step(&mut self) -> Result<bool, Problem> {
        let mut chunk = Vec::new();
        let mut bytes = 0;
        while chunk.len() < CHUNK_ROWS {
            let Some(raw) = self.next().await? else { break };
            let length = raw.text.as_ref().map_or(0, Vec::len);
            if bytes + length > CHUNK_BYTES && !chunk.is_empty() {
                self.waiting.push_front(raw);
                break;
            }
            bytes += length;
            chunk.push(raw);
        }
        if chunk.is_empty() {
            return Ok(false);
        }
        let read = u64::try_from(chunk.len()).unwrap_or(u64::MAX);
        if self.run.report.progress.rows.saturating_add(read) > MAX_ROWS {
            return Err(self.too_large(&format!("{MAX_ROWS} rows")));
        }
        self.run.chunk(&chunk, self.columns.as_ref()).await?;
        Ok(true)
    }

    /// The next row; the header of a table is none.
    async fn next(&mut self) -> Result<Option<Raw>, Problem> {
        loop {
            if let Some(raw) = self.waiting.pop_front() {
                if self.format == Format::Lines || self.columns.is_some() {
                    return Ok(Some(raw));
                }
                self.columns = Some(columns(&raw)?);
                continue;
            }
            if self.ended {
                return Ok(None);
            }
            self.receive().await?;
        }
    }

    /// Waits for the next piece of the file.
    async fn receive(&mut self) -> Result<(), Problem> {
        let clock = self.run.ask.app().clock.clone();
        let frame = deadline(&*clock, PIECE_MS, self.incoming.frame()).await;
        let late =
            || Problem::new(Code::RequestTimeout, "no piece of the file came for 30 seconds");
        let cut = |_| Problem::new(Code::RequestTimeout, "the file was cut off");
        match frame.ok_or_else(late)?.transpose().map_err(cut)? {
            None => {
                self.ended = true;
                self.waiting.extend(self.splitter.end());
            }
            Some(frame) => {
                let piece = frame.into_data().unwrap_or_default();
                self.bytes += piece.len();
                if self.bytes > MAX_BYTES {
                    return Err(self.too_large(&format!("{MAX_BYTES} bytes")));
                }
                self.waiting.extend(self.splitter.push(&piece));
            }
        }
        Ok(())
    }

    fn too_large(&self, most: &str) -> Problem {
        let rows = self.run.report.progress.rows;
        let detail = format!(
            "one import has at most {most}: its first {rows} rows are imported, the rest is not"
        );
        Problem::new(Code::RequestTooLarge, detail)
    }
}

fn columns(header: &Raw) -> Result<Columns, Problem> {
    let text = header.text.as_deref().and_then(|text| std::str::from_utf8(text).ok());
    let text = text.ok_or_else(|| Problem::field("", "must begin with a header of columns"))?;
    Columns::read(text).map_err(|(pointer, message)| Problem::field(&pointer, &message))
}

/// What is told of an import while it runs: how far it is, then its report, or why it ended.
fn progress(
    file: File,
    more: bool,
) -> impl futures_util::Stream<Item = Result<Bytes, std::convert::Infallible>> {
    stream::unfold(Some((file, more)), |state| async move {
        let (mut file, more) = state?;
        let told = line_of(&json!({ "progress": file.run.report.progress }).to_string());
        if !more {
            let line = match file.run.finish().await {
                Ok(report) => reported(&report),
                Err(problem) => failed(&problem),
            };
            return Some((Ok(line), None));
        }
        match file.step().await {
            Ok(more) => Some((Ok(told), Some((file, more)))),
            Err(problem) => Some((Ok(failed(&problem)), None)),
        }
    })
}

/// Written without a value between: that has no place for a position of more than 64 bits.
fn reported(report: &ImportReport) -> Bytes {
    match serde_json::to_string(report) {
        Ok(report) => line_of(&format!("{{\"report\":{report}}}")),
        Err(error) => failed(&Problem::internal(&error)),
    }
}

fn failed(problem: &Problem) -> Bytes {
    let told = json!({ "problem": { "code": problem.code.name(), "detail": problem.detail } });
    line_of(&told.to_string())
}

fn line_of(text: &str) -> Bytes {
    format!("{text}\n").into()
}

#[cfg(test)]
mod tests {
    use turnpike_domain::id::Position;
    use turnpike_wire::api::propagation::Propagation;
    use turnpike_wire::api::text::Place;

    use super::*;

    #[test]
    fn a_report_may_have_a_position_of_more_than_64_bits() {
        let (online, applied, slowest_ms, missing) = (1, 1, 2, Vec::new());
        let position = Place(Position(1 << 94));
        let reach = Propagation { position, online, applied, slowest_ms, missing };
        let line = reported(&ImportReport { propagation: Some(reach), ..ImportReport::default() });
        let text = std::str::from_utf8(&line).unwrap();
        assert!(text.starts_with("{\"report\":{") && text.ends_with("}}\n"), "{text}");
        assert!(text.contains("\"position\":19807040628566084398385987584,"), "{text}");
    }
}
