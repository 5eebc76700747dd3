//! The layout of all database keys, which no other file knows.
//!
//! A key is the letter `o`, the organisation's sixteen bytes, one letter for the table, and the
//! rest of the table's key in an order-preserving form (numbers big endian). Three tables stand
//! outside of organisations, under letters of their own: the commit-order feed, which only the
//! relay reads, the few rows about the store itself, and whose each legacy secret is, which is
//! read by digest alone.

mod ledger;
mod spend;
mod store;
#[cfg(feature = "mutations")]
mod watched;

use bytes::{BufMut, Bytes, BytesMut};
use turnpike_domain::id::{CommandId, KeyId, OrgId};

pub(crate) use self::ledger::{
    account, all_leases, cap, due, dues, followed, lease, leases, put_account, read_account,
    read_due, read_holder, read_lease, release, run,
};
pub(crate) use self::spend::{
    all_asides, aside, asides, key_total, key_totals, place, places, read_aside, read_key_total,
    read_place, read_request_of_key, read_total, request, request_of_key, requests,
    requests_of_key, token_total, total, totals,
};
pub(crate) use self::store::{
    all_listed, feed_after, feed_last, feed_moved, feed_prefix, fence, follower, incarnation,
    legacy, listed, position, read_feed, read_listed, renewal, replica, replicas, turn,
};

#[cfg(feature = "mutations")]
pub(crate) use self::watched::{LedgerKey, read_ledger};
use crate::kv::{Scan, Stamp};

/// Stands before the organisation's bytes.
const ORG: u8 = b'o';

/// A table of one organisation.
#[derive(Clone, Copy)]
#[repr(u8)]
enum Table {
    Head = b'h',
    Event = b'e',
    Commit = b'i',
    Command = b'c',
    Snapshot = b's',
    Account = b'a',
    Lease = b'l',
    Cap = b'k',
    Due = b'd',
    Place = b'p',
    Run = b'g',
    Followed = b'z',
    Release = b'w',
    Total = b't',
    KeyTotal = b'u',
    TokenTotal = b'v',
    Request = b'r',
    RequestOfKey = b'q',
    Profile = b'y',
    Aside = b'x',
}

/// Where the head of an organisation's stream stands: what a command's commit is conditioned on.
#[must_use]
pub(crate) fn head(org: OrgId) -> Bytes {
    table(org, Table::Head).freeze()
}

/// One event.
#[must_use]
pub(crate) fn event(org: OrgId, seq: u64) -> Bytes {
    let mut key = table(org, Table::Event);
    key.put_u64(seq);
    key.freeze()
}

/// The events from `first` to `last`, both included.
#[must_use]
pub(crate) fn events(org: OrgId, first: u64, last: u64, limit: usize) -> Scan {
    let end = last
        .checked_add(1)
        .map_or_else(|| after(table(org, Table::Event)), |next| event(org, next));
    Scan { begin: event(org, first), end, limit, reverse: false }
}

/// What stands before the stamp of the commit whose first event is `seq`.
#[must_use]
pub(crate) fn commit_prefix(org: OrgId, seq: u64) -> Bytes {
    let mut key = table(org, Table::Commit);
    key.put_u64(seq);
    key.freeze()
}

/// The last commit whose first event is at most `seq`.
#[must_use]
pub(crate) fn commit_of(org: OrgId, seq: u64) -> Scan {
    let scan = whole(org, Table::Commit, 1);
    let end = seq.checked_add(1).map_or(scan.end, |next| commit_prefix(org, next));
    Scan { begin: scan.begin, end, limit: 1, reverse: true }
}

/// The commits whose first events are behind `after` and at most `last`.
#[must_use]
pub(crate) fn commits(org: OrgId, after: u64, last: u64, limit: usize) -> Scan {
    let begin = commit_prefix(org, after.saturating_add(1));
    Scan { begin, end: commit_of(org, last).end, limit, reverse: false }
}

/// Reads the seq of a commit's first event, and its stamp, from its row's key.
pub(crate) fn read_commit(key: &[u8]) -> Option<(u64, Stamp)> {
    let (seq, rest) = key.get(18..)?.split_first_chunk::<8>()?;
    let (stamp, _) = rest.split_first_chunk::<10>()?;
    Some((u64::from_be_bytes(*seq), Stamp(*stamp)))
}

/// The event of a key that says all its properties: one after another.
#[must_use]
pub(crate) fn profile(org: OrgId, key_id: KeyId, seq: u64) -> Bytes {
    let mut key = table(org, Table::Profile);
    key.put_slice(&key_id.bytes());
    key.put_u64(seq);
    key.freeze()
}

/// The last such event of a key up to `seq`.
#[must_use]
pub(crate) fn profile_at(org: OrgId, key_id: KeyId, seq: u64) -> Scan {
    let end = profile(org, key_id, seq.saturating_add(1));
    Scan { begin: profile(org, key_id, 0), end, limit: 1, reverse: true }
}

/// Reads the seq of the event from the key of a profile's row.
pub(crate) fn read_profile(key: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(key.get(34..)?.try_into().ok()?))
}

/// What a command did.
#[must_use]
pub(crate) fn command(org: OrgId, id: CommandId) -> Bytes {
    let mut key = table(org, Table::Command);
    key.put_slice(&id.bytes());
    key.freeze()
}

/// All commands of an organisation.
#[must_use]
pub(crate) fn commands(org: OrgId, limit: usize) -> Scan {
    whole(org, Table::Command, limit)
}

/// One chunk of the snapshot at `seq`. Chunk 0 is written last and makes the others count.
#[must_use]
pub(crate) fn snapshot_chunk(org: OrgId, seq: u64, chunk: u32) -> Bytes {
    let mut key = table(org, Table::Snapshot);
    key.put_u64(seq);
    key.put_u32(chunk);
    key.freeze()
}

/// All chunks of all snapshots of an organisation, the newest first.
#[must_use]
pub(crate) fn snapshots(org: OrgId, limit: usize) -> Scan {
    let mut scan = whole(org, Table::Snapshot, limit);
    scan.reverse = true;
    scan
}

/// Reads seq and chunk number from a snapshot chunk's key.
pub(crate) fn read_snapshot_chunk(key: &[u8]) -> Option<(u64, u32)> {
    let rest = key.get(18..)?;
    let seq = u64::from_be_bytes(rest.get(..8)?.try_into().ok()?);
    let chunk = u32::from_be_bytes(rest.get(8..)?.try_into().ok()?);
    Some((seq, chunk))
}

fn table(org: OrgId, table: Table) -> BytesMut {
    let mut key = BytesMut::with_capacity(64);
    key.put_u8(ORG);
    key.put_slice(&org.bytes());
    key.put_u8(table as u8);
    key
}

fn whole(org: OrgId, of: Table, limit: usize) -> Scan {
    Scan { begin: table(org, of).freeze(), end: after(table(org, of)), limit, reverse: false }
}

/// The first key behind all keys that begin with `prefix`; its last byte is never 0xff here.
fn after(mut prefix: BytesMut) -> Bytes {
    if let Some(last) = prefix.last_mut() {
        *last = last.saturating_add(1);
    }
    prefix.freeze()
}
