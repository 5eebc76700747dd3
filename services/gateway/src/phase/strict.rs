//! Heads that two readers could understand in two ways are refused before anything else is read.

use http::header::{CONTENT_ENCODING, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, Version};

/// What is wrong with a head, as a sentence for the caller; `None`: nothing.
///
/// What hyper refuses by itself is not repeated: lengths that differ, a length beside chunks (it
/// takes the chunks and closes the connection), control characters, folded lines.
pub(super) fn problem(version: Version, headers: &HeaderMap) -> Option<&'static str> {
    let (mut hosts, mut encodings, mut is_coded) = (0_usize, 0_usize, false);
    // One look at all of them takes less than one for each name.
    for (name, value) in headers {
        if *name == HOST {
            hosts += 1;
        } else if *name == CONTENT_ENCODING {
            encodings += 1;
        } else if *name == TRANSFER_ENCODING {
            is_coded |= !is_chunked(value.as_bytes());
        }
    }
    // RFC 9112, 3.2: whoever sends none or two may be understood differently by a proxy before us.
    if version == Version::HTTP_11 && hosts != 1 {
        return Some("A request needs exactly one Host header.");
    }
    if is_coded {
        return Some("The only transfer encoding that is read is \"chunked\".");
    }
    (encodings > 1).then_some("A request may have one Content-Encoding header.")
}

fn is_chunked(value: &[u8]) -> bool {
    value.trim_ascii().eq_ignore_ascii_case(b"chunked")
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn a_head_has_one_host_one_encoding_and_no_transfer_encoding_but_chunks() {
        let cases: [(&[(&str, &str)], bool); 10] = [
            (&[("host", "x")], true),
            (&[("host", "x"), ("transfer-encoding", " Chunked")], true),
            (&[("host", "x"), ("content-encoding", "gzip")], true),
            (&[], false),
            (&[("host", "x"), ("host", "x")], false),
            (&[("host", "x"), ("host", "y")], false),
            (&[("host", "x"), ("transfer-encoding", "gzip, chunked")], false),
            (&[("host", "x"), ("transfer-encoding", "chunked, chunked")], false),
            (&[("host", "x"), ("transfer-encoding", "identity")], false),
            (&[("host", "x"), ("content-encoding", "gzip"), ("content-encoding", "gzip")], false),
        ];
        for (headers, good) in cases {
            let named = headers.iter().map(|(name, value)| {
                let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
                (name, HeaderValue::from_str(value).unwrap())
            });
            let map: HeaderMap = named.collect();
            assert_eq!(problem(Version::HTTP_11, &map).is_none(), good, "{headers:?}");
        }
        assert_eq!(problem(Version::HTTP_2, &HeaderMap::new()), None, "there it is :authority");
    }
}
