//! The heads of requests and answers as bytes (RFC 9112, sections 2 to 6).

use std::mem::MaybeUninit;

use bytes::Bytes;
use http::header::{
    CONNECTION, CONTENT_LENGTH, EXPECT, HOST, HeaderMap, HeaderName, HeaderValue, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE,
};
use http::{Method, Response, StatusCode};
use httparse::{ParserConfig, Status};

use super::broken::Broken;
use super::framing::Framing;
use super::origin::Origin;
use crate::headers;

/// The most headers of an answer.
const MAX_HEADERS: usize = 128;
/// Room for the headers of a request, in bytes: some clients name themselves in ten of them.
const USUAL_LINES_BYTES: usize = 512;
/// What a connection is told about itself, and what this file says better: no setting of a provider
/// may contradict it.
const OWN: [HeaderName; 8] =
    [HOST, CONTENT_LENGTH, TRANSFER_ENCODING, CONNECTION, TE, TRAILER, UPGRADE, EXPECT];

/// The head of an answer.
#[derive(Debug)]
pub(super) struct AnswerHead {
    /// Status, and the headers that may go down.
    pub(super) answer: Response<()>,
    pub(super) framing: Framing,
    /// The connection may be used again once the body has been read.
    pub(super) keeps: bool,
    /// Bytes that the head took.
    pub(super) bytes: usize,
}

/// A request on its way to a provider.
#[derive(Clone, Default)]
pub struct Outbound {
    /// Its method.
    pub method: Method,
    /// Its headers.
    pub lines: Lines,
    /// Its body.
    pub body: Bytes,
}

/// Headers as they are sent: a map of them would be built for every request, to be read once.
///
/// It does not print: credentials are among them.
#[derive(Clone, Default)]
pub struct Lines(Vec<u8>);

impl Lines {
    /// Without a header, and with room for what most requests have.
    #[must_use]
    pub fn new() -> Self {
        Self(Vec::with_capacity(USUAL_LINES_BYTES))
    }

    /// Adds a header.
    pub fn add(&mut self, name: &HeaderName, value: &HeaderValue) {
        self.put(name, [value.as_bytes(), b""]);
    }

    /// Adds a header whose value is joined from two texts; answers whether they may stand there.
    #[must_use]
    pub fn add_texts(&mut self, name: &HeaderName, texts: [&str; 2]) -> bool {
        // As `HeaderValue` has it: RFC 9110, 5.5.
        let may_stand = |byte: u8| byte == b'\t' || (byte >= b' ' && byte != 0x7f);
        let is_value = texts.iter().all(|text| text.bytes().all(may_stand));
        if is_value {
            self.put(name, texts.map(str::as_bytes));
        }
        is_value
    }

    fn put(&mut self, name: &HeaderName, [value, rest]: [&[u8]; 2]) {
        if OWN.contains(name) {
            return;
        }
        for part in [b"\r\n", name.as_str().as_bytes(), b": ", value, rest] {
            self.0.extend_from_slice(part);
        }
    }
}

impl From<&HeaderMap> for Lines {
    fn from(map: &HeaderMap) -> Self {
        let mut lines = Self::new();
        map.iter().for_each(|(name, value)| lines.add(name, value));
        lines
    }
}

/// Writes the head of a request to `path` of an origin.
pub(super) fn write(out: &mut Vec<u8>, origin: &Origin, path: &str, request: &Outbound) {
    out.clear();
    let method = request.method.as_str();
    for part in [method, " ", origin.prefix(), path, " HTTP/1.1\r\nhost: "] {
        out.extend_from_slice(part.as_bytes());
    }
    out.extend_from_slice(origin.host());
    out.extend_from_slice(&request.lines.0);
    out.extend_from_slice(b"\r\ncontent-length: ");
    headers::digits(out, u64::try_from(request.body.len()).unwrap_or(u64::MAX));
    out.extend_from_slice(b"\r\n\r\n");
}

/// The head at the beginning of `read`; `None`: it is not whole. Interim answers (1xx) are skipped
/// by the caller: they have a head and nothing else.
///
/// # Errors
/// [`Broken::Malformed`].
pub(super) fn read(read: &[u8]) -> Result<Option<AnswerHead>, Broken> {
    let mut fields = [const { MaybeUninit::uninit() }; MAX_HEADERS];
    let mut parsed = httparse::Response::new(&mut []);
    let status = ParserConfig::default()
        .parse_response_with_uninit_headers(&mut parsed, read, &mut fields)
        .map_err(|_| Broken::Malformed("its head cannot be read"))?;
    let Status::Complete(bytes) = status else { return Ok(None) };
    let status = parsed.code.and_then(|code| StatusCode::from_u16(code).ok());
    let status = status.ok_or(Broken::Malformed("its status cannot be read"))?;
    let mut fields = Fields::default();
    let mut answer = Response::new(());
    *answer.status_mut() = status;
    for header in parsed.headers.iter() {
        if !fields.take(header.name, header.value)? && headers::may_go_down(header.name) {
            let name = HeaderName::from_bytes(header.name.as_bytes());
            let name = name.map_err(|_| Broken::Malformed("a header's name cannot be read"))?;
            let value = HeaderValue::from_bytes(header.value);
            let value = value.map_err(|_| Broken::Malformed("a header cannot be read"))?;
            answer.headers_mut().append(name, value);
        }
    }
    let framing = fields.framing(status)?;
    let keeps = parsed.version == Some(1) && !fields.closes && framing != Framing::UntilClosed;
    Ok(Some(AnswerHead { answer, framing, keeps, bytes }))
}

/// What the headers say about the body and the connection.
#[derive(Default)]
struct Fields {
    length: Option<u64>,
    encoded: bool,
    chunked: bool,
    closes: bool,
}

impl Fields {
    /// Whether the header is one of these.
    fn take(&mut self, name: &str, value: &[u8]) -> Result<bool, Broken> {
        let is = |known: &HeaderName| name.eq_ignore_ascii_case(known.as_str());
        if is(&CONTENT_LENGTH) {
            let length = number(value).ok_or(Broken::Malformed("its length cannot be read"))?;
            if self.length.is_some_and(|before| before != length) {
                return Err(Broken::Malformed("it has two lengths"));
            }
            self.length = Some(length);
        } else if is(&TRANSFER_ENCODING) {
            if self.encoded || !value.trim_ascii().eq_ignore_ascii_case(b"chunked") {
                return Err(Broken::Malformed("its transfer encoding is not chunked"));
            }
            (self.encoded, self.chunked) = (true, true);
        } else if is(&CONNECTION) {
            let mut options = value.split(|byte| *byte == b',');
            self.closes |= options.any(|it| it.trim_ascii().eq_ignore_ascii_case(b"close"));
            return Ok(false);
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    /// Section 6.3. An answer with a length and chunks is an attack or a mistake (section 11.2).
    fn framing(&self, status: StatusCode) -> Result<Framing, Broken> {
        let bodiless = status.is_informational()
            || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        match (self.chunked, self.length) {
            (true, Some(_)) => Err(Broken::Malformed("it has a length and chunks")),
            (_, _) if bodiless => Ok(Framing::Over),
            (true, None) => Ok(Framing::ChunkSize),
            (false, Some(length)) => Ok(Framing::of_length(length)),
            (false, None) => Ok(Framing::UntilClosed),
        }
    }
}

/// A number of digits only: no sign, no list, nothing that does not fit.
fn number(value: &[u8]) -> Option<u64> {
    let digits = value.trim_ascii();
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |number, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

#[cfg(test)]
mod tests {
    use http::header::CONTENT_TYPE;

    use super::*;

    fn answer(head: &str) -> Result<AnswerHead, Broken> {
        read(head.as_bytes()).map(|head| head.expect("a whole head"))
    }

    #[test]
    fn a_request_says_what_its_body_is_and_nothing_else_about_the_connection() {
        let origin: Origin = "http://provider.test:81/base".parse().unwrap();
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        for name in OWN {
            headers.insert(name, HeaderValue::from_static("7"));
        }
        let mut out = b"old".to_vec();
        let body = Bytes::from(vec![0; 1_205]);
        let request = Outbound { method: Method::POST, lines: Lines::from(&headers), body };
        write(&mut out, &origin, "/v1/x", &request);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "POST /base/v1/x HTTP/1.1\r\nhost: provider.test:81\r\n\
             content-type: application/json\r\ncontent-length: 1205\r\n\r\n"
        );
    }

    #[test]
    fn the_framing_follows_the_specification() {
        let cases = [
            ("200 OK\r\ncontent-length: 5", Framing::Length(5), true),
            ("200 OK\r\nContent-Length: 0", Framing::Over, true),
            ("200 OK\r\ncontent-length: 5\r\ncontent-length: 5", Framing::Length(5), true),
            ("200 OK\r\nTransfer-Encoding: Chunked", Framing::ChunkSize, true),
            ("200 OK\r\ncontent-length: 5\r\nconnection: a, Close", Framing::Length(5), false),
            ("200 OK\r\nserver: x", Framing::UntilClosed, false),
            ("204 No Content\r\nserver: x", Framing::Over, true),
            ("304 Not Modified\r\ncontent-length: 5", Framing::Over, true),
            ("100 Continue\r\nserver: x", Framing::Over, true),
        ];
        for (head, framing, keeps) in cases {
            let found = answer(&format!("HTTP/1.1 {head}\r\n\r\n")).unwrap();
            assert_eq!((found.framing, found.keeps), (framing, keeps), "{head}");
        }
        let old = answer("HTTP/1.0 200 OK\r\ncontent-length: 5\r\n\r\n").unwrap();
        assert!(!old.keeps);
    }

    #[test]
    fn heads_that_could_be_read_in_two_ways_are_refused() {
        for head in [
            "content-length: 5\r\ncontent-length: 6",
            "content-length: 5, 5",
            "content-length: +5",
            "content-length: ",
            "content-length: 18446744073709551616",
            "content-length: 5\r\ntransfer-encoding: chunked",
            "transfer-encoding: gzip, chunked",
            "transfer-encoding: identity",
            "transfer-encoding: chunked\r\ntransfer-encoding: chunked",
            " folded: x",
            "na me: x",
        ] {
            let text = format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n");
            assert!(read(text.as_bytes()).is_err(), "{head}");
        }
    }

    #[test]
    fn only_headers_of_use_are_kept_and_a_part_of_a_head_is_no_head() {
        let text = "HTTP/1.1 429 Too Many\r\nContent-Type: a/b\r\nset-cookie: x\r\n\
                    retry-after: 1\r\n\r\n";
        for cut in 0..text.len() {
            assert!(read(&text.as_bytes()[..cut]).unwrap().is_none(), "{cut}");
        }
        let found = answer(text).unwrap();
        assert_eq!((found.answer.status().as_u16(), found.bytes), (429, text.len()));
        let names: Vec<&str> = found.answer.headers().keys().map(HeaderName::as_str).collect();
        assert_eq!(names, ["content-type", "retry-after"]);
    }
}
