//! Passwords of the console: argon2id in PHC form, sealed for the control plane alone.

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use turnpike_domain::secret::Sealed;
use turnpike_runtime::{entropy, tasks};
use turnpike_wire::seal::{NONCE_BYTES, SealingKeys};

/// Bytes of salt (RFC 9106 §3.1 recommends 16).
const SALT_BYTES: usize = 16;
/// A hash that no password has: verified against where there is no member, so that both take as
/// long.
const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$\
                      AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// A password could not be hashed or sealed: a bug, or a process that is stopping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the password could not be kept")]
pub struct NotKept;

/// The sealed hash of a password. Takes tens of milliseconds on a thread of its own.
///
/// # Errors
/// [`NotKept`].
pub async fn keep(password: String, keys: &SealingKeys) -> Result<Sealed, NotKept> {
    let mut salt = [0_u8; SALT_BYTES];
    entropy::fill(&mut salt);
    let hash = tasks::blocking("password", move || {
        let hash = Argon2::default().hash_password_with_salt(password.as_bytes(), &salt);
        hash.map(|hash| hash.to_string())
    });
    let hash = hash.await.map_err(|_| NotKept)?.map_err(|_| NotKept)?;
    let mut nonce = [0_u8; NONCE_BYTES];
    entropy::fill(&mut nonce);
    keys.seal(&nonce, hash.as_bytes()).map_err(|_| NotKept)
}

/// Whether the password is the one that was kept; `None` (no such member) is as slow a no.
pub async fn matches(password: String, kept: Option<&Sealed>, keys: &SealingKeys) -> bool {
    let opened = kept.and_then(|sealed| keys.open(sealed).ok());
    let hash = opened.and_then(|bytes| String::from_utf8(bytes.to_vec()).ok());
    let known = hash.is_some();
    let hash = hash.unwrap_or_else(|| NOBODY.to_owned());
    let right = tasks::blocking("password", move || {
        let parsed = PasswordHash::new(&hash).ok();
        parsed.is_some_and(|parsed| {
            Argon2::default().verify_password(password.as_bytes(), &parsed).is_ok()
        })
    });
    right.await.unwrap_or(false) && known
}

#[cfg(test)]
mod tests {
    use super::*;
    use turnpike_wire::seal::{Purpose, SealingKey};

    #[tokio::test]
    async fn only_the_right_password_matches() {
        let keys = SealingKeys::new(Purpose::PasswordHash, vec![SealingKey::new(1, &[7; 32])]);
        let keys = keys.unwrap();
        let kept = keep("correct horse".into(), &keys).await.unwrap();
        assert!(matches("correct horse".into(), Some(&kept), &keys).await);
        assert!(!matches("correct horsf".into(), Some(&kept), &keys).await);
        assert!(!matches("correct horse".into(), None, &keys).await);
    }
}
