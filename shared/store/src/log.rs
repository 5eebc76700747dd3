//! The log: one dense, hash-chained stream per organisation, and one feed of all in commit order.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::future::join_all;
use turnpike_domain::event::{Event, KeyProfile, Record};
use turnpike_domain::id::{KeyId, OrgId, Position};
use turnpike_wire::record;

use crate::error::StoreError;
use crate::keyspace;
use crate::kv::{Entry, Snapshot, Write};
use crate::paging;

/// Events read at once: a page stays well under a transaction's 5 s and 10 MB.
const PAGE: usize = 500;

/// The end of a stream as it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct StoredHead {
    /// The seq of the last event; 0: none.
    pub seq: u64,
    /// Its hash.
    pub hash: [u8; 32],
}

/// A stored event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logged {
    /// Whose stream.
    pub org: OrgId,
    /// Its place in the stream.
    pub seq: u64,
    /// The stored body, which the hash covers.
    pub body: Bytes,
}

/// A stored event with its place among all commits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// Its place.
    pub position: Position,
    /// The event.
    pub logged: Logged,
}

/// The head of a stream.
///
/// # Errors
/// [`StoreError`] if it cannot be read.
pub async fn head(snapshot: &dyn Snapshot, org: OrgId) -> Result<StoredHead, StoreError> {
    match snapshot.get(&keyspace::head(org)).await? {
        None => Ok(StoredHead::default()),
        Some(value) => read_head(&value),
    }
}

/// The events of a stream behind `after`, up to `last`, at most one page; fewer than asked for only
/// at the page's end.
///
/// # Errors
/// [`StoreError`] if they cannot be read, or if one is missing.
pub async fn page(
    snapshot: &dyn Snapshot,
    org: OrgId,
    after: u64,
    last: u64,
) -> Result<Vec<Logged>, StoreError> {
    let first = after.saturating_add(1);
    let entries = snapshot.scan(keyspace::events(org, first, last, PAGE)).await?;
    let mut events = Vec::with_capacity(entries.len());
    for (seq, (key, body)) in (first..=last).zip(entries) {
        if key != keyspace::event(org, seq) {
            return Err(StoreError::event(org, seq, "it is missing"));
        }
        events.push(Logged { org, seq, body });
    }
    let expected = usize::try_from(last.saturating_sub(after)).unwrap_or(usize::MAX).min(PAGE);
    if events.len() < expected {
        let missing = first.saturating_add(u64::try_from(events.len()).unwrap_or(0));
        return Err(StoreError::event(org, missing, "it is missing"));
    }
    Ok(events)
}

/// Where the events behind `after`, up to `last`, stand among all commits, as many as a page has.
/// Those of a time when that was not kept are not among them.
///
/// # Errors
/// [`StoreError`] if it cannot be read.
pub async fn positions(
    snapshot: &dyn Snapshot,
    org: OrgId,
    after: u64,
    last: u64,
) -> Result<BTreeMap<u64, Position>, StoreError> {
    let first = after.saturating_add(1);
    let mut entries = snapshot.scan(keyspace::commit_of(org, first)).await?;
    entries.extend(snapshot.scan(keyspace::commits(org, first, last, PAGE)).await?);
    let mut commits = BTreeMap::new();
    for (key, _) in &entries {
        let read = keyspace::read_commit(key);
        let (seq, stamp) = read.ok_or_else(|| StoreError::row("commit", "a key's shape"))?;
        commits.insert(seq, stamp);
    }
    let position = |seq: u64| {
        let (begin, stamp) = commits.range(..=seq).next_back()?;
        let index = u16::try_from(seq.checked_sub(*begin)?).ok()?;
        Some((seq, keyspace::position(*stamp, index)))
    };
    Ok((first..=last).take(PAGE).filter_map(position).collect())
}

/// The events behind `after` in commit order, at most `limit`. If one of them cannot be read now,
/// those before it are answered: who is far behind must get on while reads fail.
///
/// # Errors
/// [`StoreError`] if the first of them cannot be read, or one makes no sense.
pub async fn feed(
    snapshot: &dyn Snapshot,
    after: Position,
    limit: usize,
) -> Result<Vec<Placed>, StoreError> {
    let entries = snapshot.scan(keyspace::feed_after(after, limit)).await?;
    let event = async |(key, value): Entry| {
        let position =
            keyspace::read_feed(&key).ok_or_else(|| StoreError::row("feed", "a key's shape"))?;
        let (org, seq) = read_feed_value(&value)?;
        let body = snapshot.get(&keyspace::event(org, seq)).await?;
        let body = body.ok_or_else(|| StoreError::event(org, seq, "it is missing"))?;
        Ok(Placed { position, logged: Logged { org, seq, body } })
    };
    let mut events = Vec::with_capacity(entries.len());
    // All at once: on a distributed store each read is a round trip.
    for read in join_all(entries.into_iter().map(event)).await {
        match read {
            Ok(placed) => events.push(placed),
            Err(StoreError::Read(_)) if !events.is_empty() => break,
            Err(error) => return Err(error),
        }
    }
    Ok(events)
}

/// The position of the last event of all; zero before the first.
///
/// # Errors
/// [`StoreError`] if it cannot be read.
pub async fn last_position(snapshot: &dyn Snapshot) -> Result<Position, StoreError> {
    let last = snapshot.scan(keyspace::feed_last()).await?;
    let Some((key, _)) = last.first() else { return Ok(Position(0)) };
    keyspace::read_feed(key).ok_or_else(|| StoreError::row("feed", "a key's shape"))
}

/// All organisations that have a stream, the platform's not among them.
///
/// # Errors
/// [`StoreError`] if they cannot be read.
pub async fn organisations(snapshot: &dyn Snapshot) -> Result<Vec<OrgId>, StoreError> {
    let mut found = Vec::new();
    let mut scan = keyspace::all_listed(PAGE);
    loop {
        let entries = snapshot.scan(scan.clone()).await?;
        found.extend(entries.iter().filter_map(|(key, _)| keyspace::read_listed(key)));
        match entries.last() {
            Some((last, _)) if entries.len() == PAGE => scan = paging::beyond(&scan, last),
            Some(_) | None => return Ok(found),
        }
    }
}

/// The properties that a key had once the event `seq` of its organisation had happened, also of a
/// key that is deleted by now. `None`: there was no such key, or it is older than the rows by which
/// this is found.
///
/// # Errors
/// [`StoreError`] if they cannot be read.
pub async fn profile(
    snapshot: &dyn Snapshot,
    org: OrgId,
    key: KeyId,
    seq: u64,
) -> Result<Option<KeyProfile>, StoreError> {
    let rows = snapshot.scan(keyspace::profile_at(org, key, seq)).await?;
    let Some((row, _)) = rows.first() else { return Ok(None) };
    let seq = keyspace::read_profile(row);
    let seq = seq.ok_or_else(|| StoreError::row("profile", "a key's shape"))?;
    let body = snapshot.get(&keyspace::event(org, seq)).await?;
    let body = body.ok_or_else(|| StoreError::event(org, seq, "it is missing"))?;
    let event = open(&Logged { org, seq, body }, Position::default())?.record.event;
    Ok(profile_of(&event).map(|(_, profile)| profile.clone()))
}

/// The key whose properties an event says, all of them.
fn profile_of(event: &Event) -> Option<(KeyId, &KeyProfile)> {
    if let Event::KeyCreated { key, profile, .. }
    | Event::KeyImported { key, profile, .. }
    | Event::KeyChanged { key, profile } = event
    {
        Some((*key, profile))
    } else {
        None
    }
}

/// What appending records to a stream writes.
pub(crate) struct Appended {
    /// The rows.
    pub(crate) writes: Vec<Write>,
    /// The head behind them.
    pub(crate) head: StoredHead,
    /// The hash of each record.
    pub(crate) hashes: Vec<record::Hash>,
}

/// The writes that append `records` to a stream whose head is `head`.
///
/// # Errors
/// [`record::TooLarge`] if an event does not fit into a row.
pub(crate) fn append(head: StoredHead, records: &[Record]) -> Result<Appended, record::TooLarge> {
    let mut done = Appended { writes: Vec::new(), head, hashes: Vec::with_capacity(records.len()) };
    let Some(org) = records.first().map(|record| record.org) else { return Ok(done) };
    if head.seq == 0 && org != OrgId::PLATFORM {
        done.writes.push(Write::Put { key: keyspace::listed(org), value: Bytes::new() });
    }
    for event in records {
        let stored = record::encode(event, done.head.hash)?;
        done.head = StoredHead { seq: event.seq, hash: stored.hash };
        done.hashes.push(stored.hash);
        let (key, value) = (keyspace::event(org, event.seq), Bytes::from(stored.bytes));
        done.writes.push(Write::Put { key, value });
        if let Some((of, _)) = profile_of(&event.event) {
            let key = keyspace::profile(org, of, event.seq);
            done.writes.push(Write::Put { key, value: Bytes::new() });
        }
        let (prefix, value) = (keyspace::feed_prefix(), feed_value(org, event.seq));
        done.writes.push(Write::Append { prefix, value });
    }
    // Behind the feed's appends, whose numbers are the events' own.
    let (prefix, value) = (keyspace::commit_prefix(org, head.seq.saturating_add(1)), Bytes::new());
    done.writes.push(Write::Append { prefix, value });
    for key in [keyspace::head(org), keyspace::feed_moved()] {
        done.writes.push(Write::Put { key, value: head_value(done.head) });
    }
    Ok(done)
}

/// A stored event that was read.
pub(crate) struct Opened {
    /// The event.
    pub(crate) record: Record,
    /// The hash that the event before it must have.
    pub(crate) prev_hash: record::Hash,
    /// Its own hash.
    pub(crate) hash: record::Hash,
}

/// Reads a stored event, which must be readable: this version or an older one wrote it.
pub(crate) fn open(logged: &Logged, position: Position) -> Result<Opened, StoreError> {
    let broken = |why: String| StoreError::event(logged.org, logged.seq, why);
    let received =
        record::decode(&logged.body, position).map_err(|error| broken(error.to_string()))?;
    if (received.org, received.seq) != (logged.org, logged.seq) {
        return Err(broken(format!(
            "it says that it is event {} of {}",
            received.seq, received.org
        )));
    }
    let (prev_hash, hash) = (received.prev_hash, received.hash);
    let record = received.record.map_err(|error| broken(error.to_string()))?;
    Ok(Opened { record, prev_hash, hash })
}

fn head_value(head: StoredHead) -> Bytes {
    let mut value = BytesMut::with_capacity(40);
    value.put_u64(head.seq);
    value.put_slice(&head.hash);
    value.freeze()
}

fn read_head(value: &[u8]) -> Result<StoredHead, StoreError> {
    let wrong = || StoreError::row("head", "expected 40 bytes");
    let (seq, hash) = value.split_first_chunk::<8>().ok_or_else(wrong)?;
    Ok(StoredHead { seq: u64::from_be_bytes(*seq), hash: hash.try_into().map_err(|_| wrong())? })
}

fn feed_value(org: OrgId, seq: u64) -> Bytes {
    let mut value = BytesMut::with_capacity(24);
    value.put_slice(&org.bytes());
    value.put_u64(seq);
    value.freeze()
}

fn read_feed_value(value: &[u8]) -> Result<(OrgId, u64), StoreError> {
    let wrong = || StoreError::row("feed", "expected 24 bytes");
    let (org, seq) = value.split_first_chunk::<16>().ok_or_else(wrong)?;
    let seq = seq.try_into().map_err(|_| wrong())?;
    Ok((OrgId::from_bytes(*org), u64::from_be_bytes(seq)))
}
