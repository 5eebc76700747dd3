//! What the control plane answers, every number digit for digit.

use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};

use serde::ser::Error as _;
use serde::{Serialize, Serializer};
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Result, Value};

/// An answer: its JSON, to be passed on, and its value, to be looked at.
///
/// A value holds numbers of 64 bits, and positions have 96: one that it cannot hold is the text of
/// its digits there. The feature of `serde_json` that holds them reaches every crate of a build,
/// the gateway's among them, and breaks numbers of flattened types.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    json: Box<RawValue>,
    value: Value,
}

/// JSON that is written as it was read, but for the white space that its reader wants.
struct Exact<'a>(&'a RawValue);

impl Answer {
    /// Reads what was sent.
    ///
    /// # Errors
    /// It is no JSON.
    pub(crate) fn read(json: &[u8]) -> Result<Self> {
        Self::new(serde_json::from_slice(json)?)
    }

    /// What is put together here.
    ///
    /// # Errors
    /// It cannot be written as JSON.
    pub(crate) fn of(told: &impl Serialize) -> Result<Self> {
        Self::new(to_raw_value(told)?)
    }

    /// The field of that name, if there is one.
    ///
    /// # Errors
    /// It has no fields.
    pub(crate) fn part(&self, name: &str) -> Result<Option<Self>> {
        let mut parts: BTreeMap<String, Box<RawValue>> = serde_json::from_str(self.json.get())?;
        parts.remove(name).map(Self::new).transpose()
    }

    /// The entries of the list of that name; none if there is none.
    ///
    /// # Errors
    /// It has no fields, or the field is no list.
    pub(crate) fn entries(&self, name: &str) -> Result<Vec<Self>> {
        let Some(list) = self.part(name)? else { return Ok(Vec::new()) };
        let entries: Vec<Box<RawValue>> = serde_json::from_str(list.json.get())?;
        entries.into_iter().map(Self::new).collect()
    }

    fn new(json: Box<RawValue>) -> Result<Self> {
        let mut value = serde_json::from_str(json.get())?;
        keep_digits(&mut value, &json)?;
        Ok(Self { json, value })
    }
}

impl Deref for Answer {
    type Target = Value;

    fn deref(&self) -> &Value {
        &self.value
    }
}

/// What is changed is changed for people: programs are passed on what came.
impl DerefMut for Answer {
    fn deref_mut(&mut self) -> &mut Value {
        &mut self.value
    }
}

impl Serialize for Answer {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        Exact(&self.json).serialize(serializer)
    }
}

impl Serialize for Exact<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let json = self.0.get();
        if json.starts_with('{') {
            let parts: BTreeMap<String, &RawValue> =
                serde_json::from_str(json).map_err(S::Error::custom)?;
            serializer.collect_map(parts.into_iter().map(|(name, part)| (name, Exact(part))))
        } else if json.starts_with('[') {
            let parts: Vec<&RawValue> = serde_json::from_str(json).map_err(S::Error::custom)?;
            serializer.collect_seq(parts.into_iter().map(Exact))
        } else {
            self.0.serialize(serializer)
        }
    }
}

/// Puts the digits of `json` in the place of whole numbers that `value` has rounded.
fn keep_digits(value: &mut Value, json: &RawValue) -> Result<()> {
    match value {
        Value::Number(number) if number.is_f64() => {
            let digits = json.get();
            if digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-') {
                *value = digits.into();
            }
            Ok(())
        }
        Value::Array(items) => {
            let parts: Vec<&RawValue> = serde_json::from_str(json.get())?;
            items.iter_mut().zip(parts).try_for_each(|(item, part)| keep_digits(item, part))
        }
        Value::Object(fields) => {
            let parts: BTreeMap<String, &RawValue> = serde_json::from_str(json.get())?;
            parts.into_iter().try_for_each(|(name, part)| match fields.get_mut(&name) {
                Some(field) => keep_digits(field, part),
                None => Ok(()),
            })
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The largest position: 96 bits, all of them set.
    const LARGEST: &str = "79228162514264337593543950335";

    fn page() -> Answer {
        let place = format!(r#"{{ "position": {LARGEST}, "seq": 18446744073709551615 }}"#);
        let text = format!(r#"{{ "data": [{place}, {{ "share": 33.330, "name": "1e5\n" }}] }}"#);
        Answer::read(text.as_bytes()).unwrap()
    }

    #[test]
    fn numbers_are_passed_on_digit_for_digit() {
        let short = r#"{"name":"1e5\n","share":33.330}"#;
        let place = format!(r#"{{"position":{LARGEST},"seq":18446744073709551615}}"#);
        let wanted = format!(r#"{{"data":[{place},{short}]}}"#);
        assert_eq!(serde_json::to_string(&page()).unwrap(), wanted);
        let lines = serde_json::to_string_pretty(&page()).unwrap();
        let line = format!("      \"position\": {LARGEST},");
        assert_eq!(lines.lines().nth(3), Some(line.as_str()), "{lines}");
        // Pages that are put together, and what is taken out of one.
        let all = Answer::of(&json!({ "all": 1 })).unwrap();
        assert_eq!(serde_json::to_string(&all).unwrap(), r#"{"all":1}"#);
        let entries = Answer::of(&page().entries("data").unwrap()).unwrap();
        assert_eq!(serde_json::to_string(&entries).unwrap(), format!("[{place},{short}]"));
        assert!(page().entries("rows").unwrap().is_empty());
        assert!(page().part("report").unwrap().is_none());
    }

    #[test]
    fn people_are_shown_all_digits() {
        let page = page();
        assert_eq!(page["data"][0]["position"], LARGEST);
        assert_eq!(page["data"][0]["seq"], u64::MAX);
        assert_eq!(page["data"][1]["share"], 33.33);
        let below = Answer::read(b"[-79228162514264337593543950335]").unwrap();
        assert_eq!(below[0], "-79228162514264337593543950335");
    }

    #[test]
    fn what_is_no_json_is_no_answer() {
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        for text in ["", "{", "{\"a\":01}", "[1,]", "\"\u{7}\"", &deep] {
            assert!(Answer::read(text.as_bytes()).is_err(), "{:.20}", text);
        }
    }
}
