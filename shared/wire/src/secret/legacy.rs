//! Legacy secrets: texts of any shape that were not made here and work nevertheless.

use std::fmt;

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq;
use thiserror::Error;
use turnpike_domain::secret::{Digest, PepperVersion, PublicId, StoredSecret};

use super::{KINDS, Peppers, prefix};
use crate::{ephemeral, hex};

/// The fewest bytes of a legacy secret: whoever has its digest finds a shorter one by trying.
pub const MIN_LEGACY_BYTES: usize = 8;
/// The most bytes of a legacy secret: signed tokens of other gateways fit, and a header is no place
/// for more.
pub const MAX_LEGACY_BYTES: usize = 1_024;

/// The most characters that a preview shows at each end.
const PREVIEW_CHARS: usize = 4;
/// A preview shows at most one character of so many.
const PREVIEW_PART: usize = 3;
/// What is shown of a secret of which nothing but its hash was given.
const HASH_ONLY: &str = "imported as SHA-256";

/// A text that may be a legacy secret. Nothing is known yet about whether it works.
#[derive(Clone, Copy)]
pub struct Legacy<'a>(&'a str);

/// SHA-256 of a secret: all that an import needs of it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SecretHash([u8; 32]);

/// What a secret is under one pepper.
#[derive(Clone, Copy)]
pub struct Candidate {
    pepper: PepperVersion,
    digest: Digest,
}

/// Why a text is not a legacy secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NotLegacy {
    /// It begins as our own secrets do, which are made here and never taken over.
    #[error("begins like Turnpike's own secrets, which cannot be imported")]
    Ours,
    /// It is shorter or longer than a header may carry.
    #[error("must have {MIN_LEGACY_BYTES} to {MAX_LEGACY_BYTES} bytes")]
    Length,
    /// It could not stand in a header.
    #[error("may contain only visible ASCII characters, and no white space")]
    Characters,
    /// It is no hash.
    #[error("must be the SHA-256 of the secret as 64 hexadecimal digits")]
    Hash,
}

impl<'a> Legacy<'a> {
    /// Reads a text that is not one of ours.
    ///
    /// # Errors
    /// [`NotLegacy`].
    pub fn read(text: &'a str) -> Result<Self, NotLegacy> {
        if text.starts_with(ephemeral::PREFIX)
            || KINDS.iter().any(|kind| text.starts_with(prefix(*kind)))
        {
            return Err(NotLegacy::Ours);
        }
        if !(MIN_LEGACY_BYTES..=MAX_LEGACY_BYTES).contains(&text.len()) {
            return Err(NotLegacy::Length);
        }
        let visible = text.bytes().all(|byte| byte.is_ascii_graphic());
        if visible { Ok(Self(text)) } else { Err(NotLegacy::Characters) }
    }

    /// Its hash.
    #[must_use]
    pub fn hash(&self) -> SecretHash {
        SecretHash(Sha256::digest(self.0).into())
    }

    /// The masked form for people: at most four characters at each end, and never more than a
    /// third of all.
    #[must_use]
    pub fn preview(&self) -> String {
        let shown = (self.0.len() / PREVIEW_PART).min(2 * PREVIEW_CHARS);
        let (head, _) = self.0.split_at(shown.div_ceil(2));
        let (_, tail) = self.0.split_at(self.0.len() - shown / 2);
        format!("{head}…{tail}")
    }
}

impl SecretHash {
    /// Reads 64 hexadecimal digits of either case.
    ///
    /// # Errors
    /// [`NotLegacy::Hash`].
    pub fn read(text: &str) -> Result<Self, NotLegacy> {
        hex::read(text).map(Self).ok_or(NotLegacy::Hash)
    }
}

impl Candidate {
    /// What it is looked up by.
    #[must_use]
    pub const fn public_id(&self) -> PublicId {
        PublicId::of_digest(&self.digest)
    }

    /// Whether it is the stored secret. `None` (nothing is known under its id) is always wrong and
    /// takes the same time.
    #[must_use]
    pub fn is(&self, stored: Option<&StoredSecret>) -> bool {
        let expected = stored.map_or([0; 32], |stored| stored.digest.0);
        let equal: bool = self.digest.0.ct_eq(&expected).into();
        equal && stored.is_some_and(|stored| stored.pepper == self.pepper)
    }
}

impl Peppers {
    /// What a secret may be stored as: under every pepper in use, the newest first.
    pub fn candidates(&self, hash: SecretHash) -> impl Iterator<Item = Candidate> {
        let all = std::iter::once(&self.newest).chain(self.older.iter().rev());
        all.map(move |pepper| {
            let (pepper, digest) = (pepper.version, pepper.digest(&hash.0));
            Candidate { pepper, digest }
        })
    }

    /// What is stored of a legacy secret, and what it is under the older peppers in use. Without
    /// `plain` only its hash is known.
    #[must_use]
    pub fn stored_legacy(
        &self,
        hash: SecretHash,
        plain: Option<Legacy<'_>>,
    ) -> (StoredSecret, Box<[Digest]>) {
        let (pepper, digest) = (self.newest.version, self.newest.digest(&hash.0));
        let preview = plain.map_or_else(|| HASH_ONLY.to_owned(), |plain| plain.preview());
        let public_id = PublicId::of_digest(&digest);
        let older = self.candidates(hash).skip(1).map(|candidate| candidate.digest);
        (StoredSecret { public_id, digest, pepper, preview: preview.into() }, older.collect())
    }
}

impl fmt::Debug for Legacy<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Legacy({} bytes)", self.0.len())
    }
}

impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretHash(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::{Pepper, mint, parse};
    use turnpike_domain::secret::SecretKind;

    fn pepper(version: u16) -> Pepper {
        Pepper::new(PepperVersion(version), &[u8::try_from(version).unwrap(); 32]).unwrap()
    }

    #[test]
    fn a_secret_and_its_hash_are_stored_alike_under_the_newest_pepper() {
        let peppers = Peppers::new(vec![pepper(1), pepper(2)]).unwrap();
        let plain = Legacy::read("acme-prod-0123456789").unwrap();
        let text = "20C9AE8B6C2D6E3E3C8F0B40A0C4F3F4A0E6BDFB3A9F1A17C2B4D3C5E6F70819";
        let other = SecretHash::read(text).unwrap();
        let (stored, older) = peppers.stored_legacy(plain.hash(), Some(plain));
        let (by_hash, _) = peppers.stored_legacy(plain.hash(), None);
        assert_eq!((stored.digest, stored.pepper), (by_hash.digest, PepperVersion(2)));
        assert!(stored.public_id.is_legacy() && older.len() == 1);
        assert_eq!((&*stored.preview, &*by_hash.preview), ("acm…789", "imported as SHA-256"));
        assert_ne!(peppers.stored_legacy(other, None).0.digest, stored.digest);
    }

    #[test]
    fn a_secret_is_found_under_the_pepper_that_it_was_imported_with_and_no_other() {
        let (old, both) = (vec![pepper(1)], vec![pepper(2), pepper(1)]);
        let (old, both) = (Peppers::new(old).unwrap(), Peppers::new(both).unwrap());
        let hash = Legacy::read("acme-prod-0123456789").unwrap().hash();
        let (stored, _) = old.stored_legacy(hash, None);
        let fits = |peppers: &Peppers| {
            let known = |id| (stored.public_id == id).then_some(&stored);
            peppers.candidates(hash).filter(|one| one.is(known(one.public_id()))).count()
        };
        assert_eq!((fits(&old), fits(&both)), (1, 1));
        assert_eq!(fits(&Peppers::new(vec![pepper(3)]).unwrap()), 0);
        let forged = StoredSecret { pepper: PepperVersion(2), ..stored.clone() };
        assert!(!old.candidates(hash).any(|one| one.is(Some(&forged)) || one.is(None)));
    }

    #[test]
    fn what_is_ours_too_short_too_long_or_no_header_is_no_legacy_secret() {
        let ours = mint(SecretKind::Model, &[7; super::super::ENTROPY_BYTES]);
        assert!(parse(ours.expose()).is_ok());
        let long = "x".repeat(MAX_LEGACY_BYTES + 1);
        let cases = [
            (ours.expose(), NotLegacy::Ours),
            ("sk-tp-", NotLegacy::Ours),
            ("mk-tp-anything", NotLegacy::Ours),
            ("1234567", NotLegacy::Length),
            (&long, NotLegacy::Length),
            ("twelve words", NotLegacy::Characters),
            ("schlüssel", NotLegacy::Characters),
        ];
        for (text, want) in cases {
            assert_eq!(Legacy::read(text).unwrap_err(), want, "{text}");
        }
        assert!(Legacy::read(&long[1..]).is_ok() && Legacy::read("sk-proj-12345678").is_ok());
        for text in ["", "ab", &"0".repeat(63), &"g".repeat(64)] {
            assert_eq!(SecretHash::read(text), Err(NotLegacy::Hash), "{text}");
        }
    }

    #[test]
    fn a_preview_never_shows_more_than_a_third() {
        for (text, want) in [
            ("12345678", "1…8"),
            ("123456789", "12…9"),
            ("0123456789abcdefghijklmnopqrstuv", "0123…stuv"),
        ] {
            assert_eq!(Legacy::read(text).unwrap().preview(), want);
        }
    }
}
