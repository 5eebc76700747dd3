//! Counters that cost an addition, and their text for Prometheus.

mod latency;

use std::fmt;
use std::sync::atomic::{AtomicI64, AtomicU64};
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::{MetricType, TypedMetric};
use prometheus_client::registry::{Metric, Registry};

use crate::tasks;

pub use latency::Latency;

/// What only rises. A clone is the same counter; adding is one relaxed atomic addition.
pub type Counter = prometheus_client::metrics::counter::Counter<u64, AtomicU64>;
/// What rises and falls. A clone is the same gauge.
pub type Gauge = prometheus_client::metrics::gauge::Gauge<i64, AtomicI64>;
/// A set of metrics that differ in their labels. Look a member up once and keep it: the look-up
/// takes a lock. Labels are closed sets: never an id, never what a caller sent.
pub type Labelled<L, M> = Family<L, M>;

/// The content type of [`Metrics::text`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// What every name begins with.
const PREFIX: &str = "turnpike";

/// All metrics of a process. Clones are the same.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Mutex<Registry>>,
}

impl Metrics {
    /// The metrics that every process has.
    #[must_use]
    pub fn new() -> Self {
        let metrics = Self { registry: Arc::new(Mutex::new(Registry::with_prefix(PREFIX))) };
        metrics.watch_counter("task_panics", "Panics caught in tasks and threads", tasks::panics);
        metrics
    }

    /// A counter `turnpike_<name>_total`.
    #[must_use]
    pub fn counter(&self, name: &str, help: &str) -> Counter {
        self.register(name, help, Counter::default())
    }

    /// A gauge `turnpike_<name>`.
    #[must_use]
    pub fn gauge(&self, name: &str, help: &str) -> Gauge {
        self.register(name, help, Gauge::default())
    }

    /// A histogram of times `turnpike_<name>_seconds`.
    #[must_use]
    pub fn latency(&self, name: &str, help: &str) -> Latency {
        self.register(&format!("{name}_seconds"), help, Latency::default())
    }

    /// Metrics that differ in their labels.
    #[must_use]
    pub fn labelled<L, M>(&self, name: &str, help: &str) -> Labelled<L, M>
    where
        L: EncodeLabelSet + Clone + std::hash::Hash + Eq + fmt::Debug + Send + Sync + 'static,
        M: EncodeMetric + TypedMetric + Default + Clone + fmt::Debug + Send + Sync + 'static,
    {
        self.register(name, help, Family::default())
    }

    /// A counter that stands elsewhere and is read when Prometheus asks.
    pub fn watch_counter(
        &self,
        name: &'static str,
        help: &'static str,
        read: impl Fn() -> u64 + Send + Sync + 'static,
    ) {
        self.collect(Watched { name, help, read: move || ConstCounter::new(read()) });
    }

    /// A gauge that stands elsewhere and is read when Prometheus asks.
    pub fn watch_gauge(
        &self,
        name: &'static str,
        help: &'static str,
        read: impl Fn() -> i64 + Send + Sync + 'static,
    ) {
        self.collect(Watched { name, help, read: move || ConstGauge::new(read()) });
    }

    /// Gauges that stand elsewhere, each under its own value of one label, and are read when
    /// Prometheus asks.
    pub fn watch_labelled(
        &self,
        name: &'static str,
        help: &'static str,
        label: &'static str,
        read: impl Fn() -> Vec<(Box<str>, u64)> + Send + Sync + 'static,
    ) {
        self.collect(WatchedSet { name, help, label, read });
    }

    /// Everything, in the text form of OpenMetrics 1.0.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        let registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = prometheus_client::encoding::text::encode(&mut text, &registry) {
            tracing::error!(%error, "the metrics could not be written");
        }
        text
    }

    fn register<M: Metric + Clone>(&self, name: &str, help: &str, metric: M) -> M {
        let mut registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        registry.register(name, help, metric.clone());
        metric
    }

    fn collect(&self, collector: impl Collector) {
        let mut registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        registry.register_collector(Box::new(collector));
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

struct Watched<F> {
    name: &'static str,
    help: &'static str,
    read: F,
}

impl<F> fmt::Debug for Watched<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl<M, F> Collector for Watched<F>
where
    M: EncodeMetric,
    F: Fn() -> M + Send + Sync + 'static,
{
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let metric = (self.read)();
        let kind = metric.metric_type();
        // The registry ends the other texts with a full stop.
        let help = format!("{}.", self.help);
        metric.encode(encoder.encode_descriptor(self.name, &help, None, kind)?)
    }
}

struct WatchedSet<F> {
    name: &'static str,
    help: &'static str,
    label: &'static str,
    read: F,
}

impl<F> fmt::Debug for WatchedSet<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl<F> Collector for WatchedSet<F>
where
    F: Fn() -> Vec<(Box<str>, u64)> + Send + Sync + 'static,
{
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let help = format!("{}.", self.help);
        let mut family = encoder.encode_descriptor(self.name, &help, None, MetricType::Gauge)?;
        for (value, read) in (self.read)() {
            let gauge = ConstGauge::new(i64::try_from(read).unwrap_or(i64::MAX));
            gauge.encode(family.encode_family(&[(self.label, &*value)])?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
    struct Dialect {
        dialect: &'static str,
    }

    #[test]
    fn everything_that_was_registered_is_told() {
        let metrics = Metrics::new();
        metrics.counter("requests", "Requests").inc_by(3);
        metrics.gauge("streams", "Open streams").set(-1);
        metrics.watch_gauge("keys", "Keys in the mirror", || 1_000_000);
        metrics.latency("admission", "Time to admit").observe_us(40);
        let found = || vec![("a".into(), 1), ("b".into(), 2)];
        metrics.watch_labelled("open", "Requests that run", "provider", found);
        let labelled: Labelled<Dialect, Counter> = metrics.labelled("refusals", "Refusals");
        labelled.get_or_create(&Dialect { dialect: "openai" }).inc();

        let text = metrics.text();
        for line in [
            "turnpike_requests_total 3",
            "turnpike_streams -1",
            "turnpike_keys 1000000",
            "turnpike_admission_seconds_count 1",
            "turnpike_open{provider=\"a\"} 1",
            "turnpike_open{provider=\"b\"} 2",
            "turnpike_refusals_total{dialect=\"openai\"} 1",
            "# TYPE turnpike_task_panics counter",
            "# EOF",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}: {text}");
        }
        for help in text.lines().filter(|line| line.starts_with("# HELP")) {
            assert!(help.ends_with('.') && !help.ends_with(".."), "{help}");
        }
    }
}
