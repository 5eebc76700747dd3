//! Embeddings, OpenAI's and Gemini's: one vector for each input, no output tokens.

use std::hash::{DefaultHasher, Hash, Hasher};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::ask::{self, Parts};
use super::gemini;
use super::model::Model;
use super::refusal::Refusal;
use super::reply::{Answer, Request, number, with_usage};
use super::served::Bill;

/// Dimensions where the request names none: small, for nobody searches with these.
const DIMENSIONS: usize = 64;
/// The most dimensions that are given.
const MOST_DIMENSIONS: u64 = 4_096;
/// The most inputs of one request; OpenAI's own limit.
const MOST_INPUTS: usize = 2_048;

/// Answers `POST /v1/embeddings`. Inputs of token numbers have a vector, but no text to count.
///
/// # Errors
/// Where the body is not such a request.
pub(super) fn embeddings(request: &Request<'_>) -> Result<Answer, Refusal> {
    let body = ask::json(request.body)?;
    let model = ask::model(&body)?;
    let size = dimensions(&body["dimensions"])?;
    let input = &body["input"];
    // A list of numbers is one input of tokens.
    let is_tokens = matches!(input, Value::Array(list) if list.iter().all(Value::is_number));
    let inputs = if is_tokens { std::slice::from_ref(input) } else { ask::each(input) };
    let bill = bill(model, inputs)?;
    let as_base64 = body["encoding_format"] == "base64";
    let data: Vec<_> = inputs
        .iter()
        .enumerate()
        .map(|(index, input)| {
            let vector = vector(input, size);
            let embedding = if as_base64 { Value::from(packed(&vector)) } else { json!(vector) };
            json!({"object": "embedding", "index": index, "embedding": embedding})
        })
        .collect();
    let whole = json!({"object": "list", "model": model.name(), "data": data});
    let whole = with_usage(whole, "usage", request.report.figures(bill), |figures| {
        json!({
            "prompt_tokens": number(figures.input),
            "total_tokens": number(figures.input + figures.output),
        })
    });
    Ok(Answer::json(&whole, bill))
}

/// Answers `:embedContent`.
///
/// # Errors
/// Where the body is not such a request.
pub(super) fn embed_content(request: &Request<'_>, model: Model) -> Result<Answer, Refusal> {
    let body = ask::json(request.body)?;
    let content = std::slice::from_ref(&body["content"]["parts"]);
    let size = dimensions(&body["outputDimensionality"])?;
    let bill = bill(model, content)?;
    let whole = json!({"embedding": {"values": vector(&content[0], size)}});
    let figures = request.report.figures(bill);
    Ok(Answer::json(&with_usage(whole, "usageMetadata", figures, gemini::usage), bill))
}

/// Answers `:batchEmbedContents`.
///
/// # Errors
/// Where the body is not such a request.
pub(super) fn embed_contents(request: &Request<'_>, model: Model) -> Result<Answer, Refusal> {
    let body = ask::json(request.body)?;
    let mut contents = Vec::new();
    let mut embeddings = Vec::new();
    for one in ask::list(&body, "requests")? {
        let content = one["content"]["parts"].clone();
        let size = dimensions(&one["outputDimensionality"])?;
        embeddings.push(json!({"values": vector(&content, size)}));
        contents.push(content);
    }
    let bill = bill(model, &contents)?;
    let whole = json!({"embeddings": embeddings});
    let figures = request.report.figures(bill);
    Ok(Answer::json(&with_usage(whole, "usageMetadata", figures, gemini::usage), bill))
}

fn dimensions(asked: &Value) -> Result<usize, Refusal> {
    match ask::optional_count(asked)? {
        None => Ok(DIMENSIONS),
        Some(size) if (1..=MOST_DIMENSIONS).contains(&size) => {
            usize::try_from(size).map_err(|_| Refusal::Invalid("too many dimensions"))
        }
        Some(_) => Err(Refusal::Invalid("the dimensions are not between 1 and 4096")),
    }
}

fn bill(model: Model, inputs: &[Value]) -> Result<Bill, Refusal> {
    if inputs.is_empty() || inputs.len() > MOST_INPUTS {
        return Err(Refusal::Invalid("there are not between 1 and 2048 inputs"));
    }
    let mut parts = Parts::default();
    inputs.iter().for_each(|input| parts.add(input, true));
    Ok(Bill { model, input: parts.input, cached: parts.cached, output: 0, thoughts: 0 })
}

/// A unit vector along one axis, chosen by the input: the same for the same input, and of length 1
/// without arithmetic.
fn vector(input: &Value, size: usize) -> Vec<f32> {
    let mut hasher = DefaultHasher::new();
    input.to_string().hash(&mut hasher);
    let axis = usize::try_from(hasher.finish() % MOST_DIMENSIONS).unwrap_or(0) % size;
    let mut vector = vec![0.0; size];
    vector[axis] = 1.0;
    vector
}

/// Little-endian 32-bit floats in base64, as OpenAI's SDKs ask for them.
fn packed(vector: &[f32]) -> String {
    let bytes: Vec<u8> = vector.iter().flat_map(|value| value.to_le_bytes()).collect();
    STANDARD.encode(bytes)
}
