//! `/orgs/{org}/events`: the stream after a seq, as JSON or followed as server-sent events.

use std::sync::Arc;

use axum::body::Body;
use axum::http::header;
use bytes::Bytes;
use futures_util::future::{Either, select};
use futures_util::stream;
use tokio::sync::OwnedSemaphorePermit;
use turnpike_domain::state::Organisation;
use turnpike_store::follower::Follower;
use turnpike_store::log;
use turnpike_wire::api::audit::Event;
use turnpike_wire::api::page::Page;

use super::ask::{Ask, PAGE};
use super::reply::Reply;
use super::route::{Answer, Gives, Param, Route, Verb, shape};
use super::stream as stored;
use crate::auth::{self, Caller};
use crate::problem::{Code, Problem};

/// The content type of a stream that is followed (WHATWG HTML, "Server-sent events").
const EVENT_STREAM: &str = "text/event-stream";
/// Silence after which a comment says that the stream still lives: proxies cut what is silent.
const COMMENT_MS: u64 = 15_000;
/// The longest wait for news; a watch usually ends it earlier.
const POLL_MS: u64 = 1_000;
/// Streams followed at a time: each holds a connection and wakes at every commit.
pub(super) const MAX_FOLLOWERS: usize = 1_000;

const AFTER: &[Param] = &[Param::number(
    "after",
    "Begin behind this seq; 0 if absent. `Last-Event-ID` takes precedence.",
)];

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::new(Verb::Get, "/orgs/{org}/events", "listEvents", events)
            .about(
                "The organisation's events behind a seq, oldest first. With `Accept: \
                    text/event-stream` they are followed: id is the seq, data the event.",
            )
            .query(&[PAGE, AFTER])
            .also(&[EVENT_STREAM])
            .gives(Gives::Page(shape::<Event>())),
    ]
}

async fn events(ask: Ask, caller: Caller) -> Answer {
    caller.reads_all()?;
    let accept = ask.header(header::ACCEPT.as_str()).unwrap_or_default();
    let follows = accept.contains(EVENT_STREAM);
    let after = ask.number("after", 0, u64::MAX)?.unwrap_or(0);
    if follows {
        let resumed = ask.header("last-event-id").and_then(|id| id.parse().ok());
        return follow(ask, resumed.unwrap_or(after));
    }
    let limit = ask.span(false)?.limit;
    let after = match ask.query("cursor") {
        Some(_) => ask.seq_cursor()?.unwrap_or(after),
        None => after,
    };
    let (mut data, more) = page(&ask, after).await?;
    let cut = data.len() > limit;
    data.truncate(limit);
    let last = data.last().map(|event| event.seq);
    let next_cursor = last.filter(|_| cut || more).map(super::audit::seq_cursor);
    Reply::json(&Page { data, next_cursor })
}

/// One page of the store behind `after`, and whether more follow.
async fn page(ask: &Ask, after: u64) -> Result<(Vec<Event>, bool), Problem> {
    let snapshot = ask.snapshot().await?;
    let head = log::head(&*snapshot, ask.org).await?;
    if after >= head.seq {
        return Ok((Vec::new(), false));
    }
    let received = stored::page(&*snapshot, ask.org, after, head.seq).await?;
    let more = received.last().is_some_and(|last| last.seq < head.seq);
    let named = |state: &Organisation| {
        received.iter().map(|received| stored::event(received, state)).collect()
    };
    Ok((ask.read(named).await?, more))
}

/// Where a follower stands.
struct Following {
    ask: Ask,
    follower: Follower,
    after: u64,
    silent_since_ms: u64,
    _place: OwnedSemaphorePermit,
}

/// Follows the stream until the caller goes, may no longer read it, or the server stops.
fn follow(ask: Ask, after: u64) -> Answer {
    let place = Arc::clone(&ask.api.followers).try_acquire_owned().map_err(|_| {
        let full = Problem::new(Code::RateLimited, "too many streams are followed at this moment");
        Problem { retry_after: Some(COMMENT_MS / 1_000), ..full }
    })?;
    let follower = Follower::new(Arc::clone(ask.app().streams().kv()), "events");
    let silent_since_ms = ask.app().clock.boot_ms();
    let following = Following { ask, follower, after, silent_since_ms, _place: place };
    let chunks = stream::unfold(following, |mut following| async move {
        let chunk = following.next().await?;
        Some((Ok::<_, std::convert::Infallible>(chunk), following))
    });
    Ok(Reply::body(EVENT_STREAM, Body::from_stream(chunks)))
}

impl Following {
    /// The next events, or a comment after a silence; nothing when the caller's right to read has
    /// ended, or the server stops.
    async fn next(&mut self) -> Option<Bytes> {
        let stopping = self.ask.api.stopping.clone();
        loop {
            // Watched before it is read: what is committed in between ends the wait.
            let moved = self.follower.moved();
            let clock = self.ask.app().clock.clone();
            match page(&self.ask, self.after).await {
                Ok((events, _)) if !events.is_empty() => {
                    if !self.still_reads().await {
                        return None;
                    }
                    self.after = events.last().map_or(self.after, |event| event.seq);
                    self.silent_since_ms = clock.boot_ms();
                    return Some(events.iter().filter_map(written).collect::<String>().into());
                }
                Ok(_) => {}
                Err(problem) => tracing::debug!(problem = problem.detail, "events wait"),
            }
            if clock.boot_ms().saturating_sub(self.silent_since_ms) >= COMMENT_MS {
                self.silent_since_ms = clock.boot_ms();
                return Some(Bytes::from_static(b": still here\n\n"));
            }
            let news = Box::pin(select(moved, clock.sleep(POLL_MS)));
            let stopped = Box::pin(stopping.cancelled());
            if let Either::Right(_) = select(news, stopped).await {
                return None;
            }
        }
    }
}

impl Following {
    /// Whether the credential still works and reads all: it may have been taken away since.
    async fn still_reads(&mut self) -> bool {
        self.ask.now = self.ask.app().clock.now();
        auth::caller(&self.ask).await.is_ok_and(|caller| caller.reads_all().is_ok())
    }
}

fn written(event: &Event) -> Option<String> {
    let data = serde_json::to_string(event).ok()?;
    Some(format!("id: {}\nevent: {}\ndata: {data}\n\n", event.seq, event.r#type))
}
