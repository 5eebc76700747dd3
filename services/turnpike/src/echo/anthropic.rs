//! Anthropic's messages and their count of tokens.

use serde_json::{Value, json};

use super::ask::{self, Ask, Parts};
use super::refusal::Refusal;
use super::reply::{Answer, Frames, Request, number, typed_event, with_usage};
use super::script::Figures;
use super::words::{self, Text};

/// What thinking is signed with.
const SIGNATURE: &str = "echo";

/// An event of a stream, and the words of output that it counts for.
type Event = (Value, u64);

/// Answers `POST /v1/messages`.
///
/// # Errors
/// Where the body is not such a request.
pub(super) fn messages(request: &Request<'_>) -> Result<Answer, Refusal> {
    let body = ask::json(request.body)?;
    let model = ask::model(&body)?;
    let maximum = ask::optional_count(&body["max_tokens"])?;
    let ask = Ask::new(model, &parts(&body)?, maximum, 1)
        .streamed(&body)
        .acting(request.acting, &body["tools"][0]["name"]);
    let bill = ask.bill();
    let figures = request.report.figures(bill);
    let head = json!({
        "id": format!("msg_echo{}", request.stamp.number), "type": "message",
        "role": "assistant", "model": model.name(), "content": [],
        "stop_reason": null, "stop_sequence": null,
    });
    if ask.stream {
        return Ok(Answer::events(stream(head, ask, figures), bill));
    }
    let text = ask.choices.into_iter().next().unwrap_or_default();
    let tool = ask.tool.as_deref();
    let mut whole = head;
    let said = match tool {
        Some(tool) => tool_use(tool, &text.argument()),
        None => json!({"type": "text", "text": text.whole()}),
    };
    let thinking = (ask.thoughts > 0).then(|| {
        json!({"type": "thinking", "thinking": words::thought(ask.thoughts),
            "signature": SIGNATURE})
    });
    whole["content"] = thinking.into_iter().chain([said]).collect();
    whole["stop_reason"] = Value::from(stop_reason(&text, tool.is_some()));
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

fn stream(head: Value, ask: Ask, figures: Option<Figures>) -> Frames {
    let Ask { choices, tool, thoughts, .. } = ask;
    let text = choices.into_iter().next().unwrap_or_default();
    let calls = tool.is_some();
    let head = with_usage(head, "usage", figures, |told| usage(told, 0));
    let thinking = if thoughts > 0 { thinking(thoughts) } else { vec![] };
    let index = usize::from(thoughts > 0);
    let block = match tool {
        Some(tool) => tool_use(&tool, &json!({})),
        None => json!({"type": "text", "text": ""}),
    };
    let opening = [(json!({"type": "message_start", "message": head}), 0)];
    let opening = opening.into_iter().chain(thinking).chain([(start(index, &block), 0)]);
    let delta = json!({
        "type": "message_delta",
        "delta": {"stop_reason": stop_reason(&text, calls), "stop_sequence": null},
    });
    let closing = [
        stop(index),
        with_usage(delta, "usage", figures, |told| {
            json!({
                "output_tokens": number(told.output),
                "output_tokens_details": {"thinking_tokens": number(told.thoughts)},
            })
        }),
        json!({"type": "message_stop"}),
    ];
    let events = opening.chain(pieces(index, text, calls));
    let events = events.chain(closing.into_iter().map(|data| (data, 0)));
    Box::new(events.map(|(data, words)| typed_event(&data, words)))
}

/// The pieces of a text, or of the arguments of a tool that is called with it.
fn pieces(index: usize, text: Text, calls_tool: bool) -> Box<dyn Iterator<Item = Event> + Send> {
    if calls_tool {
        Box::new(text.into_argument_pieces().map(move |(piece, words)| {
            (delta(index, &json!({"type": "input_json_delta", "partial_json": piece})), words)
        }))
    } else {
        Box::new(text.into_pieces().map(move |(piece, words)| {
            (delta(index, &json!({"type": "text_delta", "text": piece})), words)
        }))
    }
}

/// A block of thinking, all of it in one piece.
fn thinking(thoughts: u64) -> Vec<Event> {
    let thinking = json!({"type": "thinking_delta", "thinking": words::thought(thoughts)});
    vec![
        (start(0, &json!({"type": "thinking", "thinking": "", "signature": ""})), 0),
        (delta(0, &thinking), thoughts),
        (delta(0, &json!({"type": "signature_delta", "signature": SIGNATURE})), 0),
        (stop(0), 0),
    ]
}

fn start(index: usize, block: &Value) -> Value {
    json!({"type": "content_block_start", "index": index, "content_block": block})
}

fn delta(index: usize, delta: &Value) -> Value {
    json!({"type": "content_block_delta", "index": index, "delta": delta})
}

fn stop(index: usize) -> Value {
    json!({"type": "content_block_stop", "index": index})
}

fn tool_use(name: &str, input: &Value) -> Value {
    json!({"type": "tool_use", "id": "toolu_echo", "name": name, "input": input})
}

fn stop_reason(text: &Text, calls_tool: bool) -> &'static str {
    match (text.was_cut(), calls_tool) {
        (true, _) => "max_tokens",
        (false, true) => "tool_use",
        (false, false) => "end_turn",
    }
}

/// Anthropic's `input_tokens` leave out what the cache gave.
fn usage(figures: Figures, output: i128) -> Value {
    json!({
        "input_tokens": number(figures.input - figures.cached.clamp(0, figures.input.max(0))),
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": number(figures.cached),
        "output_tokens": number(output),
        "output_tokens_details": {"thinking_tokens": number(figures.thoughts)},
    })
}
