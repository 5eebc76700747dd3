//! One batch of permits: counted down by all cores, each without waiting for another.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use turnpike_domain::rate::{Amount, Grant};
use turnpike_runtime::clock::Clock;

/// A batch from which so many are granted is not asked for again before it is used up.
const LEAST_REFILL: u64 = 2;

/// What is left of a batch, and what is known to be unused.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) number: u64,
    ends_ms: u64,
    granted: Amount,
    /// Below so much of either the next batch is asked for, once.
    low: Amount,
    told_low: AtomicBool,
    requests: AtomicU64,
    tokens: AtomicU64,
    unused_requests: AtomicU64,
    /// Less than zero: so many more were used.
    unused_tokens: AtomicI64,
}

impl Batch {
    pub(super) const fn new(grant: &Grant) -> Self {
        let Grant { batch, amount, ends_ms } = *grant;
        let Amount { requests, tokens } = amount;
        let half = Amount { requests: requests.div_ceil(2), tokens: tokens.div_ceil(2) };
        let low = if requests < LEAST_REFILL { Amount::NONE } else { half };
        Self {
            number: batch,
            ends_ms,
            granted: amount,
            low,
            told_low: AtomicBool::new(false),
            requests: AtomicU64::new(requests),
            tokens: AtomicU64::new(tokens),
            unused_requests: AtomicU64::new(0),
            unused_tokens: AtomicI64::new(0),
        }
    }

    /// Takes one request with `tokens`, if they are here and the batch has not ended. The time is
    /// asked for last: a thread that was stopped in between takes nothing that has expired.
    pub(super) fn take(&self, tokens: u64, clock: &dyn Clock) -> bool {
        if !lower(&self.requests, 1) {
            return false;
        }
        if !lower(&self.tokens, tokens) {
            self.requests.fetch_add(1, Ordering::AcqRel);
            return false;
        }
        if self.is_over(clock.boot_ms()) {
            self.put_back(tokens);
            return false;
        }
        true
    }

    /// What was taken is not used.
    pub(super) fn put_back(&self, tokens: u64) {
        self.tokens.fetch_add(tokens, Ordering::AcqRel);
        self.requests.fetch_add(1, Ordering::AcqRel);
    }

    /// A request that was permitted `tokens` has used `used`.
    pub(super) fn correct(&self, tokens: u64, used: u64) {
        let signed = |tokens: u64| i64::try_from(tokens).unwrap_or(i64::MAX);
        let unused = signed(tokens).saturating_sub(signed(used));
        // Usage is bounded at the settlement, far below what could wrap.
        self.unused_tokens.fetch_add(unused, Ordering::AcqRel);
    }

    /// Whether half of it is used, told to the first who asks.
    pub(super) fn runs_low(&self) -> bool {
        self.is_low() && !self.told_low.swap(true, Ordering::Relaxed)
    }

    /// Whether half of it is used.
    pub(super) fn is_low(&self) -> bool {
        self.requests.load(Ordering::Relaxed) < self.low.requests
            || self.tokens.load(Ordering::Relaxed) < self.low.tokens
    }

    pub(super) const fn is_over(&self, now_ms: u64) -> bool {
        now_ms >= self.ends_ms
    }

    pub(super) const fn ends_ms(&self) -> u64 {
        self.ends_ms
    }

    /// The tokens that a request was permitted by so far, on the average; `None` if none was.
    pub(super) fn tokens_each(&self) -> Option<u64> {
        let taken = self.granted.minus(self.left());
        (taken.requests > 0).then(|| taken.tokens.div_ceil(taken.requests))
    }

    pub(super) fn left(&self) -> Amount {
        Amount {
            requests: self.requests.load(Ordering::Acquire),
            tokens: self.tokens.load(Ordering::Acquire),
        }
    }

    /// Takes out all that is left, so that nobody else can; what of the batch is unused by now.
    pub(super) fn collect(&self) -> (u64, i64) {
        let requests = self.requests.swap(0, Ordering::AcqRel);
        let tokens = i64::try_from(self.tokens.swap(0, Ordering::AcqRel)).unwrap_or(i64::MAX);
        let requests = self.unused_requests.fetch_add(requests, Ordering::AcqRel) + requests;
        let tokens = self.unused_tokens.fetch_add(tokens, Ordering::AcqRel).saturating_add(tokens);
        (requests, tokens)
    }
}

/// Lowers a counter by `amount`, if it has as much.
fn lower(counter: &AtomicU64, amount: u64) -> bool {
    let lowered = |left: u64| left.checked_sub(amount);
    counter.fetch_update(Ordering::AcqRel, Ordering::Acquire, lowered).is_ok()
}

#[cfg(test)]
mod tests {
    use turnpike_domain::time::Timestamp;
    use turnpike_runtime::clock::PausedClock;

    use super::*;

    fn batch(requests: u64, tokens: u64) -> Batch {
        Batch::new(&Grant { batch: 1, amount: Amount { requests, tokens }, ends_ms: 1_000 })
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_gives_what_it_has_and_nothing_after_its_end() {
        let clock = PausedClock::new(Timestamp(0));
        let batch = batch(3, 100);
        assert!(batch.take(40, &clock) && !batch.runs_low());
        assert!(!batch.take(70, &clock), "too few tokens");
        assert!(batch.take(60, &clock) && batch.runs_low() && !batch.runs_low());
        batch.put_back(60);
        clock.sleep(999).await;
        assert!(batch.take(60, &clock));
        clock.sleep(1).await;
        assert!(!batch.take(0, &clock), "it has ended");
        assert_eq!(batch.collect(), (1, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_runs_low_of_tokens_as_well() {
        let clock = PausedClock::new(Timestamp(0));
        let batch = batch(100, 100);
        assert_eq!(batch.tokens_each(), None);
        assert!(batch.take(30, &clock) && !batch.runs_low());
        assert!(batch.take(25, &clock) && batch.runs_low());
        assert_eq!(batch.tokens_each(), Some(28));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_collected_is_taken_by_nobody_and_told_in_all() {
        let clock = PausedClock::new(Timestamp(0));
        let batch = batch(3, 100);
        assert!(batch.take(60, &clock));
        assert_eq!(batch.collect(), (2, 40));
        assert!(!batch.take(0, &clock));
        batch.correct(60, 20);
        assert_eq!(batch.collect(), (2, 80));
        batch.correct(0, 200);
        assert_eq!(batch.collect(), (2, -120));
        batch.put_back(60);
        assert_eq!(batch.collect(), (3, -60));
    }
}
