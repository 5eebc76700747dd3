//! How much a lease asks for ahead of need: about ten seconds of its recent use.

/// How far ahead of need a lease is filled, in milliseconds of its recent use.
const AHEAD_MS: u64 = 10_000;
/// Use is not judged by a shorter time than this: one burst is no rate.
const LEAST_MS: u64 = 100;
/// One ask is at most so many times as large as the one before, so that a burst does not take what
/// others need.
const GROWTH: i64 = 4;

/// What was used since the authority was last heard.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size {
    since_ms: u64,
    /// What was committed then.
    committed: i64,
    /// What was last asked for ahead.
    ahead: i64,
}

impl Size {
    pub(super) const fn new(now_ms: u64) -> Self {
        Self { since_ms: now_ms, committed: 0, ahead: 0 }
    }

    /// The authority was heard at `now_ms`, when so much was committed.
    pub(super) const fn heard(&mut self, now_ms: u64, committed: i64) {
        (self.since_ms, self.committed) = (now_ms, committed);
    }

    /// What to ask for ahead, given what is committed and what requests wait for.
    pub(super) fn ahead(&mut self, now_ms: u64, committed: i64, waiting: i64) -> i64 {
        let elapsed_ms = i128::from(now_ms.saturating_sub(self.since_ms).max(LEAST_MS));
        let used = i128::from(committed.saturating_sub(self.committed).max(0));
        let used = used.saturating_add(i128::from(waiting));
        let wanted = used.saturating_mul(i128::from(AHEAD_MS)) / elapsed_ms;
        let wanted = i64::try_from(wanted).unwrap_or(i64::MAX);
        let most = self.ahead.saturating_mul(GROWTH).max(waiting);
        self.ahead = wanted.min(most);
        self.ahead
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_to_ten_seconds_of_use_and_shrinks_with_it() {
        let mut size = Size::new(0);
        // The first request of 100 asks for one more of its kind.
        assert_eq!(size.ahead(0, 0, 100), 100);
        size.heard(0, 100);
        // 400 in the next second: ten seconds would be 4,000, but growth has its bound.
        assert_eq!(size.ahead(1_000, 500, 0), 400);
        size.heard(1_000, 500);
        assert_eq!(size.ahead(2_000, 900, 0), 1_600);
        size.heard(2_000, 900);
        assert_eq!(size.ahead(3_000, 1_300, 0), 4_000);
        size.heard(3_000, 1_300);
        // Slower, and so the next time is smaller.
        assert_eq!(size.ahead(13_000, 1_400, 0), 100);
        size.heard(13_000, 1_400);
        // Settlements below the reservation are no use.
        assert_eq!(size.ahead(14_000, 1_000, 0), 0);
        assert_eq!(size.ahead(14_000, i64::MAX, i64::MAX), i64::MAX);
    }
}
