//! Whether a request may pass: the rules of the domain, asked in the contract's order.

use std::cell::Cell;
use std::rc::Rc;

use bytes::Bytes;
use http::HeaderMap;
use turnpike_domain::admit::{Demand, Denial, Offer, offer, reservation};
use turnpike_domain::id::ProviderId;
use turnpike_domain::meter::Prices;
use turnpike_domain::settle::{Observed, Reservation, Settlement};
use turnpike_domain::time::Timestamp;

use super::budget::{self, Reserved};
use super::route::{Parcel, Route};
use super::{Arrival, Site};
use crate::body::Hold;
use crate::core::{Denied, Entry};
use crate::dialect::Call;
use crate::lane::{Holds, Opening, Tariff, Ticket};
use crate::lease::Grip;
use crate::peek::Peek;
use crate::permit::{Permit, Quotas};
use crate::upstream::Right;

/// The right to one upstream call. Only the rules of this folder make it; it settles when it is
/// dropped.
pub struct Admitted {
    ticket: Box<Ticket>,
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
    pub(super) clamp: Option<u64>,
    pub(super) route: Route,
    /// For another way.
    pub(super) arrival: Arrival,
    /// As the caller sent them.
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// The memory that the body takes.
    _hold: Hold,
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
    let read = call
        .peek(arrival.model.as_deref(), &headers, &body)
        .map_err(|error| refused(Denial::InvalidRequest).with_message(error.to_string()))?;
    let platform = core.platform();
    let organisation = &entry.org.organisation;
    let refused = |denial| entry.denied(denial, now).on(&read.model);
    let offer = offer(&platform, organisation, &entry.key, &read.model, arrival.address)
        .map_err(refused)?;
    is_spoken(&offer, call, refused)?;
    let (clamps, demand) = (call.output_field().is_some(), demand(call, &read, &body));
    let on_model = |denied: Denied| denied.on(&read.model);
    let parcel = Parcel { id: arrival.request, call, read: &read, headers: &headers, body: &body };
    let chosen = parcel.choose(site, &offer, &mut Vec::new());
    // Rate and money speak before a provider that is out of order.
    let prices = chosen.as_ref().map_or(offer.spec.prices.as_ref(), |choice| choice.way.prices);
    let tariff = tariff(&offer, call, prices);
    // Before money: whoever is refused for want of it gives the permit back.
    let bound = reservation(offer.spec, prices, offer.multiplier, &demand);
    let rate = site.permits.take(entry, &bound, now).await.map_err(|denied| on_model(*denied))?;
    let Reserved { reservation, grip, clamp } =
        budget::reserve(&site.leases, entry, (offer.spec, &tariff), demand, (clamps, now))
            .await
            .map_err(on_model)?;
    let rate = still_permitted(site, entry, (rate, &bound)).await.map_err(on_model)?;
    let choice = chosen.map_err(|no_way| no_way.of(refused(no_way.denial)))?;
    let route = parcel.send_by(choice, clamp);
    let Tariff { price_version, prices, multiplier } = tariff;
    let opening = Opening {
        request: arrival.request,
        at: now,
        org: organisation.id,
        key: entry.key.id,
        key_seq: entry.key.seq,
        token: entry.token.as_ref().map(|token| token.claims.token),
        legacy: entry.legacy,
        model: read.model.as_ref().into(),
        server: None,
        tool: None,
        provider: Some(route.provider),
        price_version,
        prices,
        multiplier,
        reservation,
        streamed: read.stream,
        lease: None,
        started_us: arrival.started_us,
    };
    let hides_usage = parcel.asks_for_usage() && !read.wants_usage;
    let admitted = Admitted::open(site, opening, (grip, rate)).map_err(refused)?;
    drop(platform);
    // In one place from here on: it is handed from phase to phase.
    let job =
        Job { admitted, call, hides_usage, clamp, route, arrival, headers, body, _hold: hold };
    Ok(Box::new(job))
}

/// The permits of a request that had to wait for money: what has ended meanwhile goes back, and
/// others are taken.
async fn still_permitted(
    site: &Site,
    entry: &Entry,
    (rate, bound): (Option<Permit>, &Reservation),
) -> Result<Option<Permit>, Denied> {
    let is_over = |permit: &Permit| permit.is_over(site.core.clock().boot_ms());
    if !rate.as_ref().is_some_and(is_over) {
        return Ok(rate);
    }
    drop(rate);
    let again = Box::pin(site.permits.take(entry, bound, site.core.now()));
    again.await.map_err(|denied| *denied)
}

/// A model may be there for some dialects only.
fn is_spoken(
    offer: &Offer<'_>,
    call: Call,
    refused: impl FnOnce(Denial) -> Denied,
) -> Result<(), Denied> {
    offer.speaks(call.provider_kind()).map_err(|denial| {
        let name = call.dialect().name();
        let message = format!("No provider of this model that could be asked speaks {name}.");
        refused(denial).with_message(message)
    })
}

/// What a request is charged by whose way costs `prices`: nothing, if such a call is free.
pub(super) fn tariff(offer: &Offer<'_>, call: Call, prices: Option<&Prices>) -> Tariff {
    let prices = prices.copied().filter(|_| !call.is_free());
    let price_version = if prices.is_some() { offer.price_version } else { 0 };
    Tariff { price_version, prices, multiplier: offer.multiplier }
}

pub(super) fn demand(call: Call, read: &Peek<'_>, body: &[u8]) -> Demand {
    let body_bytes = u64::try_from(body.len()).unwrap_or(u64::MAX);
    Demand {
        body_bytes,
        external_content: read.names_outside_content(body),
        max_output: read.max_output_tokens,
        prompts: read.prompts,
        choices: read.answers,
        no_output: !call.makes_output(),
        free: call.is_free(),
        recording_bytes: if call.takes_recording() { body_bytes } else { 0 },
    }
}

impl Admitted {
    /// The right to a call that the rules of this folder have let through, with what is held of
    /// budgets and rates for it.
    pub(super) fn open(
        site: &Site,
        opening: Opening,
        (budget, rate): (Option<Grip>, Option<Permit>),
    ) -> Result<Self, Denial> {
        let ticket = site.lane.open(opening, Holds { budget, rate })?;
        Ok(Self { ticket, progress: Rc::default() })
    }

    /// For the tests of what may only be called with an admission.
    #[cfg(test)]
    pub(crate) fn for_test(ticket: Box<Ticket>) -> Self {
        Self { ticket, progress: Rc::default() }
    }

    /// Says that another provider gets it, and that none has worked on it.
    pub(super) fn reroute(&self, provider: ProviderId) {
        self.progress.sent.set(false);
        self.ticket.reroute(provider);
    }

    /// The duty to settle it.
    pub(super) fn ticket_mut(&mut self) -> &mut Ticket {
        &mut self.ticket
    }

    /// Whether the provider may have the request.
    #[must_use]
    pub fn is_sent(&self) -> bool {
        self.progress.sent.get()
    }

    /// The most that it can use and cost.
    pub(super) const fn reservation(&self) -> Reservation {
        self.ticket.opening().reservation
    }

    /// What it is booked with if no more than this is seen of it.
    pub(super) fn forecast(&self, observed: &Observed) -> Settlement {
        self.ticket.opening().settle(observed)
    }

    /// What is left of the rates that the request was counted on.
    pub(super) fn quotas(&self) -> Option<Quotas> {
        self.ticket.quotas()
    }

    pub(super) fn progress(&self) -> &Rc<Progress> {
        &self.progress
    }

    pub(super) fn into_ticket(self) -> Box<Ticket> {
        self.ticket
    }
}

impl Right for Admitted {
    fn sent(&self, now_ms: u64) -> bool {
        let stands = !self.ticket.has_lapsed(now_ms);
        if stands {
            self.progress.sent.set(true);
            self.ticket.sent();
        }
        stands
    }
}

impl Job {
    /// A refusal of this request.
    pub(super) fn denied(&self, denial: Denial, now: Timestamp) -> Denied {
        let mut denied = self.arrival.entry.denied(denial, now);
        denied.booked = true;
        match self.admitted.quotas() {
            Some(quotas) => denied.with_quotas(quotas),
            None => denied,
        }
    }
}
