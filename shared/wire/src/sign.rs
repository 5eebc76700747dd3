//! Signatures of the control plane: by them gateways know heartbeats and snapshots as its own.
//!
//! Ed25519 (RFC 8032), verified strictly. What is signed begins with a label of its own, so that a
//! signature of one thing is never one of another.

use std::fmt;

use ed25519_dalek::{Signature, Signer as _};
use sha2::{Digest as _, Sha256};
use thiserror::Error;

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
}
