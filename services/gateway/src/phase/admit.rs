//! Whether a request may pass, and on what way: the rules of the domain, asked in the contract's
//! order.

use std::cell::Cell;
use std::rc::Rc;

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue, Request};
use turnpike_domain::admit::{Demand, Denial, Offer, Way, offer, reservation};
use turnpike_domain::id::{ProviderId, RequestId};
use turnpike_domain::time::Timestamp;
use turnpike_runtime::entropy;

use super::budget::{self, Reserved};
use super::{Arrival, Site};
use crate::body::Hold;
use crate::core::Denied;
use crate::dialect::Call;
use crate::headers;
use crate::lane::{Holds, Opening, Ticket};
use crate::peek::{Edits, NotARequest, Peek, peek, peek_form};
use crate::permit::Quotas;
use crate::upstream::{Bounds, Remote};

/// The right to one upstream call. Only [`admit`] makes it; it settles when it is dropped.
pub struct Admitted {
    ticket: Ticket,
    progress: Rc<Progress>,
}

/// How far a request has come, also for whoever outlives its caller.
#[derive(Debug, Default)]
pub(super) struct Progress {
    pub(super) sent: Cell<bool>,
    pub(super) caller_gone: Cell<bool>,
}

/// An admitted request and its first way.
pub(super) struct Job {
    pub(super) admitted: Admitted,
    pub(super) call: Call,
    /// The caller does not want the usage chunk that the gateway asks for.
    pub(super) hides_usage: bool,
    /// What the output maximum was lowered to, if it was.
    clamp: Option<u64>,
    pub(super) route: Route,
    /// For another way.
    arrival: Arrival,
    /// As the caller sent them.
    headers: HeaderMap,
    body: Bytes,
    /// The memory that the body takes.
    _hold: Hold,
}

/// One way, ready to be taken.
pub(super) struct Route {
    pub(super) provider: ProviderId,
    pub(super) remote: Rc<Remote>,
    pub(super) bounds: Bounds,
    pub(super) idle_timeout_ms: u64,
    pub(super) request: Request<Bytes>,
}

/// Asks the rules whether the request may pass, keeps room for its record, and chooses its way.
///
/// # Errors
/// The first rule of body, model, scopes, rate and money that says no.
pub(super) async fn admit(
    site: &Site,
    arrival: Arrival,
    call: Call,
    headers: HeaderMap,
    (body, hold): (Bytes, Hold),
) -> Result<Box<Job>, Denied> {
    let (core, now) = (&*site.core, site.core.now());
    let entry = &arrival.entry;
    let refused = |denial| entry.denied(denial, now);
    let read = read(call, &headers, &body)
        .map_err(|error| refused(Denial::InvalidRequest).with_message(error.to_string()))?;
    let platform = core.platform();
    let organisation = &entry.org.organisation;
    let refused = |denial| entry.denied(denial, now).on(&read.model);
    let offer = offer(&platform, organisation, &entry.key, &read.model, arrival.address)
        .map_err(refused)?;
    let (clamps, demand) = (call.output_field().is_some(), demand(call, &read, &body));
    let on_model = |denied: Denied| denied.on(&read.model);
    // Before money: whoever is refused for want of it gives the permit back.
    let bound = reservation(offer.spec, offer.spec.prices.as_ref(), offer.multiplier, &demand);
    let rate = site.permits.take(entry, &bound, now).await.map_err(|denied| on_model(*denied))?;
    let Reserved { reservation, grip, clamp } =
        budget::reserve(&site.leases, entry, &offer, demand, (clamps, now))
            .await
            .map_err(on_model)?;
    let id = arrival.request;
    let parcel = Parcel { id, call, read: &read, clamp, headers: &headers, body: &body };
    let route = parcel.route(site, &offer, &mut Vec::new()).map_err(refused)?;
    let prices = offer.spec.prices;
    let opening = Opening {
        request: arrival.request,
        at: now,
        org: organisation.id,
        key: entry.key.id,
        key_seq: entry.key.seq,
        token: None,
        model: read.model.as_ref().into(),
        provider: route.provider,
        price_version: if prices.is_some() { offer.price_version } else { 0 },
        prices,
        multiplier: offer.multiplier,
        reservation,
        lease: None,
        started_us: arrival.started_us,
    };
    let hides_usage = parcel.asks_for_usage() && !read.wants_usage;
    let ticket = site.lane.open(opening, Holds { budget: grip, rate }).map_err(refused)?;
    let admitted = Admitted { ticket, progress: Rc::default() };
    drop(platform);
    // In one place from here on: it is handed from phase to phase.
    let job =
        Job { admitted, call, hides_usage, clamp, route, arrival, headers, body, _hold: hold };
    Ok(Box::new(job))
}

fn read<'a>(call: Call, headers: &HeaderMap, body: &'a [u8]) -> Result<Peek<'a>, NotARequest> {
    if call.takes_form() { peek_form(headers, body) } else { peek(body) }
}

fn demand(call: Call, read: &Peek<'_>, body: &[u8]) -> Demand {
    Demand {
        body_bytes: u64::try_from(body.len()).unwrap_or(u64::MAX),
        external_content: read.names_outside_content(body),
        max_output: read.max_output_tokens,
        prompts: read.prompts,
        choices: read.answers,
        no_output: !call.makes_output(),
    }
}

impl Admitted {
    /// For the tests of what may only be called with an admission.
    #[cfg(test)]
    pub(crate) fn for_test(ticket: Ticket) -> Self {
        Self { ticket, progress: Rc::default() }
    }

    /// Says that the provider may get the request from now on.
    pub fn sent(&self) {
        self.progress.sent.set(true);
        self.ticket.sent();
    }

    /// Says that another provider gets it.
    pub(super) fn reroute(&self, provider: ProviderId) {
        self.ticket.reroute(provider);
    }

    /// Whether the provider may have the request.
    #[must_use]
    pub fn is_sent(&self) -> bool {
        self.progress.sent.get()
    }

    /// What is left of the rates that the request was counted on.
    pub(super) fn quotas(&self) -> Option<Quotas> {
        self.ticket.quotas()
    }

    pub(super) fn progress(&self) -> &Rc<Progress> {
        &self.progress
    }

    pub(super) fn into_ticket(self) -> Ticket {
        self.ticket
    }
}

impl Job {
    /// A refusal of this request.
    pub(super) fn denied(&self, denial: Denial, now: Timestamp) -> Denied {
        let denied = self.arrival.entry.denied(denial, now);
        match self.admitted.quotas() {
            Some(quotas) => denied.with_quotas(quotas),
            None => denied,
        }
    }

    /// Turns to the next way, if the rules still leave one that was not tried.
    pub(super) fn turn(&mut self, site: &Site, tried: &mut Vec<ProviderId>) -> bool {
        let Arrival { entry, address, request: id, .. } = &self.arrival;
        let platform = site.core.platform();
        let Ok(read) = read(self.call, &self.headers, &self.body) else { return false };
        let offer = offer(&platform, &entry.org.organisation, &entry.key, &read.model, *address);
        let (call, clamp, headers, body) = (self.call, self.clamp, &self.headers, &self.body);
        let parcel = Parcel { id: *id, call, read: &read, clamp, headers, body };
        let Ok(route) = offer.and_then(|offer| parcel.route(site, &offer, tried)) else {
            return false;
        };
        self.admitted.reroute(route.provider);
        self.route = route;
        true
    }
}

/// What is sent, whoever gets it.
struct Parcel<'a> {
    id: RequestId,
    call: Call,
    read: &'a Peek<'a>,
    clamp: Option<u64>,
    headers: &'a HeaderMap,
    body: &'a Bytes,
}

impl Parcel<'_> {
    fn asks_for_usage(&self) -> bool {
        self.read.stream && self.call.takes_include_usage()
    }

    /// The first way that can be taken and was not tried; the ways seen are added to `tried`.
    fn route(
        &self,
        site: &Site,
        offer: &Offer<'_>,
        tried: &mut Vec<ProviderId>,
    ) -> Result<Route, Denial> {
        let mut denial = Denial::ProviderNotAllowed;
        while let Some(way) = choose(offer, self.call, tried) {
            match self.through(site, &way) {
                Some(route) => return Ok(route),
                // Its URL or its credential cannot be used; the operator's log says so.
                None => denial = Denial::ProviderError,
            }
            tried.push(way.provider_id);
        }
        Err(denial)
    }

    fn through(&self, site: &Site, way: &Way<'_>) -> Option<Route> {
        let spec = &way.provider.spec;
        let remote = site.pool.remote(way.provider_id, &spec.base_url);
        let remote = remote.inspect_err(|error| {
            tracing::warn!(provider = %spec.name, %error, "a provider cannot be called");
        });
        let body = self.read.edited(
            self.body,
            Edits {
                model: way.upstream_model.filter(|name| *name != self.read.model),
                include_usage: self.asks_for_usage(),
                max_output: self.call.output_field().zip(self.clamp),
            },
        );
        let mut request = Request::new(body);
        *request.headers_mut() = headers::upward(self.headers);
        for (name, value) in &spec.headers {
            let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
            request.headers_mut().insert(name, HeaderValue::from_str(value).ok()?);
        }
        // So that a provider's own log can be compared with ours, request by request.
        request.headers_mut().insert(headers::REQUEST_ID, headers::value(self.id.to_string()));
        if spec.credential.is_some() {
            let Some(credential) = site.core.credential(way.provider) else {
                tracing::warn!(provider = %spec.name, "a provider's credential cannot be opened");
                return None;
            };
            let bearer = format!("Bearer {}", credential.expose());
            let mut value = HeaderValue::try_from(bearer).ok()?;
            value.set_sensitive(true);
            request.headers_mut().insert(AUTHORIZATION, value);
        }
        Some(Route {
            provider: way.provider_id,
            remote: remote.ok()?,
            bounds: Bounds::from(spec),
            idle_timeout_ms: spec.idle_timeout_ms,
            request,
        })
    }
}

/// The best way that was not tried and speaks the call's language. Neighbours with weights share
/// the requests by them; a way without a weight waits until those before it have failed.
fn choose<'a>(offer: &Offer<'a>, call: Call, tried: &[ProviderId]) -> Option<Way<'a>> {
    let speaks = call.dialect().spoken_by();
    let open = || {
        let ways = offer.ways();
        ways.filter(|way| way.provider.spec.kind == speaks && !tried.contains(&way.provider_id))
    };
    let first = open().next()?;
    let group = || open().take_while(|way| way.weight > 0);
    if first.weight == 0 || group().nth(1).is_none() {
        return Some(first);
    }
    let mut drawn = entropy::below(group().map(|way| u64::from(way.weight)).sum());
    group().find(|way| match drawn.checked_sub(u64::from(way.weight)) {
        Some(rest) => {
            drawn = rest;
            false
        }
        None => true,
    })
}
