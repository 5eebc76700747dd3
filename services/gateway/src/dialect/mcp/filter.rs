//! Takes the tools that a key may not use out of lists of tools, and leaves every other byte.

use std::borrow::Cow;

use bytes::{BufMut, Bytes, BytesMut};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::message::is_object;

/// An answer of which nobody can say what it lists.
#[derive(Debug, thiserror::Error)]
#[error("the MCP server's answer is no message that can be read: {0}")]
pub struct Unreadable(#[from] serde_json::Error);

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow, default)]
    result: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Listing<'a> {
    #[serde(borrow, default)]
    tools: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Tool<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
}

/// The message with the tools that `allowed` holds; `None`: it stays as it is, because it lists no
/// tools, or none that would be taken out. A tool without a name is taken out.
///
/// # Errors
/// [`Unreadable`]: also for a list that is there twice.
pub fn filtered(
    message: &[u8],
    allowed: impl Fn(&str) -> bool,
) -> Result<Option<Bytes>, Unreadable> {
    if !is_object(message) {
        // A batch cannot be looked through: no revision that is spoken has one.
        return Err(Unreadable(serde::de::Error::custom("it is no object")));
    }
    let answer: Answer<'_> = serde_json::from_slice(message)?;
    let Some(result) = answer.result.map(RawValue::get) else { return Ok(None) };
    if !is_object(result.as_bytes()) {
        return Ok(None);
    }
    let listing: Listing<'_> = serde_json::from_str(result)?;
    let Some(tools) = listing.tools.map(RawValue::get) else { return Ok(None) };
    if !tools.starts_with('[') {
        return Ok(None);
    }
    let all: Vec<&RawValue> = serde_json::from_str(tools)?;
    let may_be_seen = |tool: &&&RawValue| {
        is_object(tool.get().as_bytes())
            && serde_json::from_str::<Tool<'_>>(tool.get()).is_ok_and(|tool| allowed(&tool.name))
    };
    let kept: Vec<&RawValue> = all.iter().filter(may_be_seen).copied().collect();
    if kept.len() == all.len() {
        return Ok(None);
    }
    Ok(Some(spliced(message, tools, &kept)))
}

/// The message with `kept` in the place of `tools`, which is a part of it.
fn spliced(message: &[u8], tools: &str, kept: &[&RawValue]) -> Bytes {
    let from = tools.as_ptr().addr().saturating_sub(message.as_ptr().addr());
    let before = message.get(..from).unwrap_or_default();
    let after = message.get(from.saturating_add(tools.len())..).unwrap_or_default();
    let mut out = BytesMut::with_capacity(message.len());
    out.put_slice(before);
    out.put_u8(b'[');
    for (place, tool) in kept.iter().enumerate() {
        if place > 0 {
            out.put_u8(b',');
        }
        out.put_slice(tool.get().as_bytes());
    }
    out.put_u8(b']');
    out.put_slice(after);
    out.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(message: &str) -> Result<Option<String>, Unreadable> {
        let found = filtered(message.as_bytes(), |name| name.starts_with('r'))?;
        Ok(found.map(|bytes| String::from_utf8(bytes.to_vec()).unwrap()))
    }

    #[test]
    fn a_list_keeps_what_the_key_may_see_and_every_byte_around_it() {
        let (before, after) = (r#" {"x":1.0, "result" : {"tools":"#, r#","_meta":{"b" : null}}}"#);
        let read = r#"{"name":"read","a":1e2}"#;
        let run_too = r#"{"title":"x","name":"\u0072un"}"#;
        let all = format!(r#"[ {read}, {{"name":"write"}} , {run_too}, {{}}, 7 ]"#);
        let message = format!("{before}{all}{after}");
        let kept = format!("{before}[{read},{run_too}]{after}");
        assert_eq!(run(&message).unwrap(), Some(kept));
        let none = r#"{"result":{"tools":[{"name":"write"}]}}"#;
        assert_eq!(run(none).unwrap().as_deref(), Some(r#"{"result":{"tools":[]}}"#));
    }

    #[test]
    fn what_lists_no_forbidden_tool_stays_as_it_is() {
        for message in [
            r#"{"result":{"tools":[{"name":"read"}]}}"#,
            r#"{"result":{"tools":[]}}"#,
            r#"{"result":{"tools":{"write":1}}}"#,
            r#"{"result":{"content":[{"tools":[{"name":"write"}]}]}}"#,
            r#"{"result":[{"name":"write"}]}"#,
            r#"{"error":{"code":1}}"#,
            r#"{"method":"notifications/tools/list_changed","params":{"tools":[{"name":"w"}]}}"#,
        ] {
            assert_eq!(run(message).unwrap(), None, "{message}");
        }
    }

    #[test]
    fn what_could_hide_a_list_is_refused() {
        for message in [
            "",
            "[]",
            r#"[{"result":{"tools":[{"name":"write"}]}}]"#,
            r#"{"result":{},"result":{"tools":[{"name":"write"}]}}"#,
            r#"{"result":{"tools":[],"tools":[{"name":"write"}]}}"#,
            r#"{"result":{"tools":[{"name":"write"}]}"#,
        ] {
            assert!(run(message).is_err(), "{message}");
        }
        // A name that is there twice is none.
        let twice = r#"{"result":{"tools":[{"name":"read","name":"write"}]}}"#;
        assert_eq!(run(twice).unwrap().as_deref(), Some(r#"{"result":{"tools":[]}}"#));
    }
}
