//! Sealing: bytes in events that only a holder of the right key can open.
//!
//! Sealed bytes are `version (2, big endian) || nonce (24) || ciphertext and tag` of
//! XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03) with the purpose's label and the version as
//! associated data: what was sealed for one purpose does not open for another.

use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};
use thiserror::Error;
use turnpike_domain::secret::Sealed;
use zeroize::Zeroizing;

/// Random bytes of one sealing.
pub const NONCE_BYTES: usize = 24;
/// The most bytes that are sealed: far above any credential, and small beside an event.
pub const MAX_PLAIN_BYTES: usize = 16 << 10;

const VERSION_BYTES: usize = 2;

/// What something is sealed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A provider's credential: opened by gateways.
    ProviderCredential,
    /// A recoverable secret: opened by the control plane when somebody reveals it.
    RecoverableSecret,
    /// A password's hash: opened by the control plane at login.
    PasswordHash,
    /// What a session's cookie says: opened by the control plane at each request.
    Session,
    /// Why a gateway refused a request: opened by the control plane when somebody asks.
    Decision,
    /// A server's name of an MCP session: opened by gateways.
    McpSession,
}

/// The keys of one purpose: the newest seals, all of them open. Who is not to open a purpose is
/// not given its keys.
#[derive(Clone)]
pub struct SealingKeys {
    purpose: Purpose,
    newest: SealingKey,
    older: Vec<SealingKey>,
}

/// One version of a purpose's key.
#[derive(Clone)]
pub struct SealingKey {
    version: u16,
    cipher: XChaCha20Poly1305,
}

/// Why there is nothing to seal with, or nothing that can be sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum CannotSeal {
    /// No key was given.
    #[error("at least one sealing key is needed")]
    NoKey,
    /// A version was given twice.
    #[error("sealing key version {0} was given twice")]
    Twice(u16),
    /// There is a limit of [`MAX_PLAIN_BYTES`].
    #[error("at most 16 KiB can be sealed")]
    TooLarge,
}

/// Why sealed bytes do not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum CannotOpen {
    /// They are cut.
    #[error("the sealed bytes are cut")]
    Shape,
    /// The key is not here.
    #[error("there is no sealing key of version {0}")]
    NoKey(u16),
    /// They were changed, or sealed for another purpose or with another key.
    #[error("the seal is broken")]
    Broken,
}

impl SealingKey {
    /// A key of 32 random bytes.
    #[must_use]
    pub fn new(version: u16, key: &[u8; 32]) -> Self {
        Self { version, cipher: XChaCha20Poly1305::new(key.into()) }
    }
}

impl SealingKeys {
    /// The keys of a purpose; the one of the highest version seals.
    ///
    /// # Errors
    /// [`CannotSeal::NoKey`] and [`CannotSeal::Twice`].
    pub fn new(purpose: Purpose, mut keys: Vec<SealingKey>) -> Result<Self, CannotSeal> {
        keys.sort_by_key(|key| key.version);
        for pair in keys.windows(2) {
            if pair[0].version == pair[1].version {
                return Err(CannotSeal::Twice(pair[0].version));
            }
        }
        let newest = keys.pop().ok_or(CannotSeal::NoKey)?;
        Ok(Self { purpose, newest, older: keys })
    }

    /// The same keys for another purpose of whoever holds them.
    #[must_use]
    pub fn also_for(&self, purpose: Purpose) -> Self {
        Self { purpose, ..self.clone() }
    }

    /// Seals `plain`. The nonce must be fresh random bytes: with 24 of them none comes twice.
    ///
    /// # Errors
    /// [`CannotSeal::TooLarge`].
    pub fn seal(&self, nonce: &[u8; NONCE_BYTES], plain: &[u8]) -> Result<Sealed, CannotSeal> {
        if plain.len() > MAX_PLAIN_BYTES {
            return Err(CannotSeal::TooLarge);
        }
        let version = self.newest.version.to_be_bytes();
        let aad = associated(self.purpose, version);
        let payload = Payload { msg: plain, aad: &aad };
        let text = self.newest.cipher.encrypt(&XNonce::from(*nonce), payload);
        let text = text.map_err(|_| CannotSeal::TooLarge)?;
        Ok(Sealed([&version[..], nonce, &text].concat().into()))
    }

    /// Opens what was sealed for this purpose. What comes out is wiped when it is dropped.
    ///
    /// # Errors
    /// [`CannotOpen`].
    pub fn open(&self, sealed: &Sealed) -> Result<Zeroizing<Vec<u8>>, CannotOpen> {
        let (version, rest) =
            sealed.0.split_first_chunk::<VERSION_BYTES>().ok_or(CannotOpen::Shape)?;
        let (nonce, text) = rest.split_first_chunk::<NONCE_BYTES>().ok_or(CannotOpen::Shape)?;
        let number = u16::from_be_bytes(*version);
        let mut keys = self.older.iter().chain([&self.newest]);
        let key = keys.find(|key| key.version == number).ok_or(CannotOpen::NoKey(number))?;
        let aad = associated(self.purpose, *version);
        let payload = Payload { msg: text, aad: &aad };
        let plain = key.cipher.decrypt(&XNonce::from(*nonce), payload);
        plain.map(Zeroizing::new).map_err(|_| CannotOpen::Broken)
    }
}

fn associated(purpose: Purpose, version: [u8; VERSION_BYTES]) -> Vec<u8> {
    let label: &[u8] = match purpose {
        Purpose::ProviderCredential => b"turnpike provider credential ",
        Purpose::RecoverableSecret => b"turnpike recoverable secret ",
        Purpose::PasswordHash => b"turnpike password hash ",
        Purpose::Session => b"turnpike session ",
        Purpose::Decision => b"turnpike decision ",
        Purpose::McpSession => b"turnpike mcp session ",
    };
    [label, &version].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONCE: [u8; NONCE_BYTES] = [9; NONCE_BYTES];

    fn keys(purpose: Purpose, versions: &[u16]) -> SealingKeys {
        let key = |version: &u16| SealingKey::new(*version, &[u8::try_from(*version).unwrap(); 32]);
        SealingKeys::new(purpose, versions.iter().map(key).collect()).unwrap()
    }

    #[test]
    fn what_was_sealed_opens_also_after_the_key_was_renewed() {
        let sealed = keys(Purpose::PasswordHash, &[1]).seal(&NONCE, b"hash").unwrap();
        assert!(!sealed.0.windows(4).any(|part| part == b"hash"));
        let later = keys(Purpose::PasswordHash, &[1, 2]);
        assert_eq!(later.open(&sealed).unwrap().as_slice(), b"hash");
        assert_eq!(later.seal(&NONCE, b"").unwrap().0[..2], [0, 2]);
        let without = keys(Purpose::PasswordHash, &[2]);
        assert_eq!(without.open(&sealed).err(), Some(CannotOpen::NoKey(1)));
    }

    #[test]
    fn another_purpose_a_changed_byte_or_a_cut_does_not_open() {
        let holder = keys(Purpose::ProviderCredential, &[1]);
        let sealed = holder.seal(&NONCE, b"credential").unwrap();
        let other = keys(Purpose::RecoverableSecret, &[1]);
        assert_eq!(other.open(&sealed).err(), Some(CannotOpen::Broken));
        for at in 0..sealed.0.len() {
            let mut changed = sealed.clone();
            changed.0[at] ^= 1;
            assert!(holder.open(&changed).is_err(), "byte {at}");
            assert!(holder.open(&Sealed(sealed.0[..at].into())).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn limits_are_kept() {
        let holder = keys(Purpose::ProviderCredential, &[1]);
        let large = vec![0; MAX_PLAIN_BYTES + 1];
        assert_eq!(holder.seal(&NONCE, &large).err(), Some(CannotSeal::TooLarge));
        assert!(holder.seal(&NONCE, &large[1..]).is_ok());
        let none = SealingKeys::new(Purpose::PasswordHash, Vec::new());
        assert_eq!(none.err(), Some(CannotSeal::NoKey));
    }
}
