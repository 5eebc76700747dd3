//! The mirror's time, and up to when the mirror is known to be complete.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use turnpike_domain::time::Timestamp;
use turnpike_runtime::clock::Clock;

/// Without a heartbeat for so long a gateway calls itself stale: five beats were missed.
pub(crate) const STALE_AFTER_MS: u64 = 5_000;

/// Read by every request, written by the mirror.
pub(crate) struct Freshness {
    /// The mirror's time minus boot time, in one number so that both are read at once.
    offset_ms: AtomicU64,
    /// The mirror's time up to which everything is known; 0: nothing is.
    fresh_at: AtomicU64,
    /// A heartbeat has matched the mirror, the feeds have stood since, and no stream lacks events.
    in_step: AtomicBool,
}

impl Freshness {
    /// Until the first heartbeat, the machine's own day must do.
    pub(crate) fn new(clock: &dyn Clock) -> Self {
        let freshness = Self {
            offset_ms: AtomicU64::new(0),
            fresh_at: AtomicU64::new(0),
            in_step: AtomicBool::new(false),
        };
        freshness.set_now(clock, clock.now());
        freshness
    }

    pub(crate) fn now(&self, clock: &dyn Clock) -> Timestamp {
        let offset_ms = self.offset_ms.load(Ordering::Relaxed);
        Timestamp(clock.boot_ms().wrapping_add(offset_ms))
    }

    pub(crate) fn set_now(&self, clock: &dyn Clock, now: Timestamp) {
        // Boot time may be ahead of a day that nobody has set: the offset wraps both ways.
        self.offset_ms.store(now.0.wrapping_sub(clock.boot_ms()), Ordering::Relaxed);
    }

    pub(crate) fn fresh_at(&self) -> Timestamp {
        Timestamp(self.fresh_at.load(Ordering::Relaxed))
    }

    pub(crate) fn set_fresh_at(&self, at: Timestamp) {
        self.fresh_at.store(at.0, Ordering::Relaxed);
    }

    pub(crate) fn set_in_step(&self, in_step: bool) {
        self.in_step.store(in_step, Ordering::Relaxed);
    }

    /// Whether something may have been made of which nothing is known here.
    pub(crate) fn may_miss(&self, now: Timestamp) -> bool {
        !self.in_step.load(Ordering::Relaxed) || self.is_stale(now)
    }

    pub(crate) fn is_stale(&self, now: Timestamp) -> bool {
        now.since(self.fresh_at()) > STALE_AFTER_MS
    }
}
