//! Keys of caps, of what is held and settled against them, and of the duties that follow.

use bytes::{BufMut, Bytes, BytesMut};
use turnpike_domain::id::{EphemeralId, GatewayId, KeyId, LeaseId, OrgId, ProjectId};
use turnpike_domain::ledger::Due;
use turnpike_domain::limit::{Account, Unit};
use turnpike_domain::time::Window;

use super::{Table, table, whole};
use crate::kv::Scan;

/// Stands in a due row's key for a budget that is used up: behind every percentage, so that alerts
/// are told first.
const CLOSES: u8 = u8::MAX;
/// Bytes of an account: a letter and an id.
const ACCOUNT_BYTES: usize = 17;
/// Where the table's own part of a key begins.
pub(super) const BEGIN: usize = 18;

/// The row of an account in one window.
#[must_use]
pub(crate) fn account(org: OrgId, account: Account, unit: Unit, window: Window) -> Bytes {
    let mut key = table(org, Table::Account);
    put_account(&mut key, account);
    put_unit(&mut key, unit);
    key.put_u64(window.0);
    key.freeze()
}

/// The cap of an account and its revision.
#[must_use]
pub(crate) fn cap(org: OrgId, account: Account, unit: Unit) -> Bytes {
    let mut key = table(org, Table::Cap);
    put_account(&mut key, account);
    put_unit(&mut key, unit);
    key.freeze()
}

/// The duty to close a budget or to raise an alert.
#[must_use]
pub(crate) fn due(org: OrgId, due: &Due) -> Bytes {
    let mut key = table(org, Table::Due);
    put_account(&mut key, due.account);
    put_unit(&mut key, due.unit);
    key.put_u64(due.window.0);
    key.put_u64(due.revision);
    key.put_u8(due.percent.unwrap_or(CLOSES));
    key.freeze()
}

/// All duties of an organisation.
#[must_use]
pub(crate) fn dues(org: OrgId, limit: usize) -> Scan {
    whole(org, Table::Due, limit)
}

/// The leases of all gateways of an organisation.
#[must_use]
pub(crate) fn all_leases(org: OrgId, limit: usize) -> Scan {
    whole(org, Table::Lease, limit)
}

/// Reads the gateway from a lease's key.
pub(crate) fn read_holder(key: &[u8]) -> Option<GatewayId> {
    let (gateway, _) = key.get(BEGIN..)?.split_first_chunk()?;
    Some(GatewayId::from_bytes(*gateway))
}

/// Reads a duty from its key.
pub(crate) fn read_due(key: &[u8]) -> Option<Due> {
    let (account, rest) = read_account(key.get(BEGIN..)?)?;
    let (unit, rest) = rest.split_first()?;
    let (window, rest) = rest.split_first_chunk()?;
    let (revision, rest) = rest.split_first_chunk()?;
    let (percent, _) = rest.split_first()?;
    Some(Due {
        account,
        unit: read_unit(*unit)?,
        window: Window(u64::from_be_bytes(*window)),
        revision: u64::from_be_bytes(*revision),
        percent: (*percent != CLOSES).then_some(*percent),
    })
}

/// What one lease of a gateway holds in one unit.
#[must_use]
pub(crate) fn lease(org: OrgId, gateway: GatewayId, lease: LeaseId, unit: Unit) -> Bytes {
    let mut key = table(org, Table::Lease);
    key.put_slice(&gateway.bytes());
    key.put_slice(&lease.bytes());
    put_unit(&mut key, unit);
    key.freeze()
}

/// The leases of a gateway.
#[must_use]
pub(crate) fn leases(org: OrgId, gateway: GatewayId, limit: usize) -> Scan {
    let mut begin = table(org, Table::Lease);
    begin.put_slice(&gateway.bytes());
    let mut end = begin.clone();
    end.put_slice(&[u8::MAX; 17]);
    Scan { begin: begin.freeze(), end: end.freeze(), limit, reverse: false }
}

/// Reads lease and unit from a lease's key.
pub(crate) fn read_lease(key: &[u8]) -> Option<(LeaseId, Unit)> {
    let (lease, unit) = key.get(BEGIN.checked_add(16)?..)?.split_first_chunk()?;
    Some((LeaseId::from_bytes(*lease), read_unit(*unit.first()?)?))
}

/// The run of a gateway that has ended all runs before it.
#[must_use]
pub(crate) fn run(org: OrgId, gateway: GatewayId) -> Bytes {
    let mut key = table(org, Table::Run);
    key.put_slice(&gateway.bytes());
    key.freeze()
}

/// Up to which event an organisation's stream was followed.
#[must_use]
pub(crate) fn followed(org: OrgId) -> Bytes {
    table(org, Table::Followed).freeze()
}

/// The release by hand that is being carried out.
#[must_use]
pub(crate) fn release(org: OrgId) -> Bytes {
    table(org, Table::Release).freeze()
}

/// Writes an account as keys and rows hold it.
pub(crate) fn put_account(out: &mut BytesMut, account: Account) {
    let (letter, id) = match account {
        Account::Wallet => (b'w', [0; 16]),
        Account::Project(project) => (b'p', project.bytes()),
        Account::Key(key_id) => (b'k', key_id.bytes()),
        Account::Ephemeral(token) => (b'e', token.bytes()),
    };
    out.put_u8(letter);
    out.put_slice(&id);
}

/// Reads an account, and what stands behind it.
pub(crate) fn read_account(bytes: &[u8]) -> Option<(Account, &[u8])> {
    let (account, rest) = bytes.split_first_chunk::<ACCOUNT_BYTES>()?;
    let [letter, id @ ..] = *account;
    let account = match letter {
        b'w' => Account::Wallet,
        b'p' => Account::Project(ProjectId::from_bytes(id)),
        b'k' => Account::Key(KeyId::from_bytes(id)),
        b'e' => Account::Ephemeral(EphemeralId::from_bytes(id)),
        _ => return None,
    };
    Some((account, rest))
}

fn put_unit(key: &mut BytesMut, unit: Unit) {
    key.put_u8(match unit {
        Unit::Usd => b'u',
        Unit::Tokens => b't',
    });
}

pub(super) fn read_unit(letter: u8) -> Option<Unit> {
    match letter {
        b'u' => Some(Unit::Usd),
        b't' => Some(Unit::Tokens),
        _ => None,
    }
}
