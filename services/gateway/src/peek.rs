//! What the gateway reads of a request body: a few fields and where they stand.
//!
//! Everything else is skipped without being built. Edits are spliced into the raw bytes, so that a
//! body goes upstream exactly as it came but for the edited values.

mod anthropic;
mod depth;
mod form;
mod gemini;
mod nested;
mod openai;

use std::borrow::Cow;
use std::ops::Range;
use std::sync::LazyLock;

use bytes::{BufMut, Bytes, BytesMut};
use memchr::memmem::Finder;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

pub use anthropic::anthropic;
pub use depth::MAX_DEPTH;
pub use form::peek_form;
pub use gemini::gemini;
pub use openai::openai;

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
    /// Not UTF-8, as JSON has to be (RFC 8259, 8.1).
    #[error("the body is not UTF-8: {0}")]
    NotText(#[from] std::str::Utf8Error),
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
    needles: &'static [Finder<'static>],
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
    opening: Opening,
}

/// The place behind a body's first brace, where fields are written.
#[derive(Clone, Copy, Debug)]
struct Opening {
    at: usize,
    /// What divides a field that is written there from those that follow.
    comma: &'static str,
}

/// How a body writes a model's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spelling {
    /// As JSON.
    Json,
    /// As it is: in a form.
    Plain,
    /// Nowhere yet: as the first field of a JSON body.
    Absent,
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

/// The field that tells what a typed value is. Prepared once, as are all that bodies are searched
/// for: that costs more than to search a short body.
static TYPE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\"type\""));
/// How an escape of a character below 256 begins.
static ESCAPE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\\u00"));

/// Prepares to search for each of some needles.
fn finders(needles: &[&'static [u8]]) -> Vec<Finder<'static>> {
    needles.iter().map(|needle| Finder::new(*needle)).collect()
}

/// The fields of a body. It is looked at once whether all of it is text, instead of at each string.
fn parsed<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, NotARequest> {
    Ok(serde_json::from_str(std::str::from_utf8(body)?)?)
}

/// Where an object opens that is nested no deeper than what is read.
fn opening(body: &[u8]) -> Result<Opening, NotARequest> {
    let next = |from: usize| {
        let rest = body.get(from..).unwrap_or_default();
        rest.iter().position(|byte| !byte.is_ascii_whitespace()).map(|place| from + place)
    };
    let brace = next(0).filter(|place| body[*place] == b'{').ok_or(NotARequest::NotAnObject)?;
    if is_too_deep(body) {
        return Err(NotARequest::TooDeep);
    }
    let is_empty = next(brace + 1).is_some_and(|place| body[place] == b'}');
    Ok(Opening { at: brace + 1, comma: if is_empty { "" } else { "," } })
}

/// A model's name, which borrows from the body unless it has escapes.
fn named(raw: &RawValue) -> Result<Cow<'_, str>, NotARequest> {
    let name: Name<'_> = serde_json::from_str(raw.get())?;
    if name.0.is_empty() { Err(NotARequest::NoModel) } else { Ok(name.0) }
}

/// A name that borrows from the body unless it has escapes.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

/// The place of a raw value in the body that it was read from.
fn place(body: &[u8], value: &RawValue) -> Range<usize> {
    let start = value.get().as_ptr().addr() - body.as_ptr().addr();
    start..start + value.get().len()
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
        if edits.include_usage {
            let field = ("stream_options", "include_usage");
            splices.extend(self.nested.written(self.opening, field, "true"));
        }
        if let Some((field, tokens)) = edits.max_output {
            splices.extend(self.maximum(field, tokens));
        }
        if let Some(name) = edits.model {
            let written = self.spelling.write(name, self.opening.comma);
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
            None => {
                let Opening { at, comma } = self.opening;
                (at..at, format!("\"{}\":{tokens}{comma}", field.name()))
            }
        })
    }

    /// Whether the body names content that it does not hold, or whose tokens its bytes do not
    /// bound: a URL, a file, an image, an earlier response, a hosted tool. Errs towards `true`.
    #[must_use]
    pub fn names_outside_content(&self, body: &[u8]) -> bool {
        self.refers_elsewhere
            || (TYPE.find(body).is_some()
                && self.needles.iter().any(|needle| needle.find(body).is_some()))
            || escapes_a_letter(body)
    }
}

impl Spelling {
    fn write(self, name: &str, comma: &str) -> String {
        let json = |name: &str| serde_json::Value::from(name).to_string();
        match self {
            Self::Json => json(name),
            Self::Plain => name.to_owned(),
            Self::Absent => format!("\"model\":{}{comma}", json(name)),
            Self::Resource if name.starts_with("tunedModels/") => json(name),
            Self::Resource => json(&format!("models/{name}")),
        }
    }
}

/// Whether a `\u` escape spells an ASCII letter or underscore. No usual encoder does that; it would
/// hide a field's name from a search for its bytes.
fn escapes_a_letter(body: &[u8]) -> bool {
    ESCAPE.find_iter(body).any(|at| {
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
