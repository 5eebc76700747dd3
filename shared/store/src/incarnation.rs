//! The incarnation: one life of a store.
//!
//! A restored store gets another, and every mirror starts anew.

use bytes::Bytes;
use turnpike_domain::id::IncarnationId;
use turnpike_domain::time::Timestamp;
use turnpike_runtime::entropy;

use crate::error::StoreError;
use crate::keyspace;
use crate::kv::{Batch, CommitError, Kv, Snapshot, Write};

/// Tries to write the first incarnation before giving up.
const MAX_TRIES: u32 = 10;

/// The incarnation of a store; a new store gets one.
///
/// # Errors
/// [`StoreError`] if it can neither be read nor written.
pub async fn ensure(kv: &dyn Kv, now: Timestamp) -> Result<IncarnationId, StoreError> {
    for _ in 0..MAX_TRIES {
        let snapshot = kv.snapshot().await?;
        if let Some(found) = read(&*snapshot).await? {
            return Ok(found);
        }
        let key = keyspace::incarnation();
        let value = Bytes::copy_from_slice(&entropy::id(now).to_be_bytes());
        let writes = vec![Write::Put { key: key.clone(), value }];
        let batch = Batch { read_at: snapshot.version(), unchanged: vec![key], writes };
        match kv.commit(batch).await {
            Ok(_) | Err(CommitError::Conflict | CommitError::Unknown(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(StoreError::Contended)
}

/// The incarnation of a store, if it has one.
///
/// # Errors
/// [`StoreError`] if it cannot be read.
pub async fn read(snapshot: &dyn Snapshot) -> Result<Option<IncarnationId>, StoreError> {
    let Some(value) = snapshot.get(&keyspace::incarnation()).await? else { return Ok(None) };
    let bytes = value.as_ref().try_into();
    let bytes = bytes.map_err(|_| StoreError::row("incarnation", "expected 16 bytes"))?;
    Ok(Some(IncarnationId::from_bytes(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hostile::Hostile;

    #[tokio::test]
    async fn a_store_has_one_incarnation_whoever_asks_and_whatever_fails() {
        for seed in 0..50 {
            entropy::seed_this_thread(seed);
            let kv = Hostile::default();
            kv.set_failing(true);
            let asked = (0..5).map(|_| ensure(&kv, Timestamp(7)));
            let found = futures_util::future::join_all(asked).await;
            kv.set_failing(false);
            kv.land_all().await;
            let now = ensure(&kv, Timestamp(8)).await.unwrap();
            assert!(found.into_iter().flatten().all(|found| found == now), "seed {seed}");
        }
    }
}
