//! Requests: callers, and a provider that knows what it served.

use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::sync::Arc;

use turnpike_domain::admit::{Demand, Denial, Offer, offer, reservation};
use turnpike_domain::id::RequestId;
use turnpike_domain::meter::{Usage, cost};
use turnpike_domain::money::NanoUsd;
use turnpike_domain::settle::{Observed, Settlement, settle};
use turnpike_gateway::core::Entry;
use turnpike_gateway::lane::{Holds, Opening, Outcome, Ticket};
use turnpike_runtime::clock::Clock;
use turnpike_runtime::entropy;
use turnpike_tests::chance::Fault;
use turnpike_wire::secret;

use crate::accounts::UNITS;
use crate::books::Served;
use crate::house::{House, Known, Serving};

/// Models that plans and scopes name; the last is not there.
pub(crate) const MODELS: &[&str] = &["cheap", "dear", "free", "elsewhere", "unheard-of"];
/// What callers ask for, mostly with success.
const ASKED: &[&str] =
    &["cheap", "cheap", "cheap", "dear", "dear", "dear", "free", "elsewhere", "unheard-of"];
/// Where callers stand.
const ADDRESSES: &[IpAddr] =
    &[IpAddr::V4(Ipv4Addr::new(10, 1, 2, 3)), IpAddr::V4(Ipv4Addr::new(192, 168, 7, 7))];
/// Most callers use a secret that was made lately.
const LATE_SECRETS: u64 = 24;

/// How the provider and the caller behave.
#[derive(Clone, Copy)]
enum Manner {
    Answers,
    Fails,
    ForgetsUsage,
    CountsNothing,
    ReportsNonsense,
    CallerGoneBefore,
    CallerGoneAfter,
}

/// Sends one request to a gateway; it runs on, and dies with its gateway.
pub(crate) async fn request(house: &Rc<House>, serving: Serving) {
    let Some(known) = house.any_secret() else { return };
    house.catch_up();
    let presented = secret::parse(known.secret.expose()).unwrap();
    let entry = match serving.core.identify(&presented) {
        Ok(entry) => entry,
        Err(denied) => {
            house.note(format!("gateway {}: {}", serving.place, denied.denial));
            return house.check_refused(&serving, &known, denied.denial);
        }
    };
    house.check_accepted(&serving, presented.public_id, &entry);
    let (house, running) = (Rc::clone(house), serving.clone());
    serving.requests.spawn_local("request", async move {
        if let Some(ticket) = admit(&house, &running, &entry).await {
            serve(&house, &running, ticket).await;
        }
    });
}

impl House {
    fn any_secret(&self) -> Option<Rc<Known>> {
        let secrets = self.secrets.borrow();
        let count = u64::try_from(secrets.len()).unwrap();
        let late = count.min(LATE_SECRETS);
        let any = if self.dice.happens(7_000) {
            count - 1 - self.dice.below(late)
        } else {
            self.dice.below(count)
        };
        secrets.get(usize::try_from(any).unwrap()).cloned()
    }
}

/// The gateway's own way from a key to a ticket, without HTTP.
async fn admit(house: &House, serving: &Serving, entry: &Entry) -> Option<Box<Ticket>> {
    let (core, now) = (&serving.core, serving.core.now());
    // It is admitted as of now: it may have to wait for a permit and a lease over a midnight.
    let asked = [now, house.clock.now()];
    let model = *house.dice.pick(ASKED)?;
    let address = *house.dice.pick(ADDRESSES)?;
    let platform = Arc::clone(&core.platform());
    let offer = offer(&platform, &entry.org.organisation, &entry.key, model, address);
    house.check_offer(serving, (&platform, entry), (model, address), &offer);
    let refused = |denial: Denial| {
        house.note(format!("gateway {}: {model} {denial}", serving.place));
    };
    let opening = match offer {
        Ok(offer) => opening(house, serving, entry, model, &offer)?,
        Err(denial) => {
            refused(denial);
            return None;
        }
    };
    let rate = match serving.permits.take(entry, &opening.reservation, now).await {
        Ok(rate) => rate,
        Err(denied) => {
            refused(denied.denial);
            return None;
        }
    };
    let reserved = serving.leases.reserve(entry, &opening.reservation, now).await;
    let budget = match reserved {
        Ok(budget) => budget,
        Err(shortage) => {
            refused(shortage.denied.denial);
            return None;
        }
    };
    let (request, org, key) = (opening.request, opening.org, opening.key);
    let reservation = opening.reservation;
    let bounds = UNITS.map(|unit| opening.reservation.amount(unit));
    let sent = Observed { sent: true, ..Observed::default() };
    let estimate = settle(&opening.reservation, &sent, opening.prices.as_ref(), opening.multiplier);
    match serving.lane.open(opening, Holds { budget, rate }) {
        Ok(ticket) => {
            let epoch = serving.lane.epoch_id();
            let lease = ticket.opening().lease;
            house.check_lease(serving, entry, (lease, bounds), asked);
            house.check_rates(serving, entry, request, &reservation);
            let served = Served {
                org,
                key,
                epoch,
                lease,
                bounds,
                estimate,
                written: false,
                settled: None,
                orphaned: false,
                forgotten: false,
                truth: [0; 2],
            };
            house.books.borrow_mut().requests.insert(request, served);
            Some(ticket)
        }
        Err(denial) => {
            house.note(format!("gateway {}: {denial}", serving.place));
            None
        }
    }
}

fn opening(
    house: &House,
    serving: &Serving,
    entry: &Entry,
    model: &str,
    offer: &Offer<'_>,
) -> Option<Opening> {
    let way = offer.ways().next()?;
    house.check_way(serving, entry, &way);
    let prices = offer.spec.prices;
    let demand = Demand {
        body_bytes: house.dice.between(10, 5_000),
        external_content: house.dice.happens(500),
        max_output: house.dice.happens(5_000).then(|| house.dice.between(1, 2_000)),
        prompts: 1,
        choices: house.dice.between(1, 2),
        recording_bytes: 0,
        no_output: house.dice.happens(500),
        free: false,
    };
    let at = serving.core.now();
    Some(Opening {
        request: RequestId(entropy::id(at)),
        at,
        org: entry.org_id(),
        key: entry.key.id,
        key_seq: entry.key.seq,
        token: None,
        legacy: false,
        model: model.into(),
        server: None,
        tool: None,
        provider: Some(way.provider_id),
        price_version: if prices.is_some() { offer.price_version } else { 0 },
        prices,
        multiplier: offer.multiplier,
        reservation: reservation(offer.spec, prices.as_ref(), offer.multiplier, &demand),
        streamed: false,
        lease: None,
        started_us: serving.core.clock().boot_us(),
    })
}

/// From the open line to the settlement.
async fn serve(house: &House, serving: &Serving, ticket: Box<Ticket>) {
    let request = ticket.opening().request;
    if serving.lane.written().is_err() {
        return drop_unsettled(house, ticket, false);
    }
    with(house, request, |served| served.written = true);
    let manner = manner(house);
    let usage = truth(house, &ticket);
    if matches!(manner, Manner::CallerGoneBefore) {
        return drop_unsettled(house, ticket, false);
    }
    ticket.sent();
    let opening = ticket.opening();
    let priced = |usage: &Usage| {
        let prices = opening.prices.as_ref();
        prices.map_or(NanoUsd::ZERO, |prices| cost(usage, prices, opening.multiplier))
    };
    let serves = !matches!(manner, Manner::Fails);
    if serves {
        let tokens = i64::try_from(usage.tokens()).unwrap();
        with(house, request, |served| served.truth = [priced(&usage).0, tokens]);
    }
    let clock = Arc::clone(serving.core.clock());
    let long = house.dice.happens(200);
    clock.sleep(if long { 20_000 } else { house.dice.between(5, 2_500) }).await;
    let sent = Observed { sent: true, ..Observed::default() };
    let nonsense = nonsense(house, opening);
    let observed = match manner {
        Manner::CallerGoneBefore | Manner::CallerGoneAfter => {
            return drop_unsettled(house, ticket, true);
        }
        Manner::Answers => Observed { reported: Some(usage), ..sent },
        Manner::Fails => Observed { refused: true, ..sent },
        Manner::ForgetsUsage => Observed { counted_output: Some(usage.output), ..sent },
        Manner::CountsNothing => sent,
        Manner::ReportsNonsense => Observed { reported: Some(nonsense), malformed: true, ..sent },
    };
    let status = if serves { 200 } else { 502 };
    let settled = ticket.settle(Outcome { observed, status, denial: None });
    house.note(format!("{request} {} {:?}", settled.cost.0, settled.source));
    ended(house, request, settled);
}

fn manner(house: &House) -> Manner {
    let (manner, fault) = match house.dice.below(100) {
        0..=5 => (Manner::Fails, Fault::ProviderFailed),
        6..=11 => (Manner::ForgetsUsage, Fault::UsageMissing),
        12..=14 => (Manner::CountsNothing, Fault::UsageMissing),
        15..=18 => (Manner::ReportsNonsense, Fault::UsageAbsurd),
        19..=22 => (Manner::CallerGoneBefore, Fault::CallerGone),
        23..=26 => (Manner::CallerGoneAfter, Fault::CallerGone),
        _ => return Manner::Answers,
    };
    house.tally.count(fault);
    manner
}

/// What the provider will use: never more than was reserved, and never nothing.
fn truth(house: &House, ticket: &Ticket) -> Usage {
    let reservation = &ticket.opening().reservation;
    let input = house.dice.between(1, reservation.input.max(1));
    let cached_input = house.dice.below(input.min(100));
    let output = house.dice.below(reservation.output.saturating_add(1));
    Usage { input, output, cached_input, ..Usage::default() }
}

/// The caller is gone, and with it the task that would have settled.
fn drop_unsettled(house: &House, ticket: Box<Ticket>, sent: bool) {
    let opening = ticket.opening();
    let observed = Observed { sent, ..Observed::default() };
    let (reservation, prices) = (&opening.reservation, opening.prices.as_ref());
    let settled = settle(reservation, &observed, prices, opening.multiplier);
    ended(house, opening.request, settled);
    drop(ticket);
}

fn ended(house: &House, request: RequestId, settled: Settlement) {
    with(house, request, |served| {
        if let Some(lease) = served.lease {
            let costs = UNITS.map(|unit| settled.amount(unit));
            house.watch.accounts.books().settle(lease, served.bounds, costs);
        }
        served.settled = Some(settled);
    });
}

/// What a broken provider reports: more than it has served, and seldom so much that a budget which
/// counts it is used up for ever.
fn nonsense(house: &House, opening: &Opening) -> Usage {
    let huge = opening.lease.is_none() && house.dice.happens(1_000);
    let reserved = opening.reservation;
    let input = if huge { u64::MAX } else { reserved.input.saturating_mul(2) };
    Usage { input, output: reserved.output, ..Usage::default() }
}

fn with(house: &House, request: RequestId, change: impl FnOnce(&mut Served)) {
    if let Some(served) = house.books.borrow_mut().requests.get_mut(&request) {
        change(served);
    }
}
