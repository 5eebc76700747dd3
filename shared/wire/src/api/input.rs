//! Reading what callers send: by hand, so that all mistakes are told at once and each by its place.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use turnpike_domain::refusal::FieldError;

use super::text::{Text, TextForm};

/// What an empty list is answered with: nobody can tell whether it means "all" or "none".
pub const EMPTY_LIST: &str =
    "must not be empty: use null for no restriction, or disable the key to allow nothing";

/// The mistakes of one body, in the order in which they were found.
pub type Mistakes = Vec<FieldError>;

/// A shape that callers send.
pub trait Input: Sized {
    /// Reads it. What is wrong is added to `mistakes`; then the answer is what stands in for it, so
    /// that the rest can still be checked, or nothing if nothing can.
    fn read(value: &Value, pointer: &str, mistakes: &mut Mistakes) -> Option<Self>;

    /// What a field that is not there holds, if it need not be.
    #[must_use]
    fn absent() -> Option<Self> {
        None
    }

    /// What stands in for a value that could not be read.
    #[must_use]
    fn blank() -> Option<Self> {
        Self::absent()
    }
}

/// A change as RFC 7396 has it, but that `null` is kept: it reads as absent, and an unknown field
/// is still found.
pub fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(changes) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    if let Value::Object(fields) = target {
        for (name, change) in changes {
            merge(fields.entry(name.as_str()).or_insert(Value::Null), change);
        }
    }
}

/// Takes out of an object what is `null`, at every depth: the rest of RFC 7396.
pub fn remove_nulls(value: &mut Value) {
    if let Value::Object(fields) = value {
        fields.retain(|_, field| !field.is_null());
        fields.values_mut().for_each(remove_nulls);
    }
}

/// One step of a JSON pointer, escaped as RFC 6901 §3 says.
#[must_use]
pub fn step(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// The fields of an object while it is read.
pub struct Fields<'a> {
    fields: &'a Map<String, Value>,
    known: Vec<&'static str>,
    pointer: &'a str,
}

impl<'a> Fields<'a> {
    /// Opens an object.
    pub fn open(value: &'a Value, pointer: &'a str, mistakes: &mut Mistakes) -> Option<Self> {
        let fields = value.as_object();
        if fields.is_none() {
            mistake(mistakes, pointer, "must be an object");
        }
        Some(Self { fields: fields?, known: Vec::new(), pointer })
    }

    /// Reads one field.
    pub fn take<T: Input>(&mut self, name: &'static str, mistakes: &mut Mistakes) -> Option<T> {
        self.known.push(name);
        let pointer = format!("{}/{name}", self.pointer);
        match (self.fields.get(name), T::absent()) {
            (Some(value), _) => T::read(value, &pointer, mistakes).or_else(T::blank),
            (None, Some(absent)) => Some(absent),
            (None, None) => {
                mistake(mistakes, &pointer, "must be given");
                T::blank()
            }
        }
    }

    /// Tells the fields that nobody has taken.
    pub fn close(self, mistakes: &mut Mistakes) {
        for name in self.fields.keys().filter(|name| !self.known.contains(&name.as_str())) {
            let pointer = format!("{}/{}", self.pointer, step(name));
            mistake(mistakes, &pointer, "is not a field of this");
        }
    }
}

/// Declares a shape that is both read from callers and sent by clients.
macro_rules! shape {
    ($(#[$doc:meta])* $name:ident {
        $($(#[$field_doc:meta])* $field:ident: $type:ty,)*
    }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
        #[derive(utoipa::ToSchema)]
        #[serde(deny_unknown_fields)]
        pub struct $name {
            $($(#[$field_doc])* pub $field: $type,)*
        }

        impl $crate::api::input::Input for $name {
            fn read(
                value: &serde_json::Value,
                pointer: &str,
                mistakes: &mut $crate::api::input::Mistakes,
            ) -> Option<Self> {
                let mut fields = $crate::api::input::Fields::open(value, pointer, mistakes)?;
                $(let $field = fields.take(stringify!($field), mistakes);)*
                fields.close(mistakes);
                Some(Self { $($field: $field?,)* })
            }
        }
    };
}

pub(crate) use shape;

/// Adds a mistake.
pub fn mistake(mistakes: &mut Mistakes, pointer: &str, message: impl Into<String>) {
    mistakes.push(FieldError { pointer: pointer.into(), message: message.into() });
}

impl Input for String {
    fn read(value: &Value, pointer: &str, mistakes: &mut Mistakes) -> Option<Self> {
        if !value.is_string() {
            mistake(mistakes, pointer, "must be a text");
        }
        value.as_str().map(Into::into)
    }

    fn blank() -> Option<Self> {
        Some(Self::new())
    }
}

impl Input for bool {
    fn read(value: &Value, pointer: &str, mistakes: &mut Mistakes) -> Option<Self> {
        if !value.is_boolean() {
            mistake(mistakes, pointer, "must be true or false");
        }
        value.as_bool()
    }
}

macro_rules! numbers {
    ($($type:ident)+) => {$(
        impl Input for $type {
            fn read(value: &Value, pointer: &str, mistakes: &mut Mistakes) -> Option<Self> {
                let number = value.as_u64().and_then(|number| Self::try_from(number).ok());
                if number.is_none() {
                    let message = format!("must be a whole number from 0 to {}", Self::MAX);
                    mistake(mistakes, pointer, message);
                }
                number
            }
        }
    )+};
}

numbers!(u8 u16 u32 u64);

impl<T: TextForm> Input for Text<T> {
    fn read(value: &Value, pointer: &str, mistakes: &mut Mistakes) -> Option<Self> {
        let what = || Err(format!("must be {}", T::WHAT));
        match value.as_str().map_or_else(what, T::read) {
            Ok(read) => Some(Self(read)),
            Err(message) => {
                mistake(mistakes, pointer, message);
                None
            }
        }
    }
}

impl<T: Input> Input for Option<T> {
    fn read(value: &Value, pointer: &str, mistakes: &mut Mistakes) -> Option<Self> {
        if value.is_null() { Some(None) } else { T::read(value, pointer, mistakes).map(Some) }
    }

    fn absent() -> Option<Self> {
        Some(None)
    }
}

impl<T: Input> Input for Vec<T> {
    fn read(value: &Value, pointer: &str, mistakes: &mut Mistakes) -> Option<Self> {
        let Some(items) = value.as_array() else {
            mistake(mistakes, pointer, "must be a list");
            return None;
        };
        if items.is_empty() {
            mistake(mistakes, pointer, EMPTY_LIST);
        }
        let read =
            |(place, item): (usize, &Value)| T::read(item, &format!("{pointer}/{place}"), mistakes);
        let read: Vec<Option<T>> = items.iter().enumerate().map(read).collect();
        read.into_iter().collect()
    }
}

/// By name; what is `null` is not there.
impl<T: Input> Input for BTreeMap<String, T> {
    fn read(value: &Value, pointer: &str, mistakes: &mut Mistakes) -> Option<Self> {
        let Some(fields) = value.as_object() else {
            mistake(mistakes, pointer, "must be an object");
            return None;
        };
        let mut read = Self::new();
        for (name, field) in fields.iter().filter(|(_, field)| !field.is_null()) {
            let pointer = format!("{pointer}/{}", step(name));
            if let Some(field) = T::read(field, &pointer, mistakes) {
                read.insert(name.clone(), field);
            }
        }
        Some(read)
    }
}

/// Any object.
impl Input for Map<String, Value> {
    fn read(value: &Value, pointer: &str, mistakes: &mut Mistakes) -> Option<Self> {
        if !value.is_object() {
            mistake(mistakes, pointer, "must be an object");
        }
        value.as_object().cloned()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::key::KeyForm;

    fn mistakes(value: &Value) -> Vec<(String, String)> {
        let mut mistakes = Vec::new();
        let read = KeyForm::read(value, "", &mut mistakes);
        assert!(read.is_some() || !mistakes.is_empty());
        mistakes.into_iter().map(|found| (found.pointer, found.message)).collect()
    }

    #[test]
    fn all_mistakes_are_told_at_once_and_by_their_place() {
        let limits = json!({ "cost_usd": 25, "alert_percent": [1, 256, "x"], "tokens": null });
        let told = mistakes(&json!({ "limits": limits, "metadata": 1, "na~me": 1 }));
        let places: Vec<_> = told.iter().map(|(pointer, _)| pointer.as_str()).collect();
        let expected = [
            "/name",
            "/limits/cost_usd",
            "/limits/alert_percent/1",
            "/limits/alert_percent/2",
            "/metadata",
            "/na~0me",
        ];
        assert_eq!(places, expected);
        assert!(told[1].1.contains("decimal string"), "{told:?}");
        let empty = json!({ "name": "a", "scopes": { "models": [] } });
        assert_eq!(mistakes(&empty), [("/scopes/models".to_owned(), EMPTY_LIST.to_owned())]);
        assert_eq!(mistakes(&json!([])), [(String::new(), "must be an object".to_owned())]);
        assert_eq!(mistakes(&json!({ "name": "a", "limits": null })), []);
    }

    #[test]
    fn a_patch_changes_what_it_names() {
        let mut target = json!({ "a": { "b": 1, "c": 2 }, "d": 3 });
        merge(&mut target, &json!({ "a": { "b": null, "e": { "f": 1 } }, "d": [1] }));
        assert_eq!(target, json!({ "a": { "b": null, "c": 2, "e": { "f": 1 } }, "d": [1] }));
        remove_nulls(&mut target);
        assert_eq!(target, json!({ "a": { "c": 2, "e": { "f": 1 } }, "d": [1] }));
    }
}
