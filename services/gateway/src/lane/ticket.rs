//! One admitted request: it is settled exactly once, however it ends.

use std::cell::Cell;
use std::rc::Rc;

use turnpike_domain::admit::Denial;
use turnpike_domain::id::{EphemeralId, KeyId, LeaseId, OrgId, ProviderId, RequestId};
use turnpike_domain::meter::Prices;
use turnpike_domain::money::Multiplier;
use turnpike_domain::settle::{Observed, Reservation, Settlement, settle};
use turnpike_domain::spend::Spend;
use turnpike_domain::time::Timestamp;

use super::Lane;
use crate::lease::Grip;
use crate::permit::{Permit, Quotas};

/// The status of a request whose end nobody reported: its caller is gone (nginx's 499).
const STATUS_GONE: u16 = 499;

/// All that is booked of a request but how it went.
#[derive(Clone, Debug)]
pub struct Opening {
    /// The request.
    pub request: RequestId,
    /// When it was admitted, by the mirror's time.
    pub at: Timestamp,
    /// Whose it is.
    pub org: OrgId,
    /// The key that it was admitted on.
    pub key: KeyId,
    /// The key's last event.
    pub key_seq: u64,
    /// The ephemeral token, if one was used.
    pub token: Option<EphemeralId>,
    /// The caller came with the key's legacy secret.
    pub legacy: bool,
    /// The model as the caller wrote it: at most a model name's 100 characters.
    pub model: Box<str>,
    /// The MCP server's name, of a tool call.
    pub server: Option<Box<str>>,
    /// The tool's name, of a tool call.
    pub tool: Option<Box<str>>,
    /// Who is to serve it; `None`: an MCP server.
    pub provider: Option<ProviderId>,
    /// The version of `prices`; 0: unpriced.
    pub price_version: u64,
    /// The prices of the admission.
    pub prices: Option<Prices>,
    /// The plan's multiplier at the admission.
    pub multiplier: Multiplier,
    /// The most that it can use and cost.
    pub reservation: Reservation,
    /// The caller asked for a stream.
    pub streamed: bool,
    /// The lease that it was reserved on: that of its [`Holds`].
    pub lease: Option<LeaseId>,
    /// Steady microseconds when the request's head had arrived.
    pub started_us: u64,
}

/// What a request is charged by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tariff {
    /// The version of `prices`; 0: unpriced.
    pub price_version: u64,
    /// Of the way that is taken.
    pub prices: Option<Prices>,
    /// The plan's multiplier.
    pub multiplier: Multiplier,
}

/// How a request went.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// What was seen of it.
    pub observed: Observed,
    /// The HTTP status that the caller saw.
    pub status: u16,
    /// Why no provider's answer went to the caller, if none did.
    pub denial: Option<Denial>,
}

/// What was taken for a request and is let go of when it ends, however it ends.
#[derive(Debug, Default)]
pub struct Holds {
    /// What is reserved of budgets, if a cap stands on the key's path.
    pub budget: Option<Grip>,
    /// The permits of the rates on the key's path, if there are any.
    pub rate: Option<Permit>,
}

/// The right to one upstream call, and the duty to settle it.
///
/// Dropped without [`Ticket::settle`] (a cancelled task, a panic), the request is booked as an
/// estimate if it was sent, and at nothing if it was not.
pub struct Ticket {
    lane: Rc<Lane>,
    opening: Opening,
    provider: Cell<Option<ProviderId>>,
    /// Ways that were tried in vain.
    failovers: Cell<u32>,
    sent: Cell<bool>,
    settled: Cell<bool>,
    holds: Cell<Holds>,
}

impl Ticket {
    pub(super) fn new(lane: Rc<Lane>, opening: Opening, holds: Holds) -> Self {
        let (provider, sent) = (Cell::new(opening.provider), Cell::new(false));
        let (settled, holds) = (Cell::new(false), Cell::new(holds));
        let failovers = Cell::new(0);
        Self { lane, opening, provider, failovers, sent, settled, holds }
    }

    /// What was admitted.
    #[must_use]
    pub const fn opening(&self) -> &Opening {
        &self.opening
    }

    /// What is left of the rates that it was counted on.
    pub(crate) fn quotas(&self) -> Option<Quotas> {
        let holds = self.holds.take();
        let told = |permit: &Permit| permit.quotas(self.lane.clock().boot_ms());
        let quotas = holds.rate.as_ref().map(told);
        self.holds.set(holds);
        quotas
    }

    /// Another provider serves it: none has worked on it so far.
    pub fn reroute(&self, provider: ProviderId) {
        self.provider.set(Some(provider));
        self.failovers.set(self.failovers.get().saturating_add(1));
        self.sent.set(false);
    }

    /// What it is charged by.
    #[must_use]
    pub const fn tariff(&self) -> Tariff {
        let Opening { price_version, prices, multiplier, .. } = self.opening;
        Tariff { price_version, prices, multiplier }
    }

    /// The lease that its budget is reserved on.
    #[must_use]
    pub const fn lease(&self) -> Option<LeaseId> {
        self.opening.lease
    }

    /// Charges it by the tariff of another provider, by which it can cost as much as `reservation`
    /// says; `more` is what was reserved for that beside what it holds, on the same lease. Its new
    /// opening line is queued; on a failure nothing has changed.
    ///
    /// # Errors
    /// [`Denial::Overloaded`] if the spool is full.
    pub fn reprice(
        &mut self,
        (provider, tariff): (ProviderId, Tariff),
        reservation: Reservation,
        more: Option<Grip>,
    ) -> Result<(), Denial> {
        let Tariff { price_version, prices, multiplier } = tariff;
        let provider = Some(provider);
        let mut repriced = Opening {
            provider,
            price_version,
            prices,
            multiplier,
            reservation,
            ..self.opening.clone()
        };
        self.lane.reopen(&mut repriced)?;
        self.opening = repriced;
        if let (Some(held), Some(more)) = (&mut self.holds.get_mut().budget, more) {
            held.join(more);
        }
        Ok(())
    }

    /// Whether the request has waited until what permitted it was over.
    pub(crate) fn has_lapsed(&self, now_ms: u64) -> bool {
        let holds = self.holds.take();
        let lapsed = holds.rate.as_ref().is_some_and(|permit| permit.has_lapsed(now_ms));
        self.holds.set(holds);
        lapsed
    }

    /// The provider has the whole request: from here on it may cost.
    pub fn sent(&self) {
        self.sent.set(true);
    }

    /// Books the request.
    pub fn settle(mut self: Box<Self>, outcome: Outcome) -> Settlement {
        self.book(&outcome)
    }

    fn book(&mut self, outcome: &Outcome) -> Settlement {
        self.settled.set(true);
        let settlement = self.opening.settle(&outcome.observed);
        let elapsed_us = self.lane.clock().boot_us().saturating_sub(self.opening.started_us);
        let latency_ms = u32::try_from(elapsed_us / 1_000).unwrap_or(u32::MAX);
        let mut record = self.opening.record(self.provider.get(), outcome, latency_ms, &settlement);
        record.failovers = self.failovers.get();
        let Holds { budget, rate } = self.holds.take();
        self.lane.book(&self.opening, &record, budget.map(|grip| (grip, settlement)));
        if let Some(permit) = rate {
            permit.settle(&settlement);
        }
        settlement
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.settled.get() {
            let observed = Observed { sent: self.sent.get(), ..Observed::default() };
            self.book(&Outcome { observed, status: STATUS_GONE, denial: None });
        }
    }
}

impl Opening {
    /// Looks at what is booked if nothing more is heard of the request: its reservation.
    pub(crate) fn with_estimate<T>(&mut self, look: impl FnOnce(&Spend) -> T) -> T {
        let observed = Observed { sent: true, ..Observed::default() };
        let settlement = self.settle(&observed);
        let outcome = Outcome { observed, status: STATUS_GONE, denial: None };
        let record = self.record(self.provider, &outcome, 0, &settlement);
        let seen = look(&record);
        (self.model, self.server, self.tool) = (record.model, record.server, record.tool);
        seen
    }

    /// What is booked if no more than this is seen of the request.
    pub(crate) fn settle(&self, observed: &Observed) -> Settlement {
        settle(&self.reservation, observed, self.prices.as_ref(), self.multiplier)
    }

    /// The record, which takes the names with it.
    fn record(
        &mut self,
        provider: Option<ProviderId>,
        outcome: &Outcome,
        latency_ms: u32,
        settlement: &Settlement,
    ) -> Spend {
        Spend {
            request: self.request,
            at: self.at,
            key: self.key,
            key_seq: self.key_seq,
            token: self.token,
            model: std::mem::take(&mut self.model),
            provider,
            status: outcome.status,
            usage: settlement.usage,
            source: settlement.source,
            suspect: settlement.suspect,
            price_version: self.price_version,
            multiplier: self.multiplier,
            cost: settlement.cost,
            reserved: self.reservation.cost,
            reserved_tokens: self.reservation.input.saturating_add(self.reservation.output),
            lease: self.lease,
            legacy: self.legacy,
            latency_ms,
            denial: outcome.denial,
            unmetered: false,
            repeats: 0,
            failovers: 0,
            decision: None,
            server: self.server.take(),
            tool: self.tool.take(),
            streamed: self.streamed,
        }
    }
}
