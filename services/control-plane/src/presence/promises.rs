//! What one gateway has promised of its spend, until the projector has booked it.

use turnpike_domain::id::{EpochId, GatewayId};
use turnpike_domain::time::Timestamp;
use turnpike_store::usage::EpochPlace;

/// Promises that wait to be kept, of one organisation and gateway. Receipts come at most once a
/// second where nothing changes, and bookings within ten: sixteen are enough for that, and every
/// one beyond them only makes the mark coarser.
const MAX_PROMISES: usize = 16;

/// "All that I admitted before this moment is booked once these numbers are."
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Promise {
    /// The moment.
    pub complete_to: Timestamp,
    /// The last number of each epoch that has served the organisation.
    pub spent: Vec<(EpochId, u64)>,
}

/// Each of them is true for ever, in whatever order they came and whichever run made them.
#[derive(Debug, Default)]
pub(super) struct Promises {
    waiting: Vec<Promise>,
}

impl Promises {
    pub(super) fn add(&mut self, promise: Promise) {
        // An idle gateway repeats itself.
        if let Some(last) = self.waiting.last_mut().filter(|last| last.spent == promise.spent) {
            last.complete_to = last.complete_to.max(promise.complete_to);
            return;
        }
        if self.waiting.len() >= MAX_PROMISES {
            self.thin();
        }
        self.waiting.push(promise);
    }

    /// The latest moment of a promise that is kept by what is booked. Forgets those before it.
    pub(super) fn kept(&mut self, gateway: GatewayId, places: &[EpochPlace]) -> Option<Timestamp> {
        let is_kept = |promise: &Promise| {
            promise.spent.iter().all(|(epoch, number)| is_booked(places, gateway, *epoch, *number))
        };
        let kept = self.waiting.iter().filter(|promise| is_kept(promise));
        let latest = kept.map(|promise| promise.complete_to).max()?;
        self.waiting.retain(|promise| promise.complete_to >= latest);
        Some(latest)
    }

    /// Leaves every second one. The oldest stays: however far behind the projector is, there is
    /// one that it reaches first.
    fn thin(&mut self) {
        let mut keep = false;
        self.waiting.retain(|_| {
            keep = !keep;
            keep
        });
    }
}

fn is_booked(places: &[EpochPlace], gateway: GatewayId, epoch: EpochId, number: u64) -> bool {
    let of_epoch = places.iter().find(|it| (it.gateway, it.epoch) == (gateway, epoch));
    of_epoch.is_some_and(|it| it.place.ended || it.place.number >= number)
}

#[cfg(test)]
mod tests {
    use turnpike_store::rows::Place;

    use super::*;

    const GATEWAY: GatewayId = GatewayId(1);

    fn promise(complete_to: u64, spent: &[(u128, u64)]) -> Promise {
        let spent = spent.iter().map(|(epoch, number)| (EpochId(*epoch), *number)).collect();
        Promise { complete_to: Timestamp(complete_to), spent }
    }

    fn places(booked: &[(u128, u64)]) -> Vec<EpochPlace> {
        let place = |(epoch, number): &(u128, u64)| EpochPlace {
            gateway: GATEWAY,
            epoch: EpochId(*epoch),
            place: Place { number: *number, ..Place::default() },
        };
        booked.iter().map(place).collect()
    }

    fn promises(all: impl IntoIterator<Item = Promise>) -> Promises {
        let mut promises = Promises::default();
        all.into_iter().for_each(|promise| promises.add(promise));
        promises
    }

    #[test]
    fn a_promise_is_kept_when_every_lane_is_booked() {
        let two_lanes = || promises([promise(10, &[(1, 5), (2, 7)])]);
        for (booked, expected) in [
            (places(&[]), None),
            (places(&[(1, 5)]), None),
            (places(&[(1, 5), (2, 6)]), None),
            (places(&[(1, 5), (2, 7)]), Some(Timestamp(10))),
            (places(&[(1, 9), (2, 8), (3, 1)]), Some(Timestamp(10))),
        ] {
            assert_eq!(two_lanes().kept(GATEWAY, &booked), expected, "{booked:?}");
        }
        let mut of_another = places(&[(1, 5), (2, 7)]);
        of_another.iter_mut().for_each(|place| place.gateway = GatewayId(2));
        assert_eq!(two_lanes().kept(GATEWAY, &of_another), None);
        let mut ended = places(&[(1, 4), (2, 7)]);
        ended[0].place.ended = true;
        assert_eq!(two_lanes().kept(GATEWAY, &ended), Some(Timestamp(10)));
    }

    #[test]
    fn the_latest_kept_promise_counts_and_is_not_forgotten() {
        let mut waiting = promises([promise(10, &[(1, 1)]), promise(20, &[(1, 2)])]);
        assert_eq!(waiting.kept(GATEWAY, &places(&[(1, 1)])), Some(Timestamp(10)));
        assert_eq!(waiting.kept(GATEWAY, &places(&[(1, 1)])), Some(Timestamp(10)));
        // The gateway is killed; its next run sends what it has left.
        waiting.add(promise(40, &[(1, 3), (2, 1)]));
        waiting.add(promise(30, &[(1, 3)]));
        assert_eq!(waiting.kept(GATEWAY, &places(&[(1, 2)])), Some(Timestamp(20)));
        assert_eq!(waiting.kept(GATEWAY, &places(&[(1, 3)])), Some(Timestamp(30)));
        assert_eq!(waiting.kept(GATEWAY, &places(&[(1, 3), (2, 1)])), Some(Timestamp(40)));
    }

    #[test]
    fn an_idle_gateway_holds_nothing_back_and_takes_no_room() {
        let mut idle = promises((0..1_000).map(|at| promise(at, &[])));
        assert_eq!((idle.waiting.len(), idle.kept(GATEWAY, &[])), (1, Some(Timestamp(999))));
    }

    #[test]
    fn a_projector_far_behind_still_reaches_a_promise() {
        let mut waiting = promises((1..=1_000).map(|number| promise(number, &[(1, number)])));
        assert!(waiting.waiting.len() <= MAX_PROMISES);
        let mut last = None;
        for booked in 1..=1_000 {
            let kept = waiting.kept(GATEWAY, &places(&[(1, booked)]));
            assert!(kept.is_some() && kept >= last && kept <= Some(Timestamp(booked)), "{booked}");
            last = kept;
        }
        assert_eq!(last, Some(Timestamp(1_000)));
    }
}
