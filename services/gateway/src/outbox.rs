//! Sends a lane's records to the projector until it says that it has booked them.

mod marks;
#[cfg(test)]
mod tests;

use std::io;
use std::rc::Rc;
use std::sync::Arc;

use futures_util::{StreamExt as _, stream};
use tokio_util::sync::CancellationToken;
use turnpike_bus::seam::{Bus, Publish, Topic};
use turnpike_domain::id::{EpochId, GatewayId, OrgId};
use turnpike_runtime::clock::{SharedClock, deadline};
use turnpike_runtime::metrics::{Counter, Metrics};
use turnpike_wire::spend;

use crate::board::Board;
use crate::core::Core;
use crate::lane::{Epoch, Lane, Room, TallyMetrics, Waiting};
use marks::Marks;

/// Records of one message at most, and how long the first waits for the others: a message a record
/// would cost more than the record.
const MESSAGE_RECORDS: usize = spend::MAX_RECORDS;
const GATHER_MS: u64 = 5;
/// Messages on their way at a time, so that one slow acknowledgement does not hold up the rest.
const IN_FLIGHT: usize = 64;
/// Without progress for so long, records are sent again.
const PATIENCE_MS: u64 = 2_000;
/// How long publishing may take before it counts as failed; what was lost is sent again.
const PUBLISH_MS: u64 = 2_000;
/// How often progress is looked at when nothing happens, and how often the lane tells of itself:
/// a summary walks over all organisations and open requests of the lane.
const TICK_MS: u64 = 250;
/// How long a shutdown waits for its last records to be booked. They stay in the spool anyway.
const FINISH_MS: u64 = 5_000;

/// Where an outbox sends, and as whom.
#[derive(Clone)]
pub struct Route {
    /// Carries the messages.
    pub bus: Arc<dyn Bus>,
    /// This gateway.
    pub gateway: GatewayId,
    /// The one organisation that it serves; `None`: all.
    pub org: Option<OrgId>,
}

/// Where a lane tells of itself, and by which time.
pub struct Teller {
    /// What all lanes have told.
    pub board: Board,
    /// Has the mirror's time.
    pub core: Arc<Core>,
    /// The lane's number, from 0.
    pub lane: usize,
}

/// What is counted of all outboxes of the process.
#[derive(Clone, Debug)]
pub struct OutboxMetrics {
    messages: Counter,
    failures: Counter,
    resent: Counter,
    spool_failures: Counter,
    tally: TallyMetrics,
}

/// The outbox of one lane. The first lane's also sends what earlier runs have left.
pub struct Outbox {
    lane: Rc<Lane>,
    older: Vec<Epoch>,
    room: Room,
    route: Route,
    clock: SharedClock,
    marks: Marks,
    metrics: OutboxMetrics,
    teller: Teller,
    /// Steady time of the next summary.
    tell_ms: u64,
}

impl OutboxMetrics {
    /// Registers the counters.
    #[must_use]
    pub fn new(metrics: &Metrics) -> Self {
        Self {
            messages: metrics.counter("spend_messages", "Messages of spend records published"),
            failures: metrics.counter("spend_failures", "Messages that the bus did not take"),
            resent: metrics
                .counter("spend_resent", "Records sent again: lost, or not booked in time"),
            spool_failures: metrics.counter("spool_failures", "Failed writes of the spool"),
            tally: TallyMetrics::new(metrics),
        }
    }
}

impl Outbox {
    /// An outbox that sends nothing yet.
    #[must_use]
    pub fn new(
        lane: Rc<Lane>,
        room: Room,
        route: Route,
        clock: SharedClock,
        metrics: OutboxMetrics,
        teller: Teller,
    ) -> Self {
        let marks = Marks::new(route.clone(), Arc::clone(&clock));
        let older = Vec::new();
        Self { lane, older, room, route, clock, marks, metrics, teller, tell_ms: 0 }
    }

    /// Also sends the epochs that stand in the spool from earlier runs: `take_over` of its folder.
    #[must_use]
    pub(crate) fn with_older(mut self, older: Vec<Epoch>) -> Self {
        self.older = older;
        self.count_older();
        self
    }

    /// Sends until `stop`, then ends the epoch and waits a while for the last records to be booked.
    pub async fn run(mut self, stop: CancellationToken) {
        self.send().await;
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = self.step() => {}
            }
        }
        self.finish().await;
    }

    /// Waits for something to do, and does it. Dropping it loses nothing that is not sent again.
    async fn step(&mut self) {
        tokio::select! {
            biased;
            mark = self.marks.next() => self.booked(&mark),
            () = self.lane.records() => self.gather().await,
            () = self.clock.sleep(TICK_MS) => {}
        }
        while let Some(mark) = self.marks.ready() {
            self.booked(&mark);
        }
        self.send().await;
    }

    /// Lets more records come, until they fill a message.
    async fn gather(&self) {
        let full = async {
            while !self.lane.with_epoch(|epoch| epoch.has_full_message(MESSAGE_RECORDS)) {
                self.lane.full_message().await;
            }
        };
        deadline(&*self.clock, GATHER_MS, full).await;
    }

    async fn send(&mut self) {
        self.lane.turn_second();
        let now_ms = self.clock.boot_ms();
        let metrics = self.metrics.clone();
        let prepare = |epoch: &mut Epoch| {
            if let Err(error) = epoch.tidy() {
                metrics.spool_failures.inc();
                tracing::error!(%error, "the spool cannot be written");
            }
            metrics.resent.inc_by(epoch.rewind(now_ms, PATIENCE_MS));
            let id = epoch.id();
            epoch.take_waiting(MESSAGE_RECORDS, now_ms).into_iter().map(move |one| (id, one))
        };
        let mut waiting: Vec<(EpochId, Waiting)> = Vec::new();
        for epoch in &mut self.older {
            waiting.extend(prepare(epoch));
        }
        waiting.extend(self.lane.with_epoch(prepare));
        self.tell(now_ms);
        if !waiting.is_empty() {
            self.publish(waiting).await;
        }
    }

    /// Tells of the lane, on its own thread and never while a request waits for it.
    fn tell(&mut self, now_ms: u64) {
        if now_ms < self.tell_ms {
            return;
        }
        self.lane.tally.pour(&self.metrics.tally);
        if let Some(summary) = self.lane.summary(self.teller.core.now(), &self.older) {
            self.teller.board.tell(self.teller.lane, summary);
            self.tell_ms = now_ms.saturating_add(TICK_MS);
        }
    }

    async fn publish(&self, waiting: Vec<(EpochId, Waiting)>) {
        let publications = stream::iter(waiting).map(|(epoch, one)| {
            let topic = Topic::Spend { org: one.org, gateway: self.route.gateway };
            let payload = spend::batch(epoch, one.first, &one.records, one.end).into();
            // No id: a bus that remembers ids would drop what is sent again.
            let message = Publish { topic, id: String::new(), headers: Vec::new(), payload };
            self.route.bus.publish(message)
        });
        let all = publications.buffer_unordered(IN_FLIGHT).for_each(async |result| {
            self.metrics.messages.inc();
            if let Err(error) = result {
                self.metrics.failures.inc();
                tracing::debug!(%error, "spend records were not taken; they will be sent again");
            }
        });
        if deadline(&*self.clock, PUBLISH_MS, all).await.is_none() {
            self.metrics.failures.inc();
        }
    }

    fn booked(&mut self, (org, mark): &(OrgId, spend::Booked)) {
        let now_ms = self.clock.boot_ms();
        let book = |epoch: &mut Epoch| {
            epoch.booked(*org, mark.number, mark.ended, now_ms);
            if mark.gap {
                epoch.gap(*org);
            }
        };
        if self.lane.epoch_id() == mark.epoch {
            self.lane.with_epoch(book);
            return;
        }
        let Some(place) = self.older.iter().position(|epoch| epoch.id() == mark.epoch) else {
            return;
        };
        book(&mut self.older[place]);
        if self.older[place].is_over() {
            let mut epoch = self.older.swap_remove(place);
            tracing::info!(epoch = %epoch.id(), "an earlier epoch is booked to its end");
            warn_if_left(epoch.remove());
        }
        self.count_older();
    }

    fn count_older(&self) {
        self.room.set_older_bytes(self.older.iter().map(Epoch::used_bytes).sum());
    }

    async fn finish(&mut self) {
        self.lane.end_second();
        if self.lane.open_requests() > 0 {
            tracing::warn!("requests are still open: the next start will end this epoch");
            warn_if_left(self.lane.with_epoch(Epoch::flush));
            return;
        }
        warn_if_left(self.lane.with_epoch(Epoch::end));
        let clock = Arc::clone(&self.clock);
        let booked = async {
            self.send().await;
            while !(self.older.is_empty() && self.lane.with_epoch(|epoch| epoch.is_over())) {
                self.step().await;
            }
        };
        if deadline(&*clock, FINISH_MS, booked).await.is_some() {
            warn_if_left(self.lane.with_epoch(Epoch::remove));
        } else {
            let left = self.lane.with_epoch(|epoch| epoch.unbooked());
            tracing::info!(left, "records are not booked yet: the next start sends them again");
        }
    }
}

fn warn_if_left(result: io::Result<()>) {
    if let Err(error) = result {
        tracing::warn!(%error, "spool files could not be written or deleted");
    }
}
