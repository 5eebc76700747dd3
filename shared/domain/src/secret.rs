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

/// What a secret is looked up by: the sixteen base62 characters that one of ours carries, which are
/// public, or, of a legacy secret, the beginning of its digest.
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

impl PublicId {
    /// The highest bit of the first byte: no character of ours has it, so that the two sorts of ids
    /// never meet.
    const LEGACY: u8 = 0x80;

    /// The id of a legacy secret, which carries none: 127 bits of its digest, which stay random for
    /// whoever does not know the pepper.
    #[must_use]
    pub const fn of_digest(digest: &Digest) -> Self {
        let mut id = [0; 16];
        let (head, _) = digest.0.split_at(16);
        id.copy_from_slice(head);
        id[0] |= Self::LEGACY;
        Self(id)
    }

    /// Whether it stands for a legacy secret.
    #[must_use]
    pub const fn is_legacy(&self) -> bool {
        self.0[0] & Self::LEGACY != 0
    }
}

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
