//! One HTTP/1.1 exchange after the other on one raw connection, with as little work as possible.

use std::net::SocketAddr;

use http::Uri;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::failure::Failure;

/// An answer's head is far below this.
const MOST_HEAD_BYTES: usize = 16 * 1024;
/// The body of a request: with its head about 850 bytes.
const PROMPT_BYTES: usize = 560;
/// The end of a chunked answer.
const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// Where load goes, and the bytes of each request.
#[derive(Clone)]
pub(crate) struct Target {
    /// The server.
    pub(crate) address: SocketAddr,
    /// A whole request.
    pub(crate) request: Vec<u8>,
}

impl Target {
    /// A chat completion of about 850 bytes for `url`, with a key where there is one.
    pub(crate) fn new(
        url: &str,
        key: Option<&str>,
        model: &str,
        stream: bool,
    ) -> Result<Self, Failure> {
        let wrong = || Failure::Url(url.to_owned());
        let uri: Uri = url.parse().map_err(|_| wrong())?;
        let authority = uri.authority().ok_or_else(wrong)?.as_str();
        let address = authority.parse().map_err(|_| wrong())?;
        let prompt = "word ".repeat(PROMPT_BYTES / 5);
        let body = serde_json::json!({
            "model": model, "max_tokens": 64, "stream": stream,
            "messages": [{"role": "user", "content": prompt.trim_end()}],
        })
        .to_string();
        let credential =
            key.map(|key| format!("authorization: Bearer {key}\r\n")).unwrap_or_default();
        let request = format!(
            "POST {} HTTP/1.1\r\nhost: {authority}\r\n{credential}\
             content-type: application/json\r\naccept: application/json\r\n\
             content-length: {}\r\n\r\n{body}",
            uri.path(),
            body.len(),
        );
        Ok(Self { address, request: request.into_bytes() })
    }
}

/// A keep-alive connection.
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// How an answer's body ends.
enum End {
    After(usize),
    LastChunk,
}

impl Connection {
    /// Connects.
    pub(crate) async fn open(address: SocketAddr) -> Result<Self, Failure> {
        let stream = TcpStream::connect(address)
            .await
            .map_err(Failure::io(format!("connecting to {address}")))?;
        stream.set_nodelay(true).map_err(Failure::io("setting TCP_NODELAY"))?;
        Ok(Self { stream, buffer: Vec::with_capacity(MOST_HEAD_BYTES) })
    }

    /// Sends a request and waits for the first byte of its answer.
    pub(crate) async fn ask(&mut self, request: &[u8]) -> Result<(), Failure> {
        self.buffer.clear();
        self.stream.write_all(request).await.map_err(Failure::io("sending a request"))?;
        self.read().await
    }

    /// Reads the rest of the answer; true if its status was 200.
    pub(crate) async fn finish(&mut self) -> Result<bool, Failure> {
        let head = loop {
            let mark = self.buffer.windows(4).position(|window| window == b"\r\n\r\n");
            if let Some(at) = mark {
                break at + 4;
            }
            if self.buffer.len() > MOST_HEAD_BYTES {
                return Err(Failure::Answer("its head is too long"));
            }
            self.read().await?;
        };
        let is_ok = self.buffer.get(9..12) == Some(b"200");
        match end(&self.buffer[..head])? {
            End::After(length) => {
                while self.buffer.len() < head + length {
                    self.read().await?;
                }
            }
            End::LastChunk => {
                while !self.buffer.ends_with(LAST_CHUNK) {
                    // Only the end matters: a long stream must not grow the buffer.
                    let keep = self.buffer.len().saturating_sub(LAST_CHUNK.len());
                    self.buffer.drain(..keep);
                    self.read().await?;
                }
            }
        }
        Ok(is_ok)
    }

    async fn read(&mut self) -> Result<(), Failure> {
        let read = self.stream.read_buf(&mut self.buffer).await;
        match read.map_err(Failure::io("reading an answer"))? {
            0 => Err(Failure::Answer("the connection was closed in the middle")),
            _ => Ok(()),
        }
    }
}

fn end(head: &[u8]) -> Result<End, Failure> {
    for line in head.split(|byte| *byte == b'\n') {
        if let Some(length) = header(line, b"content-length:") {
            let length = std::str::from_utf8(length).ok().and_then(|text| text.trim().parse().ok());
            return length.map(End::After).ok_or(Failure::Answer("its length is not a number"));
        }
        if header(line, b"transfer-encoding:").is_some() {
            return Ok(End::LastChunk);
        }
    }
    Err(Failure::Answer("it has neither a length nor chunks"))
}

/// The value of a header line with this lower-case name.
pub(crate) fn header<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let (start, value) = line.split_at_checked(name.len())?;
    start.eq_ignore_ascii_case(name).then_some(value)
}
