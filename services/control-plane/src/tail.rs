//! The tail: keeps this replica's directory in step with commits of all replicas.

use std::sync::Arc;

use futures_util::future::select;
use tokio::sync::watch;
use turnpike_domain::id::{OrgId, Position};
use turnpike_runtime::clock::{SharedClock, deadline};
use turnpike_store::error::StoreError;
use turnpike_store::follower::Follower;
use turnpike_store::log;

use crate::app::App;

/// Events read at once.
const PAGE: usize = 512;
/// The longest wait for news; a watch usually ends it earlier.
const POLL_MS: u64 = 250;
/// The wait after a failure of the store.
const RETRY_MS: u64 = 200;
/// How long somebody waits for the tail to reach the end: past it the answer is what is known.
const REACH_MS: u64 = 1_000;

/// Up to where this replica's directory is in step.
pub struct Tail {
    reached: watch::Sender<Position>,
    clock: SharedClock,
}

impl Tail {
    /// A tail that has read nothing.
    #[must_use]
    pub fn new(clock: SharedClock) -> Self {
        Self { reached: watch::Sender::new(Position::default()), clock }
    }

    /// Waits until the directory holds all that was committed when this was called, at most
    /// [`REACH_MS`].
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot say where its end is.
    pub async fn reach_end(&self, app: &App) -> Result<(), StoreError> {
        let snapshot = app.streams().kv().snapshot().await?;
        let end = log::last_position(&*snapshot).await?;
        let mut reached = self.reached.subscribe();
        let wait = reached.wait_for(|position| *position >= end);
        let in_time = deadline(&*self.clock, REACH_MS, wait).await;
        if in_time.is_none() {
            tracing::warn!(%end, "the directory is behind the store");
        }
        Ok(())
    }
}

/// Follows the feed for ever. The directory must hold everything up to `from`.
pub async fn follow(app: Arc<App>, from: Position) {
    let follower = Follower::new(Arc::clone(app.streams().kv()), "tail");
    let mut place = from;
    loop {
        let moved = follower.moved();
        match page(&app, place).await {
            Ok(last) if last > place => {
                place = last;
                app.tail.reached.send_replace(place);
            }
            Ok(_) => {
                app.tail.reached.send_replace(place);
                select(moved, app.clock.sleep(POLL_MS)).await;
            }
            Err(error) => {
                tracing::warn!(%error, "the directory waits for the store");
                app.clock.sleep(RETRY_MS).await;
            }
        }
    }
}

async fn page(app: &App, after: Position) -> Result<Position, StoreError> {
    let snapshot = app.streams().kv().snapshot().await?;
    let events = log::feed(&*snapshot, after, PAGE).await?;
    let mut orgs: Vec<OrgId> = events.iter().map(|placed| placed.logged.org).collect();
    orgs.sort_unstable();
    orgs.dedup();
    for org in orgs {
        app.refresh(org).await?;
    }
    Ok(events.last().map_or(after, |placed| placed.position))
}
