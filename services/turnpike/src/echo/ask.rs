//! What a request asks for, in any dialect: its model, its text parts, its output maximum.

use serde_json::Value;

use super::model::Model;
use super::refusal::Refusal;
use super::script::Acting;
use super::words::{self, Text};

/// The most answers to one request (`n`, `candidateCount`); OpenAI's own limit.
const MOST_CHOICES: u64 = 128;

/// The text parts of a request, counted while they are collected.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Parts {
    /// Words in all of them.
    pub(super) input: u64,
    /// Words in those that carry a `cache_control` member: the marker, in every dialect, of what
    /// counts as cached input. Without it nothing does.
    pub(super) cached: u64,
    /// The last text part of a user.
    pub(super) last_user: String,
}

impl Parts {
    /// Adds every text in `content`: a string, a part with `text` or `content`, or a list of those.
    pub(super) fn add(&mut self, content: &Value, is_user: bool) {
        match content {
            Value::String(text) => self.add_text(text, false, is_user),
            Value::Array(parts) => parts.iter().for_each(|part| self.add(part, is_user)),
            Value::Object(part) => {
                if let Some(Value::String(text)) = part.get("text") {
                    let cached = part.get("cache_control").is_some_and(|mark| !mark.is_null());
                    self.add_text(text, cached, is_user);
                }
                if let Some(nested) = part.get("content") {
                    // The result of a tool is input, but not the words of the user.
                    self.add(nested, false);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    fn add_text(&mut self, text: &str, cached: bool, is_user: bool) {
        let words = words::count(text);
        self.input += words;
        if cached {
            self.cached += words;
        }
        if is_user {
            text.clone_into(&mut self.last_user);
        }
    }
}

/// A request that is understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ask {
    /// The model that answers.
    pub(super) model: Model,
    /// Input words, cached ones included.
    pub(super) input: u64,
    /// Cached input words.
    pub(super) cached: u64,
    /// The texts that are given back, one a choice.
    pub(super) choices: Vec<Text>,
    /// Whether the answer is to be streamed.
    pub(super) stream: bool,
    /// The tool that is called with the text.
    pub(super) tool: Option<String>,
    /// The words of thought before the answer.
    pub(super) thoughts: u64,
}

impl Ask {
    /// One text in answer to `parts`, given `choices` times.
    #[must_use]
    pub(super) fn new(model: Model, parts: &Parts, maximum: Option<u64>, choices: usize) -> Self {
        let text = Text::cut(&parts.last_user, maximum);
        Self {
            model,
            input: parts.input,
            cached: parts.cached,
            choices: vec![text; choices],
            stream: false,
            tool: None,
            thoughts: 0,
        }
    }

    /// Thinking, and calling `tool`, the first one that is offered, if `acting` says so.
    #[must_use]
    pub(super) fn acting(self, acting: Acting, tool: &Value) -> Self {
        let tool = tool.as_str().filter(|_| acting.calls_tool).map(str::to_owned);
        Self { tool, thoughts: acting.thoughts, ..self }
    }

    /// Streamed if the body's `stream` says so.
    #[must_use]
    pub(super) fn streamed(self, body: &Value) -> Self {
        Self { stream: body["stream"] == true, ..self }
    }
}

/// The body as JSON.
///
/// # Errors
/// Where it is not a JSON object.
pub(super) fn json(body: &[u8]) -> Result<Value, Refusal> {
    match serde_json::from_slice(body) {
        Ok(value @ Value::Object(_)) => Ok(value),
        _ => Err(Refusal::Invalid("the body is not a JSON object")),
    }
}

/// The model that `body` names.
///
/// # Errors
/// Where it names none, or one that `echo` does not have.
pub(super) fn model(body: &Value) -> Result<Model, Refusal> {
    let name = body["model"].as_str().ok_or(Refusal::Invalid("`model` is missing"))?;
    named(name)
}

/// The model of this name.
///
/// # Errors
/// Where `echo` does not have it.
pub(super) fn named(name: &str) -> Result<Model, Refusal> {
    Model::find(name).ok_or_else(|| Refusal::UnknownModel(name.to_owned()))
}

/// A count that may be absent or null.
///
/// # Errors
/// Where it is there but not a whole number from 0 on.
pub(super) fn optional_count(value: &Value) -> Result<Option<u64>, Refusal> {
    if value.is_null() {
        return Ok(None);
    }
    let count =
        value.as_u64().ok_or(Refusal::Invalid("a count is not a whole number from 0 on"))?;
    Ok(Some(count))
}

/// How many answers are asked for; 1 where nothing is said.
///
/// # Errors
/// Where it is not between 1 and 128.
pub(super) fn choices(value: &Value) -> Result<usize, Refusal> {
    let asked = optional_count(value)?.unwrap_or(1);
    if (1..=MOST_CHOICES).contains(&asked) {
        return usize::try_from(asked).map_err(|_| Refusal::Invalid("too many answers asked for"));
    }
    Err(Refusal::Invalid("the number of answers is not between 1 and 128"))
}

/// The elements of a list, or the value itself where it is not a list.
#[must_use]
pub(super) fn each(value: &Value) -> &[Value] {
    match value.as_array() {
        Some(list) => list,
        None if value.is_null() => &[],
        None => std::slice::from_ref(value),
    }
}

/// The elements of a list that must be there.
///
/// # Errors
/// Where it is not a list, or is empty.
pub(super) fn list<'a>(body: &'a Value, name: &str) -> Result<&'a [Value], Refusal> {
    match body.get(name) {
        Some(Value::Array(elements)) if !elements.is_empty() => Ok(elements),
        _ => Err(Refusal::Invalid("a list of messages, contents or requests is missing or empty")),
    }
}
