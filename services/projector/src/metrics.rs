//! What is counted of all shards.

use turnpike_runtime::metrics::{Counter, Gauge, Metrics};
use turnpike_store::booking::Booked;

/// The projector's counters.
#[derive(Clone, Debug)]
pub(crate) struct BookingMetrics {
    booked: Counter,
    gaps: Counter,
    aside: Counter,
    /// Messages of which not even the numbers could be read.
    pub(crate) unreadable: Counter,
    /// Messages for shards that this process does not own.
    pub(crate) unowned: Counter,
    /// Bookings that the store failed; their records are sent again.
    pub(crate) failures: Counter,
    /// Publications that the bus did not take.
    pub(crate) unpublished: Counter,
    /// Shards that this process owns.
    pub(crate) shards: Gauge,
    /// Milliseconds from a request's admission to its booking, of the last one booked.
    pub(crate) lag_ms: Gauge,
}

impl BookingMetrics {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        let counter = |name: &str, help: &str| metrics.counter(name, help);
        Self {
            booked: counter("booked_records", "Spend records booked"),
            gaps: counter("booking_gaps", "Deliveries before which records are missing"),
            aside: counter("booking_aside", "Spend records that were put aside unread"),
            unreadable: counter("booking_unreadable", "Spend messages that were dropped unread"),
            unowned: counter("booking_unowned", "Spend messages for shards of others"),
            failures: counter("booking_failures", "Bookings that the store failed"),
            unpublished: counter("booking_unpublished", "Marks and settled spend not published"),
            shards: metrics.gauge("booking_shards", "Shards owned by this process"),
            lag_ms: metrics.gauge("booking_lag_ms", "Milliseconds from admission to booking"),
        }
    }

    pub(crate) fn answered(&self, answers: &[Booked]) {
        for answer in answers {
            self.booked.inc_by(u64::try_from(answer.fresh).unwrap_or(u64::MAX));
            self.gaps.inc_by(u64::from(answer.gap));
            if answer.aside > 0 {
                self.aside.inc_by(u64::try_from(answer.aside).unwrap_or(u64::MAX));
                let Booked { org, gateway, epoch, aside, .. } = answer;
                tracing::error!(%org, %gateway, %epoch, aside, "spend records were put aside");
            }
        }
    }
}
