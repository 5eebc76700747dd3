//! Latencies in buckets whose width grows with the value, as HdrHistogram has them.

/// Buckets for each power of two: a value is told to within 1/64 of itself.
const STEPS: u64 = 64;
/// log2 of [`STEPS`].
const STEP_BITS: u32 = 6;
/// Up to 2³⁶ µs, 19 hours; more is counted as that.
const BUCKETS: usize = 64 * 31;

/// Counts of latencies in microseconds.
#[derive(Clone)]
pub(crate) struct Histogram {
    counts: Vec<u64>,
    total: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: vec![0; BUCKETS], total: 0 }
    }
}

impl Histogram {
    /// Counts one latency.
    pub(crate) fn record(&mut self, us: u64) {
        let bucket = bucket(us).min(BUCKETS - 1);
        self.counts[bucket] += 1;
        self.total += 1;
    }

    /// Adds the counts of another.
    pub(crate) fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine += theirs;
        }
        self.total += other.total;
    }

    /// How many were counted.
    pub(crate) const fn total(&self) -> u64 {
        self.total
    }

    /// The latency that so many of a thousand did not exceed, in microseconds; 0 if there is none.
    pub(crate) fn per_mille(&self, per_mille: u64) -> u64 {
        let wanted = (self.total * per_mille).div_ceil(1_000).max(1);
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return highest(bucket);
            }
        }
        0
    }
}

fn bucket(us: u64) -> usize {
    let bits = u64::BITS - us.leading_zeros();
    let shift = bits.saturating_sub(STEP_BITS + 1);
    let bucket = u64::from(shift) * STEPS + (us >> shift);
    usize::try_from(bucket).unwrap_or(usize::MAX)
}

/// The highest value of a bucket.
fn highest(bucket: usize) -> u64 {
    let bucket = u64::try_from(bucket).unwrap_or(u64::MAX);
    let shift = (bucket / STEPS).saturating_sub(1);
    let step = bucket - shift * STEPS;
    ((step + 1) << shift) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_told_to_within_a_sixty_fourth() {
        for us in (0..100_000).chain([1 << 20, (1 << 30) + 12_345, (1 << 35) - 1]) {
            let told = highest(bucket(us));
            assert!(us <= told && told - us <= us / 64, "{us} {told}");
        }
    }

    #[test]
    fn percentiles_are_of_all_that_was_added() {
        let mut low = Histogram::default();
        let mut high = Histogram::default();
        (1..=50).for_each(|us| low.record(us));
        (51..=100).for_each(|us| high.record(us));
        low.add(&high);
        assert_eq!((low.per_mille(500), low.per_mille(990), low.per_mille(999)), (50, 99, 100));
        assert_eq!(Histogram::default().per_mille(500), 0);
        low.record(u64::MAX);
        assert!(low.per_mille(1_000) >= 1 << 35);
    }
}
