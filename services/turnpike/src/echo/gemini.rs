//! Gemini's generation of content and its count of tokens.

use bytes::Bytes;
use serde_json::{Value, json};

use super::ask::{self, Ask, Parts};
use super::model::Model;
use super::refusal::Refusal;
use super::reply::{Answer, Content, Frame, Frames, Request, event, number, with_usage};
use super::route::Form;
use super::script::Figures;
use super::words::{self, Text};

/// Answers `:generateContent` and `:streamGenerateContent`.
///
/// # Errors
/// Where the body is not such a request.
pub(super) fn generate(request: &Request<'_>, model: Model, form: Form) -> Result<Answer, Refusal> {
    let body = ask::json(request.body)?;
    let config = either(&body, "generationConfig", "generation_config");
    let maximum = either(config, "maxOutputTokens", "max_output_tokens");
    let maximum = ask::optional_count(maximum)?;
    let choices = ask::choices(either(config, "candidateCount", "candidate_count"))?;
    let tool = &body["tools"][0]["functionDeclarations"][0]["name"];
    let ask = Ask::new(model, &parts(&body)?, maximum, choices).acting(request.acting, tool);
    let bill = ask.bill();
    let figures = request.report.figures(bill);
    let tail = json!({
        "modelVersion": model.name(),
        "responseId": format!("echo{}", request.stamp.number),
    });
    let last = with_usage(tail.clone(), "usageMetadata", figures, usage);
    Ok(match form {
        Form::Whole => {
            let candidates: Vec<_> = ask
                .choices
                .iter()
                .enumerate()
                .map(|(index, text)| {
                    let said = said(text, ask.tool.as_deref());
                    let parts = thought(ask.thoughts).into_iter().chain([said]).collect();
                    candidate(index, parts, Some(reason(text)))
                })
                .collect();
            Answer::json(&with_candidates(last, candidates), bill)
        }
        Form::Events => {
            let frames = chunks(ask, tail, last).map(|(data, words)| event(&data, words));
            Answer::events(Box::new(frames), bill)
        }
        Form::Array => Answer {
            content_type: "application/json",
            bill: Some(bill),
            content: Content::Stream(array(chunks(ask, tail, last))),
        },
    })
}

/// Answers `:countTokens`, which serves nothing.
///
/// # Errors
/// Where the body is not such a request.
pub(super) fn count_tokens(request: &Request<'_>, _model: Model) -> Result<Answer, Refusal> {
    let body = ask::json(request.body)?;
    let request = either(&body, "generateContentRequest", "generate_content_request");
    let inner = if request.is_null() { &body } else { request };
    Ok(Answer::free(&json!({"totalTokens": parts(inner)?.input})))
}

/// Usage as Gemini names it.
#[must_use]
pub(super) fn usage(figures: Figures) -> Value {
    json!({
        "promptTokenCount": number(figures.input),
        "cachedContentTokenCount": number(figures.cached),
        "candidatesTokenCount": number(figures.output - figures.thoughts),
        "thoughtsTokenCount": number(figures.thoughts),
        "totalTokenCount": number(figures.input + figures.output),
    })
}

/// A field in either spelling: Google takes both.
fn either<'a>(body: &'a Value, camel: &str, snake: &str) -> &'a Value {
    body.get(camel).unwrap_or(&body[snake])
}

fn parts(body: &Value) -> Result<Parts, Refusal> {
    let mut parts = Parts::default();
    let system = either(body, "systemInstruction", "system_instruction");
    parts.add(&system["parts"], false);
    for content in ask::list(body, "contents")? {
        let is_user = content["role"].as_str().is_none_or(|role| role == "user");
        parts.add(&content["parts"], is_user);
    }
    Ok(parts)
}

fn chunks(ask: Ask, tail: Value, mut last: Value) -> impl Iterator<Item = (Value, u64)> + Send {
    // The last chunk closes every candidate and reports the usage.
    let ends = ask.choices.iter().enumerate();
    let ends =
        ends.map(|(index, text)| candidate(index, vec![json!({"text": ""})], Some(reason(text))));
    last = with_candidates(last, ends.collect());
    let Ask { choices, tool, thoughts, .. } = ask;
    let thinking = thought(thoughts).map(|part| (0, part, thoughts));
    let pieces = choices.into_iter().enumerate().flat_map(move |(index, text)| {
        let pieces: Box<dyn Iterator<Item = (Value, u64)> + Send> = if tool.is_some() {
            // Gemini sends a call in one piece.
            Box::new([(said(&text, tool.as_deref()), text.words())].into_iter())
        } else {
            Box::new(text.into_pieces().map(|(piece, words)| (json!({"text": piece}), words)))
        };
        pieces.map(move |(part, words)| (index, part, words))
    });
    let pieces = thinking.into_iter().chain(pieces).map(move |(index, part, words)| {
        (with_candidates(tail.clone(), vec![candidate(index, vec![part], None)]), words)
    });
    pieces.chain([(last, 0)])
}

fn array(chunks: impl Iterator<Item = (Value, u64)> + Send + 'static) -> Frames {
    let elements = chunks.enumerate().map(|(index, (data, words))| {
        let before = if index == 0 { "[" } else { ",\r\n" };
        Frame { bytes: Bytes::from(format!("{before}{data}")), words }
    });
    Box::new(elements.chain([Frame { bytes: Bytes::from_static(b"]"), words: 0 }]))
}

fn with_candidates(mut body: Value, candidates: Vec<Value>) -> Value {
    body["candidates"] = Value::from(candidates);
    body
}

/// The part with the text, or with the call of a tool with it.
fn said(text: &Text, tool: Option<&str>) -> Value {
    match tool {
        Some(tool) => json!({"functionCall": {"name": tool, "args": text.argument()}}),
        None => json!({"text": text.whole()}),
    }
}

/// The part with so many words of thought.
fn thought(words: u64) -> Option<Value> {
    (words > 0).then(|| json!({"text": words::thought(words), "thought": true}))
}

fn candidate(index: usize, parts: Vec<Value>, reason: Option<&str>) -> Value {
    let mut candidate = json!({"index": index, "content": {"role": "model", "parts": parts}});
    if let Some(reason) = reason {
        candidate["finishReason"] = Value::from(reason);
    }
    candidate
}

fn reason(text: &Text) -> &'static str {
    if text.was_cut() { "MAX_TOKENS" } else { "STOP" }
}
