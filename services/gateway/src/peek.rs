//! What the gateway reads of a request body: a few fields and where they stand.
//!
//! Everything else is skipped without being built. Edits are spliced into the raw bytes, so that a
//! body goes upstream exactly as it came but for the edited values.

mod anthropic;
mod depth;
mod form;
mod gemini;
mod nested;

use std::borrow::Cow;
use std::ops::Range;

use bytes::{BufMut, Bytes, BytesMut};
use memchr::memmem;
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

pub use anthropic::anthropic;
pub use depth::MAX_DEPTH;
pub use form::peek_form;
pub use gemini::gemini;

use depth::is_too_deep;
use nested::Nested;

/// Why a body cannot be forwarded. All are a 400 `invalid_request`.
#[derive(Debug, thiserror::Error)]
pub enum NotARequest {
    /// Not a JSON object, a field of a wrong type, or a field given twice (two readers of such a
    /// body could disagree on which one counts).
    #[error("the body is not a valid request: {0}")]
    Json(#[from] serde_json::Error),
    /// Arrays and objects within each other, more than anybody needs.
    #[error("the body is nested more than {MAX_DEPTH} deep")]
    TooDeep,
    /// Valid JSON, but not an object.
    #[error("the body must be a JSON object")]
    NotAnObject,
    /// No model is named.
    #[error("the body must name a model")]
    NoModel,
    /// Not a form, or one whose fields are not plain.
    #[error("the body is not a valid form: {0}")]
    Form(&'static str),
    /// A field that must be an object, or null, is something else.
    #[error("{0} must be an object")]
    NoObject(&'static str),
    /// The body names another model than the path.
    #[error("the body names another model than the path")]
    OtherModel,
}

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

/// Keeps a `null` as a value with a place, where `Option` alone would lose it.
fn present<'de, D: Deserializer<'de>>(from: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(from).map(Some)
}

/// What was read, borrowed from the body.
#[derive(Clone, Debug)]
pub struct Peek<'a> {
    /// The model's name as the caller wrote it, unescaped.
    pub model: Cow<'a, str>,
    /// Whether a stream was asked for.
    pub stream: bool,
    /// Whether the caller asked for the usage chunk of a stream.
    pub wants_usage: bool,
    /// The output maximum, in tokens; the largest where several fields give one.
    pub max_output_tokens: Option<u64>,
    /// How many prompts there are, each with a context of its own; at least 1.
    pub prompts: u64,
    /// How many answers are made: `n`, or `best_of`, for each prompt; at least 1.
    pub answers: u64,
    /// Whether a field that was read refers to content that the provider holds.
    refers_elsewhere: bool,
    /// Parts of typed values that stand for such content elsewhere in the body.
    needles: &'static [&'static [u8]],
    /// How the model's name is written where it stands.
    spelling: Spelling,
    model_at: Range<usize>,
    /// Where else the model's name stands.
    more_models_at: Vec<Range<usize>>,
    /// The nested field that may have to be written: OpenAI's `include_usage`, Gemini's output
    /// maximum.
    nested: Nested,
    /// Where output maxima stand that are `null`.
    empty_maxima: Vec<(OutputField, Range<usize>)>,
    opening: usize,
}

/// How a body writes a model's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spelling {
    /// As JSON.
    Json,
    /// As it is: in a form.
    Plain,
    /// As JSON, below `models/`: in Gemini's bodies, whose path has the name that counts.
    Resource,
}

/// A field that says the most output tokens of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputField {
    /// Of completions, and of chat completions before the next one.
    MaxTokens,
    /// Of chat completions.
    MaxCompletionTokens,
    /// Of responses.
    MaxOutputTokens,
    /// Of Gemini's `generationConfig`: `maxOutputTokens`.
    GenerationConfig,
}

impl OutputField {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::MaxTokens => "max_tokens",
            Self::MaxCompletionTokens => "max_completion_tokens",
            Self::MaxOutputTokens => "max_output_tokens",
            Self::GenerationConfig => "generationConfig.maxOutputTokens",
        }
    }
}

/// Reads a body of OpenAI's.
///
/// # Errors
/// Names what makes it unusable, in a sentence for the caller.
pub fn peek(body: &[u8]) -> Result<Peek<'_>, NotARequest> {
    let opening = opening(body)?;
    let fields: Fields<'_> = serde_json::from_slice(body)?;
    let model = fields.model.ok_or(NotARequest::NoModel)?;
    let name = named(model)?;
    let nested = include_usage(body, fields.stream_options)?;
    // A prompt that is an object is a template held by the provider; a string or list is content.
    let template = fields.prompt.is_some_and(|prompt| prompt.get().starts_with('{'));
    let prompts = fields.prompt.map_or(Ok(1), prompts)?.max(1);
    let maxima = maxima(body, &fields)?;
    Ok(Peek {
        model: name,
        stream: fields.stream.unwrap_or(false),
        wants_usage: nested == Nested::Nowhere,
        max_output_tokens: maxima.largest,
        prompts,
        answers: fields.n.max(fields.best_of).unwrap_or(1).max(1).saturating_mul(prompts),
        refers_elsewhere: fields.previous_response_id.is_some()
            || fields.conversation.is_some()
            || fields.web_search_options.is_some()
            || template,
        needles: &OUTSIDE_NEEDLES,
        spelling: Spelling::Json,
        model_at: place(body, model),
        more_models_at: Vec::new(),
        nested,
        empty_maxima: maxima.empty,
        opening,
    })
}

/// The place behind the brace that opens a body. What is nested too deeply is not read further.
fn opening(body: &[u8]) -> Result<usize, NotARequest> {
    let brace = body.iter().position(|byte| !byte.is_ascii_whitespace());
    let brace = brace.filter(|place| body[*place] == b'{').ok_or(NotARequest::NotAnObject)?;
    if is_too_deep(body) {
        return Err(NotARequest::TooDeep);
    }
    Ok(brace + 1)
}

/// A model's name, which borrows from the body unless it has escapes.
fn named(raw: &RawValue) -> Result<Cow<'_, str>, NotARequest> {
    let name: Name<'_> = serde_json::from_str(raw.get())?;
    if name.0.is_empty() { Err(NotARequest::NoModel) } else { Ok(name.0) }
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

/// A name that borrows from the body unless it has escapes.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

/// The place of a raw value in the body that it was read from.
fn place(body: &[u8], value: &RawValue) -> Range<usize> {
    let start = value.get().as_ptr().addr() - body.as_ptr().addr();
    start..start + value.get().len()
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

/// What is changed in a body on its way up.
#[derive(Clone, Copy, Debug, Default)]
pub struct Edits<'a> {
    /// The model's name at the provider, where it differs.
    pub model: Option<&'a str>,
    /// Whether `stream_options.include_usage` is to be set.
    pub include_usage: bool,
    /// The output maximum to be set, where the body sets none.
    pub max_output: Option<(OutputField, u64)>,
}

impl Peek<'_> {
    /// The body with the edits spliced in; the same bytes, uncopied, where nothing changes.
    #[must_use]
    pub fn edited(&self, body: &Bytes, edits: Edits<'_>) -> Bytes {
        let mut splices: Vec<(Range<usize>, String)> = Vec::new();
        let opening = self.opening;
        if edits.include_usage {
            let field = ("stream_options", "include_usage");
            splices.extend(self.nested.written(opening, field, "true"));
        }
        if let Some((field, tokens)) = edits.max_output {
            splices.extend(self.maximum(field, tokens));
        }
        if let Some(name) = edits.model {
            let written = self.spelling.write(name);
            for at in &self.more_models_at {
                splices.push((at.clone(), written.clone()));
            }
            if self.spelling != Spelling::Resource {
                splices.push((self.model_at.clone(), written));
            }
        }
        splice(body, splices)
    }

    fn maximum(&self, field: OutputField, tokens: u64) -> Option<(Range<usize>, String)> {
        if field == OutputField::GenerationConfig {
            let field = ("generationConfig", "maxOutputTokens");
            return self.nested.written(self.opening, field, &tokens.to_string());
        }
        let empty = self.empty_maxima.iter().find(|(empty, _)| *empty == field);
        Some(match empty {
            Some((_, at)) => (at.clone(), tokens.to_string()),
            None => (self.opening..self.opening, format!("\"{}\":{tokens},", field.name())),
        })
    }

    /// Whether the body names content that it does not hold, or whose tokens its bytes do not
    /// bound: a URL, a file, an image, an earlier response, a hosted tool. Errs towards `true`.
    #[must_use]
    pub fn names_outside_content(&self, body: &[u8]) -> bool {
        self.refers_elsewhere
            || (memmem::find(body, b"\"type\"").is_some()
                && self.needles.iter().any(|needle| memmem::find(body, needle).is_some()))
            || escapes_a_letter(body)
    }
}

impl Spelling {
    fn write(self, name: &str) -> String {
        match self {
            Self::Json => serde_json::Value::from(name).to_string(),
            Self::Plain => name.to_owned(),
            Self::Resource if name.starts_with("tunedModels/") => Self::Json.write(name),
            Self::Resource => Self::Json.write(&format!("models/{name}")),
        }
    }
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

/// Whether a `\u` escape spells an ASCII letter or underscore. No usual encoder does that; it would
/// hide a field's name from a search for its bytes.
fn escapes_a_letter(body: &[u8]) -> bool {
    memmem::find_iter(body, b"\\u00").any(|at| {
        body.get(at + 4..at + 6)
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok())
            .is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_')
    })
}

fn splice(body: &Bytes, mut splices: Vec<(Range<usize>, String)>) -> Bytes {
    if splices.is_empty() {
        return body.clone();
    }
    splices.sort_by_key(|(range, _)| range.start);
    let grown: usize = splices.iter().map(|(_, text)| text.len()).sum();
    let mut out = BytesMut::with_capacity(body.len() + grown);
    let mut from = 0;
    for (range, text) in &splices {
        out.put_slice(&body[from..range.start]);
        out.put_slice(text.as_bytes());
        from = range.end;
    }
    out.put_slice(&body[from..]);
    out.freeze()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

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
