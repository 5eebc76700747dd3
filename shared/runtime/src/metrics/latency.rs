//! A histogram of times in fixed buckets, without a lock.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::{MetricType, TypedMetric};

/// Upper bounds in microseconds: from what our own work takes to the longest answer of a provider.
const BOUNDS_US: [u64; 20] = [
    50,
    100,
    200,
    500,
    1_000,
    2_000,
    5_000,
    10_000,
    20_000,
    50_000,
    100_000,
    200_000,
    500_000,
    1_000_000,
    2_000_000,
    5_000_000,
    10_000_000,
    30_000_000,
    60_000_000,
    600_000_000,
];

/// Times by how long they were. A clone is the same histogram; observing is two relaxed additions.
#[derive(Clone, Debug, Default)]
pub struct Latency {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// One for each bound.
    buckets: [AtomicU64; BOUNDS_US.len()],
    /// What is over every bound.
    over: AtomicU64,
    sum_us: AtomicU64,
}

impl Latency {
    /// Counts a time of `us` microseconds.
    pub fn observe_us(&self, us: u64) {
        let index = BOUNDS_US.partition_point(|bound| *bound < us);
        let bucket = self.inner.buckets.get(index).unwrap_or(&self.inner.over);
        bucket.fetch_add(1, Ordering::Relaxed);
        self.inner.sum_us.fetch_add(us, Ordering::Relaxed);
    }
}

#[expect(clippy::float_arithmetic, reason = "Prometheus counts seconds in floating point")]
#[expect(clippy::cast_precision_loss, reason = "exact up to 285 years of microseconds")]
fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}

impl TypedMetric for Latency {
    const TYPE: MetricType = MetricType::Histogram;
}

impl EncodeMetric for Latency {
    fn encode(&self, mut encoder: MetricEncoder) -> Result<(), fmt::Error> {
        let counts = self.inner.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed));
        let bounds = BOUNDS_US.iter().map(|bound| seconds(*bound)).chain([f64::INFINITY]);
        let over = self.inner.over.load(Ordering::Relaxed);
        let buckets: Vec<(f64, u64)> = bounds.zip(counts.chain([over])).collect();
        let count = buckets.iter().map(|(_, count)| count).sum();
        let sum = seconds(self.inner.sum_us.load(Ordering::Relaxed));
        encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

#[cfg(test)]
mod tests {
    use crate::metrics::Metrics;

    #[test]
    fn a_time_falls_into_the_first_bucket_that_holds_it() {
        let metrics = Metrics::new();
        let latency = metrics.latency("answer", "Time to answer");
        for us in [0, 50, 51, 2_500_000, 3_600_000_000] {
            latency.clone().observe_us(us);
        }
        let text = metrics.text();
        for line in [
            "turnpike_answer_seconds_bucket{le=\"0.00005\"} 2",
            "turnpike_answer_seconds_bucket{le=\"0.0001\"} 3",
            "turnpike_answer_seconds_bucket{le=\"5.0\"} 4",
            "turnpike_answer_seconds_bucket{le=\"600.0\"} 4",
            "turnpike_answer_seconds_bucket{le=\"+Inf\"} 5",
            "turnpike_answer_seconds_count 5",
            "turnpike_answer_seconds_sum 3602.500101",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}: {text}");
        }
    }
}
