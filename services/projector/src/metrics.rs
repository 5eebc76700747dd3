//! What is counted of all shards.

use turnpike_domain::ledger::Refused;
use turnpike_runtime::metrics::{Counter, Gauge, Labelled, Metrics};
use turnpike_store::booking::{Booked, Commits};
use turnpike_wire::authority::{LeaseAnswer, PermitAnswer};

/// The projector's counters.
#[derive(Clone, Debug)]
pub(crate) struct BookingMetrics {
    booked: Counter,
    commits: Counter,
    conflicts: Counter,
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
            commits: counter("booking_commits", "Commits of ledgers that were tried"),
            conflicts: counter("booking_conflicts", "Those that another commit came before"),
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

    pub(crate) fn committed(&self, commits: Commits) {
        self.commits.inc_by(commits.tried);
        self.conflicts.inc_by(commits.conflicts);
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

/// A label and its value.
type Label = [(&'static str, &'static str); 1];

/// What is counted of budgets.
#[derive(Clone, Debug)]
pub(crate) struct AuthorityMetrics {
    /// Words that were heard: what was granted or given back.
    pub(crate) heard: Counter,
    refused: Labelled<Label, Counter>,
    /// Recalls of what gateways hold.
    pub(crate) recalls: Counter,
    /// Budgets that were closed or warned about.
    pub(crate) told: Counter,
    permits: Counter,
    permits_refused: Counter,
    /// Gateways given up for lost, with what they held.
    pub(crate) lost: Counter,
    /// Calls that could not be read.
    pub(crate) unreadable: Counter,
    /// Calls that came while too many waited.
    pub(crate) dropped: Counter,
    /// Work on budgets that the store failed; it is done again.
    pub(crate) failures: Counter,
}

impl AuthorityMetrics {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        let counter = |name: &str, help: &str| metrics.counter(name, help);
        Self {
            heard: counter("lease_words", "Words on leases that were heard"),
            refused: metrics.labelled("lease_refusals", "Words on leases refused, by reason"),
            recalls: counter("lease_recalls", "Recalls of what gateways hold"),
            told: counter("dues_told", "Due rows of budgets that were decided"),
            permits: counter("permits_granted", "Requests permitted by rates"),
            permits_refused: counter("permits_refused", "Calls for permits that got none"),
            lost: counter("holders_lost", "Silent gateways whose holds became lost"),
            unreadable: counter("calls_unreadable", "Calls that were dropped unread"),
            dropped: counter("calls_dropped", "Calls that came while too many waited"),
            failures: counter("authority_failures", "Work on budgets that the store failed"),
        }
    }

    /// Counts an answer about a rate.
    pub(crate) fn permitted(&self, answer: &PermitAnswer) {
        self.permits.inc_by(u64::from(answer.requests));
        if answer.retry_after_ms.is_some() {
            self.permits_refused.inc();
        }
    }

    /// Counts an answer to a word.
    pub(crate) fn answered(&self, answer: &LeaseAnswer) {
        let reason = match answer.refused {
            None => return,
            Some(Refused::Exhausted { .. }) => "exhausted",
            Some(Refused::HeldElsewhere { .. }) => "held_elsewhere",
            Some(Refused::Fenced) => "fenced",
        };
        self.refused.get_or_create(&[("reason", reason)]).inc();
    }
}
