//! One MCP message, or one stream of messages, of a key to a registered server and back.
//!
//! Bodies pass unchanged, but for the tools that the key may not use: they are taken out of lists,
//! and calling them is refused, both by the one rule of the domain.

mod answer;
mod events;
mod passage;
mod request;
mod session;
mod watch;

use std::rc::Rc;

use bytes::Bytes;
use http::header::ORIGIN;
use http::{HeaderMap, Method, Response, Uri};
use hyper::body::Incoming;
use turnpike_domain::admit::{Denial, mcp_server, mcp_tool};
use turnpike_domain::state::McpServer;
use turnpike_domain::time::Timestamp;

pub use watch::Watch;

use super::{Arrival, Site, denial_of, limits};
use crate::body::{self, Hold};
use crate::core::Denied;
use crate::dialect::mcp::{Fault, Message, RawId, Reply, Revision, check, revision};
use crate::lane::CallEnd;
use crate::respond::Outgoing;
use passage::Passage;

/// The status of an answer that is an error of JSON-RPC only, as clients of the revisions with
/// sessions expect it; those of the newest one expect a 400.
const OK: u16 = 200;
const BAD_REQUEST: u16 = 400;

/// What is known of a message besides its key.
struct Asked<'a> {
    server: &'a McpServer,
    revision: Option<Revision>,
    method: Method,
    headers: HeaderMap,
    body: Bytes,
    /// The memory that the body takes.
    _hold: Hold,
}

/// Passes one request on and answers it.
///
/// # Errors
/// The first rule of path, body, scopes, rate and money that says no, or how the server failed.
pub(super) async fn serve(
    site: &Rc<Site>,
    mut arrival: Arrival,
    name: &str,
    (method, headers): (Method, HeaderMap),
    body: &mut Incoming,
) -> Result<Response<Outgoing>, Denied> {
    let now = site.core.now();
    let refused = |denial| arrival.entry.denied(denial, now).on_tool(name, None);
    // Other rules are told when the message's id is known.
    match reach(&arrival, name, now) {
        Err(denied) if denied.denial == Denial::NotFound => return Err(denied),
        Ok(_) | Err(_) => {}
    }
    own_origin(&headers).map_err(refused)?;
    // The answer to a message of a revision that is not spoken has the message's id.
    let spoken = revision(&headers);
    let has_streams = spoken.as_ref().is_ok_and(|it| it.is_none_or(Revision::has_sessions));
    if method != Method::POST && !has_streams {
        return Err(match spoken {
            Ok(_) => refused(Denial::MethodNotAllowed),
            Err(fault) => faulty(refused, fault, None),
        });
    }
    let mut hold = site.bodies.hold();
    let (core, clock) = (&site.core, &**site.core.clock());
    let body = body::read(&headers, body, limits(core), &mut hold, clock).await;
    let body = body.map_err(|error| refused(denial_of(&error)).with_message(error.to_string()))?;
    let message = (method == Method::POST).then(|| Message::read(&body)).transpose();
    let message = message.map_err(|error| {
        let refused = refused(Denial::InvalidRequest).with_message(error.to_string());
        refused.replying(Reply::default())
    })?;
    let id = message.as_ref().and_then(|message| message.id.clone()).map(Box::new);
    let wrong = |fault| faulty(refused, fault, id.clone());
    let revision = spoken.map_err(wrong)?;
    if let Some(message) = &message {
        check(&headers, revision, message).map_err(wrong)?;
    }
    let tool = message.as_ref().and_then(Message::tool).map(Box::<str>::from);
    let replying = |denied: Denied| {
        if tool.is_some() {
            let us = clock.boot_us().saturating_sub(arrival.started_us);
            site.lane.tally.tools.ended(name, CallEnd::of(denied.denial), us);
        }
        denied.on_tool(name, tool.as_deref()).replying(Reply { id: id.clone(), fault: None })
    };
    drop(message);
    let again = arrival.look_again(&site.core, clock.boot_ms()).map_err(replying)?;
    if let Some(entry) = again {
        arrival.entry = entry;
    }
    let asked = |server| Asked { server, revision, method, headers, body, _hold: hold };
    pass(site, &arrival, name, tool.as_deref(), asked).await.map_err(replying)
}

/// Passes a message on that is in order, if its key may.
async fn pass<'a>(
    site: &Rc<Site>,
    arrival: &'a Arrival,
    name: &str,
    tool: Option<&str>,
    asked: impl FnOnce(&'a McpServer) -> Asked<'a>,
) -> Result<Response<Outgoing>, Denied> {
    let now = site.core.now();
    let asked = asked(reach(arrival, name, now)?);
    if let Some(tool) = tool {
        let has_sessions = asked.revision.is_none_or(|it| it.has_sessions());
        mcp_tool(&arrival.entry.key, name, tool)
            .map_err(|denial| denied_tool(arrival.entry.denied(denial, now), tool, has_sessions))?;
    }
    let passage = Passage::open(site, arrival, asked.server, tool).await?;
    answer::exchange(site, arrival, asked, passage).await
}

fn reach<'a>(arrival: &'a Arrival, name: &str, now: Timestamp) -> Result<&'a McpServer, Denied> {
    let Arrival { entry, address, .. } = arrival;
    let found = mcp_server(&entry.org.organisation, &entry.key, name, *address);
    found.map_err(|denial| {
        let denied = entry.denied(denial, now).on_tool(name, None);
        if denial != Denial::NotFound {
            return denied;
        }
        denied.with_message("There is no MCP server of this name.")
    })
}

/// A tool that the key may not use is to it as if it were not there.
fn denied_tool(denied: Denied, tool: &str, has_sessions: bool) -> Denied {
    let message = format!("Unknown tool: the API key may not use {tool:?}, or it does not exist.");
    let status = if has_sessions { OK } else { BAD_REQUEST };
    Denied { answered_with: Some(status), ..denied.with_message(message) }
}

fn faulty(refused: impl Fn(Denial) -> Denied, fault: Fault, id: Option<Box<RawId>>) -> Denied {
    let message = match &fault {
        Fault::HeaderMismatch(header) => {
            format!("The header {header} does not say what the body says, or is there twice.")
        }
        Fault::UnsupportedVersion(version) => {
            format!("Unsupported protocol version {version:?}.")
        }
    };
    let reply = Reply { id, fault: Some(fault) };
    refused(Denial::InvalidRequest).with_message(message).replying(reply)
}

/// Refuses pages of other sites (MCP 2025-11-25, "Security Warning"): a browser sends where a page
/// came from, and no page but those of this very machine has business here.
fn own_origin(headers: &HeaderMap) -> Result<(), Denial> {
    let local = |origin: &str| {
        let host = origin.parse::<Uri>().ok().and_then(|uri| uri.host().map(str::to_owned));
        host.is_some_and(|host| matches!(&*host, "localhost" | "127.0.0.1" | "[::1]"))
    };
    let mut origins = headers.get_all(ORIGIN).iter();
    let all_local = origins.all(|origin| origin.to_str().is_ok_and(local));
    if all_local { Ok(()) } else { Err(Denial::McpNotAllowed) }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn pages_of_other_sites_are_refused() {
        let outcome = |origins: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for origin in origins {
                headers.append(ORIGIN, HeaderValue::from_static(origin));
            }
            own_origin(&headers)
        };
        for fine in
            [&[][..], &["http://localhost:6274"], &["https://127.0.0.1"], &["http://[::1]:1"]]
        {
            assert_eq!(outcome(fine), Ok(()), "{fine:?}");
        }
        for strange in [
            &["http://evil.example"][..],
            &["null"],
            &["http://localhost.evil.example"],
            &["http://localhost", "http://evil.example"],
            &[""],
        ] {
            assert_eq!(outcome(strange), Err(Denial::McpNotAllowed), "{strange:?}");
        }
    }
}
