//! What every lane says of itself four times a second: receipts and metrics read it without a lock.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use turnpike_domain::id::{EpochId, OrgId};
use turnpike_domain::time::Timestamp;
use turnpike_runtime::metrics::Metrics;
use turnpike_wire::heartbeat::MAX_SPENT;

use crate::core::Core;

/// The lanes of one process, each with its latest summary. Clones are the same.
#[derive(Clone)]
pub struct Board {
    lanes: Arc<[ArcSwapOption<Summary>]>,
}

/// One lane at one moment, all of it in the spool's files.
#[derive(Debug, Default)]
pub struct Summary {
    /// The mirror's time when it was taken. What is admitted afterwards is not older.
    pub(crate) taken_at: Timestamp,
    /// The organisations that the lane, or an earlier epoch that it sends, has served.
    pub(crate) served: BTreeMap<OrgId, Served>,
    /// When the oldest request was admitted that is numbered and not booked.
    pub(crate) oldest_unbooked: Option<Timestamp>,
    /// Bytes of the spool, those of earlier epochs included.
    pub(crate) spool_bytes: u64,
    pub(crate) open_requests: u64,
    pub(crate) open_answers: u64,
}

/// What was served of one organisation.
#[derive(Debug, Default)]
pub(crate) struct Served {
    /// When the oldest request was admitted that is not settled.
    pub(crate) oldest_open: Option<Timestamp>,
    /// The last number of each epoch.
    pub(crate) spent: Vec<(EpochId, u64)>,
}

/// "What was admitted before this moment stands up to these numbers."
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Promise {
    pub(crate) complete_to: Timestamp,
    pub(crate) spent: Vec<(EpochId, u64)>,
}

impl Board {
    /// A board on which no lane has said anything.
    #[must_use]
    pub fn new(lanes: NonZeroUsize) -> Self {
        Self { lanes: (0..lanes.get()).map(|_| ArcSwapOption::empty()).collect() }
    }

    /// Registers the gauges of all lanes together; the spool may take `max_bytes`.
    pub(crate) fn watch(&self, core: &Arc<Core>, max_bytes: u64, metrics: &Metrics) {
        let gauge = |name, help, read: fn(&Summary) -> u64| {
            let board = self.clone();
            let sum = move || gauged(board.told().map(|summary| read(&summary)).sum());
            metrics.watch_gauge(name, help, sum);
        };
        gauge("spool_used_bytes", "Bytes of the spool", |summary| summary.spool_bytes);
        let help = "Requests that were admitted and are not settled";
        gauge("requests_open", help, |summary| summary.open_requests);
        let help = "Answers that pass through while they are made";
        gauge("answers_open", help, |summary| summary.open_answers);
        metrics.watch_gauge("spool_max_bytes", "Bytes that the spool may take", move || {
            gauged(max_bytes)
        });
        let (board, core) = (self.clone(), Arc::clone(core));
        let help = "Milliseconds since the oldest settled request was admitted that is not booked";
        metrics.watch_gauge("spend_unbooked_age_ms", help, move || {
            let oldest = board.told().filter_map(|summary| summary.oldest_unbooked).min();
            gauged(oldest.map_or(0, |oldest| core.now().since(oldest)))
        });
    }

    /// Replaces what lane number `lane` has said.
    pub(crate) fn tell(&self, lane: usize, summary: Summary) {
        if let Some(place) = self.lanes.get(lane) {
            place.store(Some(Arc::new(summary)));
        }
    }

    /// The latest of every lane; `None` until each of them has said something: one that is silent
    /// may send what an earlier run has left.
    pub(crate) fn read(&self) -> Option<Vec<Arc<Summary>>> {
        self.lanes.iter().map(ArcSwapOption::load_full).collect()
    }

    fn told(&self) -> impl Iterator<Item = Arc<Summary>> {
        self.lanes.iter().filter_map(ArcSwapOption::load_full)
    }
}

/// What the lanes can promise of an organisation; `None` if that takes more numbers than a receipt
/// holds.
pub(crate) fn promise(lanes: &[Arc<Summary>], org: OrgId) -> Option<Promise> {
    let served = lanes.iter().filter_map(|lane| lane.served.get(&org));
    let open = served.clone().filter_map(|served| served.oldest_open);
    let complete_to = lanes.iter().map(|lane| lane.taken_at).chain(open).min()?;
    let spent: Vec<_> = served.flat_map(|served| served.spent.iter().copied()).collect();
    (spent.len() <= MAX_SPENT).then_some(Promise { complete_to, spent })
}

fn gauged(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORG: OrgId = OrgId(1);

    fn lane(taken_at: u64, open: Option<u64>, spent: &[(u128, u64)]) -> Arc<Summary> {
        let spent = spent.iter().map(|(epoch, number)| (EpochId(*epoch), *number)).collect();
        let served = Served { oldest_open: open.map(Timestamp), spent };
        let (taken_at, served) = (Timestamp(taken_at), [(ORG, served)].into());
        Arc::new(Summary { taken_at, served, ..Summary::default() })
    }

    #[test]
    fn a_promise_is_no_later_than_any_lane_and_any_open_request() {
        let idle = Arc::new(Summary { taken_at: Timestamp(90), ..Summary::default() });
        let cases = [
            (vec![lane(100, None, &[(1, 5)]), Arc::clone(&idle)], 90, vec![(1, 5)]),
            (vec![lane(100, Some(40), &[(1, 5)]), Arc::clone(&idle)], 40, vec![(1, 5)]),
            (
                vec![lane(100, Some(95), &[(1, 5)]), lane(110, Some(99), &[(2, 1), (0, 7)])],
                95,
                vec![(1, 5), (2, 1), (0, 7)],
            ),
            (vec![idle], 90, vec![]),
        ];
        for (lanes, complete_to, spent) in cases {
            let spent = spent.into_iter().map(|(epoch, number)| (EpochId(epoch), number));
            let expected = Promise { complete_to: Timestamp(complete_to), spent: spent.collect() };
            assert_eq!(promise(&lanes, ORG), Some(expected));
        }
    }

    #[test]
    fn too_many_epochs_are_no_promise() {
        let epochs = |count: usize| -> Vec<(u128, u64)> {
            (0..u128::try_from(count).unwrap()).map(|epoch| (epoch, 1)).collect()
        };
        assert!(promise(&[lane(1, None, &epochs(MAX_SPENT))], ORG).is_some());
        assert_eq!(promise(&[lane(1, None, &epochs(MAX_SPENT + 1))], ORG), None);
    }

    #[test]
    fn a_board_is_read_once_every_lane_has_spoken() {
        let board = Board::new(NonZeroUsize::new(2).unwrap());
        assert!(board.read().is_none());
        board.tell(1, Summary::default());
        assert!(board.read().is_none());
        board.tell(0, Summary::default());
        assert_eq!(board.read().map(|lanes| lanes.len()), Some(2));
    }
}
