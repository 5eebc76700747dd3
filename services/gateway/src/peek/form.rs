//! The same reading of a multipart form (RFC 7578), which uploads of sound come in.

use std::borrow::Cow;
use std::ops::Range;

use http::HeaderMap;
use http::header::CONTENT_TYPE;
use memchr::memmem;

use super::{Nested, NotARequest, Opening, Peek, Spelling};

/// Parts in one form: the endpoints have about ten fields.
const MAX_PARTS: usize = 64;
/// The longest delimiter, in bytes (RFC 2046, 5.1.1).
const MAX_BOUNDARY_BYTES: usize = 70;

/// Reads a form. Only fields that stand plainly are read; what could be read in two ways is
/// refused.
///
/// # Errors
/// [`NotARequest::Form`], [`NotARequest::NoModel`].
pub fn peek_form<'a>(headers: &HeaderMap, body: &'a [u8]) -> Result<Peek<'a>, NotARequest> {
    let boundary =
        boundary(headers).ok_or(NotARequest::Form("its content type has no boundary"))?;
    let (mut model, mut stream) = (None, None);
    for part in parts(body, boundary)? {
        let (name, value) = field(body, part)?;
        let slot = match name {
            "model" => &mut model,
            "stream" => &mut stream,
            _ => continue,
        };
        if slot.replace(value).is_some() {
            return Err(NotARequest::Form("a field is given twice"));
        }
    }
    let model_at = model.filter(|at| !at.is_empty()).ok_or(NotARequest::NoModel)?;
    let text = |at: Range<usize>| std::str::from_utf8(&body[at]);
    let name = text(model_at.clone()).map_err(|_| NotARequest::Form("the model is not UTF-8"))?;
    Ok(Peek {
        model: Cow::Borrowed(name),
        stream: stream.is_some_and(|at| text(at) == Ok("true")),
        wants_usage: true,
        max_output_tokens: None,
        prompts: 1,
        answers: 1,
        refers_elsewhere: false,
        needles: &[],
        spelling: Spelling::Plain,
        model_at,
        more_models_at: Vec::new(),
        nested: Nested::Nowhere,
        empty_maxima: Vec::new(),
        opening: Opening { at: 0, comma: "" },
    })
}

fn boundary(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    let (kind, parameters) = value.split_once(';')?;
    if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let boundary = parameter(parameters, "boundary")?;
    let plain = |byte: u8| byte.is_ascii_graphic() || byte == b' ';
    let sane = (1..=MAX_BOUNDARY_BYTES).contains(&boundary.len()) && boundary.bytes().all(plain);
    sane.then_some(boundary)
}

/// Where the parts stand, heads included.
fn parts(body: &[u8], boundary: &str) -> Result<Vec<Range<usize>>, NotARequest> {
    const BROKEN: NotARequest = NotARequest::Form("its parts are not divided as announced");
    let opening = format!("--{boundary}");
    let delimiter = format!("\r\n--{boundary}");
    if !body.starts_with(opening.as_bytes()) {
        return Err(BROKEN);
    }
    let finder = memmem::Finder::new(delimiter.as_bytes());
    let mut parts = Vec::new();
    let mut at = opening.len();
    loop {
        let rest = body.get(at..).unwrap_or_default();
        if rest.starts_with(b"--") {
            return Ok(parts);
        }
        let (true, Some(length)) = (rest.starts_with(b"\r\n"), finder.find(rest)) else {
            return Err(BROKEN);
        };
        if parts.len() == MAX_PARTS {
            return Err(NotARequest::Form("it has too many parts"));
        }
        parts.push(at + 2..at + length.max(2));
        at += length + delimiter.len();
    }
}

/// The name of a part and the place of its value.
fn field(body: &[u8], part: Range<usize>) -> Result<(&str, Range<usize>), NotARequest> {
    const NAMELESS: NotARequest = NotARequest::Form("a part has no plain name");
    let bytes = &body[part.clone()];
    let head_end = memmem::find(bytes, b"\r\n\r\n").ok_or(NAMELESS)?;
    let head = std::str::from_utf8(&bytes[..head_end]).map_err(|_| NAMELESS)?;
    let mut dispositions = head.split("\r\n").filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-disposition").then_some(value)
    });
    let (Some(disposition), None) = (dispositions.next(), dispositions.next()) else {
        return Err(NAMELESS);
    };
    let (_, parameters) = disposition.split_once(';').ok_or(NAMELESS)?;
    let name = parameter(parameters, "name").ok_or(NAMELESS)?;
    Ok((name, part.start + head_end + 4..part.end))
}

/// The value of a parameter that is given once, without escapes.
fn parameter<'a>(parameters: &'a str, wanted: &str) -> Option<&'a str> {
    let mut found = None;
    let mut rest = parameters;
    while !rest.trim().is_empty() {
        let (name, tail) = rest.split_once('=')?;
        let value;
        (value, rest) = match tail.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => {
                tail.split_once(';').map_or((tail, ""), |(value, _)| (value, &tail[value.len()..]))
            }
        };
        rest = rest.trim_start().strip_prefix(';').unwrap_or(rest);
        let is_wanted = name.trim().eq_ignore_ascii_case(wanted);
        if is_wanted && (value.contains('\\') || found.replace(value.trim()).is_some()) {
            return None;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;
    use crate::peek::Edits;

    fn headers(kind: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(kind))])
    }

    fn part(disposition: &str, value: &str) -> String {
        format!("--b\r\nContent-Disposition: form-data; {disposition}\r\n\r\n{value}\r\n")
    }

    fn read(body: &str) -> Result<(String, bool), NotARequest> {
        let headers = headers("multipart/form-data; boundary=b");
        peek_form(&headers, body.as_bytes()).map(|read| (read.model.into_owned(), read.stream))
    }

    #[test]
    fn the_model_is_found_beside_a_file_and_can_be_renamed() {
        let file = part("name=\"file\"; filename=\"a;name=model.mp3\"", "\r\n\0--x");
        let body =
            file + &part("name=\"model\"", "whisper") + &part("name=stream", "true") + "--b--";
        assert_eq!(read(&body).unwrap(), ("whisper".to_owned(), true));
        let bytes = Bytes::from(body.clone());
        let quoted = headers("multipart/form-data; charset=utf-8; boundary=\"b\"");
        let read = peek_form(&quoted, &bytes).unwrap();
        let renamed = read.edited(&bytes, Edits { model: Some("their/one"), ..Edits::default() });
        assert_eq!(renamed, body.replace("whisper", "their/one"));
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        let model = part("name=\"model\"", "a");
        for body in [
            model.clone() + &part("name=\"model\"", "b") + "--b--",
            model.clone() + &part("name=\"x\"; name=\"model\"", "b") + "--b--",
            model.clone() + &part("name=\"mod\\\"el\"", "b") + "--b--",
            model.clone(),
            format!("preamble\r\n{model}--b--"),
        ] {
            assert!(matches!(read(&body), Err(NotARequest::Form(_))), "{body}");
        }
        assert!(matches!(read("--b--"), Err(NotARequest::NoModel)));
        let json = headers("application/json");
        assert!(matches!(peek_form(&json, model.as_bytes()), Err(NotARequest::Form(_))));
    }

    proptest! {
        #[test]
        fn no_form_makes_the_reader_panic(
            pieces in prop::collection::vec(prop::sample::select(vec![
                "--b", "\r\n", "--", "Content-Disposition: form-data; ", "name=", "\"model\"",
                "\"", ";", "\r\n\r\n", "x", "=",
            ]), 0..30),
        ) {
            let _ = read(&pieces.concat());
        }
    }
}
