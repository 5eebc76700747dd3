//! The same reading of Anthropic's bodies.

use std::borrow::Cow;
use std::sync::LazyLock;

use memchr::memmem::Finder;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::{Nested, NotARequest, Peek, Spelling, finders, named, opening, parsed, place};

/// The raw fields.
#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(borrow, default)]
    model: Option<&'a RawValue>,
    #[serde(default)]
    stream: Option<bool>,
    #[serde(default)]
    max_tokens: Option<u64>,
    #[serde(borrow, default)]
    tools: Option<&'a RawValue>,
    #[serde(default)]
    container: Option<IgnoredAny>,
    #[serde(default)]
    mcp_servers: Option<IgnoredAny>,
}

/// A tool: without a type, or of this one, it is the caller's own; any other brings content or a
/// prompt that the body does not hold.
#[derive(Deserialize)]
struct Tool<'a> {
    #[serde(borrow, default, rename = "type")]
    kind: Option<Cow<'a, str>>,
}

const OWN_TOOL: &str = "custom";

/// Types of content blocks whose tokens are not bounded by their bytes, or stand elsewhere
/// (Anthropic API reference, "Messages": images and documents by URL, file id or in base64).
const OUTSIDE_NEEDLES: [&[u8]; 4] =
    [b"\"image\"", b"\"document\"", b"\"container_upload\"", b"file_id"];

/// Prepared once.
static OUTSIDE: LazyLock<Vec<Finder<'static>>> = LazyLock::new(|| finders(&OUTSIDE_NEEDLES));

/// Reads a body of Anthropic's.
///
/// # Errors
/// Names what makes it unusable, in a sentence for the caller.
pub fn anthropic(body: &[u8]) -> Result<Peek<'_>, NotARequest> {
    let opening = opening(body)?;
    let fields: Fields<'_> = parsed(body)?;
    let model = fields.model.ok_or(NotARequest::NoModel)?;
    Ok(Peek {
        model: named(model)?,
        stream: fields.stream.unwrap_or(false),
        // The usage is always there, and nothing of it is taken out.
        wants_usage: true,
        max_output_tokens: fields.max_tokens,
        prompts: 1,
        answers: 1,
        refers_elsewhere: fields.container.is_some()
            || fields.mcp_servers.is_some()
            || fields.tools.is_some_and(|tools| !are_own(tools)),
        needles: &OUTSIDE,
        spelling: Spelling::Json,
        model_at: place(body, model),
        more_models_at: Vec::new(),
        nested: Nested::Nowhere,
        empty_maxima: Vec::new(),
        opening,
    })
}

fn are_own(tools: &RawValue) -> bool {
    let tools: Result<Vec<Tool<'_>>, _> = serde_json::from_str(tools.get());
    let is_own = |tool: &Tool<'_>| tool.kind.as_ref().is_none_or(|kind| kind == OWN_TOOL);
    tools.is_ok_and(|tools| tools.iter().all(is_own))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::peek::Edits;

    #[test]
    fn the_fields_are_read_and_the_model_can_be_renamed() {
        let body = Bytes::from_static(
            br#"{"max_tokens":12,"model":"claude","stream":true,"messages":[{"model":"x"}]}"#,
        );
        let read = anthropic(&body).unwrap();
        assert_eq!((&*read.model, read.stream, read.max_output_tokens), ("claude", true, Some(12)));
        assert!(!read.names_outside_content(&body));
        assert_eq!(read.edited(&body, Edits::default()).as_ptr(), body.as_ptr());
        let renamed = read.edited(&body, Edits { model: Some("their"), ..Edits::default() });
        let want = br#"{"max_tokens":12,"model":"their","stream":true,"messages":[{"model":"x"}]}"#;
        assert_eq!(&renamed[..], want);
    }

    #[test]
    fn what_cannot_be_read_in_one_way_is_refused() {
        for body in [
            r#"{"model":"a","model":"b"}"#,
            r#"{"model":"a","max_tokens":-1}"#,
            r#"{"model":"a","max_tokens":1,"max_tokens":9}"#,
            r#"{"model":"a","stream":"yes"}"#,
            r#"{"model":1}"#,
            "{",
        ] {
            let refused = anthropic(body.as_bytes());
            assert!(matches!(refused, Err(NotARequest::Json(_))), "{body}");
        }
        assert!(matches!(anthropic(b"{}"), Err(NotARequest::NoModel)));
        assert!(matches!(anthropic(b"[]"), Err(NotARequest::NotAnObject)));
    }

    #[test]
    fn content_that_the_bytes_do_not_bound_is_noticed() {
        let outside = [
            r#"{"model":"a","messages":[{"content":[{"type":"image","source":{"type":"url"}}]}]}"#,
            r#"{"model":"a","messages":[{"content":[{"type":"document","source":{}}]}]}"#,
            r#"{"model":"a","messages":[{"content":[{"type":"x","source":{"file_id":"f"}}]}]}"#,
            r#"{"model":"a","tools":[{"name":"f"},{"type":"web_search_20260209","name":"s"}]}"#,
            r#"{"model":"a","tools":{}}"#,
            r#"{"model":"a","mcp_servers":[]}"#,
            r#"{"model":"a","container":"c"}"#,
            r#"{"model":"a","messages":[{"content":[{"type":"im\u0061ge"}]}]}"#,
        ];
        let inside = [
            r#"{"model":"a","messages":[{"content":[{"type":"text","text":"an image"}]}]}"#,
            r#"{"model":"a","tools":[{"name":"f"},{"type":"custom","name":"g"}],"container":null}"#,
        ];
        for (bodies, want) in [(&outside[..], true), (&inside[..], false)] {
            for body in bodies {
                let body = body.as_bytes();
                let read = anthropic(body).unwrap();
                assert_eq!(read.names_outside_content(body), want, "{read:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn no_body_makes_the_reader_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = anthropic(&body);
        }
    }
}
