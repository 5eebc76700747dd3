//! Reads the figures of a stranger's JSON: objects that are objects, counts that are counts.

use serde::Deserialize;
use serde_json::value::RawValue;

/// Reads an object, never an array that serde would take for one.
pub(super) fn object<'a, T: Deserialize<'a>>(raw: &'a [u8]) -> Option<T> {
    let opens = raw.iter().find(|byte| !byte.is_ascii_whitespace());
    if opens != Some(&b'{') {
        return None;
    }
    serde_json::from_str(std::str::from_utf8(raw).ok()?).ok()
}

/// Seconds: digits, perhaps with decimals. A begun second is a whole one.
pub(super) fn seconds(raw: &RawValue) -> Option<u64> {
    let (whole, decimals) = raw.get().split_once('.').unwrap_or((raw.get(), "0"));
    let plain =
        |digits: &str| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let begun = decimals.bytes().any(|byte| byte != b'0');
    let seconds = whole.parse().unwrap_or(u64::MAX);
    (plain(whole) && plain(decimals)).then(|| u64::saturating_add(seconds, u64::from(begun)))
}

/// A count of tokens: digits, and no more than anybody can use. More digits than fit are the
/// largest number, which settlement bounds and flags.
pub(super) fn count(raw: &RawValue) -> Option<u64> {
    let digits = raw.get();
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| digits.parse().unwrap_or(u64::MAX))
}
