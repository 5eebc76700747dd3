//! Budgets on the request path: each key with a cap reserves from a lease of its own.
//!
//! What is absent here: a lock on the way of a request whose lease suffices, and a number that two
//! gateways share. Rules are the domain's; the authority's word comes through one agent for each
//! unit of a lease.

mod agent;
mod ceiling;
mod fences;
mod leaf;
mod leaves;
#[cfg(feature = "mutations")]
pub mod mutation;
mod purse;
mod recalls;
mod refusal;
mod runs;
mod size;
mod terms;
#[cfg(test)]
pub(crate) mod tests;

use std::sync::Arc;

use tokio::sync::mpsc;
use turnpike_bus::seam::Bus;
use turnpike_domain::id::{EpochId, GatewayId, OrgId};
use turnpike_domain::limit::Unit;
use turnpike_domain::settle::Reservation;
use turnpike_domain::time::Timestamp;
use turnpike_runtime::clock::SharedClock;
use turnpike_runtime::metrics::{Counter, Metrics};
use turnpike_runtime::tasks::Tasks;

pub(crate) use fences::Fences;
pub use leaf::{Grip, Left};
pub use refusal::Shortage;
pub(crate) use runs::Runs;

use crate::core::{Core, Entry};
#[cfg(test)]
use crate::permit;
use crate::permit::Permits;
use agent::{Agent, Means};
use leaf::Leaf;
use leaves::Leaves;
use purse::Stop;
use terms::Terms;

/// Both units, in the order in which they are reserved.
const UNITS: [Unit; 2] = [Unit::Usd, Unit::Tokens];
/// Leases that wait for their agents: more than one core makes between two turns of the main loop.
const MAX_FRESH: usize = 65_536;
/// Leases that one request tries: the second, if the first ended under its hands.
const MAX_LEASES: usize = 2;

/// The leases of one gateway, shared by its cores.
pub struct Leases {
    clock: SharedClock,
    leaves: Arc<Leaves>,
    fresh: mpsc::Sender<Arc<Leaf>>,
}

/// What the agents of a gateway work with.
pub(crate) struct LeaseParts {
    pub(crate) core: Arc<Core>,
    pub(crate) bus: Arc<dyn Bus>,
    pub(crate) gateway: GatewayId,
    /// The one organisation that it serves; `None`: all.
    pub(crate) org: Option<OrgId>,
    /// The epoch of the first lane, by which the authority tells runs apart.
    pub(crate) run: EpochId,
    /// What earlier runs have left.
    pub(crate) runs: Runs,
    /// Reports what was used of rates, when a recall asks for it.
    pub(crate) permits: Arc<Permits>,
    pub(crate) metrics: LeaseMetrics,
}

/// What is counted of leases.
#[derive(Clone, Debug)]
pub(crate) struct LeaseMetrics {
    words: Counter,
    unanswered: Counter,
}

impl LeaseMetrics {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        let unanswered = "Words on leases that the authority did not answer";
        Self {
            words: metrics.counter("lease_words_said", "Words on leases said to the authority"),
            unanswered: metrics.counter("lease_words_unanswered", unanswered),
        }
    }
}

impl Leases {
    /// Begins without leases; the agents, the recalls and the end of earlier runs are among
    /// `tasks`, whose stop gives everything back.
    pub(crate) fn begin(parts: LeaseParts, tasks: &Tasks, metrics: &Metrics) -> Arc<Self> {
        let LeaseParts { core, bus, gateway, org, run, runs, permits, metrics: counted } = parts;
        let (fresh, mut waiting) = mpsc::channel::<Arc<Leaf>>(MAX_FRESH);
        let (clock, leaves) = (Arc::clone(core.clock()), Arc::new(Leaves::default()));
        let means = Arc::new(Means {
            bus,
            clock: Arc::clone(&clock),
            gateway,
            run,
            leaves: Arc::clone(&leaves),
            core,
            metrics: counted,
            stopping: tasks.stopping(),
        });
        let (agents, stopping) = (tasks.clone(), tasks.stopping());
        tasks.spawn("recalls", recalls::follow(Arc::clone(&means), permits, org));
        tasks.spawn("runs", runs.end(Arc::clone(&means)));
        tasks.spawn("leases", async move {
            while let Some(Some(leaf)) = stopping.run_until_cancelled(waiting.recv()).await {
                for purse in leaf.purses() {
                    let agent = Agent::new(Arc::clone(&means), &leaf, Arc::clone(purse));
                    agents.spawn("lease", agent.run());
                }
            }
        });
        let counted = Arc::clone(&leaves);
        metrics.watch_gauge("leases", "Keys that have a lease", move || {
            i64::try_from(counted.len()).unwrap_or(i64::MAX)
        });
        Arc::new(Self { clock, leaves, fresh })
    }

    /// Reserves what a request may use on every budget of its path; `None` if none has a cap. Waits
    /// for the authority where the lease does not suffice.
    ///
    /// # Errors
    /// A [`Shortage`], which says what would fit if that is known.
    pub async fn reserve(
        &self,
        entry: &Entry,
        reservation: &Reservation,
        now: Timestamp,
    ) -> Result<Option<Grip>, Box<Shortage>> {
        let closed = |denied: Box<_>| Box::new(Shortage { denied: *denied, fits: None });
        refusal::open(entry, now).map_err(closed)?;
        let amounts = UNITS.map(|unit| reservation.amount(unit));
        let counts = |terms: &Terms| {
            UNITS
                .into_iter()
                .zip(amounts)
                .any(|(unit, amount)| terms.shape.is_capped(unit) && amount > 0)
        };
        // What costs nothing needs no grant.
        let Some(terms) = Terms::of(entry).filter(counts) else { return Ok(None) };
        let mut why = Stop::Unreachable;
        for _ in 0..MAX_LEASES {
            let now_ms = self.clock.boot_ms();
            let leaf = self.leaf(&terms, now, now_ms);
            leaf.see(&terms.caps);
            if let Some(grip) = leaf.reserve(amounts, now_ms) {
                return Ok(Some(grip));
            }
            // Apart, because it needs room, and few requests need it.
            match Box::pin(leaf.obtain(amounts, &*self.clock)).await {
                Ok(grip) => return Ok(Some(grip)),
                Err(Stop::Moved) => why = Stop::Moved,
                Err(stop) => {
                    why = stop;
                    break;
                }
            }
        }
        Err(Box::new(refusal::shortage(entry, why, now)))
    }

    /// What is left of the budgets on a key's path, in USD and in tokens; `None` where no cap of
    /// the unit stands. Asks the authority.
    pub async fn look(&self, entry: &Entry, now: Timestamp) -> [Option<Left>; 2] {
        let Some(terms) = Terms::of(entry) else { return [None; 2] };
        let leaf = self.leaf(&terms, now, self.clock.boot_ms());
        leaf.look(&*self.clock).await
    }

    fn leaf(&self, terms: &Terms, now: Timestamp, now_ms: u64) -> Arc<Leaf> {
        let (leaf, is_fresh) = self.leaves.at(terms, now, now_ms);
        if is_fresh && self.fresh.try_send(Arc::clone(&leaf)).is_err() {
            // Without agents nobody would ever be served by it.
            self.leaves.remove(&leaf);
            leaf.retire();
        }
        leaf
    }
}

/// The leases of a test's gateway.
#[cfg(test)]
pub(crate) fn for_test(core: &Arc<Core>, bus: Arc<dyn Bus>, tasks: &Tasks) -> Arc<Leases> {
    let metrics = Metrics::new();
    let parts = LeaseParts {
        core: Arc::clone(core),
        bus: Arc::clone(&bus),
        gateway: core.gateway(),
        org: None,
        run: EpochId(7),
        runs: Runs::of(&[], false),
        permits: permit::for_test(core, Arc::clone(&bus), tasks),
        metrics: LeaseMetrics::new(&metrics),
    };
    Leases::begin(parts, tasks, &metrics)
}
