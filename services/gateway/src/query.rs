//! Reads single parameters of a URL's query.

use std::borrow::Cow;

/// The values of the parameter called `name`, in order, decoded as forms are (WHATWG URL,
/// "application/x-www-form-urlencoded parsing").
pub(crate) fn values<'a>(query: &'a str, name: &'static str) -> impl Iterator<Item = Cow<'a, str>> {
    query.split('&').filter_map(move |pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decoded(key, true) == name).then(|| decoded(value, true))
    })
}

/// The text with its `%` escapes undone; where they spell no UTF-8, with a mark for what is lost.
/// `plus`: a `+` is a space, as in queries.
#[must_use]
pub(crate) fn decoded(text: &str, plus: bool) -> Cow<'_, str> {
    let is_plain = |byte: u8| byte != b'%' && !(plus && byte == b'+');
    if text.bytes().all(is_plain) {
        return Cow::Borrowed(text);
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        (rest, _) = match (byte, escaped(after)) {
            (b'%', Some(escaped)) => (&after[2..], bytes.push(escaped)),
            (b'+', _) if plus => (after, bytes.push(b' ')),
            (byte, _) => (after, bytes.push(*byte)),
        };
    }
    Cow::Owned(String::from_utf8_lossy(&bytes).into_owned())
}

/// The byte of two hexadecimal digits.
fn escaped(digits: &[u8]) -> Option<u8> {
    let digit = |at: usize| char::from(*digits.get(at)?).to_digit(16);
    u8::try_from(digit(0)? * 16 + digit(1)?).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_value_of_a_parameter_is_found_and_decoded() {
        let all = |query| values(query, "key").collect::<Vec<_>>();
        assert_eq!(all("key=a&alt=sse&key=b+c%2Bd&k%65y=e"), ["a", "b c+d", "e"]);
        assert_eq!(all("keys=a&akey=b&&=c"), Vec::<&str>::new());
        assert_eq!(all("key&key=&key=%"), ["", "", "%"]);
        assert_eq!(decoded("a%2fb+%C3%a9%zz%2", false), "a/b+é%zz%2");
        assert!(matches!(decoded("a+b", false), Cow::Borrowed("a+b")));
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text in ".{0,40}") {
            let _ = decoded(&text, true);
            let _ = values(&text, "key").count();
        }
    }
}
