//! Reading what was booked: totals by hour, key and model, places.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use turnpike_domain::id::{EphemeralId, EpochId, GatewayId, KeyId, OrgId};
use turnpike_domain::time::Timestamp;

use crate::error::StoreError;
use crate::keyspace;
use crate::kv::{Entry, Kv, ReadError, Scan, Snapshot};
use crate::paging;
use crate::rows::{Place, Total};

/// Rows read at once.
const PAGE: usize = 1_000;

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

/// Gives `each` of the totals of an organisation with `from` ≤ hour < `until`, by hour, key and
/// model, until it says to stop. There may be more of them than fit into memory, and reading them
/// may take longer than one moment of the store lasts: then the rest is read at a later one.
///
/// # Errors
/// [`StoreError`] if they cannot be read.
pub async fn each_hour(
    kv: &dyn Kv,
    org: OrgId,
    from: Timestamp,
    until: Timestamp,
    mut each: impl FnMut(HourTotal) -> ControlFlow<()>,
) -> Result<(), StoreError> {
    let mut snapshot = kv.snapshot().await?;
    let mut next = Some(keyspace::totals(org, from, until, PAGE));
    while let Some(scan) = next {
        let entries = match snapshot.scan(scan.clone()).await {
            Err(ReadError::TooOld) => {
                snapshot = kv.snapshot().await?;
                next = Some(scan);
                continue;
            }
            read => read?,
        };
        for entry in &entries {
            if each(hour(entry)?).is_break() {
                return Ok(());
            }
        }
        next = following(&scan, &entries);
    }
    Ok(())
}

/// All of them, where they are known to be few.
///
/// # Errors
/// [`StoreError`] if they cannot be read.
pub async fn hours(
    snapshot: &dyn Snapshot,
    org: OrgId,
    from: Timestamp,
    until: Timestamp,
) -> Result<Vec<HourTotal>, StoreError> {
    walk(snapshot, keyspace::totals(org, from, until, PAGE)).await?.iter().map(hour).collect()
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

fn hour((key, value): &Entry) -> Result<HourTotal, StoreError> {
    let (hour, id, model) =
        keyspace::read_total(key).ok_or_else(|| StoreError::row("total", "a key's shape"))?;
    Ok(HourTotal { hour, key: id, model: model.into(), total: Total::read(value)? })
}

async fn walk(snapshot: &dyn Snapshot, first: Scan) -> Result<Vec<Entry>, StoreError> {
    let (mut all, mut next) = (Vec::new(), Some(first));
    while let Some(scan) = next {
        let entries = snapshot.scan(scan.clone()).await?;
        next = following(&scan, &entries);
        all.extend(entries);
    }
    Ok(all)
}

/// The scan behind a page, if the page was full.
fn following(scan: &Scan, page: &[Entry]) -> Option<Scan> {
    let last = page.last().filter(|_| page.len() == scan.limit);
    last.map(|(key, _)| paging::beyond(scan, key))
}
