//! Signatures of the control plane: by them gateways know heartbeats and snapshots as its own.
//!
//! Ed25519 (RFC 8032), verified strictly. What is signed begins with a label of its own, so that a
//! signature of one thing is never one of another.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use ed25519_dalek::{Signature, Signer as _};
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use crate::cbor::{Malformed, Reader, Writer};
use crate::form::Form;
use crate::hex;

/// A signature.
pub type SignatureBytes = [u8; 64];

/// Names a signing key: the first bytes of the SHA-256 of its public half. Few keys are ever in use
/// together, and a signature is checked with the key that is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SignerId(pub [u8; 8]);

/// What is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signed {
    /// A heartbeat.
    Heartbeat,
    /// The end frame of a snapshot, which covers all of it.
    Snapshot,
    /// The claims of an ephemeral token.
    EphemeralToken,
}

/// The control plane's own key. It does not print and is wiped from memory.
#[derive(Clone)]
pub struct SigningKey(ed25519_dalek::SigningKey);

/// The public half, which gateways get when they join.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct VerifyingKey(ed25519_dalek::VerifyingKey);

/// The control plane's keys: one signs, what any of them signs or has signed is accepted.
#[derive(Clone)]
pub struct SigningKeys {
    current: SigningKey,
    signers: Signers,
}

/// The public keys whose signatures are accepted: of the key that signs, of former ones while
/// something of theirs is in use, and of a coming one. A clone shares them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Signers(Arc<BTreeMap<SignerId, VerifyingKey>>);

/// Bytes that are no key, or a signature that does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NotSigned {
    /// The bytes are no public key, or a weak one.
    #[error("these bytes are not a usable Ed25519 public key")]
    NotAKey,
    /// The signature is not of these bytes by this key.
    #[error("the signature does not fit")]
    Forged,
}

impl SigningKey {
    /// A key of 32 random bytes.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(ed25519_dalek::SigningKey::from_bytes(seed))
    }

    /// The public half.
    #[must_use]
    pub fn verifying_key(&self) -> VerifyingKey {
        VerifyingKey(self.0.verifying_key())
    }

    /// Signs `bytes` as a thing of the kind `what`.
    #[must_use]
    pub fn sign(&self, what: Signed, bytes: &[u8]) -> SignatureBytes {
        self.0.sign(&labelled(what, bytes)).to_bytes()
    }
}

impl VerifyingKey {
    /// From its 32 bytes.
    ///
    /// # Errors
    /// [`NotSigned::NotAKey`].
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, NotSigned> {
        let key = ed25519_dalek::VerifyingKey::from_bytes(bytes).map_err(|_| NotSigned::NotAKey)?;
        if key.is_weak() { Err(NotSigned::NotAKey) } else { Ok(Self(key)) }
    }

    /// Its 32 bytes.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; 32] {
        self.0.to_bytes()
    }

    /// What it is named by.
    #[must_use]
    pub fn id(&self) -> SignerId {
        let digest: [u8; 32] = Sha256::digest(self.to_bytes()).into();
        let mut id = [0; 8];
        id.copy_from_slice(&digest[..8]);
        SignerId(id)
    }

    /// Checks that `bytes` were signed as `what`.
    ///
    /// # Errors
    /// [`NotSigned::Forged`].
    pub fn verify(
        &self,
        what: Signed,
        bytes: &[u8],
        signature: &SignatureBytes,
    ) -> Result<(), NotSigned> {
        let signature = Signature::from_bytes(signature);
        self.0.verify_strict(&labelled(what, bytes), &signature).map_err(|_| NotSigned::Forged)
    }
}

impl SigningKeys {
    /// `current` signs; what was signed by `others` is accepted too.
    #[must_use]
    pub fn new(current: SigningKey, others: impl IntoIterator<Item = VerifyingKey>) -> Self {
        let signers = Signers::new(others.into_iter().chain([current.verifying_key()]));
        Self { current, signers }
    }

    /// The key that signs.
    #[must_use]
    pub const fn current(&self) -> &SigningKey {
        &self.current
    }

    /// The public halves of all of them.
    #[must_use]
    pub const fn signers(&self) -> &Signers {
        &self.signers
    }
}

impl Signers {
    /// The given keys.
    #[must_use]
    pub fn new(keys: impl IntoIterator<Item = VerifyingKey>) -> Self {
        Self(Arc::new(keys.into_iter().map(|key| (key.id(), key)).collect()))
    }

    /// The key of this name.
    #[must_use]
    pub fn find(&self, id: SignerId) -> Option<&VerifyingKey> {
        self.0.get(&id)
    }

    /// The names of the keys, in their order.
    pub fn ids(&self) -> impl Iterator<Item = SignerId> {
        self.0.keys().copied()
    }

    /// The keys, in the order of their names.
    pub fn keys(&self) -> impl Iterator<Item = &VerifyingKey> {
        self.0.values()
    }

    /// Checks that `bytes` were signed as `what` by one of the keys.
    ///
    /// # Errors
    /// [`NotSigned::Forged`].
    pub fn verify(
        &self,
        what: Signed,
        bytes: &[u8],
        signature: &SignatureBytes,
    ) -> Result<(), NotSigned> {
        let fits = |key: &VerifyingKey| key.verify(what, bytes, signature).is_ok();
        if self.keys().any(fits) { Ok(()) } else { Err(NotSigned::Forged) }
    }
}

impl From<VerifyingKey> for Signers {
    fn from(key: VerifyingKey) -> Self {
        Self::new([key])
    }
}

impl Form for SignerId {
    fn write(&self, out: &mut Writer) {
        self.0.write(out);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        <[u8; 8]>::read(from).map(Self)
    }
}

impl fmt::Display for SignerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::write(&self.0))
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VerifyingKey(…)")
    }
}

fn labelled(what: Signed, bytes: &[u8]) -> Vec<u8> {
    let label: &[u8] = match what {
        Signed::Heartbeat => b"turnpike heartbeat v1\0",
        Signed::Snapshot => b"turnpike snapshot v1\0",
        Signed::EphemeralToken => b"turnpike ephemeral token v1\0",
    };
    [label, bytes].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_signed_by_this_key_as_this_thing_is_accepted() {
        let key = SigningKey::from_seed(&[1; 32]);
        let public = VerifyingKey::from_bytes(&key.verifying_key().to_bytes()).unwrap();
        let signature = key.sign(Signed::Heartbeat, b"beat");
        assert_eq!(public.verify(Signed::Heartbeat, b"beat", &signature), Ok(()));
        let other = SigningKey::from_seed(&[2; 32]).verifying_key();
        for (verifier, what, bytes) in [
            (public, Signed::Snapshot, b"beat"),
            (public, Signed::Heartbeat, b"boat"),
            (other, Signed::Heartbeat, b"beat"),
        ] {
            assert_eq!(verifier.verify(what, bytes, &signature), Err(NotSigned::Forged));
        }
        assert_eq!(VerifyingKey::from_bytes(&[0; 32]), Err(NotSigned::NotAKey));
    }

    #[test]
    fn what_any_of_several_keys_has_signed_is_accepted() {
        let [former, current, foreign] = [1, 2, 3].map(|seed| SigningKey::from_seed(&[seed; 32]));
        let keys = SigningKeys::new(current.clone(), [former.verifying_key()]);
        let accepted = |key: &SigningKey| {
            let signature = key.sign(Signed::Snapshot, b"digest");
            keys.signers().verify(Signed::Snapshot, b"digest", &signature)
        };
        assert_eq!(accepted(&former), Ok(()));
        assert_eq!(accepted(keys.current()), Ok(()));
        assert_eq!(accepted(&foreign), Err(NotSigned::Forged));
        let id = current.verifying_key().id();
        assert_eq!(keys.signers().find(id), Some(&current.verifying_key()));
        assert_eq!(keys.signers().find(foreign.verifying_key().id()), None);
        assert_eq!(keys.signers().ids().count(), 2);
        let twice = SigningKeys::new(current.clone(), [current.verifying_key()]);
        assert_eq!(*twice.signers(), Signers::from(current.verifying_key()));
        assert_eq!(SignerId([0, 1, 2, 3, 4, 5, 6, 255]).to_string(), "00010203040506ff");
    }
}
