//! How deeply a JSON body is nested, found without parsing it.

/// The deepest nesting that is passed on: no request needs a tenth of it, and readers that recurse
/// run out of stack at a few thousand.
pub const MAX_DEPTH: usize = 128;

/// Whether a JSON text opens more than [`MAX_DEPTH`] arrays and objects at once. Most bodies have
/// fewer brackets than that in all, which is seen at once.
#[must_use]
pub(super) fn is_too_deep(body: &[u8]) -> bool {
    memchr::memchr2_iter(b'[', b'{', body).nth(MAX_DEPTH).is_some() && depth_exceeds(body)
}

fn depth_exceeds(body: &[u8]) -> bool {
    let (mut depth, mut place) = (0_usize, 0);
    while let Some(byte) = body.get(place) {
        match byte {
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            b'"' => place = end_of_string(body, place),
            _ => {}
        }
        if depth > MAX_DEPTH {
            return true;
        }
        place += 1;
    }
    false
}

/// Where the string ends that begins at `quote`.
fn end_of_string(body: &[u8], quote: usize) -> usize {
    let mut place = quote + 1;
    while let Some(rest) = body.get(place..)
        && let Some(next) = memchr::memchr2(b'"', b'\\', rest)
    {
        place += next;
        if body[place] == b'"' {
            return place;
        }
        // What is escaped is passed over.
        place += 2;
    }
    body.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nested(depth: usize) -> String {
        format!("{}1{}", "[{\"a\":".repeat(depth / 2), "}]".repeat(depth / 2))
    }

    #[test]
    fn depth_is_counted_and_not_brackets_or_what_stands_in_strings() {
        assert!(!is_too_deep(nested(MAX_DEPTH).as_bytes()));
        assert!(is_too_deep(nested(MAX_DEPTH + 2).as_bytes()));
        let wide = format!("[{}[]]", "[],".repeat(1_000));
        assert!(!is_too_deep(wide.as_bytes()));
        let text = format!("[\"{}\\\"{}\\\\\", 1]", "[".repeat(300), "{".repeat(300));
        assert!(!is_too_deep(text.as_bytes()));
        let after = format!("[\"\\\\\", {}", nested(MAX_DEPTH));
        assert!(is_too_deep(after.as_bytes()));
        for broken in ["[\"".repeat(200), "[\"\\".repeat(200), "]".repeat(500)] {
            assert!(!is_too_deep(broken.as_bytes()), "{broken}");
        }
    }
}
