//! The right to pass one MCP message on: metered if it calls a tool.

use std::rc::Rc;

use turnpike_domain::admit::{call_prices, call_reservation, plan_multiplier};
use turnpike_domain::money::NanoUsd;
use turnpike_domain::settle::Settlement;
use turnpike_domain::state::McpServer;
use turnpike_runtime::clock::SharedClock;
use turnpike_wire::secret::without_secrets;

use super::super::admit::Admitted;
use super::super::{Arrival, Site, settle};
use crate::core::Denied;
use crate::dialect::Report;
use crate::lane::{CallEnd, Lane, Opening};
use crate::permit::Quotas;
use crate::upstream::Right;

/// The right to pass one message on. Only [`Passage::open`] makes it.
pub(super) struct Passage {
    /// Of a tool call.
    admitted: Option<Admitted>,
    cost: NanoUsd,
    counted: Counted,
}

/// Where a tool call that was answered is counted.
struct Counted {
    lane: Rc<Lane>,
    clock: SharedClock,
    server: Box<str>,
    started_us: u64,
    /// The server broke off.
    broken: bool,
}

impl Passage {
    /// Asks rate and money whether a tool call may pass, and keeps room for its record. Whatever
    /// calls no tool is not counted.
    ///
    /// # Errors
    /// The first rule of rate and money that says no.
    pub(super) async fn open(
        site: &Site,
        arrival: &Arrival,
        server: &McpServer,
        tool: Option<&str>,
    ) -> Result<Self, Denied> {
        let counted = Counted {
            lane: Rc::clone(&site.lane),
            clock: site.core.clock().clone(),
            server: server.spec.name.clone(),
            started_us: arrival.started_us,
            broken: false,
        };
        let Some(tool) = tool else {
            return Ok(Self { admitted: None, cost: NanoUsd::ZERO, counted });
        };
        let (entry, now) = (&arrival.entry, site.core.now());
        let multiplier = plan_multiplier(&site.core.platform(), &entry.key);
        let reservation = call_reservation(&server.spec, multiplier);
        // Before money: whoever is refused for want of it gives the permit back.
        let rate = site.permits.take(entry, &reservation, now).await.map_err(|denied| *denied)?;
        let budget = site.leases.reserve(entry, &reservation, now).await;
        let budget = budget.map_err(|shortage| shortage.denied)?;
        let opening = Opening {
            request: arrival.request,
            at: now,
            org: entry.org_id(),
            key: entry.key.id,
            key_seq: entry.key.seq,
            token: entry.token.as_ref().map(|token| token.claims.token),
            legacy: entry.legacy,
            model: format!("mcp/{}", server.spec.name).into(),
            server: Some(server.spec.name.clone()),
            tool: Some(without_secrets(tool).into()),
            provider: None,
            price_version: server.seq,
            prices: Some(call_prices(&server.spec)),
            multiplier,
            reservation,
            streamed: false,
            lease: None,
            started_us: arrival.started_us,
        };
        let refused = |denial| entry.denied(denial, site.core.now());
        let admitted = Admitted::open(site, opening, (budget, rate)).map_err(refused)?;
        let mut passage = Self { admitted: Some(admitted), cost: reservation.cost, counted };
        match site.lane.written() {
            Ok(()) => Ok(passage),
            Err(denial) => Err(passage.fail(refused(denial), true)),
        }
    }

    /// What the message costs if it is answered: known before, because a call has no tokens.
    pub(super) fn cost(&self) -> Option<NanoUsd> {
        self.admitted.as_ref().map(|_| self.cost)
    }

    /// What is left of the rates that it was counted on.
    pub(super) fn quotas(&self) -> Option<Quotas> {
        self.admitted.as_ref().and_then(Admitted::quotas)
    }

    /// The caller has gone.
    pub(super) fn caller_gone(&self) {
        if let Some(admitted) = &self.admitted {
            admitted.progress().caller_gone.set(true);
        }
    }

    /// The server broke off in the middle of its answer.
    pub(super) const fn broken(&mut self) {
        self.counted.broken = true;
    }

    /// Books a tool call that no answer of the server was found for, and says so to the refusal.
    /// `refused`: the server cannot have worked on it.
    pub(super) fn fail(&mut self, mut denied: Denied, refused: bool) -> Denied {
        if let Some(admitted) = self.admitted.take() {
            settle::fail(admitted, &denied, refused);
            denied.booked = true;
        }
        denied
    }

    /// Books a tool call. `refused`: the server refused it or failed before it answered anything.
    pub(super) fn settle(&mut self, status: u16, refused: bool) -> Option<Settlement> {
        let report = Report { counted_output: Some(0), ..Report::default() };
        let admitted = self.admitted.take()?;
        self.counted.ended(refused);
        Some(settle::settle(admitted, report, status, refused))
    }
}

impl Counted {
    fn ended(&self, refused: bool) {
        let how = if refused || self.broken { CallEnd::Failed } else { CallEnd::Answered };
        let us = self.clock.boot_us().saturating_sub(self.started_us);
        self.lane.tally.tools.ended(&self.server, how, us);
    }
}

impl Right for Passage {
    fn sent(&self, now_ms: u64) -> bool {
        self.admitted.as_ref().is_none_or(|admitted| admitted.sent(now_ms))
    }
}
