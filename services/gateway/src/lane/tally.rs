//! What one core counts of its answers, without a cache line that another core writes.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use turnpike_domain::admit::Denial;
use turnpike_runtime::metrics::{Counter, Labelled, Metrics};

use super::tools::{ToolMetrics, Tools};

/// A label and its value.
type Label = [(&'static str, &'static str); 1];

/// The answers since the last [`Tally::pour`].
#[derive(Default)]
pub(crate) struct Tally {
    /// By the first digit of the status.
    statuses: [Cell<u64>; CLASSES.len()],
    denials: RefCell<BTreeMap<&'static str, u64>>,
    open_answers: Cell<u64>,
    /// Requests that were never admitted and are in no record.
    unlogged: Cell<u64>,
    pub(crate) tools: Tools,
}

/// The classes of RFC 9110, section 15, that a final answer can have.
const CLASSES: [&str; 4] = ["2xx", "3xx", "4xx", "5xx"];
/// The first digit of the first class.
const FIRST_CLASS: usize = 2;

/// An answer that passes through while it is made.
pub(crate) struct OpenAnswer(Rc<super::Lane>);

/// The counters of all cores together.
#[derive(Clone, Debug)]
pub(crate) struct TallyMetrics {
    answers: Labelled<Label, Counter>,
    denials: Labelled<Label, Counter>,
    unlogged: Counter,
    tools: ToolMetrics,
}

impl TallyMetrics {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        Self {
            answers: metrics.labelled("answers", "Answers by the class of their status"),
            denials: metrics.labelled("denials", "Requests that were refused or failed, by code"),
            unlogged: metrics.counter(
                "requests_unlogged",
                "Requests not admitted and in no record: too many, or half a spool full",
            ),
            tools: ToolMetrics::new(metrics),
        }
    }
}

impl Tally {
    /// An answer with this status begins.
    pub(crate) fn answered(&self, status: u16) {
        let class = usize::from(status / 100).checked_sub(FIRST_CLASS);
        if let Some(count) = class.and_then(|class| self.statuses.get(class)) {
            count.set(count.get() + 1);
        }
    }

    /// A request ends without a provider's answer.
    pub(crate) fn denied(&self, denial: Denial) {
        *self.denials.borrow_mut().entry(denial.code()).or_default() += 1;
    }

    /// Requests that were never admitted are only counted.
    pub(super) fn unlogged(&self, requests: u64) {
        self.unlogged.set(self.unlogged.get().saturating_add(requests));
    }

    pub(super) fn open_answers(&self) -> u64 {
        self.open_answers.get()
    }

    /// Adds everything to the counters that Prometheus reads, and begins anew.
    pub(crate) fn pour(&self, into: &TallyMetrics) {
        into.unlogged.inc_by(self.unlogged.take());
        self.tools.pour(&into.tools);
        for (class, count) in CLASSES.iter().zip(&self.statuses) {
            into.answers.get_or_create(&[("status", class)]).inc_by(count.take());
        }
        for (code, count) in std::mem::take(&mut *self.denials.borrow_mut()) {
            into.denials.get_or_create(&[("code", code)]).inc_by(count);
        }
    }
}

impl OpenAnswer {
    pub(super) fn new(lane: Rc<super::Lane>) -> Self {
        let open = &lane.tally.open_answers;
        open.set(open.get() + 1);
        Self(lane)
    }
}

impl Drop for OpenAnswer {
    fn drop(&mut self) {
        let open = &self.0.tally.open_answers;
        open.set(open.get().saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_is_poured_once() {
        let metrics = Metrics::new();
        let (poured, tally) = (TallyMetrics::new(&metrics), Tally::default());
        [200, 204, 402, 503, 101].into_iter().for_each(|status| tally.answered(status));
        tally.denied(Denial::QuotaExceeded);
        tally.pour(&poured);
        tally.denied(Denial::QuotaExceeded);
        tally.pour(&poured);
        let text = metrics.text();
        for line in [
            "turnpike_answers_total{status=\"2xx\"} 2",
            "turnpike_answers_total{status=\"3xx\"} 0",
            "turnpike_answers_total{status=\"4xx\"} 1",
            "turnpike_answers_total{status=\"5xx\"} 1",
            "turnpike_denials_total{code=\"api_key_quota_exceeded\"} 2",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}: {text}");
        }
    }
}
