//! The life of a request as named phases: identify, admit, forward, observe, settle.
//!
//! What is absent here: a database, a lock that another core holds, a figure about money. Rules are
//! the domain's, state is the core's and the lane's; a phase asks them and does what they say.

mod address;
pub mod admit;
mod budget;
mod forward;
mod identify;
mod leftover;
mod linger;
mod mcp;
mod note;
mod observe;
mod route;
mod settle;
mod strict;
#[cfg(test)]
mod tests;
mod turn;

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;

use http::header::CONNECTION;
use http::request::Parts;
use http::{HeaderValue, Request, Response, Version};
use hyper::body::Incoming;
use turnpike_domain::admit::Denial;
use turnpike_domain::id::RequestId;
use turnpike_runtime::entropy;
use turnpike_runtime::tasks::Tasks;

pub use mcp::Watch;
pub use observe::Observer;

use crate::body::{self, Budget, ReadError, ReadLimits};
use crate::core::{Core, Denied, Entry};
use crate::dialect::{Dialect, Place, Sent, Target, place};
use crate::headers;
use crate::lane::Lane;
use crate::lease::Leases;
use crate::permit::Permits;
use crate::respond::{self, Catalogue, Outgoing};
use crate::upstream::Pool;

/// So long after a credential was looked at it is looked at again: whatever was taken from it while
/// its body came, or while it waited for its provider, is taken from it.
const LOOK_AGAIN_MS: u64 = 250;

/// What the requests of one core share; no other thread touches it.
pub struct Site {
    /// What all cores share.
    pub core: Arc<Core>,
    /// The budgets that all cores reserve from.
    pub leases: Arc<Leases>,
    /// The rates that all cores take permits of.
    pub permits: Arc<Permits>,
    /// This core's way to the spool.
    pub lane: Rc<Lane>,
    /// This core's connections to providers.
    pub pool: Rc<Pool>,
    /// This core's memory for request bodies.
    pub bodies: Budget,
    /// Where abandoned answers are read to their end.
    pub tasks: Tasks,
}

/// A request whose credential is good, without its body.
struct Arrival {
    request: RequestId,
    /// Steady microseconds when the head had arrived.
    started_us: u64,
    entry: Entry,
    address: IpAddr,
    /// The model, where the path names it.
    model: Option<Box<str>>,
}

impl Arrival {
    /// Looks at the credential again, if that was long ago.
    fn look_again(&self, core: &Core, now_ms: u64) -> Result<Option<Entry>, Denied> {
        let looked_ms = self.started_us / 1_000;
        let is_old = now_ms.saturating_sub(looked_ms) > LOOK_AGAIN_MS;
        is_old.then(|| core.again(&self.entry)).transpose()
    }
}

/// What a request asks for.
struct Asked<'a> {
    dialect: Dialect,
    target: Result<Target<'a>, Denial>,
    query: &'a str,
}

/// Answers one request. Every way out has an answer.
pub async fn answer(
    site: Rc<Site>,
    request: Request<Incoming>,
    peer: SocketAddr,
) -> Response<Outgoing> {
    let started_us = site.core.clock().boot_us();
    let id = RequestId(entropy::id(site.core.now_at(started_us / 1_000)));
    let trusted = &site.core.options().trusted_proxies;
    let address = address::address(peer, request.headers(), trusted);
    let (mut head, mut body) = request.into_parts();
    // Taken, so that nobody after this function sees a key in its query.
    let uri = std::mem::take(&mut head.uri);
    let sent = Sent { headers: &head.headers, query: uri.query().unwrap_or_default() };
    let Place { dialect, target } = place(&head.method, uri.path(), sent);
    let version = head.version;
    let problem = strict::problem(version, &head.headers);
    let entry = match problem {
        None => identify::identify(&site.core, dialect, sent, started_us),
        Some(problem) => Err(site.core.denied(Denial::InvalidRequest).with_message(problem)),
    };
    let handled = match entry {
        Ok(entry) => {
            let arrival = Arrival { request: id, started_us, entry, address, model: None };
            let asked = Asked { dialect, target, query: uri.query().unwrap_or_default() };
            handle(&site, arrival, asked, &mut head, &mut body).await
        }
        Err(denied) => Err(denied),
    };
    let mut response = handled.unwrap_or_else(|denied| {
        // Who was too slow is not waited for; HTTP/2 closes one stream, not the connection.
        if denied.denial != Denial::RequestTimeout && version != Version::HTTP_2 {
            leftover::read_on(&site, body);
        }
        site.lane.tally.denied(denied.denial);
        let decision = denied.decision(&site.core, id, address);
        note::refused(&site, (id, started_us), &denied, &decision);
        respond::denied(dialect, &denied, id, &decision)
    });
    if problem.is_some() && version != Version::HTTP_2 {
        // Where such a request ends is just what two readers could disagree about.
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    site.lane.tally.answered(response.status().as_u16());
    let named = headers::value(id.text());
    response.headers_mut().insert(headers::sdk_request_id(dialect), named.clone());
    response.headers_mut().insert(headers::REQUEST_ID, named);
    response
}

async fn handle(
    site: &Rc<Site>,
    mut arrival: Arrival,
    asked: Asked<'_>,
    head: &mut Parts,
    body: &mut Incoming,
) -> Result<Response<Outgoing>, Denied> {
    let core = &*site.core;
    let Asked { dialect, target, query } = asked;
    let target = target.map_err(|denial| arrival.entry.denied(denial, core.now()))?;
    if let Target::Call(_, Some(model)) = &target {
        arrival.model = Some(model.as_ref().into());
    }
    let refused = |denial| arrival.entry.denied(denial, core.now());
    let catalogue = || Catalogue { core, entry: &arrival.entry, address: arrival.address, dialect };
    let is_here = arrival.entry.key.profile.scopes.address(arrival.address);
    match target {
        // What a key is and may is told where it may be used.
        Target::Models | Target::Model(_) | Target::OwnKey if !is_here => {
            Err(refused(Denial::IpNotAllowed))
        }
        Target::Models => Ok(note::answered(site, &arrival, catalogue().list(query))),
        Target::Model(name) => {
            let found = catalogue().one(&name).map_err(refused)?;
            Ok(note::answered(site, &arrival, found))
        }
        Target::OwnKey => {
            // Apart, as below.
            let own = Box::pin(respond::own_key(site, &arrival.entry)).await;
            Ok(note::answered(site, &arrival, own))
        }
        // Apart, because it needs much room: a request is moved until it is first polled.
        Target::Mcp(server) => {
            let head = (head.method.clone(), std::mem::take(&mut head.headers));
            Box::pin(mcp::serve(site, arrival, server, head, body)).await
        }
        Target::Call(call, _) => {
            let mut hold = site.bodies.hold();
            let (limits, clock) = (limits(core), &**core.clock());
            let read = body::read(&head.headers, body, limits, &mut hold, clock).await;
            let body =
                read.map_err(|error| refused(denial_of(&error)).with_message(error.to_string()))?;
            if let Some(entry) = arrival.look_again(core, core.clock().boot_ms())? {
                arrival.entry = entry;
            }
            let headers = std::mem::take(&mut head.headers);
            let job = admit::admit(site, arrival, call, headers, (body, hold)).await?;
            if let Err(denial) = site.lane.written() {
                let denied = job.denied(denial, core.now());
                settle::fail(job.admitted, &denied, true);
                return Err(denied);
            }
            linger::linger(site, job).await
        }
    }
}

/// What a body may take.
fn limits(core: &Core) -> ReadLimits {
    let options = core.options();
    ReadLimits { max_bytes: options.max_body_bytes, timeout_ms: options.body_timeout_ms }
}

const fn denial_of(error: &ReadError) -> Denial {
    match error {
        ReadError::TooLarge(_) => Denial::RequestTooLarge,
        ReadError::Timeout => Denial::RequestTimeout,
        ReadError::NoRoom => Denial::Overloaded,
        ReadError::Broken | ReadError::Encoding => Denial::InvalidRequest,
    }
}
