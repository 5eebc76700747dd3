//! Running a projector: its parts started in order, and stopped in order.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use turnpike_bus::seam::Bus;
use turnpike_domain::id::OrgId;
use turnpike_runtime::clock::SharedClock;
use turnpike_runtime::metrics::Metrics;
use turnpike_runtime::probes::Probes;
use turnpike_runtime::tasks::Tasks;
use turnpike_store::booking::{SHARDS, shard_of};
use turnpike_store::execute::Executor;
use turnpike_store::kv::Kv;
use turnpike_store::streams::Streams;

use crate::config::ProjectorOptions;
use crate::consumer::Consumer;
use crate::ears::Ears;
use crate::inbox::Inboxes;
use crate::metrics::{AuthorityMetrics, BookingMetrics};
use crate::presence::Presence;
use crate::shard::{self, Office};
use crate::shares::Shares;
use crate::terms::Terms;
use crate::{news, retention};

/// What a projector is made of; chosen in `main`.
pub struct Parts {
    /// The store.
    pub kv: Arc<dyn Kv>,
    /// The bus.
    pub bus: Arc<dyn Bus>,
    /// The time.
    pub clock: SharedClock,
    /// The options, checked. Store, bus and admin port are not opened here.
    pub options: ProjectorOptions,
    /// Where its metrics are registered.
    pub metrics: Metrics,
}

/// A projector at work.
pub struct Running {
    /// Ready while spend is read and a shard is owned, or was.
    pub probes: Probes,
    clock: SharedClock,
    drain_ms: u64,
    tasks: Tasks,
    inboxes: Arc<Inboxes>,
}

/// Starts a projector on the current runtime. It takes its share of the shards: all of them, if it
/// is the only one.
#[must_use]
pub fn run(parts: Parts) -> Running {
    let Parts { kv, bus, clock, options, metrics } = parts;
    let (probes, tasks) = (Probes::new(metrics.clone()), Tasks::new("projector"));
    let (booking, authority) = (BookingMetrics::new(&metrics), AuthorityMetrics::new(&metrics));
    let inboxes = Arc::new(Inboxes::new(booking.shards.clone(), authority.dropped.clone()));
    let terms = Arc::new(Terms::new(clock.clone()));
    let shares = Arc::new(Shares::new());
    let presence = Arc::new(Presence::new(clock.clone()));
    let streams = Arc::new(Streams::new(Arc::clone(&kv)));
    let office = Arc::new(Office {
        executor: Executor::new(Arc::clone(&streams), clock.clone()),
        streams,
        bus: Arc::clone(&bus),
        clock: clock.clone(),
        inboxes: Arc::clone(&inboxes),
        presence: Arc::clone(&presence),
        terms: Arc::clone(&terms),
        shares: Arc::clone(&shares),
        booking: booking.clone(),
        authority: authority.clone(),
        lose_after_ms: options.lose_after_ms,
    });
    let stop = tasks.stopping();
    for number in 0..SHARDS {
        tasks.spawn("shard", shard::run(Arc::clone(&office), number, stop.clone()));
    }
    let ears = Arc::new(Ears {
        bus: Arc::clone(&bus),
        clock: clock.clone(),
        inboxes: Arc::clone(&inboxes),
        presence: Arc::clone(&presence),
        metrics: authority,
    });
    let (calls, questions) = (Arc::clone(&ears), Arc::clone(&ears));
    tasks.spawn("calls", until(stop.clone(), async move { calls.take_calls().await }));
    tasks.spawn("questions", until(stop.clone(), async move { questions.take_questions().await }));
    tasks.spawn("receipts", until(stop.clone(), async move { ears.take_receipts().await }));
    let news = news::run(Arc::clone(&kv), clock.clone(), Arc::clone(&inboxes));
    tasks.spawn("news", until(stop.clone(), news));
    let consumer = Consumer {
        bus,
        clock: clock.clone(),
        inboxes: Arc::clone(&inboxes),
        presence,
        metrics: booking,
        probes: probes.clone(),
    };
    tasks.spawn("consumer", until(stop.clone(), consumer.run()));
    let dividing = (Arc::clone(&kv), clock.clone(), Arc::clone(&terms), stop.clone());
    tasks.spawn("shares", async move {
        let (kv, clock, terms, stop) = dividing;
        shares.keep(kv, clock, terms, stop).await;
    });
    tasks.spawn("terms", until(stop.clone(), async move { terms.keep().await }));
    tasks.spawn("retention", until(stop, retention::run(kv, clock.clone(), options.keep)));
    Running { probes, clock, drain_ms: options.drain_ms, tasks, inboxes }
}

impl Running {
    /// Completes once this process answers for the budgets and rates of an organisation.
    pub async fn answers_for(&self, org: OrgId) {
        self.inboxes.is_open(shard_of(org)).await;
    }

    /// Books what has arrived, gives its shards up and stops, within the configured time.
    pub async fn stop(self) {
        self.probes.leave("stopping");
        if !self.tasks.drain(&*self.clock, self.drain_ms).await {
            tracing::warn!("not all that had arrived was booked; it will be sent again");
        }
    }

    /// Drops everything at once, as a crash does: for simulations.
    pub fn abort(self) {
        self.tasks.abort();
    }
}

async fn until(stop: CancellationToken, work: impl Future<Output = ()>) {
    stop.run_until_cancelled(work).await;
}
