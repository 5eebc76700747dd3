//! Tests of the form and the checking of secrets.

use proptest::prelude::*;
use turnpike_domain::secret::{PepperVersion, StoredSecret};

use super::*;

const KINDS: [SecretKind; 4] =
    [SecretKind::Model, SecretKind::Management, SecretKind::Gateway, SecretKind::Invitation];

fn entropy(seed: u8) -> [u8; ENTROPY_BYTES] {
    std::array::from_fn(|at| u8::try_from(at).unwrap().wrapping_mul(7).wrapping_add(seed))
}

fn peppers(versions: &[u16]) -> Peppers {
    let all = versions.iter().map(|version| {
        let key = [u8::try_from(*version).unwrap(); 32];
        Pepper::new(PepperVersion(*version), &key).unwrap()
    });
    Peppers::new(all.collect()).unwrap()
}

#[test]
fn a_secret_has_the_form_of_the_contract() {
    for kind in KINDS {
        let secret = mint(kind, &entropy(1));
        let text = secret.expose();
        assert_eq!(text.len(), TEXT_CHARS);
        let presented = parse(text).unwrap();
        assert_eq!(presented.kind, kind);
        assert_eq!(presented.public_id, secret.public_id());
        assert_eq!(PlainSecret::read(text), Ok(secret.clone()));
        assert_ne!(secret, mint(kind, &entropy(2)));
    }
    // Known answer, computed with another implementation of base62 and CRC-32.
    let zero = mint(SecretKind::Model, &[0; ENTROPY_BYTES]);
    assert_eq!(zero.expose(), format!("sk-tp-{}{}", "0".repeat(59), "2YjXKq"));
}

#[test]
fn nothing_of_a_secret_is_printed() {
    let secret = mint(SecretKind::Model, &entropy(3));
    let presented = parse(secret.expose()).unwrap();
    let printed = format!("{secret:?} {presented:?}");
    assert!(!printed.contains(&secret.expose()[PREFIX_CHARS + PUBLIC_ID_CHARS..][..12]));
    let preview = secret.preview();
    assert_eq!(preview.chars().count(), 15);
    assert!(preview.starts_with(&secret.expose()[..10]));
    assert!(preview.ends_with(&secret.expose()[TEXT_CHARS - 4..]));
}

#[test]
fn only_the_right_secret_under_a_known_pepper_is_accepted() {
    let (old, both, new) = (peppers(&[1]), peppers(&[1, 2]), peppers(&[2]));
    let secret = mint(SecretKind::Model, &entropy(4));
    let other = mint(SecretKind::Model, &entropy(5));
    let stored = old.stored(&secret);
    assert_eq!(stored.pepper, PepperVersion(1));
    assert_eq!(both.stored(&secret).pepper, PepperVersion(2));
    let presented = parse(secret.expose()).unwrap();
    assert!(old.verify(Some(&stored), &presented));
    assert!(both.verify(Some(&stored), &presented));
    assert!(!new.verify(Some(&stored), &presented), "its pepper is gone");
    assert!(!both.verify(Some(&stored), &parse(other.expose()).unwrap()));
    assert!(!both.verify(None, &presented));
}

#[test]
fn bad_peppers_are_refused() {
    assert_eq!(Peppers::new(Vec::new()).err(), Some(NoPepper::None));
    assert_eq!(Pepper::new(PepperVersion(1), &[0; 31]).err(), Some(NoPepper::TooShort));
    let pepper = Pepper::new(PepperVersion(1), &[0; 32]).unwrap();
    assert_eq!(Peppers::new(vec![pepper.clone(), pepper]).err(), Some(NoPepper::Twice(1)));
}

proptest! {
    #[test]
    fn any_single_changed_character_is_noticed(
        seed: u8,
        at in 0..TEXT_CHARS,
        with in proptest::char::range(' ', '~'),
    ) {
        let secret = mint(SecretKind::Model, &entropy(seed));
        let mut text = secret.expose().to_owned();
        let with = with.to_string();
        prop_assume!(text[at..=at] != with);
        text.replace_range(at..=at, &with);
        prop_assert!(parse(&text).is_err());
    }

    #[test]
    fn any_text_is_read_without_harm(text in ".{0,90}", tail in "(sk|mk|gk|iv|ek)-tp-.{0,80}") {
        prop_assert!(parse(&text).is_err());
        prop_assert!(parse(&tail).is_err());
    }
}

#[test]
fn secrets_are_left_out_of_a_text_and_nothing_else_is() {
    let (one, two) = (mint(SecretKind::Model, &entropy(1)), mint(SecretKind::Gateway, &entropy(2)));
    let (one, two) = (one.expose(), two.expose());
    let cases = [
        (one.to_owned(), "(secret)".to_owned()),
        (format!("models/{one}:x{two}"), "models/(secret):x(secret)".to_owned()),
        (format!("\u{e9}{one}\u{e9}"), "\u{e9}(secret)\u{e9}".to_owned()),
        (format!("sk-tp-{one}"), "sk-tp-(secret)".to_owned()),
        // Cut, mistyped, or a token.
        (one[..TEXT_CHARS - 1].to_owned(), "(secret)".to_owned()),
        (format!("{one}x {}", &two[..40]), "(secret) (secret)".to_owned()),
        (format!("ek{}{}", &one[2..], "a".repeat(300)), "(secret)".to_owned()),
        (format!("{}{two}", &one[..30]), "(secret)(secret)".to_owned()),
    ];
    for (text, wanted) in cases {
        assert_eq!(without_secrets(&text), wanted);
    }
    let public = &one[..22];
    for text in
        ["", "llama-70b-tp-8", "-tp-", "\u{e9}-tp-", "sk-tp-", "xx-tp-0123456789abcdefg", public]
    {
        assert_eq!(without_secrets(text), text);
    }
}

/// The short form of T31: whether or not the public id is known, a wrong secret is hashed once and
/// as a whole.
#[test]
fn an_unknown_id_is_hashed_as_often_as_a_known_one() {
    let (peppers, right) = (peppers(&[1, 2]), mint(SecretKind::Model, &entropy(1)));
    let stored = peppers.stored(&right);
    let wrong = mint(SecretKind::Model, &entropy(2));
    let hashes = |stored: Option<&StoredSecret>| {
        let before = pepper::HASHES.get();
        assert!(!peppers.verify(stored, &parse(wrong.expose()).unwrap()));
        pepper::HASHES.get() - before
    };
    assert_eq!((hashes(Some(&stored)), hashes(None)), (1, 1));
}
