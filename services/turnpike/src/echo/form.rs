//! A `multipart/form-data` body (RFC 7578), as far as an upload of a recording needs it.

use std::collections::BTreeMap;

use super::refusal::Refusal;

/// The most parts of a form: OpenAI's has about ten.
const MOST_PARTS: usize = 64;

/// The parts of a form by name; of several with one name the last.
pub(super) struct Form<'a> {
    parts: BTreeMap<String, &'a [u8]>,
}

impl<'a> Form<'a> {
    /// Reads the parts of `body`.
    ///
    /// # Errors
    /// Where the type is not a form's, or the body does not keep to its boundary.
    pub(super) fn read(content_type: &str, body: &'a [u8]) -> Result<Self, Refusal> {
        let boundary = boundary(content_type)
            .ok_or(Refusal::Invalid("the body is not multipart/form-data with a boundary"))?;
        let broken = Refusal::Invalid("the form is broken off or has too many parts");
        let opening = format!("--{boundary}\r\n");
        let between = format!("\r\n--{boundary}");
        let mut rest = body.strip_prefix(opening.as_bytes()).ok_or(broken.clone())?;
        let mut parts = BTreeMap::new();
        for _ in 0..MOST_PARTS {
            let (part, after) = split_at(rest, between.as_bytes()).ok_or(broken.clone())?;
            let (head, content) = split_at(part, b"\r\n\r\n").ok_or(broken.clone())?;
            let name = name(head).ok_or(Refusal::Invalid("a part of the form has no name"))?;
            parts.insert(name, content);
            if after.starts_with(b"--") {
                return Ok(Self { parts });
            }
            rest = after.strip_prefix(b"\r\n").ok_or(broken.clone())?;
        }
        Err(broken)
    }

    /// The text of a part; `None` where there is none, or it is not UTF-8.
    #[must_use]
    pub(super) fn text(&self, name: &str) -> Option<&'a str> {
        self.parts.get(name).and_then(|content| std::str::from_utf8(content).ok())
    }

    /// Whether there is such a part.
    #[must_use]
    pub(super) fn has(&self, name: &str) -> bool {
        self.parts.contains_key(name)
    }
}

fn boundary(content_type: &str) -> Option<&str> {
    let parameters = content_type.strip_prefix("multipart/form-data")?;
    let value = parameters.split(';').find_map(|pair| pair.trim().strip_prefix("boundary="))?;
    let value = value.trim_matches('"');
    (!value.is_empty()).then_some(value)
}

fn split_at<'a>(bytes: &'a [u8], mark: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = bytes.windows(mark.len()).position(|window| window == mark)?;
    Some((&bytes[..at], &bytes[at + mark.len()..]))
}

fn name(head: &[u8]) -> Option<String> {
    let head = std::str::from_utf8(head).ok()?;
    let is_disposition = |line: &&str| {
        line.get(..20).is_some_and(|start| start.eq_ignore_ascii_case("content-disposition:"))
    };
    let line = head.split("\r\n").find(is_disposition)?;
    let quoted = line.split(';').find_map(|pair| pair.trim().strip_prefix("name="))?;
    Some(quoted.trim_matches('"').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_found_by_name_and_bytes_kept() {
        let body = b"--b\r\nContent-Disposition: form-data; name=\"prompt\"\r\n\r\nhi  you\r\n\
            --b\r\ncontent-disposition: form-data; name=file; filename=\"a.wav\"\r\n\
            Content-Type: audio/wav\r\n\r\n\xff\r\n\0\r\n--b--\r\n";
        let form = Form::read("multipart/form-data; boundary=\"b\"", body).unwrap();
        assert_eq!(form.text("prompt"), Some("hi  you"));
        assert!(form.has("file"));
        assert_eq!(form.text("file"), None);
        assert!(!form.has("model"));
    }

    #[test]
    fn what_is_not_a_form_is_refused() {
        let cases: [(&str, &[u8]); 5] = [
            ("application/json", b"{}"),
            ("multipart/form-data", b""),
            ("multipart/form-data; boundary=b", b""),
            ("multipart/form-data; boundary=b", b"--b\r\nno head"),
            ("multipart/form-data; boundary=b", b"--b\r\nA: b\r\n\r\nno name\r\n--b--"),
        ];
        for (content_type, body) in cases {
            assert!(Form::read(content_type, body).is_err(), "{content_type} {body:?}");
        }
    }
}
