//! Values of flags, read as the JSON that is sent for them.
//!
//! `none` is null: no restriction, and in a change, the end of one.

use serde_json::{Map, Value};
use turnpike_domain::money::NanoUsd;

use super::expiry::duration_ms;

/// The word for null.
const NONE: &str = "none";

/// A text, or `none`.
pub(crate) fn nullable(text: &str) -> Result<Value, String> {
    Ok(if text == NONE { Value::Null } else { text.into() })
}

/// An amount in USD, such as `25` or `0.005`, or `none`.
pub(crate) fn usd(text: &str) -> Result<Value, String> {
    if text != NONE {
        text.parse::<NanoUsd>().map_err(|error| error.to_string())?;
    }
    nullable(text)
}

/// An amount in USD, such as `25` or `0.005`.
pub(crate) fn amount(text: &str) -> Result<String, String> {
    text.parse::<NanoUsd>().map_err(|error| error.to_string())?;
    Ok(text.to_owned())
}

/// A whole number, or `none`. Underscores between digits help people to count zeros.
pub(crate) fn whole(text: &str) -> Result<Value, String> {
    if text == NONE {
        return Ok(Value::Null);
    }
    let number: Result<u64, _> = text.replace('_', "").parse();
    number.map(Value::from).map_err(|_| "must be a whole number, or none".to_owned())
}

/// Texts with commas between, or `none`.
pub(crate) fn list(text: &str) -> Result<Value, String> {
    if text == NONE {
        return Ok(Value::Null);
    }
    let items = text.split(',').map(str::trim);
    if items.clone().any(str::is_empty) {
        return Err("must be names with commas between, or none for no restriction".to_owned());
    }
    Ok(items.collect())
}

/// A server, and its tools with commas between, or `none`.
pub(crate) fn tools(text: &str) -> Result<(String, Value), String> {
    let pair = text.split_once('=').filter(|(server, _)| !server.is_empty());
    let (server, names) = pair.ok_or("must be a server and its tools such as search=find,read")?;
    Ok((server.to_owned(), list(names)?))
}

/// Percentages with commas between, or `none`.
pub(crate) fn percents(text: &str) -> Result<Value, String> {
    if text == NONE {
        return Ok(Value::Null);
    }
    let read = |item: &str| item.trim().trim_end_matches('%').parse::<u8>();
    let percents: Result<Vec<u8>, _> = text.split(',').map(read).collect();
    percents.map(Value::from).map_err(|_| "must be percentages such as 50,80,100".to_owned())
}

/// A JSON object, or `none`.
pub(crate) fn object(text: &str) -> Result<Value, String> {
    if text == NONE {
        return Ok(Value::Null);
    }
    let value: Result<Value, _> = serde_json::from_str(text);
    let value = value.ok().filter(Value::is_object);
    value.ok_or_else(|| "must be a JSON object such as {\"team\":\"x\"}".to_owned())
}

/// Whole seconds: a number, or a time such as `10m` or `24h`.
pub(crate) fn seconds(text: &str) -> Result<u64, String> {
    let seconds = duration_ms(text).map(|ms| ms / 1_000).or_else(|| text.parse().ok());
    seconds.ok_or_else(|| "must be seconds, or a time such as 10m, 24h or 2d".to_owned())
}

/// The fields of an object that were given.
pub(crate) fn some<const N: usize>(fields: [(&str, Option<Value>); N]) -> Map<String, Value> {
    fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

/// An object of the fields that were given; `None` without any.
pub(crate) fn given<const N: usize>(fields: [(&str, Option<Value>); N]) -> Option<Value> {
    let fields = some(fields);
    (!fields.is_empty()).then_some(Value::Object(fields))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_become_the_json_that_is_sent() {
        assert_eq!(usd("25"), Ok(json!("25")));
        assert_eq!(whole("1_000_000"), Ok(json!(1_000_000)));
        assert_eq!(list("a, b"), Ok(json!(["a", "b"])));
        assert_eq!(percents("50,80%,100"), Ok(json!([50, 80, 100])));
        assert_eq!(object(r#"{"team":"x"}"#), Ok(json!({"team": "x"})));
        assert_eq!(nullable("standard"), Ok(json!("standard")));
        for none in [usd, whole, list, percents, object, nullable] {
            assert_eq!(none("none"), Ok(Value::Null));
        }
        assert_eq!((seconds("90"), seconds("24h")), (Ok(90), Ok(86_400)));
    }

    #[test]
    fn what_cannot_be_meant_is_refused_before_it_is_sent() {
        assert!(usd("1e3").is_err());
        assert!(usd("0.0000000001").is_err());
        assert!(whole("-1").is_err());
        assert!(whole("1.5").is_err());
        assert!(list("").is_err());
        assert!(list("a,,b").is_err());
        assert!(percents("50;80").is_err());
        assert!(percents("300").is_err());
        assert!(object("[1]").is_err());
        assert!(object("{").is_err());
        assert!(seconds("soon").is_err());
    }
}
