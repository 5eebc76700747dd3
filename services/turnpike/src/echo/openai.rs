//! OpenAI's chat completions and completions.

use serde_json::{Value, json};

use super::ask::{self, Ask, Parts};
use super::refusal::Refusal;
use super::reply::{Answer, Frame, Frames, Request, event, number, with_usage};
use super::script::Figures;
use super::words::Text;

/// Answers `POST /v1/chat/completions`.
///
/// # Errors
/// Where the body is not such a request.
pub(super) fn chat(request: &Request<'_>) -> Result<Answer, Refusal> {
    let body = ask::json(request.body)?;
    let model = ask::model(&body)?;
    let mut parts = Parts::default();
    for message in ask::list(&body, "messages")? {
        parts.add(&message["content"], message["role"] == "user");
    }
    let maximum = match ask::optional_count(&body["max_completion_tokens"])? {
        Some(maximum) => Some(maximum),
        None => ask::optional_count(&body["max_tokens"])?,
    };
    let ask = Ask::new(model, &parts, maximum, ask::choices(&body["n"])?)
        .streamed(&body)
        .acting(request.acting, &body["tools"][0]["function"]["name"]);
    Ok(answer(ask, request, &body, &CHAT))
}

/// Answers `POST /v1/completions`: every prompt has `n` choices. A prompt of token numbers has no
/// text.
///
/// # Errors
/// Where the body is not such a request.
pub(super) fn completions(request: &Request<'_>) -> Result<Answer, Refusal> {
    let body = ask::json(request.body)?;
    let model = ask::model(&body)?;
    let maximum = ask::optional_count(&body["max_tokens"])?;
    let choices = ask::choices(&body["n"])?;
    let mut all = Ask::new(model, &Parts::default(), maximum, 0).streamed(&body);
    for prompt in ask::each(&body["prompt"]) {
        let mut parts = Parts::default();
        parts.add(prompt, true);
        let one = Ask::new(model, &parts, maximum, choices);
        all.input += one.input;
        all.choices.extend(one.choices);
    }
    Ok(answer(all, request, &body, &COMPLETIONS))
}

/// Where chat completions and completions differ.
struct Form {
    id: &'static str,
    whole: &'static str,
    chunk: &'static str,
    choice: fn(&Text, Option<&str>) -> Value,
    opening: Option<fn(Option<&str>) -> Value>,
    piece: fn(&str, bool) -> Value,
    closing: fn() -> Value,
}

const CHAT: Form = Form {
    id: "chatcmpl-echo",
    whole: "chat.completion",
    chunk: "chat.completion.chunk",
    choice: |text, tool| {
        let mut message = json!({"role": "assistant", "content": text.whole(), "refusal": null});
        if let Some(tool) = tool {
            message["content"] = Value::Null;
            message["tool_calls"] = json!([tool_call(tool, &text.argument().to_string())]);
        }
        json!({"message": message})
    },
    opening: Some(|tool| {
        let mut delta = json!({"role": "assistant", "content": "", "refusal": null});
        if let Some(tool) = tool {
            delta["content"] = Value::Null;
            delta["tool_calls"] = json!([tool_call(tool, "")]);
            delta["tool_calls"][0]["index"] = Value::from(0);
        }
        json!({"delta": delta})
    }),
    piece: |piece, is_argument| {
        if is_argument {
            let call = json!({"index": 0, "function": {"arguments": piece}});
            return json!({"delta": {"tool_calls": [call]}});
        }
        json!({"delta": {"content": piece}})
    },
    closing: || json!({"delta": {}}),
};

const COMPLETIONS: Form = Form {
    id: "cmpl-echo",
    whole: "text_completion",
    chunk: "text_completion",
    choice: |text, _| json!({"text": text.whole()}),
    opening: None,
    piece: |piece, _| json!({"text": piece}),
    closing: || json!({"text": ""}),
};

fn answer(ask: Ask, request: &Request<'_>, body: &Value, form: &'static Form) -> Answer {
    let bill = ask.bill();
    let figures = request.report.figures(bill);
    let head = json!({
        "id": format!("{}-{}", form.id, request.stamp.number),
        "created": request.stamp.created_s,
        "model": ask.model.name(),
    });
    if ask.stream {
        let asked = body["stream_options"]["include_usage"] == true;
        let figures = figures.filter(|_| asked);
        return Answer::events(stream(ask, head, asked, figures, form), bill);
    }
    let choices: Vec<_> = ask
        .choices
        .iter()
        .enumerate()
        .map(|(index, text)| {
            let tool = ask.tool.as_deref();
            choice((form.choice)(text, tool), index, Some(finish(text, tool.is_some())))
        })
        .collect();
    let whole = with_choices(head, form.whole, choices);
    Answer::json(&with_usage(whole, "usage", figures, usage), bill)
}

fn stream(
    ask: Ask,
    mut head: Value,
    asked_for_usage: bool,
    figures: Option<Figures>,
    form: &'static Form,
) -> Frames {
    if asked_for_usage {
        // As OpenAI says: with the option set, every other chunk has a null here.
        head["usage"] = Value::Null;
    }
    let last_head = head.clone();
    let chunk = move |head: &Value, choices| with_choices(head.clone(), form.chunk, choices);
    let Ask { choices, tool, thoughts, .. } = ask;
    let choices = choices.into_iter().enumerate().flat_map(move |(index, text)| {
        let (reason, calls) = (finish(&text, tool.is_some()), tool.is_some());
        // Thoughts are not shown: they count when the first answer begins.
        let thoughts = if index == 0 { thoughts } else { 0 };
        let opening = form.opening.map(|opening| (opening(tool.as_deref()), thoughts));
        let pieces: Box<dyn Iterator<Item = _> + Send> = if calls {
            Box::new(text.into_argument_pieces())
        } else {
            Box::new(text.into_pieces())
        };
        let pieces = pieces.map(move |(piece, words)| ((form.piece)(&piece, calls), words));
        let head = head.clone();
        let open = opening.into_iter().chain(pieces).map(|(content, words)| (content, words, None));
        open.chain([((form.closing)(), 0, Some(reason))]).map(move |(content, words, reason)| {
            event(&chunk(&head, vec![choice(content, index, reason)]), words)
        })
    });
    let usage = figures.map(|figures| {
        event(&with_usage(chunk(&last_head, vec![]), "usage", Some(figures), usage), 0)
    });
    let done = Frame { bytes: bytes::Bytes::from_static(b"data: [DONE]\n\n"), words: 0 };
    Box::new(choices.chain(usage).chain([done]))
}

fn with_choices(mut head: Value, object: &str, choices: Vec<Value>) -> Value {
    head["object"] = Value::from(object);
    head["choices"] = Value::from(choices);
    head
}

fn choice(mut content: Value, index: usize, reason: Option<&str>) -> Value {
    content["index"] = Value::from(index);
    content["logprobs"] = Value::Null;
    content["finish_reason"] = Value::from(reason);
    content
}

fn finish(text: &Text, calls_tool: bool) -> &'static str {
    match (text.was_cut(), calls_tool) {
        (true, _) => "length",
        (false, true) => "tool_calls",
        (false, false) => "stop",
    }
}

fn tool_call(name: &str, arguments: &str) -> Value {
    let function = json!({"name": name, "arguments": arguments});
    json!({"id": "call_echo", "type": "function", "function": function})
}

fn usage(figures: Figures) -> Value {
    json!({
        "prompt_tokens": number(figures.input),
        "completion_tokens": number(figures.output),
        "total_tokens": number(figures.input + figures.output),
        "prompt_tokens_details": {"cached_tokens": number(figures.cached)},
        "completion_tokens_details": {"reasoning_tokens": number(figures.thoughts)},
    })
}
