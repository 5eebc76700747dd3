//! The mirror's time, and up to when the mirror is known to be complete.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use turnpike_domain::time::Timestamp;
use turnpike_runtime::clock::Clock;

/// Without a heartbeat for so long a gateway calls itself stale: five beats were missed.
pub(crate) const STALE_AFTER_MS: u64 = 5_000;

/// A steady time before every other: nothing was ever known.
pub(crate) const NEVER: i64 = i64::MIN;

/// Read by every request, written by the mirror.
pub(crate) struct Freshness {
    /// The mirror's time minus boot time, in one number so that both are read at once.
    offset_ms: AtomicU64,
    /// Up to when everything is known, on the steady scale, negative before boot. The mirror's time
    /// jumps with the control plane's day; how old the mirror is does not.
    fresh_ms: AtomicI64,
    /// A heartbeat has matched the mirror, the feeds have stood since, and no stream lacks events.
    in_step: AtomicBool,
}

impl Freshness {
    /// Until the first heartbeat, the machine's own day must do.
    pub(crate) fn new(clock: &dyn Clock) -> Self {
        let freshness = Self {
            offset_ms: AtomicU64::new(0),
            fresh_ms: AtomicI64::new(NEVER),
            in_step: AtomicBool::new(false),
        };
        freshness.set_now(clock, clock.now());
        freshness
    }

    /// The mirror's time at the present steady time.
    pub(crate) fn now(&self, steady_ms: u64) -> Timestamp {
        let offset_ms = self.offset_ms.load(Ordering::Relaxed);
        Timestamp(steady_ms.wrapping_add(offset_ms))
    }

    pub(crate) fn set_now(&self, clock: &dyn Clock, now: Timestamp) {
        // Boot time may be ahead of a day that nobody has set: the offset wraps both ways.
        self.offset_ms.store(now.0.wrapping_sub(clock.boot_ms()), Ordering::Relaxed);
    }

    /// The control plane's word of `at` has come: the mirror's time is never behind it. Answers how
    /// many milliseconds later it came than the soonest so far, by the mirror's time: so long it
    /// has waited on its way, or the control plane's day was set back. Which of the two it was,
    /// only an answer tells; what waited must not turn time back.
    pub(crate) fn hear(&self, clock: &dyn Clock, at: Timestamp) -> u64 {
        let ahead_ms = self.now(clock.boot_ms()).0.wrapping_sub(at.0).cast_signed();
        if ahead_ms < 0 {
            self.set_now(clock, at);
        }
        u64::try_from(ahead_ms).unwrap_or(0)
    }

    /// The control plane has said `now` to who asked it at a steady time: it was no later then, if
    /// its day is right. What has ended must not begin again because somebody has set that back by
    /// mistake: the mirror's time follows it only to where this machine's day is nearer.
    pub(crate) fn bound(&self, clock: &dyn Clock, now: Timestamp, asked_ms: u64) {
        let (before, machine) = (self.now(asked_ms), clock.now());
        let is_nearer = machine.0.abs_diff(now.0) < machine.0.abs_diff(before.0);
        if now < before && is_nearer {
            self.offset_ms.store(now.0.wrapping_sub(asked_ms), Ordering::Relaxed);
        }
    }

    /// Steady time up to which everything is known.
    pub(crate) fn fresh_ms(&self) -> i64 {
        self.fresh_ms.load(Ordering::Relaxed)
    }

    /// Everything is known up to `at`, in the mirror's present time.
    pub(crate) fn set_fresh_at(&self, at: Timestamp) {
        let offset_ms = self.offset_ms.load(Ordering::Relaxed);
        self.set_fresh_ms(at.0.wrapping_sub(offset_ms).cast_signed());
    }

    /// Everything is known up to a steady time: what was known is not forgotten.
    pub(crate) fn set_fresh_ms(&self, steady_ms: i64) {
        self.fresh_ms.fetch_max(steady_ms, Ordering::Relaxed);
    }

    /// The mirror's time at a steady time.
    pub(crate) fn at(&self, steady_ms: i64) -> Timestamp {
        let offset_ms = self.offset_ms.load(Ordering::Relaxed);
        let known = steady_ms != NEVER;
        Timestamp(if known { offset_ms.wrapping_add(steady_ms.cast_unsigned()) } else { 0 })
    }

    pub(crate) fn set_in_step(&self, in_step: bool) {
        self.in_step.store(in_step, Ordering::Relaxed);
    }

    /// Whether something may have been made of which nothing is known here.
    pub(crate) fn may_miss(&self, clock: &dyn Clock) -> bool {
        !self.in_step.load(Ordering::Relaxed) || self.is_stale(clock)
    }

    pub(crate) fn is_stale(&self, clock: &dyn Clock) -> bool {
        age_ms(clock.boot_ms(), self.fresh_ms()) > STALE_AFTER_MS
    }
}

/// How long ago a steady time was at another one.
pub(crate) fn age_ms(now_ms: u64, steady_ms: i64) -> u64 {
    u64::try_from(now_ms.cast_signed().saturating_sub(steady_ms)).unwrap_or(0)
}
