//! OpenAI's responses: the object, and the sequence of events that builds it.

use serde_json::{Value, json};

use super::ask::{self, Ask, Parts};
use super::refusal::Refusal;
use super::reply::{Answer, Frames, Request, Stamp, number, typed_event, with_usage};
use super::script::Figures;
use super::words::Text;

/// Events of a stream, each with the words of output that it counts for.
type Events = Box<dyn Iterator<Item = (Value, u64)> + Send>;

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
    let ask = Ask::new(model, &parts, maximum, 1)
        .streamed(&body)
        .acting(request.acting, &body["tools"][0]["name"]);
    let bill = ask.bill();
    let figures = request.report.figures(bill);
    let head = head(&body, model.name(), request.stamp);
    if ask.stream {
        return Ok(Answer::events(stream(head, ask, figures, request.stamp), bill));
    }
    let text = ask.choices.into_iter().next().unwrap_or_default();
    let item = match &ask.tool {
        Some(tool) => call(request.stamp, tool, &text.argument().to_string(), "completed"),
        None => message(request.stamp, text.whole(), "completed"),
    };
    Ok(Answer::json(&finished(head, &text, item, figures), bill))
}

fn stream(head: Value, ask: Ask, figures: Option<Figures>, stamp: Stamp) -> Frames {
    let text = ask.choices.into_iter().next().unwrap_or_default();
    let end = if text.was_cut() { "response.incomplete" } else { "response.completed" };
    let (opened, item) = match &ask.tool {
        Some(tool) => (
            call(stamp, tool, "", "in_progress"),
            call(stamp, tool, &text.argument().to_string(), "completed"),
        ),
        None => {
            let mut opened = message(stamp, "", "in_progress");
            opened["content"] = json!([]);
            (opened, message(stamp, text.whole(), "completed"))
        }
    };
    // Thoughts are not shown: they count when the answer begins.
    let opening = [
        (json!({"type": "response.created", "response": head}), ask.thoughts),
        (json!({"type": "response.in_progress", "response": head}), 0),
        (json!({"type": "response.output_item.added", "output_index": 0, "item": opened}), 0),
    ];
    let done = finished(head, &text, item.clone(), figures);
    let closing = [
        (json!({"type": "response.output_item.done", "output_index": 0, "item": item}), 0),
        (json!({"type": end, "response": done}), 0),
    ];
    let said = if ask.tool.is_some() { said_to_tool(text, stamp) } else { said(text, stamp) };
    let events = opening.into_iter().chain(said).chain(closing);
    Box::new(events.enumerate().map(|(number, (mut data, words))| {
        data["sequence_number"] = Value::from(number);
        typed_event(&data, words)
    }))
}

/// The events that build the text of a message.
fn said(text: Text, stamp: Stamp) -> Events {
    let place =
        json!({"item_id": item_id(stamp), "output_index": 0, "content_index": 0, "logprobs": []});
    let at_place = move |kind: &str, name: &str, value: Value| {
        let mut data = place.clone();
        data["type"] = Value::from(kind);
        data[name] = value;
        data
    };
    let whole = text.whole().to_owned();
    let opening = at_place("response.content_part.added", "part", part(""));
    let closing = [
        at_place("response.output_text.done", "text", Value::from(whole.as_str())),
        at_place("response.content_part.done", "part", part(&whole)),
    ];
    let pieces = text.into_pieces().map(move |(piece, words)| {
        (at_place("response.output_text.delta", "delta", Value::from(piece)), words)
    });
    let opened = [(opening, 0)].into_iter().chain(pieces);
    Box::new(opened.chain(closing.into_iter().map(|data| (data, 0))))
}

/// The events that build the arguments of a call of a tool.
fn said_to_tool(text: Text, stamp: Stamp) -> Events {
    let event = move |kind: &str, name: &str, value: String| {
        let mut data = json!({"type": format!("response.function_call_arguments.{kind}"),
            "item_id": item_id(stamp), "output_index": 0});
        data[name] = Value::from(value);
        data
    };
    let closing = event("done", "arguments", text.argument().to_string());
    let pieces = text.into_argument_pieces();
    let pieces = pieces.map(move |(piece, words)| (event("delta", "delta", piece), words));
    Box::new(pieces.chain([(closing, 0)]))
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
            "output_tokens_details": {"reasoning_tokens": number(figures.thoughts)},
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

fn call(stamp: Stamp, tool: &str, arguments: &str, status: &str) -> Value {
    json!({
        "id": item_id(stamp), "type": "function_call", "call_id": "call_echo", "name": tool,
        "arguments": arguments, "status": status,
    })
}

fn part(text: &str) -> Value {
    json!({"type": "output_text", "text": text, "annotations": [], "logprobs": []})
}

fn item_id(stamp: Stamp) -> String {
    format!("msg_echo{}", stamp.number)
}
