//! The relay: publishes what was committed, in commit order, and nothing else.
//!
//! One process has the role at a time. Its place is a row in the store, written after the bus has
//! taken the events; a successor may publish some of them again, which readers skip by seq.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::{Either, join_all, select};
use tokio_util::sync::CancellationToken;
use turnpike_bus::seam::{BusError, Feed, Publish, Start, Topic};
use turnpike_domain::id::{OrgId, Position};
use turnpike_runtime::clock::deadline;
use turnpike_store::error::StoreError;
use turnpike_store::follower::Follower;
use turnpike_store::leader::{Role, TAKE_OVER_MS, Term};
use turnpike_store::log::{self, Placed};
use turnpike_wire::heartbeat::MovedHead;
use turnpike_wire::record;

use crate::app::App;
use crate::cloudevents;
use crate::heartbeat::Pulse;

/// Events published at once: enough to fill a round trip, few enough to bound a repetition.
const BATCH: usize = 256;
/// The longest wait for news; a watch usually ends it earlier.
const POLL_MS: u64 = 250;
/// The wait after a failure of store or bus.
const RETRY_MS: u64 = 200;
/// Who cannot reach the bus for so long gives the role up, for another control plane may: as long
/// as a successor would wait for one that is gone.
const GIVE_UP_MS: u64 = TAKE_OVER_MS;
/// How long it then leaves the role to others, who look for it twice a second.
const LEAVE_MS: u64 = 2_000;

/// Publishes the feed of the store whenever this process has the role, until `stop`.
pub(crate) async fn run(app: Arc<App>, stop: CancellationToken) {
    let role = Role::new(Arc::clone(app.streams().kv()), app.clock.clone(), "relay");
    while !stop.is_cancelled() {
        let won = stop.run_until_cancelled(role.win()).await;
        match won {
            None => return,
            Some(Ok(term)) => serve(&app, &term, &stop).await,
            Some(Err(error)) => tracing::warn!(%error, "the relay cannot read the store"),
        }
        app.clock.sleep(RETRY_MS).await;
    }
}

async fn serve(app: &Arc<App>, term: &Term, stop: &CancellationToken) {
    let work = std::pin::pin!(publish(app, term));
    let keep = std::pin::pin!(term.keep());
    let both = select(work, keep);
    match stop.run_until_cancelled(both).await {
        Some(Either::Left((error @ RelayError::Bus(_), _))) => {
            tracing::warn!(%error, "the relay's role is given up to whoever reaches the bus");
            term.resign().await;
            stop.run_until_cancelled(deadline(&*app.clock, LEAVE_MS, bus_is_back(app))).await;
        }
        Some(Either::Left((error, _))) => tracing::warn!(%error, "the relay's term ended"),
        Some(Either::Right((error, _))) => tracing::warn!(%error, "the relay's term ended"),
        None => term.resign().await,
    }
}

/// Completes when the bus lets this process listen again.
async fn bus_is_back(app: &App) {
    while app.bus.read(Feed::Heartbeat(Some(OrgId::PLATFORM)), Start::Now).await.is_err() {
        app.clock.sleep(RETRY_MS).await;
    }
}

/// Publishes until the term is over; answers why it is.
async fn publish(app: &Arc<App>, term: &Term) -> RelayError {
    let follower = Follower::new(Arc::clone(app.streams().kv()), "relay");
    let mut pulse = Pulse::new(Arc::clone(app), term.fence());
    let mut place = match follower.place().await {
        Ok(place) => place,
        Err(error) => return error.into(),
    };
    loop {
        let moved = follower.moved();
        match page(app, place, &mut pulse).await {
            Ok(last) if last > place => {
                place = last;
                pulse.taken();
                match follower.save(place, term).await {
                    Ok(()) => {}
                    Err(StoreError::Fenced) => return StoreError::Fenced.into(),
                    // The events are out; the next page writes the place again.
                    Err(error) => tracing::warn!(%error, "the relay's place was not saved"),
                }
            }
            Ok(_) => {
                pulse.beat(place).await;
                let wait_ms = pulse.due_in_ms().min(POLL_MS);
                select(moved, app.clock.sleep(wait_ms)).await;
            }
            Err(error) => {
                tracing::warn!(%error, "the relay waits");
                if matches!(error, RelayError::Bus(_)) {
                    pulse.refused();
                }
                app.clock.sleep(RETRY_MS).await;
            }
        }
        if pulse.refused_for_ms() >= GIVE_UP_MS {
            return BusError::Unavailable("it takes nothing".to_owned()).into();
        }
    }
}

/// Publishes the next page and answers the position behind it.
async fn page(app: &App, after: Position, pulse: &mut Pulse) -> Result<Position, RelayError> {
    let snapshot = app.streams().kv().snapshot().await.map_err(StoreError::from)?;
    let events = log::feed(&*snapshot, after, BATCH).await?;
    let Some(last) = events.last().map(|placed| placed.position) else { return Ok(after) };
    let mut messages = Vec::with_capacity(events.len());
    let mut heads = Vec::with_capacity(events.len());
    for placed in &events {
        let (message, head) = message(placed)?;
        messages.push(app.bus.publish(message));
        heads.push(head);
    }
    for taken in join_all(messages).await {
        taken?;
    }
    heads.into_iter().for_each(|head| pulse.moved(head));
    Ok(last)
}

/// Why a page was not published.
#[derive(Debug, thiserror::Error)]
enum RelayError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Bus(#[from] BusError),
    #[error("a stored event cannot be read: {0}")]
    Record(#[from] record::NotARecord),
    #[error("a stored event cannot be read: {0}")]
    Event(#[from] record::Unreadable),
}

/// A committed event as a message, and the head that it makes.
fn message(placed: &Placed) -> Result<(Publish, MovedHead), RelayError> {
    let Placed { position, logged } = placed;
    let received = record::decode(&logged.body, *position)?;
    let event = received.record?;
    let head = MovedHead { org: logged.org, seq: logged.seq, hash: received.hash };
    let message = Publish {
        topic: Topic::Events { org: logged.org, kind: event.event.name().into() },
        id: position.to_string(),
        headers: cloudevents::headers(&event),
        payload: Bytes::from(record::send(&logged.body, *position, &received.hash)?),
    };
    Ok((message, head))
}
