//! Streams that are being fetched, with the events that wait for them.

use std::collections::BTreeMap;

use turnpike_domain::id::OrgId;
use turnpike_runtime::entropy;
use turnpike_wire::record::Received;

/// Streams that are fetched at a time: the control plane has other gateways too.
const MAX_RUNNING: usize = 16;
/// Events of one stream that are kept while it is fetched. What comes after them makes another gap.
const MAX_WAITING: usize = 10_000;
/// The wait after the first failure; it doubles up to the last.
const FIRST_RETRY_MS: u64 = 500;
const LAST_RETRY_MS: u64 = 15_000;

/// The streams that the mirror lacks.
#[derive(Default)]
pub(super) struct Fetches {
    streams: BTreeMap<OrgId, Fetch>,
}

#[derive(Default)]
struct Fetch {
    running: bool,
    /// An event is missing. Without a gap the stream goes on while it is fetched.
    gap: bool,
    /// Nothing is missing, but events wait while the stream is fetched: when it went on meanwhile,
    /// what came was older.
    stands_still: bool,
    failures: u32,
    /// Not before this steady time.
    at_ms: u64,
    waiting: Vec<Received>,
}

impl Fetches {
    /// `org` must be fetched.
    pub(super) fn want(&mut self, org: OrgId) {
        self.streams.entry(org).or_default();
    }

    /// Whether events of `org` must wait until it is fetched: one before them is missing.
    pub(super) fn holds(&self, org: OrgId) -> bool {
        self.streams.get(&org).is_some_and(|fetch| fetch.gap || fetch.stands_still)
    }

    /// Keeps an event behind a gap; its stream must be fetched.
    pub(super) fn keep(&mut self, received: Received) {
        let fetch = self.streams.entry(received.org).or_default();
        fetch.gap |= !fetch.stands_still;
        if fetch.waiting.len() < MAX_WAITING {
            fetch.waiting.push(received);
        }
    }

    /// The streams to fetch now; they count as running from here on.
    pub(super) fn start(&mut self, now_ms: u64) -> Vec<OrgId> {
        let running = self.streams.values().filter(|fetch| fetch.running).count();
        let ready = |fetch: &Fetch| !fetch.running && fetch.at_ms <= now_ms;
        let waiting = self.streams.iter_mut().filter(|(_, fetch)| ready(fetch));
        let mut started = Vec::new();
        for (org, fetch) in waiting.take(MAX_RUNNING.saturating_sub(running)) {
            fetch.running = true;
            started.push(*org);
        }
        started
    }

    /// `org` was fetched; answers with the events that waited, in the order of their seq.
    pub(super) fn done(&mut self, org: OrgId) -> Vec<Received> {
        let mut waiting = self.streams.remove(&org).unwrap_or_default().waiting;
        waiting.sort_by_key(|received| received.seq);
        waiting
    }

    /// What has failed is tried again at `soon_ms` at the latest.
    pub(super) fn hurry(&mut self, soon_ms: u64) {
        for fetch in self.streams.values_mut() {
            fetch.at_ms = fetch.at_ms.min(soon_ms);
        }
    }

    /// The stream of `org` went on while it was fetched, so that what came is older: it is fetched
    /// again, and stands still meanwhile. False if it stood already.
    pub(super) fn overtaken(&mut self, org: OrgId, now_ms: u64) -> bool {
        let fetch = self.streams.entry(org).or_default();
        if fetch.gap || fetch.stands_still {
            return false;
        }
        (fetch.running, fetch.stands_still, fetch.at_ms) = (false, true, now_ms);
        true
    }

    /// `org` could not be fetched: it is tried again later. Answers with events that need not wait
    /// for that, in the order in which they came.
    pub(super) fn failed(&mut self, org: OrgId, now_ms: u64) -> Vec<Received> {
        let fetch = self.streams.entry(org).or_default();
        fetch.running = false;
        fetch.at_ms = now_ms.saturating_add(backoff_ms(fetch.failures));
        fetch.failures = fetch.failures.saturating_add(1);
        if std::mem::take(&mut fetch.stands_still) {
            return std::mem::take(&mut fetch.waiting);
        }
        Vec::new()
    }
}

/// How long to wait after so many failures, with jitter: a thousand gateways fail at once.
pub(crate) fn backoff_ms(failures: u32) -> u64 {
    let longest = FIRST_RETRY_MS.checked_shl(failures.min(16)).unwrap_or(LAST_RETRY_MS);
    let longest = longest.min(LAST_RETRY_MS);
    longest / 2 + entropy::jitter_ms(longest / 2)
}
