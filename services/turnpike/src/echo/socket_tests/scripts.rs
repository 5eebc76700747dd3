//! Scripted trouble and clients that go away, against the count of what was served.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::TcpStream;

use super::client::{chat, request, send, start};

#[tokio::test]
async fn scripts_break_answers_but_not_the_count() {
    let running = start().await;
    let path = "/v1/chat/completions";
    let failed = running.scripted(path, &chat(json!({})), "status=503").await.unwrap();
    assert_eq!(
        (failed.status, failed.json()["error"]["type"].as_str()),
        (503, Some("server_error"))
    );
    assert!(running.scripted(path, &chat(json!({})), "drop").await.is_none());
    running.assert_served(0, 0, 0, "0.00").await;
    let lied = running.scripted(path, &chat(json!({})), "usage=negative").await.unwrap().json();
    assert_eq!(lied["usage"]["completion_tokens"], -3);
    let silent = running.scripted(path, &chat(json!({})), "usage=missing").await.unwrap().json();
    assert!(silent.get("usage").is_none());
    running.assert_served(2, 10, 6, "0.000022").await;
    let stream = chat(json!({"stream": true}));
    let cut = running.scripted(path, &stream, "cut_after=2").await.unwrap();
    assert!(!cut.is_whole);
    running.assert_served(3, 15, 8, "0.000031").await;
}

#[tokio::test]
async fn tools_are_called_and_thoughts_are_output_in_every_dialect() {
    let running = start().await;
    let script = "tool;think=2";
    let mut stream = json!({"model": "echo-1",
        "messages": [{"role": "user", "content": "a b"}],
        "tools": [{"type": "function", "function": {"name": "say"}}]});
    let whole = running.scripted("/v1/chat/completions", &stream, script).await.unwrap().json();
    let message = &whole["choices"][0]["message"];
    let called = &message["tool_calls"][0]["function"];
    assert_eq!(called, &json!({"name": "say", "arguments": "{\"text\":\"a b\"}"}));
    assert_eq!(whole["usage"]["completion_tokens"], 4);
    stream["stream"] = json!(true);
    let events = running.scripted("/v1/chat/completions", &stream, script).await.unwrap().events();
    let delta = |event: &serde_json::Value| {
        let call = &event["choices"][0]["delta"]["tool_calls"][0];
        call["function"]["arguments"].as_str().map(str::to_owned)
    };
    let sent: String = events.iter().filter_map(delta).collect();
    assert_eq!(sent, "{\"text\":\"a b\"}");
    running.assert_served(2, 4, 8, "0.00002").await;

    let tool = json!({"model": "echo-1", "input": "a b", "stream": true,
        "tools": [{"type": "function", "name": "say"}]});
    let events = running.scripted("/v1/responses", &tool, script).await.unwrap().events();
    let done = &events.last().unwrap()["response"];
    assert_eq!(done["output"][0]["arguments"], "{\"text\":\"a b\"}");
    assert_eq!(done["usage"]["output_tokens_details"]["reasoning_tokens"], 2);

    let tool = json!({"model": "echo-1", "max_tokens": 9, "tools": [{"name": "say"}],
        "messages": [{"role": "user", "content": "a b"}]});
    let whole = running.scripted("/v1/messages", &tool, script).await.unwrap().json();
    assert_eq!(whole["content"][0]["thinking"], "hm hm");
    assert_eq!(whole["content"][1]["input"], json!({"text": "a b"}));
    assert_eq!(
        (&whole["stop_reason"], &whole["usage"]["output_tokens"]),
        (&json!("tool_use"), &json!(4))
    );

    let tool = json!({"contents": [{"parts": [{"text": "a b"}]}],
        "tools": [{"functionDeclarations": [{"name": "say"}]}]});
    let path = "/v1beta/models/echo-1:streamGenerateContent?alt=sse";
    let events = running.scripted(path, &tool, script).await.unwrap().events();
    let part = |event: usize| &events[event]["candidates"][0]["content"]["parts"][0];
    assert_eq!(part(0), &json!({"text": "hm hm", "thought": true}));
    assert_eq!(part(1)["functionCall"], json!({"name": "say", "args": {"text": "a b"}}));
    assert_eq!(events[2]["usageMetadata"]["candidatesTokenCount"], 2);
    running.assert_served(5, 10, 20, "0.00005").await;
}

#[tokio::test]
async fn a_common_script_holds_until_it_is_taken_away() {
    let running = start().await;
    let set = |method: &'static str, script: &'static str| {
        let request = request(method, "/script")
            .body(Full::new(Bytes::from_static(script.as_bytes())))
            .unwrap();
        let to = running.echo.served_address;
        async move {
            let stream = TcpStream::connect(to).await.unwrap();
            let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
            let sent = async move { sender.send_request(request).await.unwrap().status().as_u16() };
            tokio::join!(sent, connection).0
        }
    };
    let list = || async {
        let request = request("GET", "/v1/models").body(Full::default()).unwrap();
        send(running.echo.address, request).await.unwrap().status
    };
    assert_eq!(set("PUT", "nonsense").await, 400);
    assert_eq!(set("PUT", "status=429").await, 204);
    assert_eq!(list().await, 429);
    assert_eq!(set("PUT", "status=503;times=1").await, 204);
    assert_eq!((list().await, list().await), (503, 200));
    assert_eq!(set("DELETE", "").await, 204);
    assert_eq!(list().await, 200);
}

#[tokio::test]
async fn an_abandoned_stream_serves_only_the_words_it_was_sent() {
    let running = start().await;
    let words = vec!["word"; 1_000].join(" ");
    let body = json!({"model": "echo-slow", "stream": true,
        "messages": [{"role": "user", "content": words}]});
    let bytes = Bytes::from(body.to_string());
    let request = request("POST", "/v1/chat/completions").body(Full::new(bytes)).unwrap();
    let stream = TcpStream::connect(running.echo.address).await.unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    let reading = async move {
        let mut body = sender.send_request(request).await.unwrap().into_body();
        let mut seen = 0;
        // The opening chunk and two words; then the client goes away.
        while seen < 3 {
            let frame = body.frame().await.unwrap().unwrap().into_data().unwrap();
            seen += frame.windows(6).filter(|window| window == b"data: ").count();
        }
    };
    tokio::select! {
        () = reading => {}
        ended = connection => panic!("the connection ended first: {ended:?}"),
    }
    let served = running.get(running.echo.served_address, "/served").await;
    let output = served["output_tokens"].as_u64().unwrap();
    assert!((2..10).contains(&output), "{output}");
    assert_eq!(served["input_tokens"], 1_000);
}
