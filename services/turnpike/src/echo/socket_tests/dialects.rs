//! Every dialect, against the count of what was served.

use bytes::Bytes;
use http_body_util::Full;
use serde_json::json;

use super::client::{chat, request, send, start};

#[tokio::test]
async fn chat_completions_give_the_last_user_text_back() {
    let running = start().await;
    let whole = running.post("/v1/chat/completions", &chat(json!({}))).await.json();
    assert_eq!(whole["choices"][0]["message"]["content"], " say  this\nback ");
    assert_eq!(whole["choices"][0]["finish_reason"], "stop");
    assert_eq!(whole["usage"]["prompt_tokens"], 5);
    assert_eq!(whole["usage"]["completion_tokens"], 3);
    let cut = json!({"max_completion_tokens": 2, "n": 2});
    let cut = running.post("/v1/chat/completions", &chat(cut)).await.json();
    assert_eq!(cut["choices"][1]["message"]["content"], " say  this");
    assert_eq!(cut["choices"][1]["finish_reason"], "length");
    running.assert_served(2, 10, 7, "0.000024").await;
}

#[tokio::test]
async fn chat_streams_a_chunk_a_word_and_usage_only_when_asked() {
    let running = start().await;
    let asked = json!({"stream": true, "stream_options": {"include_usage": true}});
    let reply = running.post("/v1/chat/completions", &chat(asked)).await;
    assert_eq!(reply.content_type, "text/event-stream");
    assert!(reply.body.ends_with(b"data: [DONE]\n\n"));
    let events = reply.events();
    let said: Vec<_> = events
        .iter()
        .filter_map(|event| event["choices"][0]["delta"]["content"].as_str())
        .collect();
    assert_eq!(said, ["", " say", "  this", "\nback "]);
    let last = events.last().unwrap();
    assert_eq!(last["choices"], json!([]));
    assert_eq!(last["usage"]["total_tokens"], 8);
    assert!(events.iter().rev().skip(1).all(|event| event["usage"].is_null()));

    let silent = running.post("/v1/chat/completions", &chat(json!({"stream": true}))).await;
    assert!(silent.events().iter().all(|event| event.get("usage").is_none()));
    running.assert_served(2, 10, 6, "0.000022").await;
}

#[tokio::test]
async fn completions_answer_every_prompt() {
    let running = start().await;
    let body = json!({"model": "echo-1", "prompt": ["a b", "c"], "n": 2});
    let reply = running.post("/v1/completions", &body).await.json();
    let said: Vec<_> = reply["choices"].as_array().unwrap().iter().map(|c| &c["text"]).collect();
    assert_eq!(said, ["a b", "a b", "c", "c"]);
    running.assert_served(1, 3, 6, "0.000015").await;
}

#[tokio::test]
async fn responses_come_whole_and_as_the_events_that_build_them() {
    let running = start().await;
    let body = json!({"model": "echo-1", "instructions": "be brief", "input": "hello you"});
    let whole = running.post("/v1/responses", &body).await.json();
    assert_eq!(whole["status"], "completed");
    assert_eq!(whole["output"][0]["content"][0]["text"], "hello you");
    assert_eq!(whole["usage"]["input_tokens"], 4);

    let body = json!({"model": "echo-1", "stream": true, "max_output_tokens": 1, "input": [
        {"role": "user", "content": [{"type": "input_text", "text": "one two"}]},
    ]});
    let events = running.post("/v1/responses", &body).await.events();
    let kinds: Vec<_> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(
        kinds,
        [
            "response.created",
            "response.in_progress",
            "response.output_item.added",
            "response.content_part.added",
            "response.output_text.delta",
            "response.output_text.done",
            "response.content_part.done",
            "response.output_item.done",
            "response.incomplete",
        ]
    );
    assert_eq!(events[8]["sequence_number"], 8);
    assert_eq!(events[8]["response"]["usage"]["total_tokens"], 3);
    running.assert_served(2, 6, 3, "0.000012").await;
}

#[tokio::test]
async fn embeddings_have_a_vector_for_each_input() {
    let running = start().await;
    let body = json!({"model": "echo-1", "input": ["a b", "c"], "dimensions": 4});
    let floats = running.post("/v1/embeddings", &body).await.json();
    assert_eq!(floats["data"].as_array().unwrap().len(), 2);
    assert_eq!(floats["data"][0]["embedding"].as_array().unwrap().len(), 4);
    assert_eq!(floats["usage"]["prompt_tokens"], 3);
    let body = json!({"model": "echo-1", "input": "d", "encoding_format": "base64"});
    let packed = running.post("/v1/embeddings", &body).await.json();
    // 64 floats of 4 bytes are 256 bytes, 344 characters of base64.
    assert_eq!(packed["data"][0]["embedding"].as_str().unwrap().len(), 344);
    running.assert_served(2, 4, 0, "0.000004").await;
}

#[tokio::test]
async fn images_speech_and_moderations_bill_their_text() {
    let running = start().await;
    let image = json!({"model": "echo-1", "prompt": "a red fox", "n": 2});
    let image = running.post("/v1/images/generations", &image).await.json();
    assert_eq!(image["data"].as_array().unwrap().len(), 2);
    let speech = json!({"model": "echo-1", "input": "say it", "voice": "alloy"});
    let speech = running.post("/v1/audio/speech", &speech).await;
    assert!(speech.body.starts_with(b"RIFF") && speech.content_type == "audio/wav");
    let moderation = json!({"input": ["x", "y z"]});
    let moderation = running.post("/v1/moderations", &moderation).await.json();
    assert_eq!(moderation["results"].as_array().unwrap().len(), 2);
    running.assert_served(3, 8, 0, "0.000008").await;
}

#[tokio::test]
async fn transcriptions_say_what_the_prompt_says() {
    let running = start().await;
    let body = "--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\necho-1\r\n\
        --b\r\nContent-Disposition: form-data; name=\"prompt\"\r\n\r\nhello you\r\n\
        --b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\n..\r\n\
        --b--\r\n";
    let request = request("POST", "/v1/audio/transcriptions")
        .header("content-type", "multipart/form-data; boundary=b")
        .body(Full::new(Bytes::from(body)))
        .unwrap();
    let reply = send(running.echo.address, request).await.unwrap().json();
    assert_eq!(reply["text"], "hello you");
    running.assert_served(1, 2, 2, "0.000006").await;
}

#[tokio::test]
async fn anthropic_messages_come_whole_streamed_and_cached() {
    let running = start().await;
    let mut body = json!({
        "model": "echo-1", "max_tokens": 2, "messages": [{"role": "user", "content": "a b c"}],
        "system": [{"type": "text", "text": "be brief", "cache_control": {"type": "ephemeral"}}],
    });
    let whole = running.post("/v1/messages", &body).await.json();
    assert_eq!(whole["content"][0]["text"], "a b");
    assert_eq!(whole["stop_reason"], "max_tokens");
    assert_eq!(whole["usage"]["input_tokens"], 3);
    assert_eq!(whole["usage"]["cache_read_input_tokens"], 2);
    body["stream"] = json!(true);
    let events = running.post("/anthropic/v1/messages", &body).await.events();
    let kinds: Vec<_> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(
        kinds,
        [
            "message_start",
            "content_block_start",
            "content_block_delta",
            "content_block_delta",
            "content_block_stop",
            "message_delta",
            "message_stop",
        ]
    );
    assert_eq!(events[5]["usage"]["output_tokens"], 2);
    let count = running.post("/v1/messages/count_tokens", &body).await.json();
    assert_eq!(count, json!({"input_tokens": 5}));
    running.assert_served(2, 10, 4, "0.0000144").await;
}

#[tokio::test]
async fn gemini_generates_whole_as_events_and_as_an_array() {
    let running = start().await;
    let model = "/v1beta/models/echo-1";
    let body = json!({
        "contents": [{"parts": [{"text": "hello you"}]}],
        "systemInstruction": {"parts": [{"text": "brief"}]},
    });
    let whole = running.post(&format!("{model}:generateContent"), &body).await.json();
    assert_eq!(whole["candidates"][0]["content"]["parts"][0]["text"], "hello you");
    assert_eq!(whole["usageMetadata"]["promptTokenCount"], 3);
    let path = format!("{model}:streamGenerateContent");
    let events = running.post(&format!("{path}?alt=sse"), &body).await.events();
    let array = running.post(&path, &body).await.json();
    for chunks in [events, array.as_array().unwrap().clone()] {
        let said: Vec<_> = chunks
            .iter()
            .map(|chunk| chunk["candidates"][0]["content"]["parts"][0]["text"].as_str().unwrap())
            .collect();
        assert_eq!(said, ["hello", " you", ""]);
        assert_eq!(chunks[2]["candidates"][0]["finishReason"], "STOP");
        assert_eq!(chunks[2]["usageMetadata"]["totalTokenCount"], 5);
    }
    let count = running.post(&format!("{model}:countTokens"), &body).await.json();
    assert_eq!(count["totalTokens"], 3);
    // Google takes every name in both spellings.
    let body = json!({
        "contents": [{"parts": [{"text": "hello you"}]}],
        "system_instruction": {"parts": [{"text": "brief"}]},
        "generation_config": {"max_output_tokens": 1, "candidate_count": 2},
    });
    let cut = running.post(&format!("{model}:generateContent"), &body).await.json();
    assert_eq!(cut["candidates"][1]["content"]["parts"][0]["text"], "hello");
    running.assert_served(4, 12, 8, "0.000028").await;
}

#[tokio::test]
async fn gemini_embeds_one_and_many() {
    let running = start().await;
    let model = "/v1beta/models/echo-1";
    let one = json!({"content": {"parts": [{"text": "a b"}]}, "outputDimensionality": 3});
    let reply = running.post(&format!("{model}:embedContent"), &one).await.json();
    assert_eq!(reply["embedding"]["values"].as_array().unwrap().len(), 3);
    let many = json!({"requests": [one, one]});
    let reply = running.post(&format!("{model}:batchEmbedContents"), &many).await.json();
    assert_eq!(reply["embeddings"].as_array().unwrap().len(), 2);
    running.assert_served(2, 6, 0, "0.000006").await;
}

#[tokio::test]
async fn models_are_listed_in_each_dialect() {
    let running = start().await;
    let listed = running.get(running.echo.address, "/v1/models").await;
    assert_eq!(listed["data"][0]["id"], "echo-1");
    let listed = running.get(running.echo.address, "/v1beta/models").await;
    assert_eq!(listed["models"][1]["name"], "models/echo-slow");
    running.assert_served(0, 0, 0, "0.00").await;
}

#[tokio::test]
async fn refusals_wear_the_envelope_of_their_dialect_and_serve_nothing() {
    let running = start().await;
    let unknown = json!({"model": "echo-9", "messages": [{"role": "user", "content": "x"}]});
    let refused = running.post("/v1/chat/completions", &unknown).await;
    assert_eq!(
        (refused.status, &refused.json()["error"]["code"]),
        (404, &json!("model_not_found"))
    );
    let refused = running.post("/v1/messages", &json!({"model": "echo-1"})).await;
    assert_eq!(refused.json()["error"]["type"], "invalid_request_error");
    let refused = running.post("/v1beta/models/echo-1:fly", &json!({})).await;
    assert_eq!(refused.json()["error"]["status"], "NOT_FOUND");
    running.assert_served(0, 0, 0, "0.00").await;
}
