//! The fixed forms of the ledger's rows: a version byte and big-endian numbers.

use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use turnpike_domain::id::EpochId;
use turnpike_domain::ledger::{Lease, Row, Told};
use turnpike_domain::limit::Account;
use turnpike_domain::state::Cap;
use turnpike_domain::time::Window;

use crate::error::StoreError;
use crate::keyspace;
use crate::rows::{VERSION, of_version};

/// Bytes of a lease's row before its path.
const LEASE_BYTES: usize = 42;

/// Accounts with their windows, from the leaf to the wallet.
pub(crate) type Path = Arc<[(Account, Window)]>;

/// A lease in one unit, with what the authority has to remember of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LeaseRow {
    pub(crate) lease: Lease,
    /// The run of the gateway that holds it.
    pub(crate) run: EpochId,
    /// Not everything that was spent on it is known, and its run has ended or it stands for what is
    /// not known: only a person releases it.
    pub(crate) torn: bool,
    /// What it was granted on, and what is spent on it is booked on.
    pub(crate) path: Path,
}

/// The row of an account.
pub(crate) fn account(row: &Row) -> Bytes {
    let mut value = BytesMut::with_capacity(35);
    value.put_u8(VERSION);
    value.put_i64(row.settled);
    value.put_i64(row.held);
    value.put_i64(row.lost);
    value.put_u64(row.told.revision);
    value.put_u8(row.told.percent);
    value.put_u8(u8::from(row.told.closed));
    value.freeze()
}

/// Reads the row of an account.
pub(crate) fn read_account(value: &[u8]) -> Result<Row, StoreError> {
    let mut rest = of_version(value, 34, "account")?;
    Ok(Row {
        settled: rest.get_i64(),
        held: rest.get_i64(),
        lost: rest.get_i64(),
        told: Told { revision: rest.get_u64(), percent: rest.get_u8(), closed: rest.get_u8() != 0 },
    })
}

/// The row of a cap: whether there is one, the amount, the revision. Grants guard it, they do not
/// read it: the amount is the one of the organisation's stream.
pub(crate) fn cap(cap: &Cap) -> Bytes {
    let mut value = BytesMut::with_capacity(18);
    value.put_u8(VERSION);
    value.put_u8(u8::from(cap.amount.is_some()));
    value.put_i64(cap.amount.unwrap_or_default());
    value.put_u64(cap.revision);
    value.freeze()
}

/// Reads the amount of a cap.
#[cfg(feature = "mutations")]
pub(crate) fn read_cap(value: &[u8]) -> Result<Option<i64>, StoreError> {
    let mut rest = of_version(value, 17, "cap")?;
    let stands = rest.get_u8() != 0;
    Ok(stands.then_some(rest.get_i64()))
}

/// A row that holds one number: the command that tells a threshold, the run that ended others, the
/// last event that was followed.
pub(crate) fn number(number: u128) -> Bytes {
    Bytes::copy_from_slice(&number.to_be_bytes())
}

/// Reads a row that holds one number.
pub(crate) fn read_number(value: &[u8]) -> Result<u128, StoreError> {
    let wrong = |_| StoreError::row("number", "expected 16 bytes");
    Ok(u128::from_be_bytes(value.try_into().map_err(wrong)?))
}

/// The row of a release that one commit was too small for: its event, and what of it is left.
pub(crate) fn release(seq: u64, left: i64) -> Bytes {
    let mut value = BytesMut::with_capacity(17);
    value.put_u8(VERSION);
    value.put_u64(seq);
    value.put_i64(left);
    value.freeze()
}

/// Reads the row of a release.
pub(crate) fn read_release(value: &[u8]) -> Result<(u64, i64), StoreError> {
    let mut rest = of_version(value, 16, "release")?;
    Ok((rest.get_u64(), rest.get_i64()))
}

/// The row of a record that was put aside: whether it was known what it held, and its bytes.
pub(crate) fn aside(is_known: bool, record: &[u8]) -> Bytes {
    let mut value = BytesMut::with_capacity(record.len().saturating_add(2));
    value.put_u8(VERSION);
    value.put_u8(u8::from(is_known));
    value.put_slice(record);
    value.freeze()
}

/// Whether it was known what a record held that was put aside.
pub(crate) fn read_aside(value: &[u8]) -> Result<bool, StoreError> {
    match value {
        [VERSION, is_known, ..] => Ok(*is_known != 0),
        _ => Err(StoreError::row("aside", format!("{} bytes", value.len()))),
    }
}

impl LeaseRow {
    pub(crate) fn bytes(&self) -> Bytes {
        let mut value = BytesMut::with_capacity(128);
        value.put_u8(VERSION);
        value.put_u64(self.lease.n);
        value.put_i64(self.lease.total);
        value.put_i64(self.lease.settled);
        value.put_u8(u8::from(self.lease.lost));
        value.put_u8(u8::from(self.torn));
        value.put_slice(&self.run.bytes());
        for (account, window) in &*self.path {
            keyspace::put_account(&mut value, *account);
            value.put_u64(window.0);
        }
        value.freeze()
    }

    pub(crate) fn read(value: &[u8]) -> Result<Self, StoreError> {
        let wrong = || StoreError::row("lease", format!("{} bytes", value.len()));
        let len = value.len().checked_sub(1).ok_or_else(wrong)?;
        let mut rest = of_version(value, len.max(LEASE_BYTES), "lease")?;
        let (n, total, settled) = (rest.get_u64(), rest.get_i64(), rest.get_i64());
        let (lost, torn) = (rest.get_u8() != 0, rest.get_u8() != 0);
        let run = EpochId(rest.get_u128());
        let mut path = Vec::new();
        while !rest.is_empty() {
            let (account, behind) = keyspace::read_account(rest).ok_or_else(wrong)?;
            let (window, behind) = behind.split_first_chunk().ok_or_else(wrong)?;
            path.push((account, Window(u64::from_be_bytes(*window))));
            rest = behind;
        }
        let lease = Lease { n, total, settled, lost };
        Ok(Self { lease, run, torn, path: path.into() })
    }
}
