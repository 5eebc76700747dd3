//! The same reading of OpenAI's bodies.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::LazyLock;

use memchr::memmem::Finder;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::nested::Nested;
use super::{
    NotARequest, OutputField, Peek, Spelling, finders, named, opening, parsed, place, present,
};

/// The raw fields. `RawValue` keeps their places in the body, also of a `null`.
#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    model: Option<&'a RawValue>,
    #[serde(default)]
    stream: Option<bool>,
    #[serde(borrow, default, deserialize_with = "present")]
    stream_options: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    max_tokens: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    max_completion_tokens: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    max_output_tokens: Option<&'a RawValue>,
    #[serde(default)]
    n: Option<u64>,
    #[serde(default)]
    best_of: Option<u64>,
    #[serde(borrow, default)]
    previous_response_id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    conversation: Option<&'a RawValue>,
    #[serde(borrow, default)]
    prompt: Option<&'a RawValue>,
    #[serde(borrow, default)]
    web_search_options: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct StreamOptions<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    include_usage: Option<&'a RawValue>,
}

/// Parts of `type` values and field names that stand for content outside the body, or for content
/// whose tokens may exceed its bytes (OpenAI API reference: content parts and tools of chat
/// completions and responses).
const OUTSIDE_NEEDLES: [&[u8]; 13] = [
    b"_url\"",
    b"input_image",
    b"input_audio",
    b"input_file",
    b"\"file\"",
    b"file_id",
    b"item_reference",
    b"web_search",
    b"file_search",
    b"code_interpreter",
    b"computer_use",
    b"image_generation",
    b"\"mcp\"",
];

/// Prepared once.
static OUTSIDE: LazyLock<Vec<Finder<'static>>> = LazyLock::new(|| finders(&OUTSIDE_NEEDLES));

/// Reads a body of OpenAI's; one that names no model is about `default`, if there is one.
///
/// # Errors
/// Names what makes it unusable, in a sentence for the caller.
pub fn openai<'a>(body: &'a [u8], default: Option<&'static str>) -> Result<Peek<'a>, NotARequest> {
    let opening = opening(body)?;
    let fields: Fields<'_> = parsed(body)?;
    let (model, spelling, model_at) = match (fields.model, default) {
        (Some(raw), _) => (named(raw)?, Spelling::Json, place(body, raw)),
        (None, Some(default)) => (Cow::Borrowed(default), Spelling::Absent, opening.at..opening.at),
        (None, None) => return Err(NotARequest::NoModel),
    };
    let nested = include_usage(body, fields.stream_options)?;
    // A prompt that is an object is a template held by the provider; a string or list is content.
    let template = fields.prompt.is_some_and(|prompt| prompt.get().starts_with('{'));
    let prompts = fields.prompt.map_or(Ok(1), prompts)?.max(1);
    let maxima = maxima(body, &fields)?;
    Ok(Peek {
        model,
        stream: fields.stream.unwrap_or(false),
        wants_usage: nested == Nested::Nowhere,
        max_output_tokens: maxima.largest,
        prompts,
        answers: fields.n.max(fields.best_of).unwrap_or(1).max(1).saturating_mul(prompts),
        refers_elsewhere: fields.previous_response_id.is_some()
            || fields.conversation.is_some()
            || fields.web_search_options.is_some()
            || template,
        needles: &OUTSIDE,
        spelling,
        model_at,
        more_models_at: Vec::new(),
        nested,
        empty_maxima: maxima.empty,
        opening,
    })
}

/// The output maxima of a body.
#[derive(Default)]
struct Maxima {
    /// The largest that is given.
    largest: Option<u64>,
    /// Where those stand that are `null`.
    empty: Vec<(OutputField, Range<usize>)>,
}

fn maxima(body: &[u8], fields: &Fields<'_>) -> Result<Maxima, serde_json::Error> {
    let given = [
        (OutputField::MaxTokens, fields.max_tokens),
        (OutputField::MaxCompletionTokens, fields.max_completion_tokens),
        (OutputField::MaxOutputTokens, fields.max_output_tokens),
    ];
    let mut maxima = Maxima::default();
    for (field, raw) in given {
        let Some(raw) = raw else { continue };
        match serde_json::from_str::<Option<u64>>(raw.get())? {
            Some(tokens) => maxima.largest = maxima.largest.max(Some(tokens)),
            None => maxima.empty.push((field, place(body, raw))),
        }
    }
    Ok(maxima)
}

/// How many prompts a `prompt` holds: a list of texts or of token lists is many, a list of tokens
/// is one.
fn prompts(prompt: &RawValue) -> Result<u64, serde_json::Error> {
    let inner = prompt.get().strip_prefix('[').map(str::trim_start);
    if !inner.is_some_and(|inner| inner.starts_with(['"', '['])) {
        return Ok(1);
    }
    let list: Vec<IgnoredAny> = serde_json::from_str(prompt.get())?;
    Ok(u64::try_from(list.len()).unwrap_or(u64::MAX))
}

/// Where `include_usage: true` has to be written.
fn include_usage(body: &[u8], options: Option<&RawValue>) -> Result<Nested, NotARequest> {
    let Some(raw) = options else { return Ok(Nested::Whole) };
    let text = raw.get();
    if text == "null" {
        return Ok(Nested::Object(place(body, raw)));
    }
    if !text.starts_with('{') {
        return Err(NotARequest::NoObject("stream_options"));
    }
    let options: StreamOptions<'_> = serde_json::from_str(text)?;
    Ok(match options.include_usage {
        Some(value) if value.get() == "true" => Nested::Nowhere,
        Some(value) => Nested::Value(place(body, value)),
        None => Nested::first_of(body, raw),
    })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::peek::Edits;

    fn peek(body: &[u8]) -> Result<Peek<'_>, NotARequest> {
        openai(body, None)
    }

    fn usage_added(body: &str) -> String {
        let bytes = Bytes::copy_from_slice(body.as_bytes());
        let read = peek(&bytes).unwrap();
        let out = read.edited(&bytes, Edits { include_usage: true, ..Edits::default() });
        String::from_utf8(out.to_vec()).unwrap()
    }

    #[test]
    fn the_fields_are_read_and_the_rest_is_skipped() {
        let body = br#" {"messages":[{"role":"user","content":"model \"x\""}],"model":"gpt-5",
            "stream":true,"stream_options":{"include_usage":true},
            "max_completion_tokens":12,"n":2}"#;
        let read = peek(body).unwrap();
        assert_eq!(read.model, "gpt-5");
        assert!(matches!(read.model, Cow::Borrowed(_)));
        assert!(read.stream && read.wants_usage);
        assert_eq!((read.max_output_tokens, read.answers), (Some(12), 2));
        let plain = peek(br#"{"model":"a\u002fb","n":null,"stream":null}"#).unwrap();
        assert_eq!(plain.model, "a/b");
        assert_eq!((plain.stream, plain.wants_usage, plain.answers), (false, false, 1));
    }

    #[test]
    fn a_model_that_is_not_named_is_the_default_and_is_written_only_to_be_renamed() {
        let body = Bytes::from_static(br#"{"input":"x"}"#);
        let read = openai(&body, Some("usual")).unwrap();
        assert_eq!(read.model, "usual");
        assert_eq!(read.edited(&body, Edits::default()).as_ptr(), body.as_ptr());
        let renamed = read.edited(&body, Edits { model: Some("their"), ..Edits::default() });
        assert_eq!(renamed, r#"{"model":"their","input":"x"}"#);
        let empty = Bytes::from_static(b"{ }");
        let read = openai(&empty, Some("usual")).unwrap();
        let renamed = read.edited(&empty, Edits { model: Some("their"), ..Edits::default() });
        assert_eq!(renamed, r#"{"model":"their" }"#);
        let named = openai(br#"{"model":"own"}"#, Some("usual")).unwrap();
        assert_eq!(named.model, "own");
        let none = openai(br#"{"model":null}"#, Some("usual"));
        assert!(matches!(none, Err(NotARequest::Json(_))));
    }

    #[test]
    fn every_answer_that_is_made_counts() {
        let cases = [
            (r#"{"model":"a","n":2,"best_of":5,"prompt":"x"}"#, 5),
            (r#"{"model":"a","n":2,"prompt":["x","y"]}"#, 4),
            (r#"{"model":"a","prompt":[ [1,2],[3] ]}"#, 2),
            (r#"{"model":"a","prompt":[1,2,3]}"#, 1),
            (r#"{"model":"a","n":0,"prompt":[]}"#, 1),
        ];
        for (body, answers) in cases {
            assert_eq!(peek(body.as_bytes()).unwrap().answers, answers, "{body}");
        }
    }

    #[test]
    fn what_two_readers_could_read_differently_is_refused() {
        for body in [
            r#"{"model":"a","model":"b"}"#,
            r#"{"model":"a","mod\u0065l":"b"}"#,
            r#"{"model":"a","stream":true,"stream":false}"#,
            r#"{"model":"a","max_tokens":1,"max_tokens":9}"#,
            r#"{"model":"a","stream_options":{"include_usage":true,"include_usage":false}}"#,
            r#"{"model":"a"} {"model":"b"}"#,
        ] {
            assert!(matches!(peek(body.as_bytes()), Err(NotARequest::Json(_))), "{body}");
        }
    }

    #[test]
    fn wrong_types_and_missing_models_are_refused() {
        for body in ["", "[]", "\"a\""] {
            assert!(matches!(peek(body.as_bytes()), Err(NotARequest::NotAnObject)), "{body}");
        }
        for body in ["{", r#"{"model":1}"#, r#"{"model":"a","n":-1}"#] {
            assert!(matches!(peek(body.as_bytes()), Err(NotARequest::Json(_))), "{body}");
        }
        assert!(matches!(peek(b"{\"model\":\"a\",\"x\":\"\xff\"}"), Err(NotARequest::NotText(_))));
        assert!(matches!(peek(b"{}"), Err(NotARequest::NoModel)));
        assert!(matches!(peek(br#"{"model":""}"#), Err(NotARequest::NoModel)));
        assert!(matches!(
            peek(br#"{"model":"a","stream_options":[]}"#),
            Err(NotARequest::NoObject(_))
        ));
    }

    #[test]
    fn include_usage_is_spliced_wherever_it_belongs() {
        let cases = [
            (r#"{"model":"a"}"#, r#"{"stream_options":{"include_usage":true},"model":"a"}"#),
            (
                r#"{ "model":"a", "stream_options" : null }"#,
                r#"{ "model":"a", "stream_options" : {"include_usage":true} }"#,
            ),
            (
                r#"{"model":"a","stream_options":{ }}"#,
                r#"{"model":"a","stream_options":{"include_usage":true }}"#,
            ),
            (
                r#"{"model":"a","stream_options":{ "x":1}}"#,
                r#"{"model":"a","stream_options":{"include_usage":true, "x":1}}"#,
            ),
            (
                r#"{"stream_options":{"include_usage":false},"model":"a"}"#,
                r#"{"stream_options":{"include_usage":true},"model":"a"}"#,
            ),
        ];
        for (body, want) in cases {
            assert_eq!(usage_added(body), want);
            assert_eq!(usage_added(want), want);
        }
    }

    #[test]
    fn a_body_without_edits_is_not_copied() {
        let body = Bytes::from_static(br#"{"model":"a"}"#);
        let same = peek(&body).unwrap().edited(&body, Edits::default());
        assert_eq!(same.as_ptr(), body.as_ptr());
    }

    #[test]
    fn content_that_the_bytes_do_not_bound_is_noticed() {
        let outside = [
            r#"{"model":"a","previous_response_id":"r"}"#,
            r#"{"model":"a","prompt":{"id":"p"}}"#,
            r#"{"model":"a","messages":[{"content":[{"type":"image_url","image_url":{}}]}]}"#,
            r#"{"model":"a","tools":[{"type":"web_search_preview"}]}"#,
            r#"{"model":"a","web_search_options":{}}"#,
            r#"{"model":"a","messages":[{"content":[{"type":"video_url","video_url":{}}]}]}"#,
            r#"{"model":"a","tools":[{"typ\u0065":"x"}]}"#,
        ];
        for body in outside {
            assert!(
                peek(body.as_bytes()).unwrap().names_outside_content(body.as_bytes()),
                "{body}"
            );
        }
        let inside = [
            r#"{"model":"a","prompt":"text","previous_response_id":null}"#,
            r#"{"model":"a","messages":[{"content":"see image_url \u00e9 \u003c"}]}"#,
            r#"{"model":"a","tools":[{"type":"function","function":{"name":"f"}}]}"#,
        ];
        for body in inside {
            assert!(
                !peek(body.as_bytes()).unwrap().names_outside_content(body.as_bytes()),
                "{body}"
            );
        }
    }

    proptest! {
        #[test]
        fn an_edited_body_parses_to_the_same_but_for_the_edits(
            name in "[a-z0-9\"\\\\/é-]{1,12}",
            renamed in "[a-z0-9\"\\\\/é-]{1,12}",
            content in ".{0,40}",
            options in prop::option::of(prop::option::of(any::<bool>())),
            empty_maximum: bool,
        ) {
            let mut value = serde_json::json!({"messages": [{"content": content}], "model": name});
            if empty_maximum {
                value["max_completion_tokens"] = serde_json::Value::Null;
            }
            if let Some(include) = options {
                value["stream_options"] = serde_json::json!({"include_usage": include, "x": 1});
            }
            let body = Bytes::from(value.to_string());
            let out = peek(&body).unwrap().edited(&body, Edits {
                model: Some(&renamed),
                include_usage: true,
                max_output: Some((OutputField::MaxCompletionTokens, 17)),
            });
            value["model"] = renamed.into();
            value["max_completion_tokens"] = 17.into();
            value["stream_options"]["include_usage"] = true.into();
            prop_assert_eq!(serde_json::from_slice::<serde_json::Value>(&out).unwrap(), value);
        }

        #[test]
        fn no_body_makes_the_reader_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = peek(&body);
        }
    }
}
