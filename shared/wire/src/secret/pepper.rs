//! Peppers: the keys under which secrets are hashed before they are stored.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq;
use thiserror::Error;
use turnpike_domain::secret::{Digest, PepperVersion, StoredSecret};

use super::{PlainSecret, Presented};

/// The fewest bytes of a pepper: as many as its hash has of security.
const MIN_KEY_BYTES: usize = 32;

#[cfg(test)]
thread_local! {
    /// How often this thread has hashed.
    pub(super) static HASHES: std::cell::Cell<u32> = const { std::cell::Cell::new(0) };
}

/// One version of the pepper, with the state of its hash prepared.
#[derive(Clone)]
pub struct Pepper {
    pub(super) version: PepperVersion,
    state: Hmac<Sha256>,
}

/// The peppers in use: the newest makes digests, all of them check.
#[derive(Clone)]
pub struct Peppers {
    pub(super) newest: Pepper,
    pub(super) older: Vec<Pepper>,
}

/// Why there can be no digests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NoPepper {
    /// None was given.
    #[error("at least one pepper is needed")]
    None,
    /// It can be guessed.
    #[error("a pepper must have at least 32 bytes")]
    TooShort,
    /// A version was given twice.
    #[error("pepper version {0} was given twice")]
    Twice(u16),
}

impl Pepper {
    /// A pepper of at least 32 random bytes.
    ///
    /// # Errors
    /// [`NoPepper::TooShort`].
    pub fn new(version: PepperVersion, key: &[u8]) -> Result<Self, NoPepper> {
        if key.len() < MIN_KEY_BYTES {
            return Err(NoPepper::TooShort);
        }
        let state = Hmac::new_from_slice(key).map_err(|_| NoPepper::TooShort)?;
        Ok(Self { version, state })
    }

    pub(super) fn digest(&self, sha256: &[u8]) -> Digest {
        #[cfg(test)]
        HASHES.set(HASHES.get() + 1);
        let mut state = self.state.clone();
        state.update(sha256);
        Digest(state.finalize().into_bytes().into())
    }
}

impl Peppers {
    /// The peppers in use; the one of the highest version makes new digests.
    ///
    /// # Errors
    /// [`NoPepper::None`] and [`NoPepper::Twice`].
    pub fn new(mut peppers: Vec<Pepper>) -> Result<Self, NoPepper> {
        peppers.sort_by_key(|pepper| pepper.version);
        for pair in peppers.windows(2) {
            if pair[0].version == pair[1].version {
                return Err(NoPepper::Twice(pair[0].version.0));
            }
        }
        let newest = peppers.pop().ok_or(NoPepper::None)?;
        Ok(Self { newest, older: peppers })
    }

    /// The versions in use, the newest first.
    #[must_use]
    pub fn versions(&self) -> Vec<PepperVersion> {
        let older = self.older.iter().rev().map(|pepper| pepper.version);
        std::iter::once(self.newest.version).chain(older).collect()
    }

    /// What is stored of a secret.
    #[must_use]
    pub fn stored(&self, secret: &PlainSecret) -> StoredSecret {
        StoredSecret {
            public_id: secret.public_id(),
            digest: self.newest.digest(&Sha256::digest(secret.expose())),
            pepper: self.newest.version,
            preview: secret.preview().into(),
        }
    }

    /// Whether the presented secret is the stored one. `None` (the public id is unknown) is always
    /// wrong and takes the same time, so that nobody learns from it which ids exist.
    #[must_use]
    pub fn verify(&self, stored: Option<&StoredSecret>, presented: &Presented<'_>) -> bool {
        let version = stored.map_or(self.newest.version, |stored| stored.pepper);
        let pepper = self.older.iter().find(|pepper| pepper.version == version);
        let pepper = pepper.unwrap_or(&self.newest);
        let expected = stored.map_or([0; 32], |stored| stored.digest.0);
        let digest = pepper.digest(&Sha256::digest(presented.text));
        let equal: bool = digest.0.ct_eq(&expected).into();
        equal && stored.is_some() && pepper.version == version
    }
}
