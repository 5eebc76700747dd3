//! Secrets in plain text: how they are made, written, read and shown.
//!
//! # The form
//! `<kind>-tp-<public id><secret><checksum>`, 71 ASCII characters. The kind is `sk`, `mk`, `gk` or
//! `iv`; after the prefix stand 65 characters of base62: 16 of the public id, 43 of the secret (256
//! bits) and 6 of the CRC-32 (IEEE 802.3) over the 65 characters that stand before it. What is
//! hashed is the whole text, so that `printf %s "$TOKEN" | sha256sum` is what an import takes.

mod legacy;
mod pepper;

pub use legacy::{Candidate, Legacy, MAX_LEGACY_BYTES, MIN_LEGACY_BYTES, NotLegacy, SecretHash};
pub use pepper::{NoPepper, Pepper, Peppers};

use std::borrow::Cow;
use std::fmt;

use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;
use thiserror::Error;
use turnpike_domain::secret::{PublicId, SecretKind};
use zeroize::Zeroizing;

use crate::{base62, ephemeral};

/// Random bytes of one secret: 16 for the public id, 32 for the secret itself.
pub const ENTROPY_BYTES: usize = PUBLIC_ENTROPY_BYTES + 32;
/// Characters of a secret's text.
pub const TEXT_CHARS: usize = CHECKED_CHARS + CHECKSUM_CHARS;

const PREFIX_CHARS: usize = 6;
/// What all prefixes have behind the two letters of their kind.
const MARK: &str = "-tp-";
const KIND_CHARS: usize = 2;
/// Stands where a secret was left out of a text.
const LEFT_OUT: &str = "(secret)";
const PUBLIC_ID_CHARS: usize = 16;
const SECRET_CHARS: usize = 43;
pub(crate) const CHECKSUM_CHARS: usize = 6;
/// Characters that the checksum covers.
const CHECKED_CHARS: usize = PREFIX_CHARS + PUBLIC_ID_CHARS + SECRET_CHARS;
/// More bits than the public id keeps, so that each of its digits is as likely as the others.
const PUBLIC_ENTROPY_BYTES: usize = 16;
/// Characters that a preview shows after the prefix and at the end.
pub(crate) const PREVIEW_CHARS: usize = 4;

/// Every kind that there is.
const KINDS: [SecretKind; 4] =
    [SecretKind::Model, SecretKind::Management, SecretKind::Gateway, SecretKind::Invitation];

/// A secret in plain text. It is wiped from memory, does not print and has no serialised form;
/// equality takes the same time wherever two secrets differ.
#[derive(Clone)]
pub struct PlainSecret {
    kind: SecretKind,
    text: SecretString,
}

/// A well-formed secret as a caller presented it. Nothing is known yet about whether it works.
#[derive(Clone, Copy)]
pub struct Presented<'a> {
    /// What it would open.
    pub kind: SecretKind,
    /// What it is looked up by.
    pub public_id: PublicId,
    text: &'a str,
}

/// Why a text is not one of our secrets. It may still be a legacy secret, which has any form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NotASecret {
    /// Prefix, length or alphabet are others.
    #[error("it does not have the form of a Turnpike secret")]
    Shape,
    /// It was mistyped, cut or invented.
    #[error("its checksum is wrong: it was not copied as a whole")]
    Checksum,
}

/// Makes a secret of random bytes, which must come from the operating system.
#[must_use]
pub fn mint(kind: SecretKind, entropy: &[u8; ENTROPY_BYTES]) -> PlainSecret {
    let mut text = Zeroizing::new([0_u8; TEXT_CHARS]);
    let (public, secret) = entropy.split_at(PUBLIC_ENTROPY_BYTES);
    let id_end = PREFIX_CHARS + PUBLIC_ID_CHARS;
    text[..PREFIX_CHARS].copy_from_slice(prefix(kind).as_bytes());
    base62::write(public, &mut text[PREFIX_CHARS..id_end]);
    base62::write(secret, &mut text[id_end..CHECKED_CHARS]);
    let checksum = checksum(&text[..CHECKED_CHARS]);
    text[CHECKED_CHARS..].copy_from_slice(&checksum);
    let text = std::str::from_utf8(text.as_slice()).unwrap_or_default();
    PlainSecret { kind, text: text.into() }
}

/// Reads a secret: its shape first, then its checksum; nothing is looked up and nothing allocated.
///
/// # Errors
/// [`NotASecret`].
pub fn parse(text: &str) -> Result<Presented<'_>, NotASecret> {
    let bytes = text.as_bytes();
    let kind = kind_of(bytes).ok_or(NotASecret::Shape)?;
    if bytes.len() != TEXT_CHARS || !base62::is_written(&bytes[PREFIX_CHARS..]) {
        return Err(NotASecret::Shape);
    }
    if bytes[CHECKED_CHARS..] != checksum(&bytes[..CHECKED_CHARS]) {
        return Err(NotASecret::Checksum);
    }
    let mut public_id = [0; PUBLIC_ID_CHARS];
    public_id.copy_from_slice(&bytes[PREFIX_CHARS..PREFIX_CHARS + PUBLIC_ID_CHARS]);
    Ok(Presented { kind, public_id: PublicId(public_id), text })
}

/// A text that a caller wrote, to be kept: what is a secret of ours in it, or the greater part of
/// one, or an ephemeral token, is left out, for people paste theirs into the wrong field.
#[must_use]
pub fn without_secrets(text: &str) -> Cow<'_, str> {
    let places = text.match_indices(MARK).filter_map(|(at, _)| {
        let start = at.checked_sub(KIND_CHARS)?;
        let behind = text.get(start..)?.get(PREFIX_CHARS..)?;
        let kind = text.get(start..start + PREFIX_CHARS)?;
        let is_ours = kind == ephemeral::PREFIX || KINDS.iter().any(|known| kind == prefix(*known));
        let run = behind.bytes().take_while(u8::is_ascii_alphanumeric).count();
        // A public id alone is no secret.
        (is_ours && run > PUBLIC_ID_CHARS).then_some((start, start + PREFIX_CHARS + run))
    });
    let (mut kept, mut from) = (String::new(), 0);
    for (start, end) in places {
        kept.push_str(text.get(from..start).unwrap_or_default());
        kept.push_str(LEFT_OUT);
        from = end;
    }
    if from == 0 {
        return Cow::Borrowed(text);
    }
    kept.push_str(text.get(from..).unwrap_or_default());
    Cow::Owned(kept)
}

/// What stands before the public id: `sk-tp-`.
#[must_use]
pub const fn prefix(kind: SecretKind) -> &'static str {
    match kind {
        SecretKind::Model => "sk-tp-",
        SecretKind::Management => "mk-tp-",
        SecretKind::Gateway => "gk-tp-",
        SecretKind::Invitation => "iv-tp-",
    }
}

impl PlainSecret {
    /// Takes a text that is a secret, such as a recoverable one that was opened.
    ///
    /// # Errors
    /// [`NotASecret`].
    pub fn read(text: &str) -> Result<Self, NotASecret> {
        let presented = parse(text)?;
        Ok(Self { kind: presented.kind, text: text.into() })
    }

    /// What it opens.
    #[must_use]
    pub const fn kind(&self) -> SecretKind {
        self.kind
    }

    /// The text, to be shown once or sealed. Do not keep it.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.text.expose_secret()
    }

    /// What it is looked up by.
    #[must_use]
    pub fn public_id(&self) -> PublicId {
        let mut public_id = [0; PUBLIC_ID_CHARS];
        let bytes = &self.expose().as_bytes()[PREFIX_CHARS..PREFIX_CHARS + PUBLIC_ID_CHARS];
        public_id.copy_from_slice(bytes);
        PublicId(public_id)
    }

    /// The masked form for people: `sk-tp-AbCd…wxyz`.
    #[must_use]
    pub fn preview(&self) -> String {
        let (head, _) = self.expose().split_at(PREFIX_CHARS + PREVIEW_CHARS);
        let (_, tail) = self.expose().split_at(TEXT_CHARS - PREVIEW_CHARS);
        format!("{head}…{tail}")
    }
}

impl PartialEq for PlainSecret {
    fn eq(&self, other: &Self) -> bool {
        self.expose().as_bytes().ct_eq(other.expose().as_bytes()).into()
    }
}

impl Eq for PlainSecret {}

impl fmt::Debug for PlainSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PlainSecret({:?})", self.kind)
    }
}

impl fmt::Debug for Presented<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Presented({:?}, {:?})", self.kind, self.public_id)
    }
}

fn kind_of(bytes: &[u8]) -> Option<SecretKind> {
    KINDS.into_iter().find(|kind| bytes.starts_with(prefix(*kind).as_bytes()))
}

/// The six characters that let a text be refused that was not copied as a whole.
pub(crate) fn checksum(checked: &[u8]) -> [u8; CHECKSUM_CHARS] {
    let mut digits = [0; CHECKSUM_CHARS];
    base62::write(&crc32fast::hash(checked).to_be_bytes(), &mut digits);
    digits
}

#[cfg(test)]
mod tests;
