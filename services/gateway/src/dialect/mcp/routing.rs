//! The headers of MCP: which revision a message is of, and whether they say what its body says.
//!
//! Source: MCP 2026-07-28, "Streamable HTTP" (`Mcp-Method` and `Mcp-Name` repeat the body for those
//! who route without reading it); MCP 2025-11-25 and 2025-06-18, "Protocol Version Header".

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;

use super::{Fault, Message};

const VERSION: &str = "mcp-protocol-version";
const METHOD: &str = "mcp-method";
const NAME: &str = "mcp-name";
/// What a message without the header is taken for: saying so says nothing.
const ASSUMED: &str = "2025-03-26";
/// What is repeated of a revision that nobody knows.
pub const MAX_VERSION_CHARS: usize = 64;
/// What stands around a header's value that is no plain ASCII.
const ENCODED: &str = "=?base64?";
const ENCODED_END: &str = "?=";

/// A revision of MCP that is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revision {
    /// 2026-07-28: each request stands for itself.
    Modern,
    /// 2025-11-25: with sessions.
    Second,
    /// 2025-06-18: with sessions.
    First,
}

impl Revision {
    /// All of them, the newest first.
    pub const ALL: [Self; 3] = [Self::Modern, Self::Second, Self::First];

    /// As it stands in headers and bodies.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Modern => "2026-07-28",
            Self::Second => "2025-11-25",
            Self::First => "2025-06-18",
        }
    }

    /// Whether it has sessions, and a stream to be had with GET.
    #[must_use]
    pub const fn has_sessions(self) -> bool {
        match self {
            Self::Modern => false,
            Self::Second | Self::First => true,
        }
    }
}

/// The revision that the headers name; `None`: they name none, as before an initialisation, or the
/// one that is assumed then.
///
/// # Errors
/// [`Fault`]: one that is not spoken, or several.
pub fn revision(headers: &HeaderMap) -> Result<Option<Revision>, Fault> {
    let named = once(headers, VERSION)?.filter(|named| *named != ASSUMED);
    let Some(named) = named else { return Ok(None) };
    match Revision::ALL.into_iter().find(|revision| revision.name() == named) {
        Some(revision) => Ok(Some(revision)),
        None => Err(unsupported(named)),
    }
}

/// Checks a message of a revision against its headers.
///
/// # Errors
/// [`Fault`].
pub fn check(
    headers: &HeaderMap,
    revision: Option<Revision>,
    message: &Message<'_>,
) -> Result<(), Fault> {
    match (message.version.as_deref(), revision.map(Revision::name)) {
        (Some(body), Some(header)) if body != header => {
            return Err(Fault::HeaderMismatch(VERSION));
        }
        // Only the newest revision says it in the body, and it asks for the header.
        (Some(_), None) => return Err(Fault::HeaderMismatch(VERSION)),
        (Some(_) | None, _) => {}
    }
    let needed = revision == Some(Revision::Modern) && message.is_request();
    let method = once(headers, METHOD)?;
    if method.map_or(needed, |method| Some(method) != message.method.as_deref()) {
        return Err(Fault::HeaderMismatch(METHOD));
    }
    let name = once(headers, NAME)?;
    let agrees = match (name, message.name.as_deref()) {
        (Some(sent), Some(named)) => decoded(sent).as_deref() == Some(named),
        (None, Some(_)) => !needed,
        // A method that names nothing that is repeated.
        (Some(_) | None, None) => true,
    };
    if agrees { Ok(()) } else { Err(Fault::HeaderMismatch(NAME)) }
}

/// A header that may be there once, as ASCII.
fn once<'a>(headers: &'a HeaderMap, name: &'static str) -> Result<Option<&'a str>, Fault> {
    let mut given = headers.get_all(name).iter();
    let Some(first) = given.next() else { return Ok(None) };
    match (first.to_str(), given.next()) {
        (Ok(text), None) => Ok(Some(text)),
        (Ok(_) | Err(_), _) => Err(Fault::HeaderMismatch(name)),
    }
}

fn unsupported(named: &str) -> Fault {
    Fault::UnsupportedVersion(named.chars().take(MAX_VERSION_CHARS).collect::<String>().into())
}

/// A header's value without the base64 that carries what is no plain ASCII.
fn decoded(value: &str) -> Option<std::borrow::Cow<'_, str>> {
    let inner = value.strip_prefix(ENCODED).and_then(|rest| rest.strip_suffix(ENCODED_END));
    let Some(inner) = inner else { return Some(value.into()) };
    String::from_utf8(STANDARD.decode(inner).ok()?).ok().map(Into::into)
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(*name, HeaderValue::from_static(value));
        }
        map
    }

    fn outcome(pairs: &[(&'static str, &'static str)], body: &str) -> Result<(), Fault> {
        let headers = headers(pairs);
        let revision = revision(&headers)?;
        check(&headers, revision, &Message::read(body.as_bytes()).unwrap())
    }

    const CALL: &str = r#"{"id":1,"method":"tools/call","params":{"name":"read","_meta":
        {"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}"#;
    const NEWEST: (&str, &str) = ("mcp-protocol-version", "2026-07-28");
    const OLDEST: (&str, &str) = ("mcp-protocol-version", "2025-06-18");
    const METHOD_SENT: (&str, &str) = ("mcp-method", "tools/call");
    const NAME_SENT: (&str, &str) = ("mcp-name", "read");

    #[test]
    fn a_message_of_the_newest_revision_repeats_itself_in_its_headers() {
        let encoded = ("mcp-name", "=?base64?cmVhZA==?=");
        let mismatch = |name| Err(Fault::HeaderMismatch(name));
        let cases: [(&[(&str, &str)], _); 10] = [
            (&[NEWEST, METHOD_SENT, NAME_SENT], Ok(())),
            (&[NEWEST, METHOD_SENT, encoded], Ok(())),
            (&[NEWEST, NAME_SENT], mismatch("mcp-method")),
            (&[NEWEST, METHOD_SENT], mismatch("mcp-name")),
            (&[NEWEST, ("mcp-method", "ping"), NAME_SENT], mismatch("mcp-method")),
            (&[NEWEST, METHOD_SENT, ("mcp-name", "write")], mismatch("mcp-name")),
            (&[NEWEST, METHOD_SENT, ("mcp-name", "=?base64?!?=")], mismatch("mcp-name")),
            (&[NEWEST, METHOD_SENT, NAME_SENT, NAME_SENT], mismatch("mcp-name")),
            (&[METHOD_SENT, NAME_SENT], mismatch("mcp-protocol-version")),
            (&[OLDEST, METHOD_SENT, NAME_SENT], mismatch("mcp-protocol-version")),
        ];
        for (sent, expected) in cases {
            assert_eq!(outcome(sent, CALL), expected, "{sent:?}");
        }
        let note = r#"{"method":"notifications/x"}"#;
        assert_eq!(outcome(&[NEWEST], note), Ok(()));
    }

    #[test]
    fn older_revisions_need_no_headers_but_may_not_contradict_them() {
        let call = r#"{"id":1,"method":"tools/call","params":{"name":"read"}}"#;
        assert_eq!(outcome(&[], call), Ok(()));
        assert_eq!(outcome(&[OLDEST], call), Ok(()));
        assert_eq!(outcome(&[("mcp-protocol-version", "2025-11-25"), METHOD_SENT], call), Ok(()));
        let other = outcome(&[OLDEST, ("mcp-name", "write")], call);
        assert_eq!(other, Err(Fault::HeaderMismatch("mcp-name")));
    }

    #[test]
    fn other_revisions_are_not_spoken() {
        for version in ["2024-11-05", "tomorrow", ""] {
            let sent = HeaderMap::from_iter([(
                HeaderName::from_static(VERSION),
                HeaderValue::from_str(version).unwrap(),
            )]);
            assert_eq!(revision(&sent), Err(Fault::UnsupportedVersion(version.into())));
        }
        assert!(revision(&headers(&[OLDEST, OLDEST])).is_err());
    }
}
