//! Snapshots: a stream's state as of some seq, so that nobody folds a long stream from its start.
//!
//! A snapshot is a list of frames, one row each. It is written in as many commits as its size
//! needs; chunk 0, which counts the others, is written last, so a snapshot that was cut short is
//! not seen.

use bytes::{BufMut, Bytes, BytesMut};
use turnpike_domain::id::{IncarnationId, OrgId};
use turnpike_wire::sign::SigningKey;
use turnpike_wire::snapshot::{Assembly, State};

use crate::error::StoreError;
use crate::incarnation;
use crate::keyspace;
use crate::kv::{Batch, Kv, MAX_BATCH_BYTES, Snapshot, Write};
use crate::streams::Fold;

/// Events behind the last snapshot before a new one is worth its writing.
pub(crate) const EVERY_EVENTS: u64 = 1_000;
/// The most frames of a snapshot: 64 kB each, so 6 GB.
const MAX_CHUNKS: u32 = 100_000;
/// Rows removed at once.
const PAGE: usize = 50;

/// Stores `frames` as the snapshot of `org` at `seq` and removes older ones.
///
/// Each commit is conditional on the first and the last row to be written: of two that save the
/// same snapshot one gives up, and nothing that lands late mixes its frames with another's.
///
/// # Errors
/// [`StoreError`] if a commit failed; the older snapshot then still stands.
pub(crate) async fn save(
    kv: &dyn Kv,
    org: OrgId,
    seq: u64,
    frames: Vec<Bytes>,
) -> Result<(), StoreError> {
    let count = u32::try_from(frames.len()).unwrap_or(u32::MAX);
    if count > MAX_CHUNKS {
        return Err(StoreError::row("snapshot", format!("{count} frames are too many")));
    }
    let chunk = |number| keyspace::snapshot_chunk(org, seq, number);
    let unchanged = vec![chunk(0), chunk(1)];
    let mut batch =
        Batch { read_at: kv.snapshot().await?.version(), unchanged, writes: Vec::new() };
    for (number, frame) in (1_u32..).zip(frames) {
        if batch.bytes().saturating_add(frame.len()) > MAX_BATCH_BYTES / 2 {
            batch.read_at = kv.commit(batch.clone()).await?.version;
            batch.writes.clear();
        }
        batch.writes.push(Write::Put { key: chunk(number), value: frame });
    }
    let mut head = BytesMut::with_capacity(4);
    head.put_u32(count);
    batch.writes.push(Write::Put { key: chunk(0), value: head.freeze() });
    kv.commit(batch).await?;
    remove_before(kv, org, seq).await
}

/// The seq and the number of frames of the newest snapshot before `before`. One that was cut short
/// is passed over.
pub(crate) async fn newest(
    snapshot: &dyn Snapshot,
    org: OrgId,
    before: u64,
) -> Result<Option<(u64, u32)>, StoreError> {
    let mut scan = keyspace::snapshots(org, 1);
    scan.end = scan.end.min(keyspace::snapshot_chunk(org, before, 0));
    loop {
        let found = snapshot.scan(scan.clone()).await?;
        let Some((key, _)) = found.first() else { return Ok(None) };
        let (seq, _) = keyspace::read_snapshot_chunk(key)
            .ok_or_else(|| StoreError::row("snapshot", "a key's shape"))?;
        scan.end = keyspace::snapshot_chunk(org, seq, 0);
        if let Some(value) = snapshot.get(&scan.end).await? {
            let count = value.as_ref().try_into().map(u32::from_be_bytes);
            let count = count.map_err(|_| StoreError::row("snapshot", "its count"))?;
            return Ok(Some((seq, count)));
        }
    }
}

/// What stored snapshots are signed with. It guards against torn writes, not against forgers:
/// whoever can write to the store can write events.
pub(crate) fn key(incarnation: IncarnationId) -> SigningKey {
    let mut seed = [0_u8; 32];
    seed[..16].copy_from_slice(&incarnation.bytes());
    SigningKey::from_seed(&seed)
}

/// The newest readable snapshot of a stream.
pub(crate) async fn load<S: Fold>(
    snapshot: &dyn Snapshot,
    org: OrgId,
) -> Result<Option<S>, StoreError> {
    let mut before = u64::MAX;
    while let Some((seq, count)) = newest(snapshot, org, before).await? {
        match assemble(snapshot, org, seq, count).await?.and_then(S::restore) {
            Some(state) => return Ok(Some(state)),
            // The stream itself is the truth: it is folded from further back.
            None => tracing::error!(%org, seq, "a stored snapshot is unreadable"),
        }
        before = seq;
    }
    Ok(None)
}

/// Reads a snapshot's frames; `None`: they do not fit together.
async fn assemble(
    snapshot: &dyn Snapshot,
    org: OrgId,
    seq: u64,
    count: u32,
) -> Result<Option<State>, StoreError> {
    let incarnation = incarnation::read(snapshot).await?.unwrap_or_default();
    let mut assembly = Assembly::new(key(incarnation).verifying_key());
    for number in 1..=count.min(MAX_CHUNKS) {
        let frame = snapshot.get(&keyspace::snapshot_chunk(org, seq, number)).await?;
        let Some(frame) = frame else { return Ok(None) };
        match assembly.take(&frame) {
            Ok(None) => {}
            Ok(Some(read)) => return Ok(Some(read.state)),
            Err(error) => {
                tracing::error!(%org, seq, number, %error, "a snapshot's frame is unreadable");
                return Ok(None);
            }
        }
    }
    Ok(None)
}

async fn remove_before(kv: &dyn Kv, org: OrgId, seq: u64) -> Result<(), StoreError> {
    let mut scan = keyspace::snapshots(org, PAGE);
    scan.end = keyspace::snapshot_chunk(org, seq, 0);
    loop {
        let snapshot = kv.snapshot().await?;
        let old = snapshot.scan(scan.clone()).await?;
        if old.is_empty() {
            return Ok(());
        }
        let writes = old.into_iter().map(|(key, _)| Write::Delete { key }).collect();
        let batch = Batch { read_at: snapshot.version(), unchanged: Vec::new(), writes };
        kv.commit(batch).await?;
    }
}
