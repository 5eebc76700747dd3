//! Keys outside of organisations: the feed of all commits, and the rows about the store itself.

use bytes::{BufMut, Bytes, BytesMut};
use turnpike_domain::id::{OrgId, Position};
use turnpike_domain::secret::Digest;

use crate::kv::{APPEND_SUFFIX_BYTES, Scan, Stamp};

const FEED: u8 = b'f';
const STORE: u8 = b's';
const LEGACY: u8 = b'l';

/// What stands before the stamps of the commit-order feed.
#[must_use]
pub(crate) fn feed_prefix() -> Bytes {
    Bytes::from_static(&[FEED])
}

/// The feed behind `position`.
#[must_use]
pub(crate) fn feed_after(position: Position, limit: usize) -> Scan {
    let suffix = position.0.saturating_add(1).to_be_bytes();
    let mut begin = BytesMut::with_capacity(1 + APPEND_SUFFIX_BYTES);
    begin.put_u8(FEED);
    begin.put_slice(&suffix[16 - APPEND_SUFFIX_BYTES..]);
    Scan { begin: begin.freeze(), end: feed_end(), limit, reverse: false }
}

/// The last entry of the feed.
#[must_use]
pub(crate) fn feed_last() -> Scan {
    Scan { begin: feed_prefix(), end: feed_end(), limit: 1, reverse: true }
}

/// Reads the position from a feed entry's key.
pub(crate) fn read_feed(key: &[u8]) -> Option<Position> {
    let suffix: [u8; APPEND_SUFFIX_BYTES] = key.get(1..)?.try_into().ok()?;
    let mut wide = [0_u8; 16];
    wide[16 - APPEND_SUFFIX_BYTES..].copy_from_slice(&suffix);
    Some(Position(u128::from_be_bytes(wide)))
}

/// The position of the event that was appended `index`-th in the commit at `stamp`.
#[must_use]
pub(crate) fn position(stamp: Stamp, index: u16) -> Position {
    let mut wide = [0_u8; 16];
    wide[4..14].copy_from_slice(&stamp.0);
    wide[14..].copy_from_slice(&index.to_be_bytes());
    Position(u128::from_be_bytes(wide))
}

/// Whose legacy secret has this digest: no two keys of all organisations have the same one.
#[must_use]
pub(crate) fn legacy(digest: &Digest) -> Bytes {
    [&[LEGACY], digest.0.as_slice()].concat().into()
}

/// A row that every append to the feed also writes: what the relay watches.
#[must_use]
pub(crate) fn feed_moved() -> Bytes {
    store_row(b"moved")
}

/// The incarnation of the store.
#[must_use]
pub(crate) fn incarnation() -> Bytes {
    store_row(b"incarnation")
}

/// The fence of a leadership: guarded by the leader's commits, written only by a change of leader.
#[must_use]
pub(crate) fn fence(role: &str) -> Bytes {
    store_row(&[b"fence/", role.as_bytes()].concat())
}

/// The last renewal of a leadership.
#[must_use]
pub(crate) fn renewal(role: &str) -> Bytes {
    store_row(&[b"renewal/", role.as_bytes()].concat())
}

/// Written by every booking of a shard: what lets none of them land late.
#[must_use]
pub(crate) fn turn(shard: u8) -> Bytes {
    store_row(&[b"turn/".as_slice(), &[shard]].concat())
}

/// Where a follower of the feed stands.
#[must_use]
pub(crate) fn follower(name: &str) -> Bytes {
    store_row(&[b"follower/", name.as_bytes()].concat())
}

/// The sign of life of one process of a kind.
#[must_use]
pub(crate) fn replica(kind: &str, id: u128) -> Bytes {
    store_row(&[b"replica/", kind.as_bytes(), b"/", &id.to_be_bytes()].concat())
}

/// The signs of life of all processes of a kind.
#[must_use]
pub(crate) fn replicas(kind: &str, limit: usize) -> Scan {
    let begin = store_row(&[b"replica/", kind.as_bytes(), b"/"].concat());
    let end = store_row(&[b"replica/", kind.as_bytes(), b"0"].concat());
    Scan { begin, end, limit, reverse: false }
}

/// An entry of the list of organisations.
#[must_use]
pub(crate) fn listed(org: OrgId) -> Bytes {
    store_row(&[b"org/".as_slice(), &org.bytes()].concat())
}

/// The list of organisations.
#[must_use]
pub(crate) fn all_listed(limit: usize) -> Scan {
    Scan { begin: store_row(b"org/"), end: store_row(b"org0"), limit, reverse: false }
}

/// Reads the organisation from its entry in the list.
pub(crate) fn read_listed(key: &[u8]) -> Option<OrgId> {
    Some(OrgId::from_bytes(key.get(5..)?.try_into().ok()?))
}

fn feed_end() -> Bytes {
    Bytes::from_static(&[FEED + 1])
}

fn store_row(name: &[u8]) -> Bytes {
    let mut key = BytesMut::with_capacity(1 + name.len());
    key.put_u8(STORE);
    key.put_slice(name);
    key.freeze()
}
