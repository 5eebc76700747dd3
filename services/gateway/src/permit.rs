//! Rates on the request path: each limited key and project lets requests pass by permits that the
//! authority granted in batches.
//!
//! What is absent here: a lock or a call on the way of a request while permits last, and a second
//! count of what the authority counts. Rules are the domain's; one agent an account speaks with the
//! authority.

mod agent;
mod batch;
mod look;
mod quota;
mod report;
mod shelf;
mod shelves;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use tokio::sync::mpsc;
use turnpike_bus::seam::Bus;
use turnpike_domain::admit::{Denial, Figures, LimitSource};
use turnpike_domain::id::{EpochId, GatewayId, OrgId};
use turnpike_domain::limit::Account;
use turnpike_domain::rate::{PERMIT_MS, Rate, on_path};
use turnpike_domain::settle::{Reservation, Settlement};
use turnpike_domain::time::Timestamp;
use turnpike_runtime::clock::SharedClock;
#[cfg(feature = "mutations")]
use turnpike_runtime::metrics::Counter;
use turnpike_runtime::metrics::Metrics;
use turnpike_runtime::tasks::Tasks;

pub use look::RateLeft;
pub(crate) use quota::Quotas;

use crate::core::{Core, Denied, Entry};
use agent::{Agent, Means, PermitMetrics};
use quota::Quota;
use shelf::{Part, Shelf, Stop};
use shelves::Shelves;

/// Shelves that wait for their agents: more than one core makes between two turns of the main loop.
const MAX_FRESH: usize = 65_536;
/// Reports that wait to be sent; a recall that finds no room is made again.
const MAX_REPORTS: usize = 1_024;
/// How often one request tries to have all its permits at once: the first may end while it waits
/// for the second, and a shelf may be cleared away under its hands.
const MAX_ROUNDS: usize = 3;

/// How long a request may be on its way to its provider after its permit is over: a full house
/// takes half a second. Whoever waits longer, or was stopped, would be served in a minute that is
/// another's.
const ON_ITS_WAY_MS: u64 = PERMIT_MS;

/// The permits of one gateway, shared by its cores.
pub struct Permits {
    clock: SharedClock,
    shelves: Arc<Shelves>,
    fresh: mpsc::Sender<Arc<Shelf>>,
    reports: mpsc::Sender<OrgId>,
    #[cfg(feature = "mutations")]
    alone: Counter,
}

/// What the agents of a gateway work with.
pub(crate) struct PermitParts {
    bus: Arc<dyn Bus>,
    clock: SharedClock,
    gateway: GatewayId,
    run: EpochId,
}

impl PermitParts {
    /// Those of `core`'s gateway; `run` is the epoch of its first lane, by which the authority
    /// tells runs apart.
    pub(crate) fn new(core: &Core, bus: Arc<dyn Bus>, run: EpochId) -> Self {
        Self { bus, clock: Arc::clone(core.clock()), gateway: core.gateway(), run }
    }
}

/// One request's permits. Dropped without [`Permit::settle`] they go back unused.
#[derive(Debug)]
pub struct Permit {
    /// Of the key and of its project.
    held: [Option<Held>; 2],
}

#[derive(Debug)]
struct Held {
    part: Part,
    rate: Rate,
}

/// A limited account of a request.
type Limited = (Account, Rate);

impl Permits {
    /// Begins without permits; agents and reports are among `tasks`, whose stop gives everything
    /// back.
    pub(crate) fn begin(parts: PermitParts, tasks: &Tasks, metrics: &Metrics) -> Arc<Self> {
        let PermitParts { bus, clock, gateway, run } = parts;
        let (fresh, mut waiting) = mpsc::channel::<Arc<Shelf>>(MAX_FRESH);
        let (reports, wanted) = mpsc::channel(MAX_REPORTS);
        let shelves = Arc::new(Shelves::default());
        let counters = PermitMetrics::new(metrics);
        #[cfg(feature = "mutations")]
        let alone = counters.alone.clone();
        let means = Arc::new(Means {
            bus,
            clock: Arc::clone(&clock),
            gateway,
            run,
            shelves: Arc::clone(&shelves),
            reports: reports.clone(),
            metrics: counters,
            stopping: tasks.stopping(),
        });
        let (agents, stopping) = (tasks.clone(), tasks.stopping());
        tasks.spawn("reports", report::run(Arc::clone(&means), wanted));
        tasks.spawn("permits", async move {
            while let Some(Some(shelf)) = stopping.run_until_cancelled(waiting.recv()).await {
                agents.spawn("permit", Agent::new(Arc::clone(&means), shelf).run());
            }
        });
        let counted = Arc::clone(&shelves);
        metrics.watch_gauge("rates", "Keys and projects whose rate counts something", move || {
            i64::try_from(counted.len()).unwrap_or(i64::MAX)
        });
        Arc::new(Self {
            clock,
            shelves,
            fresh,
            reports,
            #[cfg(feature = "mutations")]
            alone,
        })
    }

    /// Takes a permit of every rate that stands on the key's path, for a request that may use what
    /// `reservation` says; `None` if there is none. Waits for the authority where none is here.
    ///
    /// # Errors
    /// [`Denial::RateLimited`], or [`Denial::LimitAuthorityUnavailable`] if nobody answers for the
    /// rate and there is no share to live on.
    pub async fn take(
        &self,
        entry: &Entry,
        reservation: &Reservation,
        now: Timestamp,
    ) -> Result<Option<Permit>, Box<Denied>> {
        let limited = on_path(&entry.org.organisation, &entry.key);
        if limited.iter().all(Option::is_none) {
            return Ok(None);
        }
        let tokens = reservation.input.saturating_add(reservation.output);
        for _ in 0..MAX_ROUNDS {
            let mut permit = Permit { held: [None, None] };
            let mut stopped = None;
            for (held, (account, rate)) in permit.held.iter_mut().zip(limited.iter().flatten()) {
                match self.obtain(entry, (*account, *rate), tokens).await {
                    Ok(part) => *held = Some(Held { part, rate: *rate }),
                    Err(stop) => {
                        stopped = Some((stop, *account, *rate));
                        break;
                    }
                }
            }
            match stopped {
                None if !permit.is_over(self.clock.boot_ms()) => return Ok(Some(permit)),
                None | Some((Stop::Retired, ..)) => {}
                Some((stop, account, rate)) => {
                    return Err(Box::new(self.denied(entry, stop, (account, rate), now)));
                }
            }
        }
        Err(Box::new(entry.denied(Denial::LimitAuthorityUnavailable, now)))
    }

    /// How many requests this gateway may have let pass by its shares.
    #[cfg(feature = "mutations")]
    #[must_use]
    pub fn by_share(&self) -> u64 {
        self.alone.get()
    }

    /// Has an organisation's new authority told what was used in the last minute.
    pub(crate) fn report(&self, org: OrgId) {
        // Without room another recall comes.
        let _ = self.reports.try_send(org);
    }

    async fn obtain(
        &self,
        entry: &Entry,
        (account, rate): Limited,
        tokens: u64,
    ) -> Result<Part, Stop> {
        let (shelf, is_fresh) = self.shelves.at(entry.org_id(), account);
        if is_fresh && self.fresh.try_send(Arc::clone(&shelf)).is_err() {
            // Without an agent nobody would ever be served by it.
            self.shelves.remove(&shelf);
            return Err(Stop::Unreachable);
        }
        let fallback = entry.org.organisation.settings.rate_fallback;
        shelf.see(rate, fallback);
        let tokens = rate.permitted(tokens);
        if let Some(part) = shelf.take(tokens, &*self.clock) {
            return Ok(part);
        }
        if let Some(retry_after_ms) = shelf.closed(tokens, self.clock.boot_ms()) {
            return Err(Stop::Spent { retry_after_ms });
        }
        // Apart, because it needs room, and few requests need it.
        Box::pin(shelf.wait(tokens, rate, fallback)).await
    }

    fn denied(&self, entry: &Entry, stop: Stop, limited: Limited, now: Timestamp) -> Denied {
        let Stop::Spent { retry_after_ms } = stop else {
            return entry.denied(Denial::LimitAuthorityUnavailable, now);
        };
        let (account, rate) = limited;
        let (shelf, _) = self.shelves.at(entry.org_id(), account);
        let left = shelf.left(self.clock.boot_ms());
        let of_requests = rate.requests.is_some() && (left.free.requests == 0);
        let (source, limit, free) = if of_requests || rate.tokens.is_none() {
            (LimitSource::RequestRate(account), rate.requests.map(u64::from), left.free.requests)
        } else {
            (LimitSource::TokenRate(account), rate.tokens, left.free.tokens)
        };
        let signed = |amount: u64| i64::try_from(amount).unwrap_or(i64::MAX);
        let figures = Figures {
            limit: limit.map(signed),
            used: limit.map(|limit| signed(limit.saturating_sub(free))),
            resets_at: Some(now.plus_ms(left.reset_ms)),
            retry_after_ms: Some(retry_after_ms),
            ..Figures::of(source)
        };
        let quotas = Quotas::new([Some(Quota::of(account, rate, left)), None]);
        entry.denied(Denial::RateLimited, now).with_figures(figures).with_quotas(quotas)
    }
}

impl Permit {
    /// The request was admitted, and has ended.
    pub(crate) fn settle(self, settlement: &Settlement) {
        let tokens = settlement.usage.tokens();
        for Held { part, rate } in self.held.into_iter().flatten() {
            part.settle(rate.tokens.is_some(), tokens);
        }
    }

    /// What is left of the rates, for the answer's headers.
    pub(crate) fn quotas(&self, now_ms: u64) -> Quotas {
        let quota = |held: &Held| {
            let shelf = held.part.shelf();
            Quota::of(shelf.account, held.rate, shelf.left(now_ms))
        };
        Quotas::new([self.held[0].as_ref().map(quota), self.held[1].as_ref().map(quota)])
    }

    /// Whether it was over so long ago that nothing may be sent by it: a request that was permitted
    /// in the last moment is still on its way.
    pub(crate) fn has_lapsed(&self, now_ms: u64) -> bool {
        self.is_over(now_ms.saturating_sub(ON_ITS_WAY_MS))
    }

    /// Whether it is over: what is admitted now needs another.
    pub(crate) fn is_over(&self, now_ms: u64) -> bool {
        self.held.iter().flatten().any(|held| held.part.is_over(now_ms))
    }
}

impl PermitMetrics {
    fn new(metrics: &Metrics) -> Self {
        let alone = "Requests permitted by this gateway's share, while nobody answered for a rate";
        Self {
            calls: metrics.counter("permit_calls", "Calls to the authority of rates"),
            failures: metrics.counter("permit_failures", "Calls that were not answered"),
            alone: metrics.counter("permit_shares", alone),
        }
    }
}

/// Permits of a gateway that was never heard of before, on `bus`.
#[cfg(test)]
pub(crate) fn for_test(core: &Arc<Core>, bus: Arc<dyn Bus>, tasks: &Tasks) -> Arc<Permits> {
    Permits::begin(PermitParts::new(core, bus, EpochId(7)), tasks, &Metrics::new())
}
