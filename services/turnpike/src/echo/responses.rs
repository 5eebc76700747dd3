//! OpenAI's responses: the object, and the sequence of events that builds it.

use serde_json::{Value, json};

use super::ask::{self, Ask, Parts};
use super::refusal::Refusal;
use super::reply::{Answer, Frames, Request, Stamp, number, typed_event, with_usage};
use super::script::Figures;
use super::words::Text;

/// Answers `POST /v1/responses`.
///
/// # Errors
/// Where the body is not such a request.
pub(super) fn create(request: &Request<'_>) -> Result<Answer, Refusal> {
    let body = ask::json(request.body)?;
    let model = ask::model(&body)?;
    let mut parts = Parts::default();
    parts.add(&body["instructions"], false);
    for item in ask::each(&body["input"]) {
        if item.is_string() {
            parts.add(item, true);
        } else {
            parts.add(&item["content"], item["role"] == "user");
        }
    }
    let maximum = ask::optional_count(&body["max_output_tokens"])?;
    let ask = Ask::new(model, &parts, maximum, 1).streamed(&body);
    let bill = ask.bill();
    let figures = request.report.figures(bill);
    let text = ask.choices.into_iter().next().unwrap_or_default();
    let head = head(&body, model.name(), request.stamp);
    if ask.stream {
        return Ok(Answer::events(stream(head, text, figures, request.stamp), bill));
    }
    let item = message(request.stamp, text.whole(), "completed");
    Ok(Answer::json(&finished(head, &text, item, figures), bill))
}

fn stream(head: Value, text: Text, figures: Option<Figures>, stamp: Stamp) -> Frames {
    let item_id = item_id(stamp);
    let place = json!({"item_id": item_id, "output_index": 0, "content_index": 0});
    let at_place = move |kind: &str, name: &str, value: Value| {
        let mut data = place.clone();
        data["type"] = Value::from(kind);
        data[name] = value;
        data
    };
    let mut opened = message(stamp, "", "in_progress");
    opened["content"] = json!([]);
    let opening = [
        json!({"type": "response.created", "response": head}),
        json!({"type": "response.in_progress", "response": head}),
        json!({"type": "response.output_item.added", "output_index": 0, "item": opened}),
        at_place("response.content_part.added", "part", part("")),
    ];
    let said = text.whole().to_owned();
    let item = message(stamp, &said, "completed");
    let end = if text.was_cut() { "response.incomplete" } else { "response.completed" };
    let mut text_done = at_place("response.output_text.done", "text", Value::from(said.as_str()));
    text_done["logprobs"] = json!([]);
    let closing = [
        text_done,
        at_place("response.content_part.done", "part", part(&said)),
        json!({"type": "response.output_item.done", "output_index": 0, "item": item}),
        json!({"type": end, "response": finished(head, &text, item.clone(), figures)}),
    ];
    let pieces = text.into_pieces().map(move |(piece, words)| {
        let mut data = at_place("response.output_text.delta", "delta", Value::from(piece));
        data["logprobs"] = json!([]);
        (data, words)
    });
    let events = opening.into_iter().map(|data| (data, 0)).chain(pieces);
    let events = events.chain(closing.into_iter().map(|data| (data, 0)));
    Box::new(events.enumerate().map(|(number, (mut data, words))| {
        data["sequence_number"] = Value::from(number);
        typed_event(&data, words)
    }))
}

fn head(body: &Value, model: &str, stamp: Stamp) -> Value {
    json!({
        "id": format!("resp_echo{}", stamp.number), "object": "response",
        "created_at": stamp.created_s, "status": "in_progress", "model": model, "output": [],
        "error": null, "incomplete_details": null, "usage": null,
        "instructions": body["instructions"], "max_output_tokens": body["max_output_tokens"],
        "metadata": {}, "parallel_tool_calls": true, "previous_response_id": null,
        "reasoning": {"effort": null, "summary": null}, "store": false, "temperature": 1,
        "text": {"format": {"type": "text"}}, "tool_choice": "auto", "tools": [], "top_p": 1,
        "truncation": "disabled",
    })
}

fn finished(mut head: Value, text: &Text, item: Value, figures: Option<Figures>) -> Value {
    head["status"] = Value::from(if text.was_cut() { "incomplete" } else { "completed" });
    if text.was_cut() {
        head["incomplete_details"] = json!({"reason": "max_output_tokens"});
    }
    head["output"] = json!([item]);
    with_usage(head, "usage", figures, |figures| {
        json!({
            "input_tokens": number(figures.input),
            "input_tokens_details": {"cached_tokens": number(figures.cached)},
            "output_tokens": number(figures.output),
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": number(figures.input + figures.output),
        })
    })
}

fn message(stamp: Stamp, text: &str, status: &str) -> Value {
    json!({
        "id": item_id(stamp), "type": "message", "role": "assistant", "status": status,
        "content": [part(text)],
    })
}

fn part(text: &str) -> Value {
    json!({"type": "output_text", "text": text, "annotations": [], "logprobs": []})
}

fn item_id(stamp: Stamp) -> String {
    format!("msg_echo{}", stamp.number)
}
