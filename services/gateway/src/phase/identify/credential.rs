//! The credential of a request: where each dialect's SDKs put it, and what one request may have.

use std::borrow::Cow;

use http::header::{AUTHORIZATION, HeaderName};

use crate::dialect::{Dialect, Sent};
use crate::{headers, query};

/// RFC 9110, 11.1: the name of a scheme has no case.
const SCHEME: &str = "bearer";
/// The parameter of the query that Google's clients may send a key in.
const PARAMETER: &str = "key";

/// Why there is no credential to be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoCredential {
    /// None was sent, or it was sent as another dialect's.
    #[error("{}", missing(.dialect, .misplaced))]
    Missing {
        /// Whose path it is.
        dialect: Dialect,
        /// Where another dialect's was sent.
        misplaced: Option<&'static str>,
    },
    /// An authorization header of another scheme.
    #[error("The authorization header must have the form \"Bearer sk-tp-…\".")]
    NotBearer,
    /// A header that is no text.
    #[error("The API key is malformed: it has characters that no key has.")]
    NotText,
    /// One request, one credential.
    #[error("Two different API keys were sent.")]
    Different,
}

/// The credential of a request of `dialect`. The same one twice is one; empty ones are none; what
/// other dialects call a credential is none here.
///
/// # Errors
/// [`NoCredential`], which is a sentence for the caller.
pub(super) fn credential<'a>(
    dialect: Dialect,
    sent: Sent<'a>,
) -> Result<Cow<'a, str>, NoCredential> {
    let mut found: Option<Cow<'a, str>> = None;
    let mut take = |text: Cow<'a, str>| match &found {
        Some(before) if *before != text => Err(NoCredential::Different),
        Some(_) => Ok(()),
        None => {
            found = Some(text);
            Ok(())
        }
    };
    for value in sent.headers.get_all(AUTHORIZATION) {
        let token = value.to_str().ok().and_then(bearer).ok_or(NoCredential::NotBearer)?;
        take(Cow::Borrowed(token))?;
    }
    for value in own_header(dialect).iter().flat_map(|name| sent.headers.get_all(name)) {
        let text = value.to_str().map_err(|_| NoCredential::NotText)?.trim();
        if !text.is_empty() {
            take(Cow::Borrowed(text))?;
        }
    }
    if takes_parameter(dialect) {
        for text in query::values(sent.query, PARAMETER).filter(|text| !text.is_empty()) {
            take(text)?;
        }
    }
    found.ok_or_else(|| NoCredential::Missing { dialect, misplaced: misplaced(dialect, sent) })
}

/// The header that the dialect has for keys beside `Authorization`.
const fn own_header(dialect: Dialect) -> Option<HeaderName> {
    match dialect {
        Dialect::OpenAi | Dialect::Mcp => None,
        Dialect::Anthropic => Some(headers::ANTHROPIC_KEY),
        Dialect::Gemini => Some(headers::GOOGLE_KEY),
    }
}

/// Whether the dialect's clients may send a key in the query.
const fn takes_parameter(dialect: Dialect) -> bool {
    match dialect {
        Dialect::Gemini => true,
        Dialect::OpenAi | Dialect::Anthropic | Dialect::Mcp => false,
    }
}

fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.trim().split_once(' ')?;
    scheme.eq_ignore_ascii_case(SCHEME).then(|| token.trim())
}

/// Where a key was sent that this dialect does not look at.
fn misplaced(dialect: Dialect, sent: Sent<'_>) -> Option<&'static str> {
    let has = |name: &HeaderName| sent.headers.contains_key(name);
    let in_query = || query::values(sent.query, PARAMETER).next().is_some();
    if dialect != Dialect::Anthropic && has(&headers::ANTHROPIC_KEY) {
        Some("The header x-api-key")
    } else if dialect != Dialect::Gemini && has(&headers::GOOGLE_KEY) {
        Some("The header x-goog-api-key")
    } else {
        (dialect != Dialect::Gemini && in_query()).then_some("The parameter \"key\"")
    }
}

fn missing(dialect: &Dialect, misplaced: &Option<&'static str>) -> String {
    let ways = match dialect {
        Dialect::OpenAi | Dialect::Mcp => "\"Authorization: Bearer sk-tp-…\"",
        Dialect::Anthropic => "\"x-api-key: sk-tp-…\" or \"Authorization: Bearer sk-tp-…\"",
        Dialect::Gemini => "\"x-goog-api-key: sk-tp-…\" or \"Authorization: Bearer sk-tp-…\"",
    };
    match misplaced {
        Some(place) => format!("{place} is no credential on this path: send {ways}."),
        None => format!("The API key is missing: send it as {ways}."),
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};

    use super::*;

    fn read(
        dialect: Dialect,
        pairs: &[(&'static str, &'static str)],
        query: &str,
    ) -> Result<String, NoCredential> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_static(value));
        }
        credential(dialect, Sent { headers: &headers, query }).map(Cow::into_owned)
    }

    #[test]
    fn each_dialect_has_its_own_places_and_all_have_bearer() {
        use Dialect::{Anthropic, Gemini, OpenAi};
        let (key, goog) = (("x-api-key", "a"), ("x-goog-api-key", "a"));
        for dialect in [OpenAi, Anthropic, Gemini] {
            let bearer = ("authorization", " bearer  a ");
            assert_eq!(read(dialect, &[bearer], ""), Ok("a".to_owned()));
        }
        assert_eq!(read(Anthropic, &[key], ""), Ok("a".to_owned()));
        assert_eq!(read(Gemini, &[goog], ""), Ok("a".to_owned()));
        assert_eq!(read(Gemini, &[], "alt=sse&key=%61"), Ok("a".to_owned()));
        for (dialect, pairs, query) in [
            (OpenAi, &[key][..], ""),
            (OpenAi, &[goog], ""),
            (OpenAi, &[], "key=a"),
            (Anthropic, &[goog], ""),
            (Gemini, &[key], ""),
        ] {
            let refused = read(dialect, pairs, query).unwrap_err();
            assert!(refused.to_string().contains("is no credential on this path"), "{refused}");
        }
        let refused = read(OpenAi, &[("x-api-key", "")], "").unwrap_err();
        assert!(matches!(refused, NoCredential::Missing { .. }));
    }

    #[test]
    fn two_different_ones_are_refused_wherever_they_stand_and_the_same_twice_is_one() {
        let bearer = ("authorization", "Bearer a");
        let cases = [
            (Dialect::OpenAi, [bearer, ("authorization", "Bearer b")], ""),
            (Dialect::Anthropic, [bearer, ("x-api-key", "b")], ""),
            (Dialect::Anthropic, [("x-api-key", "a"), ("x-api-key", "b")], ""),
            (Dialect::Gemini, [bearer, ("x-goog-api-key", "b")], ""),
            (Dialect::Gemini, [bearer, bearer], "key=b"),
        ];
        for (dialect, pairs, query) in cases {
            let refused = read(dialect, &pairs, query);
            assert_eq!(refused, Err(NoCredential::Different), "{pairs:?} {query}");
        }
        let same = [bearer, ("x-goog-api-key", "a"), ("x-goog-api-key", "")];
        assert_eq!(read(Dialect::Gemini, &same, "key=a&key="), Ok("a".to_owned()));
        let foreign = [bearer, ("x-api-key", "b"), ("x-goog-api-key", "b")];
        assert_eq!(read(Dialect::OpenAi, &foreign, "key=b"), Ok("a".to_owned()));
    }

    #[test]
    fn another_scheme_is_refused() {
        for value in ["", "Bearer", "Basic sk-tp-a", "sk-tp-a"] {
            let refused = read(Dialect::Gemini, &[("authorization", value)], "key=a");
            assert_eq!(refused, Err(NoCredential::NotBearer), "{value}");
        }
    }
}
