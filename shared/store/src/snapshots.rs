//! Snapshots: a stream's state as of some seq, so that nobody folds a long stream from its start.
//!
//! A snapshot is a list of frames, one row each. It is written in as many commits as its size needs;
//! chunk 0, which counts the others, is written last, so a snapshot that was cut short is not seen.

use bytes::{BufMut, Bytes, BytesMut};
use turnpike_domain::id::{IncarnationId, OrgId};
use turnpike_wire::sign::SigningKey;
use turnpike_wire::snapshot::{Assembly, State};

use crate::error::StoreError;
use crate::incarnation;
use crate::keyspace;
use crate::kv::{Batch, Kv, MAX_BATCH_BYTES, Snapshot, Version, Write};
use crate::streams::Fold;

/// Events behind the last snapshot before a new one is worth its writing.
pub(crate) const EVERY_EVENTS: u64 = 1_000;
/// The most frames of a snapshot: 64 kB each, so 6 GB.
const MAX_CHUNKS: u32 = 100_000;
/// Rows read at once.
const PAGE: usize = 50;

/// Stores `frames` as the snapshot of `org` at `seq` and removes older ones.
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
    let mut writes = Vec::new();
    let mut bytes = 0_usize;
    for (number, frame) in (1_u32..).zip(frames) {
        bytes = bytes.saturating_add(frame.len());
        if bytes > MAX_BATCH_BYTES / 2 {
            commit(kv, std::mem::take(&mut writes)).await?;
            bytes = frame.len();
        }
        writes.push(Write::Put { key: keyspace::snapshot_chunk(org, seq, number), value: frame });
    }
    let mut head = BytesMut::with_capacity(4);
    head.put_u32(count);
    let first = keyspace::snapshot_chunk(org, seq, 0);
    writes.push(Write::Put { key: first, value: head.freeze() });
    commit(kv, writes).await?;
    remove_before(kv, org, seq).await
}

/// The seq of the newest snapshot of a stream.
pub(crate) async fn newest(snapshot: &dyn Snapshot, org: OrgId) -> Result<Option<u64>, StoreError> {
    let newest = snapshot.scan(keyspace::snapshots(org, 1)).await?;
    Ok(newest.first().and_then(|(key, _)| keyspace::read_snapshot_chunk(key)).map(|(seq, _)| seq))
}

/// What stored snapshots are signed with. It guards against torn writes, not against forgers: whoever
/// can write to the store can write events.
pub(crate) fn key(incarnation: IncarnationId) -> SigningKey {
    let mut seed = [0_u8; 32];
    seed[..16].copy_from_slice(&incarnation.bytes());
    SigningKey::from_seed(&seed)
}

/// The newest whole snapshot of a stream.
pub(crate) async fn load<S: Fold>(
    snapshot: &dyn Snapshot,
    org: OrgId,
) -> Result<Option<S>, StoreError> {
    let mut scan = keyspace::snapshots(org, PAGE);
    loop {
        let entries = snapshot.scan(scan.clone()).await?;
        for (key, value) in &entries {
            let Some((seq, 0)) = keyspace::read_snapshot_chunk(key) else { continue };
            let count = value.as_ref().try_into().map(u32::from_be_bytes);
            let count = count.map_err(|_| StoreError::row("snapshot", "its count"))?;
            match assemble(snapshot, org, seq, count).await?.and_then(S::restore) {
                Some(state) => return Ok(Some(state)),
                // The stream itself is the truth: it is folded from further back.
                None => tracing::error!(%org, seq, "a stored snapshot is unreadable"),
            }
        }
        match entries.last() {
            Some((last, _)) if entries.len() == PAGE => scan.end = last.clone(),
            Some(_) | None => return Ok(None),
        }
    }
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
    loop {
        let mut scan = keyspace::snapshots(org, PAGE);
        scan.end = keyspace::snapshot_chunk(org, seq, 0);
        let old = kv.snapshot().await?.scan(scan).await?;
        let full = old.len() == PAGE;
        commit(kv, old.into_iter().map(|(key, _)| Write::Delete { key }).collect()).await?;
        if !full {
            return Ok(());
        }
    }
}

async fn commit(kv: &dyn Kv, writes: Vec<Write>) -> Result<(), StoreError> {
    if writes.is_empty() {
        return Ok(());
    }
    // Blind writes of what is equal on every try: no condition is needed, only a fresh version.
    let read_at: Version = kv.snapshot().await?.version();
    kv.commit(Batch { read_at, unchanged: Vec::new(), writes }).await?;
    Ok(())
}
