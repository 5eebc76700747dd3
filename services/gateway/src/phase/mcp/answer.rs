//! Sends an MCP message to its server, and turns the server's answer into ours.

use std::collections::VecDeque;
use std::rc::Rc;

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::response::Parts;
use http::{HeaderMap, Response};
use turnpike_domain::admit::Denial;

use super::super::forward::{Setback, is_refusal};
use super::super::{Arrival, Site};
use super::Asked;
use super::events::Events;
use super::passage::Passage;
use super::request::{Upward, upward};
use super::session::{self, Owner};
use super::watch::{Kind, Watch};
use crate::body::{Limits, Means, Relay, Waits, Whole, next_piece};
use crate::core::Denied;
use crate::dialect::Dialect;
use crate::dialect::mcp::filtered;
use crate::headers::{self, Media};
use crate::respond::Outgoing;
use crate::upstream::AnswerBody;

/// The longest list of tools, in bytes, that is held to be looked through.
const MAX_LIST_BYTES: usize = 8 * 1024 * 1024;

/// Sends the message and answers with what comes back.
///
/// # Errors
/// How the server failed.
pub(super) async fn exchange(
    site: &Rc<Site>,
    arrival: &Arrival,
    asked: Asked<'_>,
    mut passage: Passage,
) -> Result<Response<Outgoing>, Denied> {
    let refused = |denial| {
        let denied = arrival.entry.denied(denial, site.core.now());
        if denial == Denial::NotFound { denied.with_message(NO_SESSION) } else { denied }
    };
    let up = upward(site, arrival, &asked).map_err(refused);
    let Upward { remote, path, bounds, request } = match up {
        Ok(up) => up,
        Err(denied) => return Err(passage.fail(denied, true)),
    };
    let sent = remote.send(&passage, path, request, bounds).await;
    let (denial, message, may_have_worked) = match sent {
        Ok(answer) if !is_refusal(answer.status()) => {
            return deliver(site, arrival, &asked, passage, answer).await;
        }
        Ok(answer) => {
            let status = answer.status().as_u16();
            let message = format!("The MCP server answered with status {status}.");
            (Denial::ProviderError, message, false)
        }
        Err(failure) => {
            let Setback { denial, message, may_have_worked, .. } = Setback::from(&failure);
            (denial, message, may_have_worked)
        }
    };
    let denied = match passage.quotas() {
        Some(quotas) => refused(denial).with_quotas(quotas),
        None => refused(denial),
    };
    Err(passage.fail(denied.with_message(message), !may_have_worked))
}

/// What a client is told that comes with a session which is not its own, or is no more.
const NO_SESSION: &str = "There is no such session: begin another one.";

async fn deliver(
    site: &Rc<Site>,
    arrival: &Arrival,
    asked: &Asked<'_>,
    mut passage: Passage,
    answer: Response<AnswerBody>,
) -> Result<Response<Outgoing>, Denied> {
    let (mut head, mut body) = answer.into_parts();
    headers::end_hop(&mut head.headers);
    head.version = http::Version::HTTP_11;
    head.extensions.clear();
    own_session(site, arrival, asked, &mut head.headers);
    let is_events = headers::media(&head.headers) == Media::Events;
    if let Some(quotas) = passage.quotas() {
        quotas.tell(Dialect::Mcp, || site.core.now(), &mut head.headers);
    }
    if let Some(cost) = passage.cost().filter(|_| !is_events && head.status.is_success()) {
        head.headers.insert(headers::COST_USD, headers::value(cost.to_string()));
    }
    let spec = &asked.server.spec;
    let filters = arrival.entry.key.profile.scopes.mcp.names_tools(&spec.name);
    if filters && head.status.is_success() && !is_events {
        match held(site, arrival, asked, &head, &mut body).await {
            Ok(whole) => {
                passage.settle(head.status.as_u16(), false);
                return Ok(Response::from_parts(head, Outgoing::whole(whole)));
            }
            Err(denial) => {
                let denied = arrival.entry.denied(denial, site.core.now());
                return Err(passage.fail(denied, false));
            }
        }
    }
    let kind = match (is_events, filters) {
        (false, _) => Kind::Whole,
        (true, false) => Kind::Open,
        (true, true) => Kind::Filtered(Events::default()),
    };
    let limits = Limits {
        waits: waits(asked),
        // Nothing is learnt from the rest of an answer that nobody waits for.
        drain_timeout_ms: 0,
        drain_bytes: 0,
    };
    let means = Means { clock: site.core.clock().clone(), tasks: site.tasks.clone() };
    let watch = Watch::new(site, arrival, &spec.name, (passage, head.status), kind);
    let relay = Relay::new(body, watch, limits, means);
    Ok(Response::from_parts(head, Outgoing::mcp(relay)))
}

/// A server's stream may last as long as its session.
const fn waits(asked: &Asked<'_>) -> Waits {
    Waits { idle_timeout_ms: asked.server.spec.idle_timeout_ms, until_ms: None }
}

/// Holds an answer that may list tools until it is whole, and takes out what may not be seen.
async fn held(
    site: &Site,
    arrival: &Arrival,
    asked: &Asked<'_>,
    head: &Parts,
    body: &mut AnswerBody,
) -> Result<Bytes, Denial> {
    let mut whole = Whole::default();
    loop {
        let clock = &**site.core.clock();
        match next_piece(body, clock, waits(asked)).await {
            Ok(Some(piece)) => whole.push(piece),
            Ok(None) => break,
            Err(cut) => return Err(cut.denial()),
        }
        if whole.len() > MAX_LIST_BYTES {
            tracing::warn!(server = %asked.server.spec.name, "an answer is too long for a filter");
            return Err(Denial::ProviderError);
        }
    }
    let whole = whole.finish();
    if whole.is_empty() {
        return Ok(whole);
    }
    let scope = &arrival.entry.key.profile.scopes.mcp;
    let readable = !head.headers.contains_key(CONTENT_ENCODING);
    let seen = filtered(&whole, |tool| scope.tool(&asked.server.spec.name, tool));
    match seen {
        Ok(changed) if readable => Ok(changed.unwrap_or(whole)),
        Ok(_) | Err(_) => {
            let kind = head.headers.get(CONTENT_TYPE);
            tracing::warn!(server = %asked.server.spec.name, ?kind, "an answer cannot be filtered");
            Err(Denial::ProviderError)
        }
    }
}

/// Gives the server's name of a session our own: the caller's, if it came with one.
fn own_session(site: &Site, arrival: &Arrival, asked: &Asked<'_>, down: &mut HeaderMap) {
    let Some(session) = down.remove(headers::MCP_SESSION) else { return };
    if asked.revision.is_some_and(|revision| !revision.has_sessions()) {
        return;
    }
    if let Some(name) = asked.headers.get(headers::MCP_SESSION) {
        down.insert(headers::MCP_SESSION, name.clone());
        return;
    }
    let owner = Owner { key: arrival.entry.key.id, server: &asked.server.spec.name };
    match session::seal(site.core.sessions(), owner, session.as_bytes()) {
        Some(name) => drop(down.insert(headers::MCP_SESSION, headers::value(name))),
        None => tracing::warn!(server = %owner.server, "a session's name cannot be passed on"),
    }
}

/// Pieces on their way to the caller.
pub(super) type Pieces = VecDeque<Bytes>;
