//! The fixed forms of the rows that bookings read and write: a version byte and big-endian numbers.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use turnpike_domain::money::NanoUsd;
use turnpike_domain::time::Timestamp;

use crate::error::StoreError;

/// The form of all rows here; another form gets another number.
pub(crate) const VERSION: u8 = 1;
/// The form of totals that count what was refused.
const WITH_REFUSED: u8 = 2;

/// What a key used of a model in one hour, or of all models in all time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Total {
    /// Admitted requests.
    pub requests: u64,
    /// Of them, those whose usage is an estimate.
    pub estimated: u64,
    /// Input tokens.
    pub input: u64,
    /// Of the input: read from a provider's cache.
    pub cached_input: u64,
    /// Output tokens.
    pub output: u64,
    /// What it cost.
    pub cost: NanoUsd,
    /// When the last of the requests was admitted.
    pub last_at: Timestamp,
    /// Requests that were refused: not among the others.
    pub refused: u64,
}

/// Up to where the spend of one epoch is booked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Place {
    /// The last booked number; 0: none.
    pub number: u64,
    /// Up to which number the records are known to be published to outside consumers.
    pub published: u64,
    /// The gateway has said that no further record will come.
    pub ended: bool,
    /// When it was last moved.
    pub at: Timestamp,
}

impl Total {
    /// Both together.
    pub(crate) fn add(&mut self, other: &Self) {
        self.requests = self.requests.saturating_add(other.requests);
        self.estimated = self.estimated.saturating_add(other.estimated);
        self.input = self.input.saturating_add(other.input);
        self.cached_input = self.cached_input.saturating_add(other.cached_input);
        self.output = self.output.saturating_add(other.output);
        self.cost = self.cost.plus(other.cost);
        self.last_at = self.last_at.max(other.last_at);
        self.refused = self.refused.saturating_add(other.refused);
    }

    pub(crate) fn bytes(&self) -> Bytes {
        let mut value = BytesMut::with_capacity(65);
        value.put_u8(WITH_REFUSED);
        value.put_u64(self.requests);
        value.put_u64(self.estimated);
        value.put_u64(self.input);
        value.put_u64(self.cached_input);
        value.put_u64(self.output);
        value.put_i64(self.cost.0);
        value.put_u64(self.last_at.0);
        value.put_u64(self.refused);
        value.freeze()
    }

    pub(crate) fn read(value: &[u8]) -> Result<Self, StoreError> {
        let (mut rest, counts_refused) = match value.split_first() {
            Some((&WITH_REFUSED, rest)) if rest.len() == 64 => (rest, true),
            Some(_) | None => (of_version(value, 56, "total")?, false),
        };
        Ok(Self {
            requests: rest.get_u64(),
            estimated: rest.get_u64(),
            input: rest.get_u64(),
            cached_input: rest.get_u64(),
            output: rest.get_u64(),
            cost: NanoUsd(rest.get_i64()),
            last_at: Timestamp(rest.get_u64()),
            refused: if counts_refused { rest.get_u64() } else { 0 },
        })
    }
}

impl Place {
    pub(crate) fn bytes(&self) -> Bytes {
        let mut value = BytesMut::with_capacity(26);
        value.put_u8(VERSION);
        value.put_u64(self.number);
        value.put_u64(self.published);
        value.put_u8(u8::from(self.ended));
        value.put_u64(self.at.0);
        value.freeze()
    }

    pub(crate) fn read(value: &[u8]) -> Result<Self, StoreError> {
        let mut rest = of_version(value, 25, "place")?;
        Ok(Self {
            number: rest.get_u64(),
            published: rest.get_u64(),
            ended: rest.get_u8() != 0,
            at: Timestamp(rest.get_u64()),
        })
    }
}

/// What stands behind the version byte, if it is `len` bytes of this version.
pub(crate) fn of_version<'a>(
    value: &'a [u8],
    len: usize,
    table: &str,
) -> Result<&'a [u8], StoreError> {
    match value.split_first() {
        Some((&VERSION, rest)) if rest.len() == len => Ok(rest),
        Some((version, rest)) => {
            let why = format!("{} bytes of version {version}", rest.len());
            Err(StoreError::row(table, why))
        }
        None => Err(StoreError::row(table, "an empty row")),
    }
}
