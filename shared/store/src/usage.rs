//! Reading what was booked: totals by hour, key and model, places.

use std::collections::BTreeMap;

use turnpike_domain::id::{EphemeralId, EpochId, GatewayId, KeyId, OrgId};
use turnpike_domain::time::Timestamp;

use crate::error::StoreError;
use crate::keyspace;
use crate::kv::{Entry, Scan, Snapshot};
use crate::paging;
use crate::rows::{Place, Total};

/// Rows read at once.
const PAGE: usize = 1_000;
/// The most rows that one question may walk: the answer would be too large to use.
const MAX_ROWS: usize = 200_000;

/// What one key used of one model in one hour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HourTotal {
    /// The hour's first moment.
    pub hour: Timestamp,
    /// The key.
    pub key: KeyId,
    /// The model.
    pub model: String,
    /// What was used.
    pub total: Total,
}

/// How far one epoch of a gateway is booked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochPlace {
    /// The gateway.
    pub gateway: GatewayId,
    /// Its run.
    pub epoch: EpochId,
    /// Up to where.
    pub place: Place,
}

/// The totals of an organisation with `from` ≤ hour < `until`, by hour, key and model.
///
/// # Errors
/// [`StoreError`] if they cannot be read.
pub async fn hours(
    snapshot: &dyn Snapshot,
    org: OrgId,
    from: Timestamp,
    until: Timestamp,
) -> Result<Vec<HourTotal>, StoreError> {
    let entries = walk(snapshot, keyspace::totals(org, from, until, PAGE)).await?;
    let read = |(key, value): &Entry| {
        let (hour, id, model) =
            keyspace::read_total(key).ok_or_else(|| StoreError::row("total", "a key's shape"))?;
        Ok(HourTotal { hour, key: id, model: model.into(), total: Total::read(value)? })
    };
    entries.iter().map(read).collect()
}

/// The totals of all time of every key that was ever used.
///
/// # Errors
/// [`StoreError`] if they cannot be read.
pub async fn keys(snapshot: &dyn Snapshot, org: OrgId) -> Result<Vec<(KeyId, Total)>, StoreError> {
    let entries = walk(snapshot, keyspace::key_totals(org, PAGE)).await?;
    let read = |(key, value): &Entry| {
        let id = keyspace::read_key_total(key)
            .ok_or_else(|| StoreError::row("key total", "a key's shape"))?;
        Ok((id, Total::read(value)?))
    };
    entries.iter().map(read).collect()
}

/// The totals of all time of one key.
///
/// # Errors
/// [`StoreError`] if they cannot be read.
pub async fn key(snapshot: &dyn Snapshot, org: OrgId, key: KeyId) -> Result<Total, StoreError> {
    let value = snapshot.get(&keyspace::key_total(org, key)).await?;
    value.map_or_else(|| Ok(Total::default()), |value| Total::read(&value))
}

/// The totals of one ephemeral token.
///
/// # Errors
/// [`StoreError`] if they cannot be read.
pub async fn token(
    snapshot: &dyn Snapshot,
    org: OrgId,
    token: EphemeralId,
) -> Result<Total, StoreError> {
    let value = snapshot.get(&keyspace::token_total(org, token)).await?;
    value.map_or_else(|| Ok(Total::default()), |value| Total::read(&value))
}

/// How far every epoch is booked that ever spent in this organisation.
///
/// # Errors
/// [`StoreError`] if they cannot be read.
pub async fn places(snapshot: &dyn Snapshot, org: OrgId) -> Result<Vec<EpochPlace>, StoreError> {
    let entries = walk(snapshot, keyspace::places(org, PAGE)).await?;
    let read = |(key, value): &Entry| {
        let (gateway, epoch) =
            keyspace::read_place(key).ok_or_else(|| StoreError::row("place", "a key's shape"))?;
        Ok(EpochPlace { gateway, epoch, place: Place::read(value)? })
    };
    entries.iter().map(read).collect()
}

/// How many records of each gateway were put aside because nobody can read them.
///
/// # Errors
/// [`StoreError`] if they cannot be read.
pub async fn put_aside(
    snapshot: &dyn Snapshot,
    org: OrgId,
) -> Result<BTreeMap<GatewayId, usize>, StoreError> {
    let mut counts = BTreeMap::new();
    for (key, _) in walk(snapshot, keyspace::all_asides(org, PAGE)).await? {
        let gateway = keyspace::read_aside(&key);
        let gateway = gateway.ok_or_else(|| StoreError::row("aside", "a key's shape"))?;
        *counts.entry(gateway).or_default() += 1;
    }
    Ok(counts)
}

async fn walk(snapshot: &dyn Snapshot, first: Scan) -> Result<Vec<Entry>, StoreError> {
    let mut all = Vec::new();
    let mut scan = first;
    loop {
        let entries = snapshot.scan(scan.clone()).await?;
        let full = entries.len() == scan.limit;
        let next = entries.last().map(|(key, _)| paging::beyond(&scan, key));
        all.extend(entries);
        match next {
            Some(next) if full && all.len() < MAX_ROWS => scan = next,
            Some(_) | None => return Ok(all),
        }
    }
}
