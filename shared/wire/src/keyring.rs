//! Keys as they stand in a configuration: `1:HEX`, or `1:HEX,2:HEX` while they are renewed.

use std::collections::BTreeMap;

use turnpike_domain::secret::PepperVersion;

use crate::seal::{Purpose, SealingKey, SealingKeys};
use crate::secret::{Pepper, Peppers};
use crate::sign::{SigningKey, SigningKeys};

/// Versions that can be in use at a time: more is a list that nobody cleans.
const MAX_VERSIONS: usize = 16;

/// Reads peppers, each of at least 32 bytes.
///
/// # Errors
/// A sentence's end that says what is wrong, without the value.
pub fn peppers(text: &str) -> Result<Peppers, String> {
    let peppers = parse(text)?
        .into_iter()
        .map(|(version, key)| Pepper::new(PepperVersion(version), &key))
        .collect::<Result<_, _>>();
    peppers.and_then(Peppers::new).map_err(|error| format!("cannot be used: {error}"))
}

/// Reads sealing keys, each of 32 bytes.
///
/// # Errors
/// As [`peppers`].
pub fn sealing(purpose: Purpose, text: &str) -> Result<SealingKeys, String> {
    let keys = parse(text)?
        .into_iter()
        .map(|(version, key)| Ok(SealingKey::new(version, &exact(key)?)))
        .collect::<Result<_, String>>()?;
    SealingKeys::new(purpose, keys).map_err(|error| format!("cannot be used: {error}"))
}

/// Reads the seeds of signing keys, each of 32 bytes. The one of version `sign_with` signs; 0: the
/// highest.
///
/// # Errors
/// As [`peppers`].
pub fn signing(text: &str, sign_with: u16) -> Result<SigningKeys, String> {
    let mut keys = BTreeMap::new();
    for (version, seed) in parse(text)? {
        if keys.insert(version, SigningKey::from_seed(&exact(seed)?)).is_some() {
            return Err(format!("cannot be used: version {version} stands there twice"));
        }
    }
    let public: Vec<_> = keys.values().map(SigningKey::verifying_key).collect();
    let current = match sign_with {
        0 => keys.pop_last().map(|(_, highest)| highest),
        version => keys.remove(&version),
    };
    let current = current.ok_or("names a version that is not among the signing keys")?;
    Ok(SigningKeys::new(current, public))
}

/// The bytes of hexadecimal digits of either case.
#[must_use]
pub fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit =
        |byte: &u8| char::from(*byte).to_digit(16).and_then(|value| u8::try_from(value).ok());
    let pair = |pair: &[u8]| match pair {
        [high, low] => Some(digit(high)? << 4 | digit(low)?),
        _ => None,
    };
    text.as_bytes().chunks(2).map(pair).collect()
}

fn parse(text: &str) -> Result<Vec<(u16, Vec<u8>)>, String> {
    let shape = || "must be VERSION:HEX, several with commas between".to_owned();
    if text.is_empty() || text.split(',').count() > MAX_VERSIONS {
        return Err(shape());
    }
    let one = |one: &str| {
        let (version, key) = one.trim().split_once(':').ok_or_else(shape)?;
        let version = version.parse().map_err(|_| shape())?;
        Ok((version, unhex(key).ok_or_else(shape)?))
    };
    text.split(',').map(one).collect()
}

fn exact(key: Vec<u8>) -> Result<[u8; 32], String> {
    key.try_into().map_err(|_| "must be of 32 bytes (64 digits)".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hex;

    #[test]
    fn versions_are_read_and_mistakes_named() {
        let key = "00112233445566778899aabbccddeeff00112233445566778899AABBCCDDEEFF";
        let sealing = |text: &str| sealing(Purpose::ProviderCredential, text);
        assert!(peppers(&format!("1:{key}")).is_ok());
        assert!(sealing(&format!("2:{key}, 3:{key}")).is_ok());
        let twice = format!("1:{key},1:{key}");
        for wrong in ["", key, "1:", "1:0", "1:zz", &format!("x:{key}"), &twice] {
            assert!(peppers(wrong).is_err(), "{wrong}");
            assert!(sealing(wrong).is_err(), "{wrong}");
        }
        assert!(sealing(&format!("1:{key}00")).is_err());
        assert!(peppers(&format!("1:{key}00")).is_ok());
    }

    #[test]
    fn the_highest_version_signs_unless_another_is_named() {
        let [old, new] = ["0a", "0b"].map(|byte| byte.repeat(32));
        let id = |seed: u8| SigningKey::from_seed(&[seed; 32]).verifying_key().id();
        let both = format!("2:{new},1:{old}");
        for (sign_with, signs) in [(0, 11), (2, 11), (1, 10)] {
            let keys = signing(&both, sign_with).unwrap();
            assert_eq!(keys.current().verifying_key().id(), id(signs), "{sign_with}");
            assert!([10, 11].iter().all(|seed| keys.signers().find(id(*seed)).is_some()));
        }
        let twice = format!("1:{old},1:{new}");
        for (wrong, sign_with) in
            [("", 0), (&*old, 0), ("1:00", 0), ("1:", 0), (&*twice, 0), (&*both, 3)]
        {
            assert!(signing(wrong, sign_with).is_err(), "{wrong} {sign_with}");
        }
    }

    #[test]
    fn bytes_go_there_and_back() {
        assert_eq!(unhex(&hex::write(&[0, 9, 255])), Some(vec![0, 9, 255]));
    }
}
