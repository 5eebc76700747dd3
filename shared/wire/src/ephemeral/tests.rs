//! Tests of tokens as text: signed and read back, changed, forged and too long.

use std::collections::BTreeSet;

use proptest::prelude::*;
use turnpike_domain::id::{EphemeralId, KeyId, OrgId};
use turnpike_domain::money::NanoUsd;
use turnpike_domain::scope::{Allow, Attenuation};
use turnpike_domain::secret::PublicId;
use turnpike_domain::time::Timestamp;

use super::*;
use crate::samples;

fn key() -> SigningKey {
    SigningKey::from_seed(&[1; 32])
}

fn signers() -> Signers {
    key().verifying_key().into()
}

fn claims(attenuation: Attenuation) -> Claims {
    Claims {
        token: EphemeralId(1),
        org: OrgId(2),
        key: KeyId(3),
        public_id: PublicId(*b"AbCdEfGhIjKlMnOp"),
        generation: 4,
        issued_at: Timestamp(5),
        expires_at: Timestamp(6),
        attenuation,
        cost_cap: Some(NanoUsd(7)),
        token_cap: Some(8),
    }
}

fn models(count: usize) -> Attenuation {
    let names: BTreeSet<Box<str>> =
        (0..count).map(|number| format!("a-model-of-some-{number:04}").into()).collect();
    Attenuation { models: Allow::Only(names), ..Attenuation::default() }
}

#[test]
fn a_token_is_a_word_that_is_read_back() {
    let claims = claims(Attenuation::default());
    let text = sign(&claims, &key()).unwrap();
    assert!(is_token(text.expose()) && text.expose().len() < 290, "{}", text.expose().len());
    assert!(text.expose()[PREFIX.len()..].bytes().all(|byte| byte.is_ascii_alphanumeric()));
    assert_eq!(verify(text.expose(), &signers()), Ok(claims.clone()));
    assert_eq!(text.preview().chars().count(), 15);
    assert!(!format!("{text:?}").contains(&text.expose()[8..20]), "it does not print");
    let again = sign(&claims, &key()).unwrap();
    assert_eq!(again.expose(), text.expose(), "a lost answer is made again");
}

#[test]
fn every_changed_character_is_noticed() {
    let text = sign(&claims(models(3)), &key()).unwrap().expose().to_owned();
    for place in 0..text.len() {
        let mut changed = text.clone().into_bytes();
        changed[place] = if changed[place] == b'a' { b'b' } else { b'a' };
        let changed = String::from_utf8(changed).unwrap();
        assert!(verify(&changed, &signers()).is_err(), "character {place}");
    }
    for cut in [0, 5, 6, 12, text.len() - 1] {
        assert!(verify(&text[..cut], &signers()).is_err(), "cut at {cut}");
    }
}

#[test]
fn only_a_known_signer_makes_tokens() {
    let claims = claims(Attenuation::default());
    let foreign = sign(&claims, &SigningKey::from_seed(&[2; 32])).unwrap();
    assert_eq!(verify(foreign.expose(), &signers()), Err(NotAToken::Signer));
    let both = Signers::new([2, 1].map(|seed| SigningKey::from_seed(&[seed; 32]).verifying_key()));
    assert_eq!(verify(foreign.expose(), &both), Ok(claims));
}

/// Claims that somebody widened, with the old signature or one of another thing.
#[test]
fn a_signature_is_of_these_claims_as_a_token() {
    let mine = sign(&claims(models(1)), &key()).unwrap();
    let wide = sign(&claims(Attenuation::default()), &key()).unwrap();
    let (narrow, wide) = (payload(mine.expose()).unwrap(), payload(wide.expose()).unwrap());
    let (signed, _) = wide.split_at(wide.len() - SIGNATURE_BYTES);
    let (_, of_narrow) = narrow.split_at(narrow.len() - SIGNATURE_BYTES);
    let of_beat = key().sign(Signed::Heartbeat, signed);
    for signature in [of_narrow, &of_beat] {
        let forged = [signed, signature].concat();
        let mut text = format!("{PREFIX}{}", base62::word(&forged));
        text.extend(checksum(text.as_bytes()).map(char::from));
        assert_eq!(verify(&text, &signers()), Err(NotAToken::Forged));
    }
}

#[test]
fn a_token_has_at_most_two_kilobytes() {
    assert!(sign(&claims(models(50)), &key()).unwrap().expose().len() <= MAX_TEXT_BYTES);
    let error = sign(&claims(models(100)), &key()).unwrap_err();
    assert!(error.0 > MAX_TEXT_BYTES, "{error}");
    let long = format!("{PREFIX}{}", "a".repeat(MAX_TEXT_BYTES));
    assert_eq!(verify(&long, &signers()), Err(NotAToken::Shape));
}

proptest! {
    #[test]
    fn all_claims_come_back(attenuation in samples::any_attenuation(), numbers: [u128; 3],
        times: [u64; 2], public_id: [u8; 16], generation: u32, cost: Option<i64>) {
        let claims = Claims {
            token: EphemeralId(numbers[0]),
            org: OrgId(numbers[1]),
            key: KeyId(numbers[2]),
            public_id: PublicId(public_id),
            generation,
            issued_at: Timestamp(times[0]),
            expires_at: Timestamp(times[1]),
            attenuation,
            cost_cap: cost.map(NanoUsd),
            token_cap: cost.map(i64::unsigned_abs).filter(|cap| cap % 2 == 0),
        };
        if let Ok(text) = sign(&claims, &key()) {
            prop_assert_eq!(verify(text.expose(), &signers()), Ok(claims));
        }
    }

    #[test]
    fn arbitrary_words_are_read_without_harm(bytes: Vec<u8>) {
        let mut text = format!("{PREFIX}{}", base62::word(&bytes));
        text.extend(checksum(text.as_bytes()).map(char::from));
        prop_assert!(verify(&text, &signers()).is_err());
    }
}
