//! A provider that answers chat completions with almost no work of its own.
//!
//! A body that says `"stream":true` gets server-sent events, any other one JSON of about 1 KB. Both
//! report usage. `GET /served` tells how many answers were begun.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

use clap::Args;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use turnpike_runtime::clock::SharedClock;
use turnpike_runtime::tasks::{self, Tasks};

use crate::exchange::header;
use crate::failure::Failure;

/// Requests are about a kilobyte.
const MOST_REQUEST_BYTES: usize = 256 * 1024;
/// The text that makes the JSON answer about 1 KB.
const TEXT_BYTES: usize = 640;
/// What is reported, and what a gateway must book.
const INPUT_TOKENS: u64 = 112;

/// How the provider is started.
#[derive(Args, Clone)]
pub(crate) struct Options {
    /// Where it listens; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:0")]
    pub(crate) listen: SocketAddr,
    /// Threads of the provider, each with its own runtime.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(crate) provider_threads: u32,
    /// Chunks of a stream.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub(crate) chunks: u64,
    /// Milliseconds between two chunks.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(0..=60_000))]
    pub(crate) interval_ms: u64,
}

/// A running provider; it ends with the process.
pub(crate) struct Provider {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    threads: Vec<JoinHandle<()>>,
}

/// What every connection sends and counts.
struct Script {
    whole: Vec<u8>,
    chunks: u64,
    interval_ms: u64,
    served: AtomicU64,
    clock: SharedClock,
}

/// Starts the provider.
///
/// # Errors
/// Where the address or a thread cannot be had.
pub(crate) fn start(options: &Options, clock: &SharedClock) -> Result<Provider, Failure> {
    let failed = || Failure::io(format!("listening on {}", options.listen));
    let listener = TcpListener::bind(options.listen).map_err(failed())?;
    listener.set_nonblocking(true).map_err(failed())?;
    let address = listener.local_addr().map_err(failed())?;
    let script = Arc::new(Script {
        whole: whole(),
        chunks: options.chunks,
        interval_ms: options.interval_ms,
        served: AtomicU64::new(0),
        clock: Arc::clone(clock),
    });
    let mut threads = Vec::new();
    for _ in 0..options.provider_threads {
        let (listener, script) = (listener.try_clone().map_err(failed())?, Arc::clone(&script));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(Failure::io("starting a runtime"))?;
        let work = move || runtime.block_on(accept(listener, script));
        threads.push(tasks::thread("provider", work).map_err(Failure::io("starting a thread"))?);
    }
    Ok(Provider { address, threads })
}

impl Provider {
    /// Waits for the end of its threads, which is that of the process.
    pub(crate) fn wait(self) {
        for thread in self.threads {
            // A panic has been counted and logged by the thread itself.
            drop(thread.join());
        }
    }
}

async fn accept(listener: TcpListener, script: Arc<Script>) {
    let tasks = Tasks::new("provider");
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
    while let Ok((stream, _)) = listener.accept().await {
        let script = Arc::clone(&script);
        tasks.spawn("connection", async move {
            if let Err(error) = script.serve(stream).await {
                tracing::debug!(%error, "a connection of the provider broke off");
            }
        });
    }
}

impl Script {
    async fn serve(&self, mut stream: TcpStream) -> std::io::Result<()> {
        stream.set_nodelay(true)?;
        let mut buffer = Vec::with_capacity(4 * 1024);
        loop {
            let Some((head, end)) = request_ends(&buffer) else {
                if buffer.len() > MOST_REQUEST_BYTES || stream.read_buf(&mut buffer).await? == 0 {
                    return Ok(());
                }
                continue;
            };
            if buffer.starts_with(b"GET /served ") {
                let served = json!({"requests": self.served.load(Ordering::Relaxed)});
                stream.write_all(&framed(&served.to_string())).await?;
            } else {
                self.served.fetch_add(1, Ordering::Relaxed);
                let is_stream = contains(&buffer[head..end], b"\"stream\":true");
                if is_stream {
                    self.stream(&mut stream).await?;
                } else {
                    stream.write_all(&self.whole).await?;
                }
            }
            buffer.drain(..end);
        }
    }

    async fn stream(&self, stream: &mut TcpStream) -> std::io::Result<()> {
        stream
            .write_all(
                b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\
                  transfer-encoding: chunked\r\n\r\n",
            )
            .await?;
        let chunk = |choices: serde_json::Value, usage: serde_json::Value| {
            let data = json!({
                "id": "chatcmpl-load", "object": "chat.completion.chunk", "created": 1,
                "model": "echo-1", "choices": choices, "usage": usage,
            });
            chunked(&format!("data: {data}\n\n"))
        };
        let word = json!([{"index": 0, "delta": {"content": "word "}, "finish_reason": null}]);
        let word = chunk(word, json!(null));
        for number in 0..self.chunks {
            if number > 0 && self.interval_ms > 0 {
                self.clock.sleep(self.interval_ms).await;
            }
            stream.write_all(&word).await?;
        }
        let stop = json!([{"index": 0, "delta": {}, "finish_reason": "stop"}]);
        let mut last = chunk(stop, json!(null));
        last.extend(chunk(json!([]), usage(self.chunks)));
        last.extend(chunked("data: [DONE]\n\n"));
        last.extend(b"0\r\n\r\n");
        stream.write_all(&last).await
    }
}

/// Where the head and the whole of the first request in `buffer` end, once it is all there.
fn request_ends(buffer: &[u8]) -> Option<(usize, usize)> {
    let head = buffer.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let length = buffer[..head]
        .split(|byte| *byte == b'\n')
        .find_map(|line| header(line, b"content-length:"))
        .and_then(|value| std::str::from_utf8(value).ok())
        .map_or(Some(0), |text| text.trim().parse::<usize>().ok())?;
    let end = head.checked_add(length)?;
    (buffer.len() >= end).then_some((head, end))
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}

fn whole() -> Vec<u8> {
    let text = "word ".repeat(TEXT_BYTES / 5);
    let body = json!({
        "id": "chatcmpl-load", "object": "chat.completion", "created": 1, "model": "echo-1",
        "choices": [{
            "index": 0, "finish_reason": "stop", "logprobs": null,
            "message": {"role": "assistant", "content": text.trim_end(), "refusal": null},
        }],
        "usage": usage(u64::try_from(TEXT_BYTES / 5).unwrap_or(0)),
    });
    framed(&body.to_string())
}

fn usage(output: u64) -> serde_json::Value {
    json!({
        "prompt_tokens": INPUT_TOKENS, "completion_tokens": output,
        "total_tokens": INPUT_TOKENS + output,
    })
}

fn framed(body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len(),
    )
    .into_bytes()
}

fn chunked(data: &str) -> Vec<u8> {
    format!("{:x}\r\n{data}\r\n", data.len()).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_ends_after_its_length() {
        let whole = b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabcGET";
        assert_eq!(request_ends(whole), Some((38, 41)));
        assert_eq!(request_ends(&whole[..40]), None);
        assert_eq!(request_ends(b"GET /served HTTP/1.1\r\n\r\n"), Some((24, 24)));
        assert_eq!(request_ends(b"GET /served HTTP/1.1\r\n"), None);
    }
}
