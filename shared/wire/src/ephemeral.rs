//! Ephemeral tokens as text: signed by the control plane, checked by whoever has its public key.
//!
//! # The form
//! `ek-tp-<payload><checksum>`, at most 2,048 ASCII characters. The payload is base62 of the claims
//! (a CBOR map, deterministic) and the 64 bytes of their signature; each 32 bytes are a word of 43
//! characters. The checksum is that of every secret: six characters of the CRC-32 over all that
//! stands before it.

use std::fmt;

use secrecy::{ExposeSecret, SecretString};
use thiserror::Error;
use turnpike_domain::ephemeral::Claims;

use crate::cbor::{Malformed, Reader, Writer};
use crate::secret::{CHECKSUM_CHARS, PREVIEW_CHARS, checksum};
use crate::sign::{SignatureBytes, Signed, SignerId, Signers, SigningKey};
use crate::{base62, read_fields, write_fields};

/// What an ephemeral token begins with.
pub const PREFIX: &str = "ek-tp-";
/// The longest text: a header of a token is within what every proxy takes.
pub const MAX_TEXT_BYTES: usize = 2_048;

/// The version of the claims that is written.
const VERSION: u16 = 1;
const SIGNATURE_BYTES: usize = 64;

/// An ephemeral token in plain text. It does not print and is wiped from memory.
#[derive(Clone)]
pub struct EphemeralText(SecretString);

/// The claims do not fit into a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the token would have {0} characters; at most 2048 fit")]
pub struct TooLong(pub usize);

/// Why a text is no token of this control plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NotAToken {
    /// Prefix, length or alphabet are others, or it holds no claims.
    #[error("it does not have the form of an ephemeral token")]
    Shape,
    /// It was mistyped, cut or invented.
    #[error("its checksum is wrong: it was not copied as a whole")]
    Checksum,
    /// A later Turnpike wrote it.
    #[error("its version is not known")]
    Version,
    /// No key is known by which it could have been signed.
    #[error("its signing key is not known")]
    Signer,
    /// It was not signed by this control plane.
    #[error("its signature does not fit")]
    Forged,
}

/// Whether a text means to be an ephemeral token.
#[must_use]
pub fn is_token(text: &str) -> bool {
    text.starts_with(PREFIX)
}

/// The token that says `claims`. The same claims make the same text.
///
/// # Errors
/// [`TooLong`].
pub fn sign(claims: &Claims, key: &SigningKey) -> Result<EphemeralText, TooLong> {
    let mut out = Writer::default();
    let to = &mut out;
    write_fields!(
        to,
        1(&VERSION),
        2(&claims.token),
        3(&claims.org),
        4(&claims.key),
        5(&claims.public_id),
        6(&claims.generation),
        7(&claims.issued_at),
        8(&claims.expires_at),
        9(&claims.attenuation)[default],
        10(&claims.cost_cap),
        11(&key.verifying_key().id()),
        12(&claims.token_cap)
    );
    let mut payload = out.into_bytes();
    let signature = key.sign(Signed::EphemeralToken, &payload);
    payload.extend(signature);
    let mut text = format!("{PREFIX}{}", base62::word(&payload));
    let checksum = checksum(text.as_bytes());
    text.extend(checksum.map(char::from));
    if text.len() > MAX_TEXT_BYTES {
        Err(TooLong(text.len()))
    } else {
        Ok(EphemeralText(text.into()))
    }
}

/// The claims of a token, if one of `signers` has signed them.
///
/// # Errors
/// [`NotAToken`].
pub fn verify(text: &str, signers: &Signers) -> Result<Claims, NotAToken> {
    let payload = payload(text)?;
    let split = payload.len().checked_sub(SIGNATURE_BYTES).ok_or(NotAToken::Shape)?;
    let (signed, signature) = payload.split_at(split);
    let signature: SignatureBytes = signature.try_into().map_err(|_| NotAToken::Shape)?;
    let Said { version, claims, signer } = read(signed).map_err(|_| NotAToken::Shape)?;
    let key = signers.find(signer).ok_or(NotAToken::Signer)?;
    key.verify(Signed::EphemeralToken, signed, &signature).map_err(|_| NotAToken::Forged)?;
    if version == VERSION { Ok(claims) } else { Err(NotAToken::Version) }
}

impl EphemeralText {
    /// The text, to be shown once. Do not keep it.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// The masked form for people: `ek-tp-AbCd…wxyz`.
    #[must_use]
    pub fn preview(&self) -> String {
        let text = self.expose();
        let (head, _) = text.split_at(PREFIX.len() + PREVIEW_CHARS);
        let (_, tail) = text.split_at(text.len() - PREVIEW_CHARS);
        format!("{head}…{tail}")
    }
}

impl fmt::Debug for EphemeralText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EphemeralText(…)")
    }
}

/// What is signed.
struct Said {
    version: u16,
    claims: Claims,
    signer: SignerId,
}

fn payload(text: &str) -> Result<Vec<u8>, NotAToken> {
    let word = text.strip_prefix(PREFIX).ok_or(NotAToken::Shape)?;
    let sound = text.len() <= MAX_TEXT_BYTES && base62::is_written(word.as_bytes());
    let split = word.len().checked_sub(CHECKSUM_CHARS).filter(|_| sound);
    let (word, digits) = word.split_at(split.ok_or(NotAToken::Shape)?);
    let (checked, _) = text.as_bytes().split_at(PREFIX.len() + word.len());
    if digits.as_bytes() != checksum(checked) {
        return Err(NotAToken::Checksum);
    }
    base62::bytes(word).ok_or(NotAToken::Shape)
}

fn read(signed: &[u8]) -> Result<Said, Malformed> {
    let mut reader = Reader::new(signed)?;
    let from = &mut reader;
    read_fields!(
        from, "ephemeral token",
        1 version, 2 token, 3 org, 4 key, 5 public_id, 6 generation, 7 issued_at, 8 expires_at,
        9 attenuation [default], 10 cost_cap, 11 signer, 12 token_cap
    );
    reader.end()?;
    let claims = Claims {
        token,
        org,
        key,
        public_id,
        generation,
        issued_at,
        expires_at,
        attenuation,
        cost_cap,
        token_cap,
    };
    Ok(Said { version, claims, signer })
}

#[cfg(test)]
mod tests;
