//! Whether a provider's properties are sound: its address, its headers, its times.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::decide::mistakes::Mistakes;
use crate::decide::scopes::slugs;
use crate::refusal::Refusal;
use crate::state::ProviderSpec;
use crate::text::{MAX_LIST_ENTRIES, slug_problem};
use crate::time::{DAY_MS, HOUR_MS, MINUTE_MS};

/// The most bytes of a base URL.
const MAX_URL_BYTES: usize = 2_048;
/// The most bytes of a sealed credential: keys are short, some are a whole service account in JSON.
pub(in crate::decide) const MAX_CREDENTIAL_BYTES: usize = 8_192;
/// The most bytes of roots: a whole chain of a house's own authority and its successor fit.
const MAX_ROOTS_BYTES: usize = 32_768;
/// What begins each certificate (RFC 7468, section 5.1).
const BEGIN_CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----";
/// The most headers to add, and the most bytes of one: they go out with every request.
const MAX_HEADERS: usize = 32;
const MAX_HEADER_BYTES: usize = 1_024;
/// The longest waits that a caller is made to bear.
const MAX_CONNECT_MS: u64 = MINUTE_MS;
const MAX_ANSWER_MS: u64 = HOUR_MS;
/// The longest that a whole answer may be let take: it holds a budget all the time.
const MAX_TOTAL_MS: u64 = DAY_MS;
/// Headers that the gateway sets itself, or that carry credentials, which belong in `credential`.
const RESERVED: [&str; 14] = [
    "authorization",
    "connection",
    "content-encoding",
    "content-length",
    "cookie",
    "host",
    "keep-alive",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "x-api-key",
    "x-goog-api-key",
];

pub(super) fn check(spec: &ProviderSpec) -> Result<(), Refusal> {
    let mut mistakes = Mistakes::default();
    mistakes.note("/name", slug_problem(&spec.name));
    mistakes.note("/base_url", url_problem(&spec.base_url));
    let length = spec.credential.as_ref().map_or(0, |sealed| sealed.0.len());
    mistakes.unless(length <= MAX_CREDENTIAL_BYTES, "/credential", "is too long");
    mistakes.note("/tls_roots", spec.tls_roots.as_deref().and_then(roots_problem));
    check_headers(&spec.headers, &mut mistakes);
    let few = spec.serves.len() <= MAX_LIST_ENTRIES;
    mistakes.unless(few, "/serves", "has too many entries");
    slugs(spec.serves.iter().map(|model| &**model), "/serves", &mut mistakes);
    let waits = [spec.connect_timeout_ms, spec.answer_timeout_ms, spec.idle_timeout_ms];
    check_waits(waits, &mut mistakes);
    let total = spec.total_timeout_ms <= MAX_TOTAL_MS;
    mistakes.unless(total, "/total_timeout_ms", "must be at most one day; 0 for no limit");
    mistakes.finish()
}

/// The waits for a connection, for the head of the answer and between two pieces of it.
pub(in crate::decide) fn check_waits([connect, answer, idle]: [u64; 3], mistakes: &mut Mistakes) {
    let connect = (1..=MAX_CONNECT_MS).contains(&connect);
    mistakes.unless(connect, "/connect_timeout_ms", "must be from 1 ms to one minute");
    let answer = (1..=MAX_ANSWER_MS).contains(&answer);
    mistakes.unless(answer, "/answer_timeout_ms", "must be from 1 ms to one hour");
    let idle = (1..=MAX_ANSWER_MS).contains(&idle);
    mistakes.unless(idle, "/idle_timeout_ms", "must be from 1 ms to one hour");
}

/// Headers that are added to every request.
pub(in crate::decide) fn check_headers(headers: &[(Box<str>, Box<str>)], mistakes: &mut Mistakes) {
    mistakes.unless(headers.len() <= MAX_HEADERS, "/headers", "must be at most 32");
    for (place, (name, value)) in headers.iter().enumerate() {
        let earlier = &headers[..place];
        let problem = if !is_header_name(name) {
            Some("must be a header's name")
        } else if RESERVED.iter().any(|reserved| name.eq_ignore_ascii_case(reserved)) {
            Some("is set by the gateway: give credentials as the provider's credential")
        } else if earlier.iter().any(|(other, _)| name.eq_ignore_ascii_case(other)) {
            Some("must not stand twice")
        } else if !is_header_value(value) {
            Some("must have a value of visible ASCII characters and spaces, at most 1024 bytes")
        } else {
            None
        };
        mistakes.note(format!("/headers/{place}"), problem);
    }
}

/// A token of RFC 9110 §5.6.2.
pub(in crate::decide) fn is_header_name(name: &str) -> bool {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    (1..=MAX_HEADER_BYTES).contains(&name.len()) && name.bytes().all(token)
}

fn is_header_value(value: &str) -> bool {
    value.len() <= MAX_HEADER_BYTES
        && value.trim() == value
        && value.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic())
}

/// Looks at the shape only; whether the certificates can be used is asked before they come here.
fn roots_problem(roots: &str) -> Option<&'static str> {
    if roots.len() > MAX_ROOTS_BYTES || !roots.is_ascii() {
        Some("must be at most 32768 ASCII characters")
    } else if roots.contains("PRIVATE KEY") {
        Some("must hold certificates only: a private key stays with its owner")
    } else if !roots.contains(BEGIN_CERTIFICATE) {
        Some("must hold a certificate in PEM; null for none")
    } else {
        None
    }
}

/// Looks at the shape only; whether the address may be reached is the connector's question.
pub(in crate::decide) fn url_problem(url: &str) -> Option<&'static str> {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let Some(rest) = rest else {
        return Some("must begin with https:// or http://");
    };
    let authority = rest.split('/').next().unwrap_or_default();
    if url.len() > MAX_URL_BYTES || !url.bytes().all(|byte| byte.is_ascii_graphic()) {
        Some("must be at most 2048 visible ASCII characters")
    } else if url.contains(['?', '#', '\\']) {
        Some("must not have a query, a fragment or a backslash")
    } else if authority.contains('@') {
        Some("must not hold a user name or password: give it as the credential")
    } else if !is_host_and_port(authority) {
        Some("must name a host, and a port from 1 to 65535 if any")
    } else if is_odd_address(authority) {
        Some("must have an address in its usual form: four numbers with dots, or IPv6 in brackets")
    } else {
        None
    }
}

fn is_host_and_port(authority: &str) -> bool {
    let bracketed = authority.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    let (is_host, port) = if let Some((address, port)) = bracketed {
        (address.parse::<Ipv6Addr>().is_ok(), port)
    } else {
        let (host, port) = authority.split_at(authority.find(':').unwrap_or(authority.len()));
        (is_host_name(host), port)
    };
    is_host && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port))
}

/// Whether the host would be read as an IPv4 address, as resolvers and browsers read `2130706433`,
/// `0x7f.1` and `127.1`, and is none in its usual form: nobody who reads it knows where it leads.
///
/// Source: WHATWG URL, "ends in a number".
fn is_odd_address(authority: &str) -> bool {
    let host = authority.split(':').next().unwrap_or_default();
    let name = host.strip_suffix('.').unwrap_or(host);
    let last = name.rsplit('.').next().unwrap_or_default();
    let hexadecimal = last.strip_prefix("0x").or_else(|| last.strip_prefix("0X"));
    let is_number = match hexadecimal {
        Some(digits) => digits.bytes().all(|byte| byte.is_ascii_hexdigit()),
        None => !last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit()),
    };
    is_number && host.parse::<Ipv4Addr>().is_err()
}

fn is_port(digits: &str) -> bool {
    digits.bytes().all(|byte| byte.is_ascii_digit())
        && digits.parse::<u16>().is_ok_and(|port| port > 0)
}

fn is_host_name(host: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    !host.is_empty() && !host.starts_with('.') && host.bytes().all(allowed)
}
