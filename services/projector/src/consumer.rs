//! The consumer: reads the spend of all gateways and gives each message to its shard.
//!
//! Nothing is acknowledged and no place is kept: what is read twice is a duplicate by its number,
//! and what was never read is sent again by its gateway. So it begins with the oldest message that
//! the bus holds (a gateway that died for good cannot send again) and takes no notice of trimming.

use std::sync::Arc;

use turnpike_bus::seam::{Bus, Feed, Message, ReadError, Reader, Start, Topic};
use turnpike_runtime::clock::SharedClock;
use turnpike_runtime::probes::Probes;
use turnpike_store::booking::Delivery;
use turnpike_wire::spend;

use crate::inbox::Inboxes;
use crate::metrics::BookingMetrics;

/// How long a lost reader rests before it is opened again.
const REOPEN_MS: u64 = 500;

/// Reads `Feed::Spend`.
pub(crate) struct Consumer {
    pub(crate) bus: Arc<dyn Bus>,
    pub(crate) clock: SharedClock,
    pub(crate) inboxes: Arc<Inboxes>,
    pub(crate) metrics: BookingMetrics,
    pub(crate) probes: Probes,
}

impl Consumer {
    /// Reads for ever.
    pub(crate) async fn run(self) {
        // What arrives before the first shard is owned could only be dropped.
        self.inboxes.any_open().await;
        let mut start = Start::Oldest;
        loop {
            match self.bus.read(Feed::Spend(None), start).await {
                Ok(reader) => {
                    self.probes.set_ready(true, "booking");
                    let last = self.follow(reader).await;
                    start = last.map_or(start, Start::After);
                    self.probes.set_ready(false, "the bus was lost");
                }
                Err(error) => tracing::warn!(%error, "spend cannot be read"),
            }
            self.clock.sleep(REOPEN_MS).await;
        }
    }

    /// Reads until the reader is lost; answers the place of the last message.
    async fn follow(&self, mut reader: Box<dyn Reader>) -> Option<u64> {
        let mut last = None;
        loop {
            match reader.next().await {
                Ok(message) => {
                    last = Some(message.place);
                    self.take(message).await;
                }
                Err(ReadError::Trimmed) => tracing::info!("the bus has trimmed spend messages"),
                Err(error @ ReadError::Unavailable(_)) => {
                    tracing::warn!(%error, "the reader of spend was lost");
                    return last;
                }
            }
        }
    }

    async fn take(&self, message: Message) {
        // Whose spend it is says the subject, which the bus enforces, and nothing in the message.
        let Topic::Spend { org, gateway } = message.topic else { return };
        let bytes = message.payload.len();
        match spend::read_batch(&message.payload) {
            Ok(batch) => {
                let delivery = Delivery { org, gateway, batch, published: 0 };
                if !self.inboxes.put(delivery, bytes).await {
                    self.metrics.unowned.inc();
                }
            }
            Err(error) => {
                self.metrics.unreadable.inc();
                tracing::error!(%org, %gateway, %error, "a spend message cannot be read");
            }
        }
    }
}
