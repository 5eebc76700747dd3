//! Forms: how a type is written and read by numbers, and how it is shown as JSON by names.
//!
//! A number is given once and never again: a field that is gone leaves its number behind. A field
//! that is absent is `None` (or the default, where the form says so); a field that is not known is
//! passed over. So old readers read new forms and new readers old ones.

mod basic;
mod tables;

use serde_json::Value;

use crate::cbor::{Malformed, Reader, Writer};

/// A type with a stored form.
pub trait Form: Sized {
    /// Writes it.
    fn write(&self, out: &mut Writer);

    /// Reads it.
    ///
    /// # Errors
    /// [`Malformed`].
    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed>;

    /// Whether a field that holds it is left out.
    fn is_absent(&self) -> bool {
        false
    }

    /// What a field that was left out holds, if it may be.
    fn absent() -> Option<Self> {
        None
    }
}

/// A type with a JSON form: fields by name, ids as TypeIDs, money as decimal text, times as RFC
/// 3339.
pub trait Json {
    /// The JSON form.
    fn json(&self) -> Value;
}

/// A closed set of names, each with a number.
pub trait Named: Copy + Sized + 'static {
    /// What is named, for messages.
    const NOUN: &'static str;
    /// All names.
    const NAMES: &'static [&'static str];

    /// The name in JSON.
    fn name(self) -> &'static str;

    /// By its name.
    fn from_name(name: &str) -> Option<Self>;
}

/// The bytes of a value.
#[must_use]
pub fn encode<T: Form>(value: &T) -> Vec<u8> {
    let mut out = Writer::default();
    value.write(&mut out);
    out.into_bytes()
}

/// The value of bytes, all of them.
///
/// # Errors
/// [`Malformed`].
pub fn decode<T: Form>(bytes: &[u8]) -> Result<T, Malformed> {
    let mut from = Reader::new(bytes)?;
    let value = T::read(&mut from)?;
    from.end()?;
    Ok(value)
}

/// What a field holds after its map was read.
///
/// # Errors
/// [`Malformed::Missing`].
#[doc(hidden)]
pub fn field<T: Form>(read: Option<T>, form: &'static str, field: u64) -> Result<T, Malformed> {
    read.or_else(T::absent).ok_or(Malformed::Missing { form, field })
}

/// Whether a field marked `[default]` is left out.
#[doc(hidden)]
#[must_use]
pub fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[cfg(test)]
mod tests;
