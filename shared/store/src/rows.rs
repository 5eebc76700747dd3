//! The fixed forms of the rows that bookings read and write: a version byte and big-endian numbers.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use turnpike_domain::money::NanoUsd;
use turnpike_domain::time::Timestamp;

use crate::error::StoreError;

/// The form of all rows here; another form gets another number.
pub(crate) const VERSION: u8 = 1;
/// The form of totals that count what was refused.
const WITH_REFUSED: u8 = 2;

/// The form of totals that legacy secrets have a part in.
const WITH_LEGACY: u8 = 3;
/// The bytes of those forms behind their versions.
const REFUSED_BYTES: usize = 64;
const LEGACY_BYTES: usize = REFUSED_BYTES + 16;

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
    /// When the last of the requests that came with a secret of ours was admitted; 0: none.
    pub last_at: Timestamp,
    /// Requests that were refused: not among the others.
    pub refused: u64,
    /// Of the requests, those that came with a legacy secret.
    pub legacy: u64,
    /// When the last of those was admitted; 0: none.
    pub legacy_at: Timestamp,
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
    /// When the last of the requests was admitted.
    #[must_use]
    pub fn used_at(&self) -> Timestamp {
        self.last_at.max(self.legacy_at)
    }

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
        self.legacy = self.legacy.saturating_add(other.legacy);
        self.legacy_at = self.legacy_at.max(other.legacy_at);
    }

    /// What legacy secrets add stands at the end, and only where there is any.
    pub(crate) fn bytes(&self) -> Bytes {
        let mut value = BytesMut::with_capacity(1 + LEGACY_BYTES);
        value.put_u8(if self.legacy > 0 { WITH_LEGACY } else { WITH_REFUSED });
        value.put_u64(self.requests);
        value.put_u64(self.estimated);
        value.put_u64(self.input);
        value.put_u64(self.cached_input);
        value.put_u64(self.output);
        value.put_i64(self.cost.0);
        value.put_u64(self.last_at.0);
        value.put_u64(self.refused);
        if self.legacy > 0 {
            value.put_u64(self.legacy);
            value.put_u64(self.legacy_at.0);
        }
        value.freeze()
    }

    pub(crate) fn read(value: &[u8]) -> Result<Self, StoreError> {
        let (mut rest, parts) = match value.split_first() {
            Some((&WITH_LEGACY, rest)) if rest.len() == LEGACY_BYTES => (rest, WITH_LEGACY),
            Some((&WITH_REFUSED, rest)) if rest.len() == REFUSED_BYTES => (rest, WITH_REFUSED),
            Some(_) | None => (of_version(value, 56, "total")?, VERSION),
        };
        let mut total = Self {
            requests: rest.get_u64(),
            estimated: rest.get_u64(),
            input: rest.get_u64(),
            cached_input: rest.get_u64(),
            output: rest.get_u64(),
            cost: NanoUsd(rest.get_i64()),
            last_at: Timestamp(rest.get_u64()),
            ..Self::default()
        };
        if parts >= WITH_REFUSED {
            total.refused = rest.get_u64();
        }
        if parts >= WITH_LEGACY {
            total.legacy = rest.get_u64();
            total.legacy_at = Timestamp(rest.get_u64());
        }
        Ok(total)
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
