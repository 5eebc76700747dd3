//! Reads the figures of a stranger's JSON: objects that are objects, counts that are counts.

use serde::Deserialize;
use serde_json::value::RawValue;

/// Reads an object, never an array that serde would take for one.
pub(super) fn object<'a, T: Deserialize<'a>>(raw: &'a [u8]) -> Option<T> {
    let opens = raw.iter().find(|byte| !byte.is_ascii_whitespace());
    if opens != Some(&b'{') {
        return None;
    }
    serde_json::from_slice(raw).ok()
}

/// A count of tokens: digits, and no more than anybody can use. More digits than fit are the
/// largest number, which settlement bounds and flags.
pub(super) fn count(raw: &RawValue) -> Option<u64> {
    let digits = raw.get();
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| digits.parse().unwrap_or(u64::MAX))
}
