//! Keeps every key of this gateway's organisations in memory, in step with the control plane.

mod aside;
mod beats;
mod disk;
mod doubts;
mod feeds;
mod fetches;
mod lost;
mod proof;
mod saving;
mod signers;
mod steps;
pub(crate) mod world;

use std::collections::VecDeque;
use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio_util::sync::CancellationToken;
use turnpike_bus::seam::{BoxFuture, Bus, Message, ReadError};
use turnpike_domain::id::OrgId;
use turnpike_runtime::clock::SharedClock;
use turnpike_runtime::entropy;
use turnpike_runtime::metrics::{Counter, Metrics};
use turnpike_runtime::probes::Probes;
use turnpike_wire::sign::Signers;
use turnpike_wire::snapshot::Snapshot;

use crate::audit::Audit;
use crate::core::Core;
use crate::receipts::Receipts;
use crate::upstairs::{Heads, Joined, Upstairs, UpstairsError};
use beats::Beats;
use feeds::Feeds;
use fetches::Fetches;
use saving::Saver;
use world::World;

pub(crate) use disk::{Disk, Loaded, load, remembered};
pub(crate) use fetches::backoff_ms;

/// How often retries, lost events and staleness are looked at.
const TICK_MS: u64 = 100;
/// The wait before lost feeds are opened again, and as much jitter on top of it: all gateways lose
/// them at once.
const REOPEN_MS: u64 = 500;
/// Within how long after a heartbeat what has failed is tried again: all gateways hear it at once.
const HURRY_MS: u64 = 500;
/// Lost streams beyond which all are fetched with one call.
const MANY_LOST: usize = 256;
/// Messages taken in one go before anything else is looked at.
const MAX_IN_A_ROW: usize = 1_024;
/// Idle organisations that are told of in one second; the others follow in the next.
const RECEIPTS_A_BEAT: usize = 1_000;

/// What the mirror is made of.
pub(crate) struct MirrorParts {
    pub(crate) core: Arc<Core>,
    pub(crate) world: World,
    pub(crate) upstairs: Arc<dyn Upstairs>,
    pub(crate) joined: Joined,
    pub(crate) bus: Arc<dyn Bus>,
    pub(crate) clock: SharedClock,
    pub(crate) disk: Disk,
    pub(crate) audit: Audit,
    pub(crate) receipts: Receipts,
    pub(crate) probes: Probes,
    pub(crate) metrics: MirrorMetrics,
}

/// What is counted of the mirror.
#[derive(Clone, Debug)]
pub(crate) struct MirrorMetrics {
    pub(crate) applied: Counter,
    pub(crate) gaps: Counter,
    pub(crate) alarms: Counter,
    pub(crate) fetched: Counter,
    pub(crate) lost: Counter,
}

impl MirrorMetrics {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        Self {
            applied: metrics.counter("mirror_events", "Events applied by the mirror"),
            gaps: metrics.counter("mirror_gaps", "Streams that had to be fetched again"),
            alarms: metrics.counter(
                "mirror_alarms",
                "Events, heartbeats and snapshots that could not be read or were forged",
            ),
            fetched: metrics.counter("mirror_fetched", "Streams fetched from the control plane"),
            lost: metrics.counter(
                "mirror_changes_lost",
                "Changes of keys that were applied and that the control plane no longer knows",
            ),
        }
    }
}

/// The one task that writes the tables.
pub(crate) struct Mirror {
    parts: MirrorParts,
    beats: Beats,
    fetches: Fetches,
    answers: FuturesUnordered<BoxFuture<'static, Answer>>,
    /// All streams are being fetched, or must be, after this many failures.
    everything: Everything,
    /// What comes then replaces what is known, whatever its age.
    begins_again: bool,
    heads: Asking,
    signers: signers::Asking,
    /// A heartbeat has matched since the feeds were opened.
    matched: bool,
    /// What was last said of its health.
    stale: bool,
    ready: bool,
    saver: Saver,
    never_saved_fresh: bool,
    /// Organisations that are told of next.
    told_next: VecDeque<OrgId>,
}

/// What the control plane answered to the mirror.
enum Answer {
    Everything(Result<Vec<Snapshot>, UpstairsError>),
    Stream(OrgId, Result<Vec<Snapshot>, UpstairsError>),
    Heads(u64, Result<Heads, UpstairsError>),
    Signers(Result<Signers, UpstairsError>),
}

/// When the heads are asked for.
#[derive(Clone, Copy, Debug, Default)]
struct Asking {
    running: bool,
    failures: u32,
    /// Not before this steady time.
    at_ms: u64,
}

/// Whether all streams are to be fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Everything {
    Known,
    Wanted { at_ms: u64, failures: u32 },
    Running { failures: u32 },
}

impl Mirror {
    pub(crate) fn new(parts: MirrorParts) -> Self {
        let saver = Saver::new(parts.clock.boot_ms());
        let everything = match parts.world.incarnation() {
            Some(_) => Everything::Known,
            None => Everything::Wanted { at_ms: 0, failures: 0 },
        };
        Self {
            parts,
            beats: Beats::default(),
            fetches: Fetches::default(),
            answers: FuturesUnordered::new(),
            everything,
            begins_again: false,
            heads: Asking::default(),
            signers: signers::Asking::default(),
            matched: false,
            stale: true,
            ready: false,
            saver,
            never_saved_fresh: true,
            told_next: VecDeque::new(),
        }
    }

    /// Follows the control plane until `stop`.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = self.follow() => {}
            }
        }
        self.save_all().await;
    }

    /// Opens the feeds and follows them until they are lost.
    async fn follow(&mut self) {
        let (bus, clock) = (Arc::clone(&self.parts.bus), Arc::clone(&self.parts.clock));
        let pause = || clock.sleep(REOPEN_MS + entropy::jitter_ms(REOPEN_MS));
        let mut feeds = match self.meanwhile(Feeds::open(&*bus, self.parts.joined.org)).await {
            Ok(feeds) => feeds,
            Err(error) => {
                tracing::warn!(%error, "the bus cannot be read");
                return self.meanwhile(pause()).await;
            }
        };
        // What was published before the feeds stood may be missing.
        self.beats.mistrust();
        self.matched = false;
        self.parts.core.set_in_step(false);
        loop {
            self.tick();
            // Before the first snapshot events mean nothing: the feeds keep them.
            let empty = self.parts.world.incarnation().is_none();
            tokio::select! {
                biased;
                Some(answer) = self.answers.next() => self.answered(answer),
                message = feeds.next(), if !empty => {
                    if let Err(error) = self.read(message, &mut feeds) {
                        tracing::warn!(%error, "the feeds are lost");
                        return self.meanwhile(pause()).await;
                    }
                }
                written = self.saver.written() => self.has_saved(written),
                () = clock.sleep(TICK_MS) => {}
            }
            if self.saver.is_due(clock.boot_ms()) {
                self.save();
            }
        }
    }

    /// Goes on with all that needs no feeds until `work` is done: what the disk knew is served
    /// before the bus answers, and grows old while it does not.
    async fn meanwhile<T>(&mut self, work: impl Future<Output = T>) -> T {
        let clock = Arc::clone(&self.parts.clock);
        let mut work = std::pin::pin!(work);
        loop {
            self.tick();
            tokio::select! {
                biased;
                done = &mut work => return done,
                Some(answer) = self.answers.next() => self.answered(answer),
                () = clock.sleep(TICK_MS) => {}
            }
        }
    }

    /// Takes a message and those that are here already.
    fn read(
        &mut self,
        first: Result<Message, ReadError>,
        feeds: &mut Feeds,
    ) -> Result<(), ReadError> {
        let mut next = Some(first);
        for _ in 0..MAX_IN_A_ROW {
            match next {
                Some(Ok(message)) => self.message(&message),
                Some(Err(ReadError::Trimmed)) => self.beats.mistrust(),
                Some(Err(lost)) => return Err(lost),
                None => break,
            }
            next = feeds.ready();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
