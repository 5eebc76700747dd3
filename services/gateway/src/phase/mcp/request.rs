//! What an MCP server is sent: the caller's message, with the server's credential for the caller's.

use std::rc::Rc;

use http::header::AUTHORIZATION;
use http::{HeaderName, HeaderValue};
use turnpike_domain::admit::Denial;
use turnpike_domain::id::ProviderId;
use turnpike_domain::state::{McpServerSpec, ProviderKind, ProviderSpec};

use super::super::{Arrival, Site};
use super::Asked;
use super::session::{self, Owner};
use crate::headers;
use crate::upstream::{Bounds, Described, Lines, Outbound, Remote};

/// The most requests and streams of one server from one gateway: a server that answers none of them
/// takes no more of its memory.
const MAX_RUNNING: u32 = 1_024;

/// A message on its way up.
pub(super) struct Upward<'a> {
    pub(super) remote: Rc<Remote>,
    pub(super) path: &'a str,
    pub(super) bounds: Bounds,
    pub(super) request: Outbound,
}

/// The message as the server gets it.
///
/// # Errors
/// [`Denial::NotFound`] for a session that is not the key's; [`Denial::ProviderError`] if the
/// server's address or credential cannot be used, which the operator's log explains.
pub(super) fn upward<'a>(
    site: &Site,
    arrival: &Arrival,
    asked: &'a Asked<'_>,
) -> Result<Upward<'a>, Denial> {
    let spec = &asked.server.spec;
    let (base_url, path) = split(&spec.url);
    // To the pool a server is what a provider is; ids of both are random.
    let id = arrival.entry.org.organisation.mcp_servers.iter();
    let id = id.into_iter().find(|(_, server)| server.spec.name == spec.name);
    let id = ProviderId(id.ok_or(Denial::NotFound)?.0.0);
    let described = described(spec, base_url);
    let owner = Some(arrival.entry.org_id());
    let remote = Described { id, owner, spec: &described };
    let remote = site.pool.remote(remote).map_err(|error| {
        tracing::warn!(server = %spec.name, %error, "an MCP server cannot be called");
        Denial::ProviderError
    })?;
    let mut map = headers::upward_to_mcp(&asked.headers);
    if !asked.headers.contains_key(headers::MCP_SESSION) {
        // To a server without sessions all keys are one client: any of them could read on where
        // another has stopped.
        map.remove(headers::LAST_EVENT_ID);
    }
    if let Some(name) = asked.headers.get(headers::MCP_SESSION) {
        let owner = Owner { key: arrival.entry.key.id, server: &spec.name };
        let session = session::open(site.core.sessions(), owner, name.as_bytes());
        let session = session.ok_or(Denial::NotFound)?;
        map.insert(headers::MCP_SESSION, headers::value(session));
    }
    for (name, value) in &spec.headers {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| Denial::ProviderError)?;
        let value = HeaderValue::from_str(value).map_err(|_| Denial::ProviderError)?;
        map.insert(name, value);
    }
    map.insert(headers::REQUEST_ID, headers::value(arrival.request.text()));
    if let Some((name, value)) = credential(site, spec)? {
        map.insert(name, value);
    }
    let bounds = Bounds {
        connect_timeout_ms: spec.connect_timeout_ms,
        answer_timeout_ms: spec.answer_timeout_ms,
    };
    let (method, body) = (asked.method.clone(), asked.body.clone());
    let request = Outbound { method, lines: Lines::from(&map), body };
    Ok(Upward { remote, path, bounds, request })
}

/// The server as the pool knows providers; it asks for their place and their limits only.
fn described(spec: &McpServerSpec, base_url: &str) -> ProviderSpec {
    ProviderSpec {
        name: spec.name.clone(),
        kind: ProviderKind::OpenAi,
        base_url: base_url.into(),
        credential: None,
        headers: Vec::new(),
        serves: Vec::new(),
        connect_timeout_ms: spec.connect_timeout_ms,
        answer_timeout_ms: spec.answer_timeout_ms,
        idle_timeout_ms: spec.idle_timeout_ms,
        // A stream of a session lasts as long as the session.
        total_timeout_ms: 0,
        max_concurrency: MAX_RUNNING,
        disabled: false,
        tls_roots: None,
        max_failures: 0,
    }
}

/// The server's credential in its header.
fn credential(
    site: &Site,
    spec: &McpServerSpec,
) -> Result<Option<(HeaderName, HeaderValue)>, Denial> {
    let Some(sealed) = &spec.credential else { return Ok(None) };
    let Some(opened) = site.core.opened(sealed) else {
        tracing::warn!(server = %spec.name, "an MCP server's credential cannot be opened");
        return Err(Denial::ProviderError);
    };
    let (name, value) = match &spec.credential_header {
        Some(name) => (HeaderName::from_bytes(name.as_bytes()), opened.expose().to_owned()),
        None => (Ok(AUTHORIZATION), format!("Bearer {}", opened.expose())),
    };
    let name = name.map_err(|_| Denial::ProviderError)?;
    let mut value = HeaderValue::try_from(value).map_err(|_| Denial::ProviderError)?;
    value.set_sensitive(true);
    Ok(Some((name, value)))
}

/// A URL as where to connect and what to ask for there.
fn split(url: &str) -> (&str, &str) {
    let host_at = url.find("://").map_or(0, |at| at.saturating_add(3));
    let path_at = url.get(host_at..).and_then(|rest| rest.find('/'));
    match path_at.map(|at| url.split_at(host_at.saturating_add(at))) {
        Some((base_url, path)) => (base_url, path),
        None => (url, "/"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart_without_a_change() {
        for (url, parts) in [
            ("https://a.example", ("https://a.example", "/")),
            ("https://a.example/", ("https://a.example", "/")),
            ("http://[::1]:80/mcp", ("http://[::1]:80", "/mcp")),
            ("http://a/b/mcp/", ("http://a", "/b/mcp/")),
        ] {
            assert_eq!(split(url), parts, "{url}");
        }
    }
}
