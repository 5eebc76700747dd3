//! OpenAI's images, speech, transcriptions and moderations.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Value, json};

use super::ask::{self, Ask, Parts};
use super::form::Form;
use super::model::Model;
use super::refusal::Refusal;
use super::reply::{Answer, Content, Frames, Request, number, typed_event, with_usage};
use super::script::Figures;
use super::served::Bill;
use super::words::Text;

/// A PNG of one transparent pixel.
const PIXEL: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwA\
ChwGA60e6kgAAAABJRU5ErkJggg==";

/// A WAV file (RIFF, PCM, 8 kHz, 8 bit, mono) of eight samples of silence.
const SILENCE: &[u8] = b"RIFF\x2c\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x40\x1f\0\0\x40\x1f\0\0\
\x01\0\x08\0data\x08\0\0\0\x80\x80\x80\x80\x80\x80\x80\x80";

/// Answers `POST /v1/images/generations` with `n` pixels. Images are no output tokens.
///
/// # Errors
/// Where the body is not such a request.
pub(super) fn images(request: &Request<'_>) -> Result<Answer, Refusal> {
    let body = ask::json(request.body)?;
    let bill = input_only(ask::model(&body)?, &body["prompt"]);
    let data = vec![json!({"b64_json": PIXEL}); ask::choices(&body["n"])?];
    let whole = json!({"created": request.stamp.created_s, "data": data});
    let whole = with_usage(whole, "usage", request.report.figures(bill), |figures| {
        let mut usage = usage(figures);
        usage["input_tokens_details"] =
            json!({"text_tokens": number(figures.input), "image_tokens": 0});
        usage
    });
    Ok(Answer::json(&whole, bill))
}

/// Answers `POST /v1/audio/speech` with a moment of silence. The input is billed; an answer of
/// sound alone has no place for usage, a stream of events has.
///
/// # Errors
/// Where the body is not such a request.
pub(super) fn speech(request: &Request<'_>) -> Result<Answer, Refusal> {
    let body = ask::json(request.body)?;
    let bill = input_only(ask::model(&body)?, &body["input"]);
    if body["stream_format"] == "sse" {
        let sound = json!({"type": "speech.audio.delta", "audio": STANDARD.encode(SILENCE)});
        let done = json!({"type": "speech.audio.done"});
        let done = with_usage(done, "usage", request.report.figures(bill), usage);
        let events = [sound, done].into_iter().map(|data| typed_event(&data, 0));
        return Ok(Answer::events(Box::new(events), bill));
    }
    Ok(Answer {
        content_type: "audio/wav",
        bill: Some(bill),
        content: Content::Whole(Bytes::from_static(SILENCE)),
    })
}

/// Answers `POST /v1/audio/transcriptions`: the only text of the form is the `prompt`, so that is
/// what the recording is said to say.
///
/// # Errors
/// Where the body is not such a form.
pub(super) fn transcriptions(request: &Request<'_>) -> Result<Answer, Refusal> {
    let form = Form::read(request.content_type, request.body)?;
    let model = ask::named(form.text("model").ok_or(Refusal::Invalid("`model` is missing"))?)?;
    if !form.has("file") {
        return Err(Refusal::Invalid("`file` is missing"));
    }
    let mut parts = Parts::default();
    parts.add(&Value::from(form.text("prompt").unwrap_or_default()), true);
    let ask = Ask::new(model, &parts, None, 1);
    let bill = ask.bill();
    if form.text("response_format") == Some("text") {
        return Ok(Answer {
            content_type: "text/plain; charset=utf-8",
            bill: Some(bill),
            content: Content::Whole(Bytes::from(format!("{}\n", parts.last_user))),
        });
    }
    let figures = request.report.figures(bill);
    if form.text("stream") == Some("true") {
        return Ok(Answer::events(transcript(ask, &parts.last_user, figures), bill));
    }
    let whole = json!({"text": parts.last_user});
    Ok(Answer::json(&with_usage(whole, "usage", figures, transcript_usage), bill))
}

/// A transcription, word by word.
fn transcript(ask: Ask, text: &str, figures: Option<Figures>) -> Frames {
    let done = json!({"type": "transcript.text.done", "text": text});
    let done = with_usage(done, "usage", figures, transcript_usage);
    let pieces = ask.choices.into_iter().flat_map(Text::into_pieces).map(|(piece, words)| {
        (json!({"type": "transcript.text.delta", "delta": piece, "logprobs": []}), words)
    });
    let events = pieces.chain([(done, 0)]);
    Box::new(events.map(|(data, words)| typed_event(&data, words)))
}

fn transcript_usage(figures: Figures) -> Value {
    let mut usage = usage(figures);
    usage["type"] = Value::from("tokens");
    usage["input_token_details"] = json!({"text_tokens": number(figures.input), "audio_tokens": 0});
    usage
}

/// Answers `POST /v1/moderations`: nothing is ever flagged. The usage is an addition to OpenAI's
/// form, which has none, so that the input can be billed as everywhere else.
///
/// # Errors
/// Where the body is not such a request.
pub(super) fn moderations(request: &Request<'_>) -> Result<Answer, Refusal> {
    let body = ask::json(request.body)?;
    let model = if body["model"].is_null() { Model::One } else { ask::model(&body)? };
    let bill = input_only(model, &body["input"]);
    let inputs = ask::each(&body["input"]);
    // A list of parts is one input; a list of strings is as many as there are.
    let results = if inputs.iter().all(Value::is_string) { inputs.len() } else { 1 };
    let result = json!({
        "flagged": false, "categories": {}, "category_scores": {},
        "category_applied_input_types": {},
    });
    let whole = json!({
        "id": format!("modr-echo-{}", request.stamp.number), "model": model.name(),
        "results": vec![result; results],
    });
    let whole = with_usage(whole, "usage", request.report.figures(bill), |figures| {
        json!({
            "prompt_tokens": number(figures.input),
            "total_tokens": number(figures.input + figures.output),
        })
    });
    Ok(Answer::json(&whole, bill))
}

fn input_only(model: Model, text: &Value) -> Bill {
    let mut parts = Parts::default();
    parts.add(text, true);
    Bill { model, input: parts.input, cached: parts.cached, output: 0, thoughts: 0 }
}

fn usage(figures: Figures) -> Value {
    json!({
        "input_tokens": number(figures.input),
        "output_tokens": number(figures.output),
        "total_tokens": number(figures.input + figures.output),
    })
}
