//! Reading the ledger: what accounts have used, and which thresholds wait to be told.

pub(crate) mod rows;

use turnpike_domain::id::OrgId;
use turnpike_domain::ledger::{self, BudgetFigures, Due, Level, Row};
use turnpike_domain::limit::{Account, Unit};
use turnpike_domain::state::Organisation;
use turnpike_domain::time::{Timestamp, Window};

use crate::error::StoreError;
use crate::keyspace;
use crate::kv::{Entry, Kv, Snapshot};

/// Due rows read at once; what is told is deleted, so the next reading finds the rest.
const MAX_DUES: usize = 1_000;

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

/// The thresholds of an organisation that were crossed and are not told yet, at most a thousand at
/// a time.
///
/// # Errors
/// [`StoreError`] if they cannot be read.
pub async fn dues(kv: &dyn Kv, org: OrgId) -> Result<Vec<Due>, StoreError> {
    let snapshot = kv.snapshot().await?;
    let entries = snapshot.scan(keyspace::dues(org, MAX_DUES)).await?;
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
