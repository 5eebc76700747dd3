//! News of the log: organisations that have changed, told to the shards that they belong to.
//!
//! Nothing is kept here: a shard knows for each organisation how far it has looked, and looks at
//! all of them when it is won.

use std::sync::Arc;

use futures_util::future::select;
use turnpike_domain::id::Position;
use turnpike_runtime::clock::SharedClock;
use turnpike_store::error::StoreError;
use turnpike_store::follower::Follower;
use turnpike_store::kv::Kv;
use turnpike_store::log;

use crate::inbox::Inboxes;

/// Events looked at in one step.
const BATCH: usize = 256;
/// The longest wait for news; a watch usually ends it earlier.
const POLL_MS: u64 = 250;
/// The wait after a failure of the store.
const RETRY_MS: u64 = 500;

/// Tells the shards of news for ever.
pub(crate) async fn run(kv: Arc<dyn Kv>, clock: SharedClock, inboxes: Arc<Inboxes>) {
    let follower = Follower::new(Arc::clone(&kv), "projector");
    let mut place = None;
    loop {
        let moved = follower.moved();
        match step(&*kv, &inboxes, &mut place).await {
            Ok(true) => {}
            Ok(false) => {
                select(moved, clock.sleep(POLL_MS)).await;
            }
            Err(error) => {
                tracing::warn!(%error, "the log cannot be followed");
                clock.sleep(RETRY_MS).await;
            }
        }
    }
}

/// Reads what follows `place`; true: there may be more.
async fn step(
    kv: &dyn Kv,
    inboxes: &Inboxes,
    place: &mut Option<Position>,
) -> Result<bool, StoreError> {
    let snapshot = kv.snapshot().await?;
    let Some(after) = *place else {
        *place = Some(log::last_position(&*snapshot).await?);
        inboxes.follow();
        return Ok(true);
    };
    let events = log::feed(&*snapshot, after, BATCH).await?;
    for event in &events {
        inboxes.changed(event.logged.org);
        *place = Some(event.position);
    }
    Ok(events.len() == BATCH)
}
