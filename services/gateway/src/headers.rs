//! Which headers pass: lists of what may, so that a credential or a limit of someone else cannot.

use http::header::{
    ACCEPT, CACHE_CONTROL, CONNECTION, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_TYPE,
    HeaderMap, HeaderName, HeaderValue, RETRY_AFTER, USER_AGENT,
};

use crate::dialect::Dialect;

/// Names the request, on every answer.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-turnpike-request-id");
/// The stable code of a refusal or failure.
pub const ERROR_CODE: HeaderName = HeaderName::from_static("x-turnpike-error-code");
/// What an answer that is not streamed cost, in USD.
pub const COST_USD: HeaderName = HeaderName::from_static("x-turnpike-cost-usd");
/// Tells the SDKs whether to try again, whatever the status (read by OpenAI's and Anthropic's).
pub const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");

/// Where Anthropic's clients put a key.
pub const ANTHROPIC_KEY: HeaderName = HeaderName::from_static("x-api-key");
/// Sent by all of Anthropic's clients, and by no others.
pub const ANTHROPIC_VERSION: HeaderName = HeaderName::from_static("anthropic-version");
/// Where Google's clients put a key.
pub const GOOGLE_KEY: HeaderName = HeaderName::from_static("x-goog-api-key");

/// What goes up. Not on the list, among others: every credential (`authorization`, `x-api-key`,
/// `cookie` …), `openai-organization` and `openai-project` (they choose an account at the
/// provider), `accept-encoding` (usage is read from plain bytes), whatever tells the client's
/// address, and all that belongs to one connection.
const UP: [HeaderName; 5] = [
    ACCEPT,
    CONTENT_TYPE,
    USER_AGENT,
    HeaderName::from_static("openai-beta"),
    HeaderName::from_static("x-client-request-id"),
];

/// What Google's clients say of themselves and of their patience.
const GOOGLE_UP: [HeaderName; 2] =
    [HeaderName::from_static("x-goog-api-client"), HeaderName::from_static("x-server-timeout")];
/// How the names of Anthropic's own headers begin: version, beta features and whatever else they
/// add. None of them is a credential.
const ANTHROPIC_UP: &str = "anthropic-";

/// What comes down. Not on the list, among others: `set-cookie`, `server`, the provider's rate
/// limits, and the names of its account and of its own request.
const DOWN: [HeaderName; 5] =
    [CONTENT_TYPE, CONTENT_ENCODING, CONTENT_DISPOSITION, CACHE_CONTROL, MCP_SESSION];

/// Names a session of MCP. What goes down is the gateway's own name of it.
pub const MCP_SESSION: HeaderName = HeaderName::from_static("mcp-session-id");
/// Where a stream of events was left that is taken up again.
pub const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// What an MCP server gets of the caller's headers, besides those of the parameters of tools.
const UP_TO_MCP: [HeaderName; 10] = [
    ACCEPT,
    CONTENT_TYPE,
    USER_AGENT,
    HeaderName::from_static("mcp-protocol-version"),
    HeaderName::from_static("mcp-method"),
    HeaderName::from_static("mcp-name"),
    LAST_EVENT_ID,
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("tracestate"),
    HeaderName::from_static("baggage"),
];
/// What the headers begin with that repeat parameters of a tool (MCP 2026-07-28).
const MCP_PARAM: &str = "mcp-param-";

/// Where OpenAI's SDKs look for the name of a request.
const OPENAI_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Where Anthropic's do.
const ANTHROPIC_REQUEST_ID: HeaderName = HeaderName::from_static("request-id");

/// The header in which a dialect's SDKs look for the name of a request.
#[must_use]
pub const fn sdk_request_id(dialect: Dialect) -> HeaderName {
    match dialect {
        Dialect::OpenAi | Dialect::Gemini | Dialect::Mcp => OPENAI_REQUEST_ID,
        Dialect::Anthropic => ANTHROPIC_REQUEST_ID,
    }
}

/// The caller's headers that a provider of the dialect gets.
pub fn upward(
    dialect: Dialect,
    from: &HeaderMap,
) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
    let listed = from.get_all(CONNECTION);
    let ends_here = move |name: &HeaderName| listed.iter().any(|listed| lists(listed, name));
    from.iter().filter(move |(name, _)| goes_up(dialect, name) && !ends_here(name))
}

fn goes_up(dialect: Dialect, name: &HeaderName) -> bool {
    UP.contains(name)
        || match dialect {
            Dialect::OpenAi | Dialect::Mcp => false,
            Dialect::Anthropic => name.as_str().starts_with(ANTHROPIC_UP),
            Dialect::Gemini => GOOGLE_UP.contains(name),
        }
}

/// The caller's headers that an MCP server gets.
#[must_use]
pub fn upward_to_mcp(from: &HeaderMap) -> HeaderMap {
    let passes =
        |name: &HeaderName| UP_TO_MCP.contains(name) || name.as_str().starts_with(MCP_PARAM);
    let kept = from.iter().filter(|(name, _)| passes(name));
    let mut to: HeaderMap = HeaderMap::new();
    to.extend(kept.map(|(name, value)| (name.clone(), value.clone())));
    from.get_all(CONNECTION).iter().for_each(|listed| remove_listed(&mut to, listed));
    to
}

/// Takes out of an answer's headers, read with [`may_go_down`], what was meant for us: what
/// belonged to its connection, and when the provider wants to be asked again.
pub fn end_hop(headers: &mut HeaderMap) {
    headers.remove(RETRY_AFTER);
    if !headers.contains_key(CONNECTION) {
        return;
    }
    let listed: Vec<HeaderValue> = headers.get_all(CONNECTION).iter().cloned().collect();
    headers.remove(CONNECTION);
    listed.iter().for_each(|listed| remove_listed(headers, listed));
}

/// Whether an answer's header is of use: it may go down, or says what may not.
#[must_use]
pub fn may_go_down(name: &str) -> bool {
    let is = |known: &HeaderName| name.eq_ignore_ascii_case(known.as_str());
    DOWN.iter().any(is) || is(&CONNECTION) || is(&RETRY_AFTER)
}

/// What a content type says that a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Media {
    /// A stream of events.
    Events,
    /// JSON.
    Json,
    /// Any kind of text.
    Text,
    /// Anything else, or nobody knows.
    Other,
}

/// The kind of a body with these headers.
#[must_use]
pub fn media(headers: &HeaderMap) -> Media {
    let value = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    let end = memchr::memchr(b';', value).unwrap_or(value.len());
    let kind = value[..end].trim_ascii();
    let begins =
        |with: &[u8]| kind.get(..with.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(with));
    if kind.eq_ignore_ascii_case(b"application/json") {
        Media::Json
    } else if kind.eq_ignore_ascii_case(b"text/event-stream") {
        Media::Events
    } else if begins(b"text/") {
        Media::Text
    } else {
        Media::Other
    }
}

/// For how many milliseconds a provider wants to be left alone, if it says so in seconds (RFC 9110,
/// 10.2.3); a date would be of its own clock.
#[must_use]
pub fn retry_after_ms(headers: &HeaderMap) -> Option<u64> {
    let seconds: u64 = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(seconds.saturating_mul(1_000))
}

/// RFC 9110, 7.6.1: what `Connection` names ends here.
fn lists(listed: &HeaderValue, name: &HeaderName) -> bool {
    let mut names = listed.to_str().unwrap_or_default().split(',');
    names.any(|listed| name.as_str().eq_ignore_ascii_case(listed.trim()))
}

/// Takes out what is listed so.
fn remove_listed(headers: &mut HeaderMap, listed: &HeaderValue) {
    for name in listed.to_str().unwrap_or_default().split(',') {
        headers.remove(name.trim());
    }
}

/// A header value of an id or a number, which have no forbidden bytes.
#[must_use]
pub fn value(text: impl AsRef<[u8]>) -> HeaderValue {
    HeaderValue::from_bytes(text.as_ref()).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// Appends a number, without what formatting costs: an answer tells up to ten.
pub fn digits(out: &mut Vec<u8>, number: u64) {
    // As many as the greatest number has.
    let (mut digits, mut left) = ([b'0'; 20], number);
    let mut first = digits.len() - 1;
    while let Some(digit) = digits.get_mut(first) {
        *digit += u8::try_from(left % 10).unwrap_or_default();
        left /= 10;
        if left == 0 {
            break;
        }
        first -= 1;
    }
    out.extend_from_slice(&digits[first..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pairs = pairs
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        pairs.collect()
    }

    fn going_up(dialect: Dialect, from: &HeaderMap) -> HeaderMap {
        let mut to = HeaderMap::new();
        for (name, value) in upward(dialect, from) {
            to.append(name, value.clone());
        }
        to
    }

    #[test]
    fn no_credential_address_or_connection_header_goes_up() {
        let from = map(&[
            ("authorization", "Bearer sk-tp-x"),
            ("x-api-key", "sk-tp-x"),
            ("x-goog-api-key", "sk-tp-x"),
            ("api-key", "sk-tp-x"),
            ("cookie", "a"),
            ("proxy-authorization", "a"),
            ("openai-organization", "org"),
            ("x-forwarded-for", "10.0.0.1"),
            ("te", "trailers"),
            ("transfer-encoding", "chunked"),
            ("content-length", "7"),
            ("accept-encoding", "gzip"),
            ("host", "gateway"),
            ("content-type", "application/json"),
            ("user-agent", "OpenAI/Python"),
            ("openai-beta", "assistants=v2"),
            ("connection", "close, OpenAI-Beta"),
        ]);
        let plain = [("content-type", "application/json"), ("user-agent", "OpenAI/Python")];
        for dialect in [Dialect::OpenAi, Dialect::Anthropic, Dialect::Gemini] {
            assert_eq!(going_up(dialect, &from), map(&plain));
        }
    }

    #[test]
    fn a_dialects_own_headers_go_up_in_that_dialect_alone() {
        let (anthropic, google) = (
            [("anthropic-version", "2023-06-01"), ("anthropic-beta", "a"), ("anthropic-x", "b")],
            [("x-goog-api-client", "c"), ("x-server-timeout", "5")],
        );
        let mut from = map(&anthropic);
        from.append("anthropic-beta", HeaderValue::from_static("more"));
        let with_both: Vec<_> = from
            .iter()
            .map(|(name, value)| (name.clone(), value.clone()))
            .chain(map(&google).iter().map(|(name, value)| (name.clone(), value.clone())))
            .collect();
        let mut all = HeaderMap::new();
        for (name, value) in with_both {
            all.append(name, value);
        }
        all.insert("x-goog-user-project", HeaderValue::from_static("account"));
        assert_eq!(going_up(Dialect::Anthropic, &all), from);
        assert_eq!(going_up(Dialect::Gemini, &all), map(&google));
        assert_eq!(going_up(Dialect::OpenAi, &all), HeaderMap::new());
    }

    #[test]
    fn nothing_of_the_providers_account_comes_down() {
        let from = map(&[
            ("content-type", "text/event-stream; charset=utf-8"),
            ("set-cookie", "a"),
            ("server", "cloudflare"),
            ("openai-organization", "org"),
            ("x-request-id", "req"),
            ("x-ratelimit-remaining-requests", "1"),
            ("retry-after", "1"),
            ("content-length", "7"),
            ("strict-transport-security", "max-age=1"),
            ("cache-control", "no-store"),
            ("connection", "keep-alive, Cache-Control"),
        ]);
        let mut to: HeaderMap = from
            .iter()
            .filter(|(name, _)| may_go_down(name.as_str()))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        end_hop(&mut to);
        assert_eq!(to, map(&[("content-type", "text/event-stream; charset=utf-8")]));
        assert_eq!(media(&from), Media::Events);
        for (value, kind) in [
            ("Application/JSON", Media::Json),
            ("application/json ; charset=utf-8", Media::Json),
            ("application/jsonl", Media::Other),
            ("TEXT/vtt", Media::Text),
            ("tex", Media::Other),
        ] {
            assert_eq!(media(&map(&[("content-type", value)])), kind, "{value}");
        }
        assert_eq!(media(&HeaderMap::new()), Media::Other);
    }
}
