//! A running `echo` and a client that reads its answers in full.

use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use turnpike_runtime::clock;

use super::super::{Echo, EchoOptions, serve};

pub(super) struct Running {
    pub(super) echo: Echo,
    _stop: tokio_util::sync::DropGuard,
}

pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) content_type: String,
    pub(super) body: Bytes,
    pub(super) is_whole: bool,
}

impl Reply {
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The data of the server-sent events, those that are JSON.
    pub(super) fn events(&self) -> Vec<Value> {
        let text = std::str::from_utf8(&self.body).unwrap();
        text.lines()
            .filter_map(|line| line.strip_prefix("data: "))
            .filter_map(|data| serde_json::from_str(data).ok())
            .collect()
    }
}

pub(super) async fn start() -> Running {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let stop = CancellationToken::new();
    let options = EchoOptions { listen: any, served: any, scripted: true, clock: clock::system() };
    let echo = serve(options, stop.clone()).await.unwrap();
    Running { echo, _stop: stop.drop_guard() }
}

pub(super) async fn send(to: SocketAddr, request: http::Request<Full<Bytes>>) -> Option<Reply> {
    let stream = TcpStream::connect(to).await.unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    let exchange = async move {
        let (head, mut body) = sender.send_request(request).await.ok()?.into_parts();
        let mut bytes = Vec::new();
        let mut is_whole = true;
        while let Some(frame) = body.frame().await {
            match frame {
                Ok(frame) => bytes.extend_from_slice(frame.data_ref().unwrap()),
                Err(_) => is_whole = false,
            }
        }
        let content_type = head.headers["content-type"].to_str().unwrap().to_owned();
        Some(Reply { status: head.status.as_u16(), content_type, body: bytes.into(), is_whole })
    };
    tokio::join!(exchange, connection).0
}

pub(super) fn request(method: &str, path: &str) -> http::request::Builder {
    http::Request::builder().method(method).uri(path).header("host", "echo")
}

impl Running {
    pub(super) async fn post(&self, path: &str, body: &Value) -> Reply {
        self.scripted(path, body, "").await.unwrap()
    }

    pub(super) async fn scripted(&self, path: &str, body: &Value, script: &str) -> Option<Reply> {
        let bytes = Bytes::from(body.to_string());
        let request = request("POST", path)
            .header("content-type", "application/json")
            .header("x-echo-script", script)
            .body(Full::new(bytes))
            .unwrap();
        send(self.echo.address, request).await
    }

    pub(super) async fn get(&self, to: SocketAddr, path: &str) -> Value {
        let request = request("GET", path).body(Full::default()).unwrap();
        send(to, request).await.unwrap().json()
    }

    pub(super) async fn assert_served(&self, requests: u64, input: u64, output: u64, cost: &str) {
        let served = self.get(self.echo.served_address, "/served").await;
        let expected = json!({
            "requests": requests, "input_tokens": input, "output_tokens": output,
            "cost_usd": cost,
        });
        assert_eq!(served, expected);
    }
}

pub(super) fn chat(extra: Value) -> Value {
    let mut body = json!({"model": "echo-1", "messages": [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": [{"type": "text", "text": " say  this\nback "}]},
    ]});
    for (name, value) in extra.as_object().unwrap() {
        body[name] = value.clone();
    }
    body
}
