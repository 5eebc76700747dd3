//! A configured secret: given as itself, or as a file that holds it.

use std::fmt;
use std::path::Path;

use secrecy::{ExposeSecret, SecretString};
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What begins a reference to a file.
const FILE: &str = "file:";
/// What is shown of a secret that was given as itself.
const HIDDEN: &str = "(hidden)";
/// No secret of ours is larger than a PEM file of some keys.
const MAX_FILE_BYTES: u64 = 64 << 10;

/// A secret of the configuration: `"file:/run/secrets/pepper"`, or the secret itself. Printing and
/// serialising shows the reference, never what it holds.
#[derive(Clone, Default)]
pub struct Secret {
    value: SecretString,
    /// The reference as it was given.
    reference: Option<String>,
}

impl Secret {
    /// The secret, without the line break at the end of its file. Do not keep it.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.value.expose_secret()
    }

    fn parse(text: &str) -> Result<Self, String> {
        let Some(path) = text.strip_prefix(FILE) else {
            return Ok(Self { value: text.into(), reference: None });
        };
        let value = read(Path::new(path)).map_err(|why| format!("{text} {why}"))?;
        Ok(Self { value, reference: Some(text.to_owned()) })
    }

    fn shown(&self) -> &str {
        self.reference.as_deref().unwrap_or(HIDDEN)
    }
}

fn read(path: &Path) -> Result<SecretString, String> {
    let unreadable = |error| format!("cannot be read: {error}");
    if std::fs::metadata(path).map_err(unreadable)?.len() > MAX_FILE_BYTES {
        return Err("is over 64 KiB: is it a secret?".to_owned());
    }
    let text = std::fs::read_to_string(path).map_err(unreadable)?;
    let value = text.trim_end_matches(['\r', '\n']);
    if value.is_empty() { Err("is empty".to_owned()) } else { Ok(value.into()) }
}

impl From<SecretString> for Secret {
    fn from(value: SecretString) -> Self {
        Self { value, reference: None }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.shown())
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.shown())
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextOnly)
    }
}

/// Takes a text and nothing else; serde's own refusal of a number would repeat the number.
struct TextOnly;

impl TextOnly {
    fn refuse<E: de::Error>() -> Result<Secret, E> {
        Err(E::custom("a secret is a text"))
    }
}

impl Visitor<'_> for TextOnly {
    type Value = Secret;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a secret, or file: and the path of a file that holds it")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Secret, E> {
        Secret::parse(text).map_err(E::custom)
    }

    fn visit_bool<E: de::Error>(self, _: bool) -> Result<Secret, E> {
        Self::refuse()
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<Secret, E> {
        Self::refuse()
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<Secret, E> {
        Self::refuse()
    }
}
