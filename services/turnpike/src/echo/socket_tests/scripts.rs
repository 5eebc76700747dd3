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
