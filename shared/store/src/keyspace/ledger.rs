//! Keys of caps, of what is held and settled against them, and of the duties that follow.

use bytes::{BufMut, Bytes, BytesMut};
use turnpike_domain::id::{GatewayId, LeaseId, OrgId};
use turnpike_domain::limit::{Account, Unit};
use turnpike_domain::time::Window;

use super::{Table, table, whole};
use crate::kv::Scan;

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
