//! `turnpike events tail`: the stream of an organisation, as it is written.

use serde_json::Value;
use turnpike_domain::time::HOUR_MS;
use turnpike_gateway::sse::{Fate, Scanner};

use super::audit::actor;
use super::{Run, Session};
use crate::client::{Answer, Call};
use crate::failure::Failure;
use crate::output::table::{plain, time};

/// Events shown at first.
const LAST: u64 = 10;
/// Events of a page.
const PAGE: u32 = 500;
/// How long one connection is followed; then the next is made from where it ended.
const FOLLOW_MS: u64 = HOUR_MS;
/// The wait before a stream that ended is opened again.
const REOPEN_MS: u64 = 1_000;

/// What can be done with events.
#[derive(Clone, Debug, clap::Subcommand)]
pub(crate) enum Events {
    /// Show the last events, one a line
    #[command(after_help = EXAMPLE)]
    Tail(Tail),
}

/// Shown below the help of `events tail`.
const EXAMPLE: &str = "\
Examples:
  turnpike events tail --follow
  turnpike events tail --after 0 --json > all.ndjson";

/// Which events are shown.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Tail {
    /// Events behind this place in the stream; 0 for all [default: the last ten]
    #[arg(long, value_name = "SEQ")]
    after: Option<u64>,
    /// Stay, and show events as they come
    #[arg(long, short)]
    follow: bool,
}

impl Run for Events {
    async fn run(self, session: &Session) -> Result<(), Failure> {
        match self {
            Self::Tail(tail) => tail.run(session).await,
        }
    }
}

impl Tail {
    async fn run(self, session: &Session) -> Result<(), Failure> {
        let mut after = match self.after {
            Some(after) => after,
            None => head(session).await?.saturating_sub(LAST),
        };
        loop {
            if self.follow {
                follow(session, &mut after).await?;
                session.client.clock().sleep(REOPEN_MS).await;
            } else if !page(session, &mut after).await? {
                return Ok(());
            }
        }
    }
}

/// The seq of the newest event.
async fn head(session: &Session) -> Result<u64, Failure> {
    let path = session.client.in_org(&["audit"]).await?;
    let newest = session.client.send(&Call::get(path).with("limit", 1)).await?;
    Ok(newest.pointer("/data/0/seq").and_then(Value::as_u64).unwrap_or(0))
}

/// Shows a page of events; false if there was none.
async fn page(session: &Session, after: &mut u64) -> Result<bool, Failure> {
    let path = session.client.in_org(&["events"]).await?;
    let call = Call::get(path).with("after", *after).with("limit", PAGE);
    let page = session.client.send(&call).await?;
    let events = page.entries("data").map_err(|_| session.client.strange("without a list"))?;
    for event in &events {
        show(session, event, after)?;
    }
    Ok(!events.is_empty())
}

/// Shows events as they come, until the connection ends.
async fn follow(session: &Session, after: &mut u64) -> Result<(), Failure> {
    let path = session.client.in_org(&["events"]).await?;
    let mut call = Call::get(path).with("after", *after);
    call.accept = Some("text/event-stream");
    let mut stream = session.client.open(&call, FOLLOW_MS).await?;
    let mut scanner = Scanner::new(false);
    // An error in the middle is an end: what was shown is known, and the next stream goes on there.
    while let Ok(Some(chunk)) = stream.chunk().await {
        let mut shown = Ok(());
        let judge = |event: &turnpike_gateway::sse::Event<'_>| {
            // Comments keep the connection alive and hold no event.
            if let (Ok(()), Ok(event)) = (&shown, Answer::read(&event.data)) {
                shown = show(session, &event, after);
            }
            Fate::Forward
        };
        scanner.push(&chunk, judge, drop);
        shown?;
    }
    Ok(())
}

/// One event, one line.
fn show(session: &Session, event: &Answer, after: &mut u64) -> Result<(), Failure> {
    let Some(seq) = event["seq"].as_u64() else { return Ok(()) };
    *after = seq;
    if session.output.json {
        return session.output.compact(event);
    }
    let (at, name) = (time(&event["at"]), plain(&event["type"]));
    let (who, what) = (actor(&event["actor"]), &event["data"]);
    session.output.line(&format!("{seq:>8}  {at}  {name:<20}  {who}  {what}"))
}
