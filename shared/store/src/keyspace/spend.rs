//! Keys of what is booked: places, totals, the request log, and what could not be read.

use bytes::{BufMut, Bytes};
use turnpike_domain::id::{EphemeralId, EpochId, GatewayId, KeyId, OrgId, RequestId};
use turnpike_domain::time::Timestamp;

use super::{Table, table, whole};
use crate::kv::Scan;

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

/// The totals of one ephemeral token.
#[must_use]
pub(crate) fn token_total(org: OrgId, token: EphemeralId) -> Bytes {
    let mut key = table(org, Table::TokenTotal);
    key.put_slice(&token.bytes());
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

/// Says that a request of the log is one of a key's.
#[must_use]
pub(crate) fn request_of_key(org: OrgId, key_id: KeyId, request: RequestId) -> Bytes {
    let mut key = table(org, Table::RequestOfKey);
    key.put_slice(&key_id.bytes());
    key.put_slice(&request.bytes());
    key.freeze()
}

/// The requests of a key, newest first, before `before` (all, if `None`).
#[must_use]
pub(crate) fn requests_of_key(
    org: OrgId,
    key_id: KeyId,
    before: Option<RequestId>,
    limit: usize,
) -> Scan {
    let begin = request_of_key(org, key_id, RequestId(0));
    let end = request_of_key(org, key_id, before.unwrap_or(RequestId(u128::MAX)));
    Scan { begin, end, limit, reverse: true }
}

/// Reads the request from a row of a key's requests.
pub(crate) fn read_request_of_key(key: &[u8]) -> Option<RequestId> {
    Some(RequestId::from_bytes(key.get(34..)?.try_into().ok()?))
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

/// What was put aside of one epoch.
#[must_use]
pub(crate) fn asides(org: OrgId, gateway: GatewayId, epoch: EpochId, limit: usize) -> Scan {
    let (begin, end) = (aside(org, gateway, epoch, 0), aside(org, gateway, epoch, u64::MAX));
    Scan { begin, end, limit, reverse: false }
}

/// The records of an organisation that were put aside.
#[must_use]
pub(crate) fn all_asides(org: OrgId, limit: usize) -> Scan {
    whole(org, Table::Aside, limit)
}

/// Reads the gateway from the key of a record that was put aside.
pub(crate) fn read_aside(key: &[u8]) -> Option<GatewayId> {
    let (gateway, _) = key.get(18..)?.split_first_chunk()?;
    Some(GatewayId::from_bytes(*gateway))
}
