//! Reading the ledger: what accounts have used, and which thresholds wait to be told.

#[cfg(feature = "mutations")]
pub mod kept;
pub(crate) mod rows;

use std::collections::BTreeMap;

use turnpike_domain::id::{GatewayId, OrgId};
use turnpike_domain::ledger::{self, BudgetFigures, Due, Level, Row};
use turnpike_domain::limit::{Account, Unit};
use turnpike_domain::state::Organisation;
use turnpike_domain::time::{Timestamp, Window};

use crate::error::StoreError;
use crate::keyspace;
use crate::kv::{Entry, Kv, Snapshot};
use crate::paging;

/// Due rows read at once.
const MAX_DUES: usize = 1_000;
/// Leases read at once.
const LEASES: usize = 1_000;
/// Pages of leases that are looked through for lost ones: a hundred thousand leases.
const MAX_LEASE_PAGES: usize = 100;

/// What a gateway holds that was not heard of any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LostHold {
    /// The gateway.
    pub gateway: GatewayId,
    /// The leaf of the path that it is held on.
    pub account: Account,
    /// In which unit.
    pub unit: Unit,
    /// How much, in the unit.
    pub amount: i64,
}

/// What an account has used of one unit in one window; zeros if nothing was ever booked there.
///
/// # Errors
/// [`StoreError`] if it cannot be read.
pub async fn row(
    snapshot: &dyn Snapshot,
    org: OrgId,
    account: Account,
    unit: Unit,
    window: Window,
) -> Result<Row, StoreError> {
    let value = snapshot.get(&keyspace::account(org, account, unit, window)).await?;
    value.map_or_else(|| Ok(Row::default()), |value| rows::read_account(&value))
}

/// What an account has used of one unit in its present window, and the cap that it has.
///
/// # Errors
/// [`StoreError`] if it cannot be read.
pub async fn figures(
    snapshot: &dyn Snapshot,
    organisation: &Organisation,
    account: Account,
    unit: Unit,
    now: Timestamp,
) -> Result<BudgetFigures, StoreError> {
    let reset = ledger::reset_of(organisation, account);
    let window = reset.window(now);
    let row = row(snapshot, organisation.id, account, unit, window).await?;
    let cap = organisation.caps.get(&(account, unit)).copied().unwrap_or_default();
    let figures = Level { account, window, cap, row }.figures();
    Ok(BudgetFigures { resets_at: reset.ends(window), ..figures })
}

/// What gateways hold that were not heard of any more, by gateway, leaf and unit. It counts against
/// every level above the leaf too.
///
/// # Errors
/// [`StoreError`] if it cannot be read.
pub async fn lost(snapshot: &dyn Snapshot, org: OrgId) -> Result<Vec<LostHold>, StoreError> {
    let mut sums: BTreeMap<(GatewayId, Account, Unit), i64> = BTreeMap::new();
    let mut scan = keyspace::all_leases(org, LEASES);
    for _ in 0..MAX_LEASE_PAGES {
        let entries = snapshot.scan(scan.clone()).await?;
        for (key, value) in &entries {
            let shape = || StoreError::row("lease", "a key's shape");
            let gateway = keyspace::read_holder(key).ok_or_else(shape)?;
            let (_, unit) = keyspace::read_lease(key).ok_or_else(shape)?;
            let row = rows::LeaseRow::read(value)?;
            let Some((leaf, _)) = row.path.first().filter(|_| row.lease.lost) else { continue };
            let sum = sums.entry((gateway, *leaf, unit)).or_default();
            *sum = sum.saturating_add(row.lease.hold());
        }
        match entries.last() {
            Some((last, _)) if entries.len() == LEASES => scan = paging::beyond(&scan, last),
            Some(_) | None => break,
        }
    }
    let held = sums.into_iter().filter(|(_, amount)| *amount > 0);
    Ok(held
        .map(|((gateway, account, unit), amount)| LostHold { gateway, account, unit, amount })
        .collect())
}

/// The thresholds of an organisation that were crossed and are not told yet, at most a thousand at
/// a time, behind `after`.
///
/// # Errors
/// [`StoreError`] if they cannot be read.
pub async fn dues(kv: &dyn Kv, org: OrgId, after: Option<&Due>) -> Result<Vec<Due>, StoreError> {
    let snapshot = kv.snapshot().await?;
    let all = keyspace::dues(org, MAX_DUES);
    let beyond = |due| paging::beyond(&all, &keyspace::due(org, due));
    let entries = snapshot.scan(after.map_or_else(|| all.clone(), beyond)).await?;
    let read = |(key, _): &Entry| {
        keyspace::read_due(key).ok_or_else(|| StoreError::row("due", "a key's shape"))
    };
    entries.iter().map(read).collect()
}

/// The id of the command that tells a threshold, and what is settled of it; `None`: it is told.
pub(crate) async fn due(
    snapshot: &dyn Snapshot,
    org: OrgId,
    due: &Due,
) -> Result<Option<(u128, i64)>, StoreError> {
    let Some(value) = snapshot.get(&keyspace::due(org, due)).await? else { return Ok(None) };
    let row = row(snapshot, org, due.account, due.unit, due.window).await?;
    Ok(Some((rows::read_number(&value)?, row.settled)))
}
