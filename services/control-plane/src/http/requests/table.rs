//! Requests as a table that spreadsheets read (RFC 4180).

use serde_json::Value;
use turnpike_wire::api::import::table::record;
use turnpike_wire::api::request::LoggedRequest;

/// The content type.
pub(super) const CSV: &str = "text/csv";

/// The columns, and where each stands in the JSON of a request. New ones come last.
const COLUMNS: [(&str, &str); 38] = [
    ("id", "/id"),
    ("at", "/at"),
    ("key_id", "/key_id"),
    ("key_name", "/key_name"),
    ("metadata", "/metadata"),
    ("key_deleted", "/key_deleted"),
    ("token_id", "/token_id"),
    ("legacy", "/legacy"),
    ("model", "/model"),
    ("provider_id", "/provider_id"),
    ("server", "/server"),
    ("tool", "/tool"),
    ("streamed", "/streamed"),
    ("status", "/status"),
    ("code", "/code"),
    ("decision_id", "/decision_id"),
    ("admitted", "/admitted"),
    ("repeats", "/repeats"),
    ("failovers", "/failovers"),
    ("input", "/usage/input"),
    ("output", "/usage/output"),
    ("cached_input", "/usage/cached_input"),
    ("cache_write", "/usage/cache_write"),
    ("reasoning", "/usage/reasoning"),
    ("audio_input", "/usage/audio_input"),
    ("audio_output", "/usage/audio_output"),
    ("image_input", "/usage/image_input"),
    ("image_output", "/usage/image_output"),
    ("source", "/source"),
    ("suspect", "/suspect"),
    ("cost_usd", "/cost_usd"),
    ("reserved_usd", "/reserved_usd"),
    ("reserved_tokens", "/reserved_tokens"),
    ("price_version", "/price_version"),
    ("multiplier", "/multiplier"),
    ("latency_ms", "/latency_ms"),
    ("gateway_id", "/gateway_id"),
    ("number", "/number"),
];

/// The line of the columns' names.
pub(super) fn header() -> String {
    record(&COLUMNS.map(|(name, _)| name.to_owned())) + "\r\n"
}

/// The line of a request.
pub(super) fn line(request: &LoggedRequest) -> Option<String> {
    let request = serde_json::to_value(request).ok()?;
    let cells = COLUMNS.map(|(_, place)| cell(request.pointer(place)));
    Some(record(&cells) + "\r\n")
}

/// A value as a cell. Callers choose models' names and metadata, and spreadsheets take texts that
/// begin like this for formulas: an apostrophe says that it is none (OWASP, "CSV Injection").
fn cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) if text.starts_with(['=', '+', '-', '@', '\t', '\r']) => {
            format!("'{text}")
        }
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_cell_is_never_a_formula() {
        for (value, wanted) in [
            (json!("echo-1"), "echo-1"),
            (json!("=1+1"), "'=1+1"),
            (json!("@sum"), "'@sum"),
            (json!("-2"), "'-2"),
            (json!(-2), "-2"),
            (json!(true), "true"),
            (json!(null), ""),
            (json!({ "a": "=b" }), r#"{"a":"=b"}"#),
        ] {
            assert_eq!(cell(Some(&value)), wanted);
        }
        assert_eq!(cell(None), "");
    }
}
