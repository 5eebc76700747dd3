//! The consumer: reads the spend of all gateways and gives each message to its shard.
//!
//! Nothing is acknowledged and no place is stored: what is read twice is a duplicate by its number,
//! and what was never read is sent again by its gateway. But a gateway that died for good cannot
//! send again, and what the bus holds may be the last copy: so a shard, whenever it is won, reads
//! from the oldest message on. Trimming is of no interest.

use std::sync::Arc;

use turnpike_bus::seam::{Bus, Feed, Message, ReadError, Reader, Start, Topic};
use turnpike_runtime::clock::SharedClock;
use turnpike_runtime::probes::Probes;
use turnpike_store::booking::Delivery;
use turnpike_wire::spend;

use crate::inbox::{Inboxes, Wanted};
use crate::metrics::BookingMetrics;
use crate::presence::Presence;

/// How long a lost reader rests before it is opened again.
const REOPEN_MS: u64 = 500;
/// How long a shard that was won waits for others before all is read from the oldest message: a
/// projector wins its shards within moments, and one pass serves them all.
const GATHER_MS: u64 = 500;

/// Reads `Feed::Spend`.
pub(crate) struct Consumer {
    pub(crate) bus: Arc<dyn Bus>,
    pub(crate) clock: SharedClock,
    pub(crate) inboxes: Arc<Inboxes>,
    pub(crate) presence: Arc<Presence>,
    pub(crate) metrics: BookingMetrics,
    pub(crate) probes: Probes,
}

impl Consumer {
    /// Reads for ever.
    pub(crate) async fn run(self) {
        self.probes.set_ready(false, "waiting for the store and a shard of it");
        // What arrives before the first shard is owned would only be passed by.
        self.inboxes.opened_after(0).await;
        let (mut served, mut last, mut won) = (0, None, false);
        loop {
            let opened = self.inboxes.opened();
            if opened > served {
                last = None;
            }
            if last.is_none() && !won {
                // The bus was away: its places may have begun again, and nothing would show it.
                self.inboxes.forget_places();
            }
            won = false;
            if last.is_none() {
                self.inboxes.begin();
            }
            let start = last.map_or(Start::Oldest, Start::After);
            match self.bus.read(Feed::Spend(None), start).await {
                Ok(reader) => {
                    served = opened;
                    self.probes.set_ready(true, "booking");
                    won = self.follow(reader, served, &mut last).await;
                    if won {
                        last = None;
                        continue;
                    }
                    self.probes.set_ready(false, "the bus was lost");
                }
                Err(error) => {
                    self.probes.set_ready(false, "waiting for NATS");
                    tracing::warn!(%error, "spend cannot be read");
                }
            }
            // Of all that listens, a reader of what is kept is the one that learns of an outage.
            self.presence.was_deaf();
            self.clock.sleep(REOPEN_MS).await;
        }
    }

    /// Reads behind the place `last` until the reader is lost; true: until a shard is won that may
    /// lack what was passed by, one beyond the first `served` that were ever won.
    async fn follow(
        &self,
        mut reader: Box<dyn Reader>,
        served: u64,
        last: &mut Option<u64>,
    ) -> bool {
        let won = async {
            self.inboxes.opened_after(served).await;
            self.clock.sleep(GATHER_MS).await;
        };
        tokio::pin!(won);
        loop {
            let message = tokio::select! {
                biased;
                () = &mut won => return true,
                message = reader.next() => message,
            };
            match message {
                Ok(message) => {
                    if last.is_some_and(|last| message.place <= last) {
                        tracing::warn!("the bus has begun again");
                        self.inboxes.forget_places();
                    }
                    *last = Some(message.place);
                    self.take(message).await;
                }
                Err(ReadError::Trimmed) => tracing::info!("the bus has trimmed spend messages"),
                Err(error @ ReadError::Unavailable(_)) => {
                    tracing::warn!(%error, "the reader of spend was lost");
                    return false;
                }
            }
        }
    }

    async fn take(&self, message: Message) {
        // Whose spend it is says the subject, which the bus enforces, and nothing in the message.
        let Topic::Spend { org, gateway } = message.topic else { return };
        self.presence.hear(org, gateway);
        match self.inboxes.wants(org, message.place) {
            Wanted::New => {}
            Wanted::Known => return,
            Wanted::Unowned => {
                self.metrics.unowned.inc();
                return;
            }
        }
        let bytes = message.payload.len();
        match spend::read_batch(&message.payload) {
            Ok(batch) => {
                let delivery = Delivery { org, gateway, batch, published: 0 };
                self.inboxes.put(delivery, bytes, message.place).await;
            }
            Err(error) => {
                self.metrics.unreadable.inc();
                tracing::error!(%org, %gateway, %error, "a spend message cannot be read");
            }
        }
    }
}
