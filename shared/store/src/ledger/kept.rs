//! What single writes say about the ledger, for tests that watch a store from below.
//!
//! Behind the feature `mutations`, which only test crates enable.

use turnpike_domain::id::{EpochId, GatewayId, LeaseId, OrgId};
use turnpike_domain::ledger::{Due, Lease, Row};
use turnpike_domain::limit::{Account, Unit};
use turnpike_domain::time::Window;

use super::rows::{self, LeaseRow};
use crate::error::StoreError;
use crate::keyspace::{self, LedgerKey};
use crate::kv::Write;

/// What one write keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kept {
    /// What an account has used in one window.
    Account((Account, Unit, Window), Row),
    /// The most that an account may use.
    Cap((Account, Unit), Option<i64>),
    /// What a gateway holds; `None`: it is forgotten.
    Lease((GatewayId, LeaseId, Unit), Option<Held>),
    /// A threshold that has to be told, or, if false, was told by this commit.
    Due(Due, bool),
}

/// A lease as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Its sums.
    pub lease: Lease,
    /// The run of the gateway that holds it.
    pub run: EpochId,
    /// What it was granted on.
    pub path: Box<[(Account, Window)]>,
}

/// Reads a write; `None` if it is not the ledger's.
///
/// # Errors
/// [`StoreError`] if a row cannot be read.
pub fn kept(write: &Write) -> Result<Option<(OrgId, Kept)>, StoreError> {
    let (key, value) = match write {
        Write::Put { key, value } => (key, Some(value)),
        Write::Delete { key } => (key, None),
        Write::Append { .. } => return Ok(None),
    };
    let Some((org, of)) = keyspace::read_ledger(key) else { return Ok(None) };
    let kept = match (of, value) {
        (LedgerKey::Account(on), Some(row)) => Kept::Account(on, rows::read_account(row)?),
        (LedgerKey::Cap(on), Some(row)) => Kept::Cap(on, rows::read_cap(row)?),
        (LedgerKey::Lease(on), row) => {
            Kept::Lease(on, row.map(|row| LeaseRow::read(row).map(Held::of)).transpose()?)
        }
        (LedgerKey::Due(due), row) => Kept::Due(due, row.is_some()),
        (LedgerKey::Account(_) | LedgerKey::Cap(_), None) => return Ok(None),
    };
    Ok(Some((org, kept)))
}

impl Held {
    fn of(row: LeaseRow) -> Self {
        Self { lease: row.lease, run: row.run, path: row.path.iter().copied().collect() }
    }
}
