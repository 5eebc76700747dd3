//! What is stored of a secret: never the secret.

use std::fmt;

/// What a secret opens; its first letters say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SecretKind {
    /// `sk-tp-…`: a model key, for gateways.
    Model,
    /// `mk-tp-…`: a management token, for the management API.
    Management,
    /// `gk-tp-…`: lets a gateway join.
    Gateway,
    /// `iv-tp-…`: lets an invited member set a password.
    Invitation,
}

/// The sixteen base62 characters by which a secret is looked up. Public.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicId(pub [u8; 16]);

/// `HMAC-SHA-256(pepper, SHA-256(secret))`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

/// Which pepper made a digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct PepperVersion(pub u16);

/// A secret as it is stored and sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredSecret {
    /// The look-up id.
    pub public_id: PublicId,
    /// What the presented secret must hash to.
    pub digest: Digest,
    /// The pepper of the digest.
    pub pepper: PepperVersion,
    /// The masked form for people: `sk-tp-AbCd…wxyz`.
    pub preview: Box<str>,
}

/// Bytes that only a holder of the sealing key can open: provider credentials, passwords' hashes,
/// recoverable secrets.
#[derive(Clone, PartialEq, Eq)]
pub struct Sealed(pub Box<[u8]>);

impl fmt::Debug for PublicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.0).unwrap_or("(not text)"))
    }
}

impl fmt::Debug for Digest {
    /// A digest is no secret, but it has no place in a log either.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digest(…)")
    }
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealed({} bytes)", self.0.len())
    }
}
