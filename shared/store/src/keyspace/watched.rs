//! What a key of the ledger names, for tests that watch a store from below.

use turnpike_domain::id::{GatewayId, LeaseId, OrgId};
use turnpike_domain::ledger::Due;
use turnpike_domain::limit::{Account, Unit};
use turnpike_domain::time::Window;

use super::ledger::{BEGIN, read_account, read_due, read_lease, read_unit};
use super::{ORG, Table};

/// A key of the ledger without its organisation.
pub(crate) enum LedgerKey {
    Account((Account, Unit, Window)),
    Cap((Account, Unit)),
    Lease((GatewayId, LeaseId, Unit)),
    Due(Due),
}

/// Reads a key of the ledger; `None` if it is of another table.
pub(crate) fn read_ledger(key: &[u8]) -> Option<(OrgId, LedgerKey)> {
    let (table, rest) = key.split_at_checked(BEGIN)?;
    let [letter, org @ .., table] = table else { return None };
    let org = OrgId::from_bytes(org.try_into().ok().filter(|_| *letter == ORG)?);
    let is = |of: Table| *table == of as u8;
    let of = if is(Table::Lease) {
        let (lease, unit) = read_lease(key)?;
        LedgerKey::Lease((GatewayId::from_bytes(*rest.first_chunk()?), lease, unit))
    } else if is(Table::Due) {
        LedgerKey::Due(read_due(key)?)
    } else if is(Table::Account) {
        let (account, rest) = read_account(rest)?;
        let (unit, rest) = rest.split_first()?;
        let window = Window(u64::from_be_bytes(*rest.first_chunk()?));
        LedgerKey::Account((account, read_unit(*unit)?, window))
    } else if is(Table::Cap) {
        let (account, unit) = read_account(rest)?;
        LedgerKey::Cap((account, read_unit(*unit.first()?)?))
    } else {
        return None;
    };
    Some((org, of))
}
