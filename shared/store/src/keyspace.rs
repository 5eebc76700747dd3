//! The layout of all database keys, which no other file knows.
//!
//! A key is the organisation's sixteen bytes, one letter for the table, and the rest of the table's
//! key in an order-preserving form (numbers big endian). Two tables stand outside organisations:
//! the commit-order feed, which only the relay reads, and the few rows about the store itself.
//! Organisation ids are UUIDv7 or zero, so the first byte tells the three apart.

use bytes::{BufMut, Bytes, BytesMut};
use turnpike_domain::id::{
    CommandId, EpochId, GatewayId, KeyId, LeaseId, OrgId, Position, RequestId,
};
use turnpike_domain::limit::{Account, Unit};
use turnpike_domain::time::{Timestamp, Window};

use crate::kv::{APPEND_SUFFIX_BYTES, Scan, Stamp};

const FEED: u8 = b'f';
const STORE: u8 = b's';
/// Stands before the organisation's bytes.
const ORG: u8 = b'o';

/// A table of one organisation.
#[derive(Clone, Copy)]
#[repr(u8)]
enum Table {
    Head = b'h',
    Event = b'e',
    Command = b'c',
    Snapshot = b's',
    Account = b'a',
    Lease = b'l',
    Cap = b'k',
    Due = b'd',
    Place = b'p',
    Heard = b'g',
    Total = b't',
    KeyTotal = b'u',
    Request = b'r',
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

/// The row of an account in one window.
#[must_use]
pub(crate) fn account(org: OrgId, account: Account, unit: Unit, window: Window) -> Bytes {
    let mut key = table(org, Table::Account);
    put_account(&mut key, account, unit);
    key.put_u64(window.0);
    key.freeze()
}

/// The cap of an account and its revision.
#[must_use]
pub(crate) fn cap(org: OrgId, account: Account, unit: Unit) -> Bytes {
    let mut key = table(org, Table::Cap);
    put_account(&mut key, account, unit);
    key.freeze()
}

/// The duty to close a budget or to raise an alert.
#[must_use]
pub(crate) fn due(
    org: OrgId,
    account: Account,
    unit: Unit,
    window: Window,
    revision: u64,
    percent: u8,
) -> Bytes {
    let mut key = table(org, Table::Due);
    put_account(&mut key, account, unit);
    key.put_u64(window.0);
    key.put_u64(revision);
    key.put_u8(percent);
    key.freeze()
}

/// All duties of an organisation.
#[must_use]
pub(crate) fn dues(org: OrgId, limit: usize) -> Scan {
    whole(org, Table::Due, limit)
}

/// Up to where the spend of one epoch is booked.
#[must_use]
pub(crate) fn place(org: OrgId, gateway: GatewayId, epoch: EpochId) -> Bytes {
    let mut key = table(org, Table::Place);
    key.put_slice(&gateway.bytes());
    key.put_slice(&epoch.bytes());
    key.freeze()
}

/// All places of an organisation.
#[must_use]
pub(crate) fn places(org: OrgId, limit: usize) -> Scan {
    whole(org, Table::Place, limit)
}

/// Reads gateway and epoch from a place's key.
pub(crate) fn read_place(key: &[u8]) -> Option<(GatewayId, EpochId)> {
    let rest = key.get(18..)?;
    let gateway = GatewayId::from_bytes(rest.get(..16)?.try_into().ok()?);
    let epoch = EpochId::from_bytes(rest.get(16..)?.try_into().ok()?);
    Some((gateway, epoch))
}

/// The totals of one key and model in one hour.
#[must_use]
pub(crate) fn total(org: OrgId, hour: Timestamp, key_id: KeyId, model: &str) -> Bytes {
    let mut key = table(org, Table::Total);
    key.put_u64(hour.0);
    key.put_slice(&key_id.bytes());
    key.put_slice(model.as_bytes());
    key.freeze()
}

/// The totals of an organisation with `from` ≤ hour < `until`.
#[must_use]
pub(crate) fn totals(org: OrgId, from: Timestamp, until: Timestamp, limit: usize) -> Scan {
    let edge = |hour: Timestamp| {
        let mut key = table(org, Table::Total);
        key.put_u64(hour.0);
        key.freeze()
    };
    Scan { begin: edge(from), end: edge(until), limit, reverse: false }
}

/// Reads hour, key and model from a total's key.
pub(crate) fn read_total(key: &[u8]) -> Option<(Timestamp, KeyId, &str)> {
    let rest = key.get(18..)?;
    let hour = u64::from_be_bytes(rest.get(..8)?.try_into().ok()?);
    let key_id = KeyId::from_bytes(rest.get(8..24)?.try_into().ok()?);
    let model = std::str::from_utf8(rest.get(24..)?).ok()?;
    Some((Timestamp(hour), key_id, model))
}

/// The totals of one key of all time.
#[must_use]
pub(crate) fn key_total(org: OrgId, key_id: KeyId) -> Bytes {
    let mut key = table(org, Table::KeyTotal);
    key.put_slice(&key_id.bytes());
    key.freeze()
}

/// The totals of all keys of an organisation.
#[must_use]
pub(crate) fn key_totals(org: OrgId, limit: usize) -> Scan {
    whole(org, Table::KeyTotal, limit)
}

/// Reads the key's id from a key total's key.
pub(crate) fn read_key_total(key: &[u8]) -> Option<KeyId> {
    Some(KeyId::from_bytes(key.get(18..)?.try_into().ok()?))
}

/// A record of the request log. Request ids are UUIDv7, so they sort by time.
#[must_use]
pub(crate) fn request(org: OrgId, request: RequestId) -> Bytes {
    let mut key = table(org, Table::Request);
    key.put_slice(&request.bytes());
    key.freeze()
}

/// The request log, newest first, of requests before `before` (all, if `None`).
#[must_use]
pub(crate) fn requests(org: OrgId, before: Option<RequestId>, limit: usize) -> Scan {
    let mut scan = whole(org, Table::Request, limit);
    if let Some(before) = before {
        scan.end = request(org, before);
    }
    scan.reverse = true;
    scan
}

/// A spend message that could not be read, put aside.
#[must_use]
pub(crate) fn aside(org: OrgId, gateway: GatewayId, epoch: EpochId, number: u64) -> Bytes {
    let mut key = table(org, Table::Aside);
    key.put_slice(&gateway.bytes());
    key.put_slice(&epoch.bytes());
    key.put_u64(number);
    key.freeze()
}

/// The word of a gateway on one lease.
#[must_use]
pub(crate) fn lease(org: OrgId, gateway: GatewayId, lease: LeaseId) -> Bytes {
    let mut key = table(org, Table::Lease);
    key.put_slice(&gateway.bytes());
    key.put_slice(&lease.bytes());
    key.freeze()
}

/// When a gateway was last heard of by the projector, and up to which time it has reported.
#[must_use]
pub(crate) fn heard(org: OrgId, gateway: GatewayId) -> Bytes {
    let mut key = table(org, Table::Heard);
    key.put_slice(&gateway.bytes());
    key.freeze()
}

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

/// The next page of a forward scan whose last entry had `last` as its key.
#[must_use]
pub(crate) fn behind(scan: &Scan, last: &Bytes) -> Scan {
    let mut begin = BytesMut::from(&last[..]);
    begin.put_u8(0);
    Scan { begin: begin.freeze(), ..scan.clone() }
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

fn feed_end() -> Bytes {
    Bytes::from_static(&[FEED + 1])
}

fn store_row(name: &[u8]) -> Bytes {
    let mut key = BytesMut::with_capacity(1 + name.len());
    key.put_u8(STORE);
    key.put_slice(name);
    key.freeze()
}

fn put_account(key: &mut BytesMut, account: Account, unit: Unit) {
    let (letter, id) = match account {
        Account::Wallet => (b'w', [0; 16]),
        Account::Project(project) => (b'p', project.bytes()),
        Account::Key(key_id) => (b'k', key_id.bytes()),
        Account::Ephemeral(token) => (b'e', token.bytes()),
    };
    key.put_u8(letter);
    key.put_slice(&id);
    key.put_u8(match unit {
        Unit::Usd => b'u',
        Unit::Tokens => b't',
    });
}
