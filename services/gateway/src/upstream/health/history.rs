//! The counts of the last minute: what stands now, less what stood then.

use std::collections::VecDeque;

use turnpike_domain::time::MINUTE_MS;

use super::{SAMPLE_MS, Sums};

/// Four places for each doubling of a time, from one microsecond to five hours: beyond that every
/// limit of time has passed.
pub(super) const LATENCIES: usize = 4 * 34;
/// Samples that make a minute.
const SAMPLES: u64 = MINUTE_MS / SAMPLE_MS;

/// The samples of the last minute, oldest first.
#[derive(Debug, Default)]
pub(super) struct History(VecDeque<(u64, Sums)>);

impl History {
    /// Notes what stands at `now_ms`; answers whether calls came since the last time.
    pub(super) fn add(&mut self, now_ms: u64, sums: Sums) -> bool {
        let called = self.0.back().is_none_or(|(_, last)| last.calls < sums.calls);
        self.0.push_back((now_ms, sums));
        while self.0.len() > usize::try_from(SAMPLES).unwrap_or(usize::MAX) {
            self.0.pop_front();
        }
        called
    }

    /// What was counted in about the last minute, if `now` stands at `now_ms`.
    pub(super) fn minute(&self, now_ms: u64, now: &Sums) -> Sums {
        let recent = |at_ms: u64| now_ms.saturating_sub(at_ms) <= MINUTE_MS;
        let full = u64::try_from(self.0.len()).is_ok_and(|samples| samples >= SAMPLES);
        let before = match self.0.iter().find(|(at_ms, _)| recent(*at_ms)) {
            // Until a minute of samples is there, everything is of the last minute.
            Some((_, sums)) => full.then_some(sums),
            None => self.0.back().map(|(_, sums)| sums),
        };
        before.map_or_else(|| now.clone(), |before| now.since(before))
    }
}

/// Where a time is counted: by its highest bit and the two behind it.
pub(super) fn place(us: u64) -> usize {
    let us = us.max(4);
    let doublings = us.ilog2() - 2;
    let quarter = (us >> doublings) & 3;
    let place = u64::from(doublings) * 4 + quarter;
    usize::try_from(place).unwrap_or(usize::MAX).min(LATENCIES - 1)
}

/// The longest time that is counted in a place, in microseconds.
pub(super) fn time_us(place: usize) -> u64 {
    let place = u64::try_from(place).unwrap_or(u64::MAX);
    let (doublings, quarter) = (place / 4, place % 4);
    ((5 + quarter) << doublings) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_counted_where_its_place_says() {
        for us in [4, 5, 7, 8, 9, 1_000, 1_023, 1_024, 1_000_000, 1 << 35] {
            let most = time_us(place(us));
            assert!((us..=us + us / 4).contains(&most), "{us} {most}");
        }
        assert_eq!((place(0), place(3), place(4)), (0, 0, 0));
        assert_eq!(place(u64::MAX), LATENCIES - 1);
    }
}
