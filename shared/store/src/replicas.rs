//! Replicas: how many processes of a kind live, each known by a row that it writes each second.
//!
//! Nothing relies on the number being right: it only divides work that is guarded otherwise. A row
//! counts once it was seen to change, by the reader's own steady clock, so that what a dead process
//! has left behind never counts.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use turnpike_runtime::clock::SharedClock;
use turnpike_runtime::entropy;

use crate::error::StoreError;
use crate::keyspace;
use crate::kv::{Batch, Kv, Write};
use crate::leader::TAKE_OVER_MS;

/// Rows looked at: far more than anybody runs.
const MAX_REPLICAS: usize = 1_000;
/// A row that stood still for so long was left behind by a process that died.
const FORGET_MS: u64 = 3_600_000;

/// One replica, and what it knows of the others.
pub struct Replicas {
    kv: Arc<dyn Kv>,
    clock: SharedClock,
    kind: String,
    own: Bytes,
    others: BTreeMap<Bytes, Other>,
}

struct Other {
    value: Bytes,
    /// Since when the value stands, on this process's clock.
    since_ms: u64,
    has_changed: bool,
}

impl Replicas {
    /// A new replica of this kind; nobody knows it before it beats.
    #[must_use]
    pub fn new(kv: Arc<dyn Kv>, clock: SharedClock, kind: &str) -> Self {
        let own = keyspace::replica(kind, entropy::number());
        Self { kv, clock, kind: kind.into(), own, others: BTreeMap::new() }
    }

    /// Says that it lives, and answers how many do, itself among them. To be called each
    /// [`crate::leader::RENEW_MS`].
    ///
    /// # Errors
    /// [`StoreError`] if the store failed.
    pub async fn beat(&mut self) -> Result<usize, StoreError> {
        let snapshot = self.kv.snapshot().await?;
        let entries = snapshot.scan(keyspace::replicas(&self.kind, MAX_REPLICAS)).await?;
        let now_ms = self.clock.boot_ms();
        let mut known = std::mem::take(&mut self.others);
        for (key, value) in entries.into_iter().filter(|(key, _)| *key != self.own) {
            let other = match known.remove(&key) {
                Some(other) if other.value == value => other,
                before => Other { value, since_ms: now_ms, has_changed: before.is_some() },
            };
            self.others.insert(key, other);
        }
        let value = Bytes::copy_from_slice(&entropy::number().to_be_bytes());
        let mut writes = vec![Write::Put { key: self.own.clone(), value }];
        let still_ms = |other: &Other| now_ms.saturating_sub(other.since_ms);
        let left_behind = self.others.iter().filter(|(_, other)| still_ms(other) >= FORGET_MS);
        writes.extend(left_behind.map(|(key, _)| Write::Delete { key: key.clone() }));
        self.kv
            .commit(Batch { read_at: snapshot.version(), unchanged: Vec::new(), writes })
            .await?;
        let live = |other: &&Other| other.has_changed && still_ms(other) < TAKE_OVER_MS;
        Ok(self.others.values().filter(live).count().saturating_add(1))
    }

    /// Takes its leave, so that nobody waits for it. Best effort.
    pub async fn leave(self) {
        let Ok(snapshot) = self.kv.snapshot().await else { return };
        let writes = vec![Write::Delete { key: self.own }];
        let batch = Batch { read_at: snapshot.version(), unchanged: Vec::new(), writes };
        if let Err(error) = self.kv.commit(batch).await {
            tracing::debug!(kind = self.kind, %error, "the replica's row was not deleted");
        }
    }
}

#[cfg(test)]
mod tests {
    use turnpike_domain::time::Timestamp;
    use turnpike_runtime::clock::{Clock as _, PausedClock};

    use super::*;
    use crate::engines;
    use crate::leader::RENEW_MS;

    #[tokio::test(start_paused = true)]
    async fn who_beats_is_counted_until_it_is_silent_or_leaves() {
        let (kv, clock): (Arc<dyn Kv>, _) = (engines::fresh(), PausedClock::new(Timestamp(0)));
        let replica = || Replicas::new(Arc::clone(&kv), Arc::new(clock.clone()), "test");
        let (mut one, mut two, mut three) = (replica(), replica(), replica());
        assert_eq!(one.beat().await, Ok(1));
        for _ in 0..2 {
            two.beat().await.unwrap();
            three.beat().await.unwrap();
            clock.sleep(RENEW_MS).await;
            one.beat().await.unwrap();
        }
        assert_eq!(one.beat().await, Ok(3));
        three.leave().await;
        assert_eq!(one.beat().await, Ok(2), "who has left does not count");
        clock.sleep(TAKE_OVER_MS).await;
        assert_eq!(one.beat().await, Ok(1), "who is silent does not count");
        let mut late = replica();
        late.beat().await.unwrap();
        clock.sleep(RENEW_MS).await;
        one.beat().await.unwrap();
        assert_eq!(late.beat().await, Ok(2), "what the silent one has left does not count");
        clock.sleep(FORGET_MS).await;
        one.beat().await.unwrap();
        let snapshot = kv.snapshot().await.unwrap();
        let rows = snapshot.scan(keyspace::replicas("test", 10)).await.unwrap();
        assert_eq!(rows.len(), 2, "and is forgotten");
    }
}
