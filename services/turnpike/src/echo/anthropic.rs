//! Anthropic's messages and their count of tokens.

use serde_json::{Value, json};

use super::ask::{self, Ask, Parts};
use super::refusal::Refusal;
use super::reply::{Answer, Frames, Request, number, typed_event, with_usage};
use super::script::Figures;
use super::words::Text;

/// Answers `POST /v1/messages`.
///
/// # Errors
/// Where the body is not such a request.
pub(super) fn messages(request: &Request<'_>) -> Result<Answer, Refusal> {
    let body = ask::json(request.body)?;
    let model = ask::model(&body)?;
    let maximum = ask::optional_count(&body["max_tokens"])?;
    let ask = Ask::new(model, &parts(&body)?, maximum, 1).streamed(&body);
    let bill = ask.bill();
    let figures = request.report.figures(bill);
    let text = ask.choices.into_iter().next().unwrap_or_default();
    let head = json!({
        "id": format!("msg_echo{}", request.stamp.number), "type": "message",
        "role": "assistant", "model": model.name(), "content": [],
        "stop_reason": null, "stop_sequence": null,
    });
    if ask.stream {
        return Ok(Answer::events(stream(head, text, figures), bill));
    }
    let mut whole = head;
    whole["content"] = json!([{"type": "text", "text": text.whole()}]);
    whole["stop_reason"] = Value::from(stop_reason(&text));
    Ok(Answer::json(&with_usage(whole, "usage", figures, |told| usage(told, told.output)), bill))
}

/// Answers `POST /v1/messages/count_tokens`, which serves nothing.
///
/// # Errors
/// Where the body is not such a request.
pub(super) fn count_tokens(request: &Request<'_>) -> Result<Answer, Refusal> {
    let body = ask::json(request.body)?;
    ask::model(&body)?;
    Ok(Answer::free(&json!({"input_tokens": parts(&body)?.input})))
}

fn parts(body: &Value) -> Result<Parts, Refusal> {
    let mut parts = Parts::default();
    parts.add(&body["system"], false);
    for message in ask::list(body, "messages")? {
        parts.add(&message["content"], message["role"] == "user");
    }
    Ok(parts)
}

fn stream(head: Value, text: Text, figures: Option<Figures>) -> Frames {
    let head = with_usage(head, "usage", figures, |told| usage(told, 0));
    let opening = [
        json!({"type": "message_start", "message": head}),
        json!({"type": "content_block_start", "index": 0,
            "content_block": {"type": "text", "text": ""}}),
    ];
    let delta = json!({
        "type": "message_delta",
        "delta": {"stop_reason": stop_reason(&text), "stop_sequence": null},
    });
    let closing = [
        json!({"type": "content_block_stop", "index": 0}),
        with_usage(delta, "usage", figures, |told| json!({"output_tokens": number(told.output)})),
        json!({"type": "message_stop"}),
    ];
    let pieces = text.into_pieces().map(|(piece, words)| {
        let data = json!({"type": "content_block_delta", "index": 0,
            "delta": {"type": "text_delta", "text": piece}});
        (data, words)
    });
    let events = opening.into_iter().map(|data| (data, 0)).chain(pieces);
    let events = events.chain(closing.into_iter().map(|data| (data, 0)));
    Box::new(events.map(|(data, words)| typed_event(&data, words)))
}

fn stop_reason(text: &Text) -> &'static str {
    if text.was_cut() { "max_tokens" } else { "end_turn" }
}

/// Anthropic's `input_tokens` leave out what the cache gave.
fn usage(figures: Figures, output: i128) -> Value {
    json!({
        "input_tokens": number(figures.input - figures.cached.clamp(0, figures.input.max(0))),
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": number(figures.cached),
        "output_tokens": number(output),
    })
}
