//! The agent of one shelf: asks the authority for permits, and gives back what was not used.
//!
//! It has one call on its way at a time. Where nobody answers it lets requests pass by this
//! gateway's share of the rate, and goes on asking.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use turnpike_bus::seam::{BoxFuture, Bus, BusError, Service};
use turnpike_domain::id::{EpochId, GatewayId, OrgId};
use turnpike_domain::rate::{Amount, Ask, Grant, Heard, Left, PERMIT_MS, Rate, WINDOW_MS};
use turnpike_domain::state::RateFallback;
use turnpike_runtime::clock::SharedClock;
use turnpike_runtime::metrics::Counter;
use turnpike_wire::authority::{Call, Closed, PermitAnswer, PermitCall};
use turnpike_wire::form;

use super::batch::Batch;
use super::shelf::{Shelf, Stop};
use super::shelves::Shelves;

/// How long a call may be on its way: what it permits has ended by then.
const CALL_MS: u64 = PERMIT_MS - 100;
/// How long requests are refused at once after the authority has refused one: under a flood it
/// hears one ask in this time, and permits that come back early are found.
const CLOSED_MS: u64 = 1_000;
/// How often an authority that does not answer is asked, and how often it is told of what was not
/// used when nothing else is to be said.
const PROBE_MS: u64 = 1_000;
/// How often an authority is asked that waits for reports.
const GATHERING_MS: u64 = 250;
/// How long requests wait for a new authority that gathers reports: whoever lives has reported by
/// then. What a gateway lets pass by its share is not in its report, if it comes after it.
const GATHERING_PATIENCE_MS: u64 = 1_000;
/// The wait before such an authority is asked again for requests that wait.
const GATHERING_PAUSE_MS: u64 = 20;
/// How soon an authority may be back that does not answer: a successor takes over in this time.
const SUCCESSOR_MS: u64 = 5_000;
/// So long before the end of a batch the next one is asked for, if the key is fast: longer than a
/// call takes.
const REFRESH_MS: u64 = 300;

/// What all agents of a gateway share.
pub(super) struct Means {
    pub(super) bus: Arc<dyn Bus>,
    pub(super) clock: SharedClock,
    pub(super) gateway: GatewayId,
    /// The epoch of the first lane, by which the authority tells runs apart.
    pub(super) run: EpochId,
    pub(super) shelves: Arc<Shelves>,
    /// Organisations whose authority wants this gateway's report.
    pub(super) reports: mpsc::Sender<OrgId>,
    pub(super) metrics: PermitMetrics,
    pub(super) stopping: CancellationToken,
}

/// What is counted of permits.
#[derive(Clone, Debug)]
pub(crate) struct PermitMetrics {
    pub(super) calls: Counter,
    pub(super) failures: Counter,
    pub(super) alone: Counter,
}

/// A call on its way.
type Asking = BoxFuture<'static, Result<PermitAnswer, BusError>>;

/// See the head of this file.
pub(super) struct Agent {
    means: Arc<Means>,
    shelf: Arc<Shelf>,
    /// Batches that may still be corrected, oldest first.
    batches: VecDeque<Arc<Batch>>,
    /// Steady time of the last call that was no mere probe; at first, of the beginning.
    called_ms: u64,
    /// Nobody permits anything: when to ask again.
    alone: Option<u64>,
    /// The authority gathers reports, and requests wait for it.
    gathering: Option<Gathering>,
    /// The batch before whose end another was asked for.
    refreshed: u64,
}

/// When that was first heard, and when to ask again.
#[derive(Clone, Copy)]
struct Gathering {
    since_ms: u64,
    again_ms: u64,
}

impl Agent {
    pub(super) fn new(means: Arc<Means>, shelf: Arc<Shelf>) -> Self {
        // Whoever made the shelf has not asked yet: it is not idle before a call could have been.
        let (batches, called_ms) = (VecDeque::new(), means.clock.boot_ms());
        Self { means, shelf, batches, called_ms, alone: None, gathering: None, refreshed: 0 }
    }

    /// Works until nothing of the account counts any more, or the gateway ends.
    pub(super) async fn run(mut self) {
        let (clock, stopping) = (Arc::clone(&self.means.clock), self.means.stopping.clone());
        loop {
            if let Some(live) = self.shelf.live() {
                self.shelf.hand_out(&live, &*clock);
            }
            let now_ms = clock.boot_ms();
            self.collect(now_ms);
            if stopping.is_cancelled() {
                return self.end(now_ms).await;
            }
            if self.has_to_call(now_ms) {
                self.call(now_ms).await;
                continue;
            }
            if self.is_idle(now_ms) && self.shelf.retire() {
                return self.means.shelves.remove(&self.shelf);
            }
            let rest_ms = self.rest_ms(now_ms);
            tokio::select! {
                biased;
                () = stopping.cancelled() => {}
                () = self.shelf.news.notified() => {}
                () = clock.sleep(rest_ms) => {}
            }
        }
    }

    /// Notes what of earlier batches is not used, and of the live one if it has ended.
    fn collect(&mut self, now_ms: u64) {
        if self.shelf.live().is_some_and(|live| live.is_over(now_ms)) {
            self.shelf.set_live(None);
        }
        let live = self.shelf.live().map(|live| live.number);
        let mut permits = self.shelf.permits();
        for batch in self.batches.iter().filter(|batch| Some(batch.number) != live) {
            let (requests, tokens) = batch.collect();
            permits.unused(batch.number, requests, tokens);
        }
        drop(permits);
        let counts = |batch: &Batch| batch.ends_ms().saturating_add(WINDOW_MS) > now_ms;
        self.batches.retain(|batch| counts(batch));
    }

    /// Whether nothing of the account counts any more, and nobody has asked for long.
    fn is_idle(&self, now_ms: u64) -> bool {
        let is_still = now_ms.saturating_sub(self.called_ms) >= WINDOW_MS;
        is_still && !self.counts(now_ms)
    }

    fn counts(&self, now_ms: u64) -> bool {
        !self.batches.is_empty() || !self.shelf.permits().lapse(now_ms)
    }

    fn has_to_call(&mut self, now_ms: u64) -> bool {
        let pauses = self.gathering.is_some_and(|gathering| now_ms < gathering.again_ms);
        let waits = !pauses && !self.shelf.queue().waiting.is_empty();
        let has_news = self.has_news();
        let is_due = now_ms.saturating_sub(self.called_ms) >= PROBE_MS;
        waits
            || self
                .alone
                .map_or(has_news && is_due, |at_ms| now_ms >= at_ms && !self.is_idle(now_ms))
            || self.wants_refill(now_ms)
    }

    fn has_news(&self) -> bool {
        self.shelf.is_corrected() || self.shelf.permits().has_news()
    }

    /// Whether the live batch of a fast key runs out of permits or of time; told once a batch.
    fn wants_refill(&mut self, now_ms: u64) -> bool {
        let Some(live) = self.shelf.live().filter(|live| live.number != self.refreshed) else {
            return false;
        };
        let is_low = live.is_low() || now_ms.saturating_add(REFRESH_MS) >= live.ends_ms();
        let wants = is_low && self.ahead(now_ms) != Amount::NONE;
        if is_low {
            self.refreshed = live.number;
        }
        wants
    }

    fn ahead(&self, now_ms: u64) -> Amount {
        let left = self.shelf.live().map(|live| live.left()).unwrap_or_default();
        self.shelf.permitted(self.shelf.permits().ahead(left, now_ms))
    }

    /// Says what is to be said, and hands out what it brings.
    async fn call(&mut self, now_ms: u64) {
        if self.alone.is_none() || !self.shelf.queue().waiting.is_empty() {
            self.called_ms = now_ms;
        }
        if self.alone.is_some() {
            // Nobody waits for an answer that may not come.
            self.serve_alone(now_ms);
            if self.alone.is_some_and(|at_ms| now_ms < at_ms) {
                return;
            }
        }
        self.shelf.show_corrections();
        self.collect(now_ms);
        let (ask, rate) = self.ask(now_ms);
        self.means.metrics.calls.inc();
        let mut said = self.say(&ask);
        let answer = loop {
            tokio::select! {
                biased;
                answer = &mut said => break answer,
                () = self.shelf.news.notified(), if self.alone.is_some() => {
                    self.serve_alone(self.means.clock.boot_ms());
                }
            }
        };
        let now_ms = self.means.clock.boot_ms();
        match answer {
            Ok(answer) => self.hear(&ask, rate, &answer, now_ms),
            Err(error) => {
                self.means.metrics.failures.inc();
                tracing::debug!(account = ?self.shelf.account, %error, "no answer about a rate");
                self.shelf.permits().give_up();
                self.go_alone(now_ms, PROBE_MS);
            }
        }
    }

    fn ask(&self, now_ms: u64) -> (Ask, Rate) {
        let queue = self.shelf.queue();
        let ((first, waiting), rate) = (queue.demand(), queue.rate);
        drop(queue);
        let wanted = if self.alone.is_some() {
            // First it has to answer at all: what it would permit could not be used meanwhile.
            Amount::NONE
        } else {
            waiting.plus(self.ahead(now_ms)).min(rate.cap())
        };
        (self.shelf.permits().ask(rate, wanted, first, now_ms), rate)
    }

    fn say(&self, ask: &Ask) -> Asking {
        let call = PermitCall {
            epoch: self.means.run,
            account: self.shelf.account,
            batch: ask.batch,
            requests: u32::try_from(ask.wanted.requests).unwrap_or(u32::MAX),
            tokens: ask.wanted.tokens,
            returned: ask.returned.clone(),
            waits: ask.waits,
            rate: ask.rate,
        };
        let payload: Bytes = form::encode(&Call::Permit(call)).into();
        let service = Service::Authority { org: self.shelf.org, gateway: self.means.gateway };
        let bus = Arc::clone(&self.means.bus);
        Box::pin(async move {
            let answer = bus.call(service, payload, CALL_MS).await?;
            form::decode(&answer).map_err(|error| BusError::Unavailable(error.to_string()))
        })
    }

    fn hear(&mut self, ask: &Ask, rate: Rate, answer: &PermitAnswer, now_ms: u64) {
        let amount = Amount { requests: u64::from(answer.requests), tokens: answer.tokens };
        let heard = self.shelf.permits().hear(answer.fence, answer.batch, amount, now_ms);
        if heard == Heard::Stale {
            // Whoever answered was replaced: it is as if nobody had.
            self.shelf.permits().give_up();
            return self.go_alone(now_ms, PROBE_MS);
        }
        self.shelf.gateways.store(answer.gateways, Ordering::Relaxed);
        match answer.closed {
            Some(closed @ (Closed::Gathering | Closed::ReportFirst)) => {
                if closed == Closed::ReportFirst {
                    // If there is no room, another asks for the same.
                    let _ = self.means.reports.try_send(self.shelf.org);
                }
                if self.alone.is_none() && self.is_worth_waiting(now_ms) {
                    return;
                }
                return self.go_alone(now_ms, GATHERING_MS);
            }
            Some(Closed::Fenced) => {
                return self.shelf.close(0, Stop::Unreachable, now_ms, 0);
            }
            None => {}
        }
        self.end_alone();
        let free = Amount { requests: answer.left_requests, tokens: answer.left_tokens };
        self.shelf.tell(Left { free, reset_ms: answer.reset_ms }, now_ms);
        match heard {
            Heard::Granted(grant) => {
                self.publish(&grant);
            }
            Heard::Nothing | Heard::Stale => {
                if let (Some(retry_after_ms), Some(tokens)) = (answer.retry_after_ms, ask.waits) {
                    let out_of_requests = rate.requests.is_some() && free.requests == 0;
                    let wants_tokens =
                        rate.tokens.is_some() && free.tokens < rate.permitted(tokens);
                    let least = if wants_tokens && !out_of_requests { tokens } else { 0 };
                    let stop = Stop::Spent { retry_after_ms };
                    self.shelf.close(least, stop, now_ms, CLOSED_MS);
                }
            }
        }
    }

    /// Lets a batch be used, first by those that wait; whether all of them are served.
    fn publish(&mut self, grant: &Grant) -> bool {
        let batch = Arc::new(Batch::new(grant));
        self.batches.push_back(Arc::clone(&batch));
        let all_served = self.shelf.hand_out(&batch, &*self.means.clock);
        self.shelf.set_live(Some(batch));
        all_served
    }

    /// Whether an authority that gathers reports may soon have all of them.
    fn is_worth_waiting(&mut self, now_ms: u64) -> bool {
        let since_ms = self.gathering.map_or(now_ms, |gathering| gathering.since_ms);
        let again_ms = now_ms.saturating_add(GATHERING_PAUSE_MS);
        self.gathering = Some(Gathering { since_ms, again_ms });
        now_ms.saturating_sub(since_ms) < GATHERING_PATIENCE_MS
    }

    /// Nobody permits anything; asked again after `probe_ms`.
    fn go_alone(&mut self, now_ms: u64, probe_ms: u64) {
        self.alone = Some(now_ms.saturating_add(probe_ms));
        self.serve_alone(now_ms);
    }

    /// The authority permits again: what was permitted without it ends.
    fn end_alone(&mut self) {
        self.gathering = None;
        if self.alone.take().is_some() {
            self.shelf.set_live(None);
            self.shelf.reopen();
        }
    }

    /// Serves those that wait by this gateway's share, if the organisation wants that.
    fn serve_alone(&mut self, now_ms: u64) {
        self.collect(now_ms);
        let queue = self.shelf.queue();
        let ((first, waiting), rate, fallback) = (queue.demand(), queue.rate, queue.fallback);
        drop(queue);
        let Some(first) = first else { return };
        let gateways = self.shelf.gateways.load(Ordering::Relaxed);
        if fallback == RateFallback::Deny || gateways == 0 {
            return self.shelf.close(0, Stop::Unreachable, now_ms, 0);
        }
        self.shelf.tell(Left::default(), now_ms);
        // What is live is not asked for again, but replaced: nothing of it is forgotten.
        self.shelf.set_live(None);
        self.collect(now_ms);
        let mut permits = self.shelf.permits();
        let wanted = waiting.plus(permits.ahead(Amount::NONE, now_ms));
        let grant = permits.fall_back(rate, gateways, wanted, now_ms);
        let back_ms = self.gathering.map_or(SUCCESSOR_MS, |_| GATHERING_PATIENCE_MS);
        let retry_after_ms = permits.frees_ms(rate, first, back_ms, now_ms);
        drop(permits);
        let all_served = grant.is_some_and(|grant| {
            self.means.metrics.alone.inc_by(grant.amount.requests);
            self.publish(&grant)
        });
        if !all_served {
            self.shelf.close(0, Stop::Spent { retry_after_ms }, now_ms, CLOSED_MS);
        }
    }

    /// How long nothing happens if nobody comes.
    fn rest_ms(&self, now_ms: u64) -> u64 {
        let until = |steady_ms: u64| steady_ms.saturating_sub(now_ms).max(1);
        let live = self.shelf.live().map(|live| {
            let refresh_ms = live.ends_ms().saturating_sub(REFRESH_MS);
            until(if refresh_ms > now_ms { refresh_ms } else { live.ends_ms() })
        });
        let alone = self.alone.filter(|_| !self.is_idle(now_ms)).map(until);
        let waits = self.alone.is_none() && !self.shelf.queue().waiting.is_empty();
        let gathering = self.gathering.filter(|_| waits);
        let gathering = gathering.map(|gathering| until(gathering.again_ms));
        let news = (self.alone.is_none() && self.has_news())
            .then(|| until(self.called_ms.saturating_add(PROBE_MS)));
        let oldest = self.batches.front().map(|batch| batch.ends_ms().saturating_add(WINDOW_MS));
        let lapse = oldest.map_or(WINDOW_MS, until);
        [live, alone, gathering, news, Some(lapse)].into_iter().flatten().min().unwrap_or(WINDOW_MS)
    }

    /// Gives back what is left; nobody waits for the answer.
    async fn end(mut self, now_ms: u64) {
        self.shelf.set_live(None);
        self.collect(now_ms);
        self.shelf.close(0, Stop::Unreachable, now_ms, 0);
        if self.shelf.permits().has_news() {
            let rate = self.shelf.queue().rate;
            let ask = self.shelf.permits().ask(rate, Amount::NONE, None, now_ms);
            if let Err(error) = self.say(&ask).await {
                tracing::debug!(%error, "permits were not given back");
            }
        }
    }
}
