//! What lanes promise of an organisation: never more than is true, whatever is open, unbooked or
//! killed.

use turnpike_domain::time::Timestamp;

use super::*;
use crate::board::{Promise, promise};
use crate::testing::full_disk;

impl House {
    fn promise(&self, org: OrgId) -> Option<Promise> {
        promise(&self.board.read()?, org)
    }

    /// The promise after a summary of every lane, in milliseconds of the day.
    async fn told(&self, org: OrgId) -> (u64, Vec<(u128, u64)>) {
        self.clock.sleep(2 * TICK_MS).await;
        let Promise { complete_to, spent } = self.promise(org).unwrap();
        let spent = spent.into_iter().map(|(epoch, number)| (epoch.0, number)).collect();
        (complete_to.since(DAY), spent)
    }

    fn now_ms(&self) -> u64 {
        self.clock.now().since(DAY)
    }
}

fn open(lane: &Rc<Lane>, request: u128, at: Timestamp) -> Box<Ticket> {
    lane.open(Opening { at, ..opening(ORG, request) }, Holds::default()).unwrap()
}

fn settle(ticket: Box<Ticket>) {
    ticket.settle(Outcome { observed: Observed::default(), status: 200, denial: None });
}

#[tokio::test(start_paused = true)]
async fn every_lane_is_in_the_promise_and_the_oldest_open_request_holds_it_back() {
    on_one_core(async {
        let house = House::new(MAX_BYTES, 2).await;
        let (one, two) = (house.lane(1), house.lane(2));
        house.send_as(0, &one, Vec::new());
        serve(&one, ORG, 1);
        house.clock.sleep(2 * TICK_MS).await;
        assert_eq!(house.promise(ORG), None, "the other lane has not spoken");
        house.send_as(1, &two, Vec::new());
        let (idle, spent) = house.told(ORG).await;
        assert_eq!(spent, [(1, 1)]);
        assert!((house.now_ms() - TICK_MS..=house.now_ms()).contains(&idle), "{idle}");

        let old = open(&two, 2, house.clock.now());
        let old_at = house.now_ms();
        house.clock.sleep(SECOND_MS).await;
        let young = open(&one, 3, house.clock.now());
        let young_at = house.now_ms();
        (4..=5).for_each(|request| serve(&two, ORG, request));
        assert_eq!(house.told(ORG).await, (old_at, vec![(1, 1), (2, 2)]));
        settle(old);
        assert_eq!(house.told(ORG).await, (young_at, vec![(1, 1), (2, 3)]));
        settle(young);
        let (complete_to, spent) = house.told(ORG).await;
        assert!(complete_to > young_at);
        assert_eq!(spent, [(1, 2), (2, 3)]);
        let (_, spent) = house.told(OTHER).await;
        assert_eq!(spent, [], "whom nobody served there is nothing to wait for");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn no_request_is_older_than_what_was_promised() {
    on_one_core(async {
        let mut house = House::new(MAX_BYTES, 1).await;
        let lane = house.lane(1);
        house.send(&lane, Vec::new());
        let (promised, _) = house.told(ORG).await;
        // The mirror's time was set back by a heartbeat that was long on its way.
        house.core.set_now(DAY);
        let ticket = open(&lane, 1, DAY);
        assert_eq!(house.told(ORG).await, (promised, vec![]), "time does not run backwards");
        settle(ticket);
        house.soon().await;
        assert!(records(&house.sent()[0])[0].at >= DAY.plus_ms(promised));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_a_killed_run_has_left_is_in_the_promises_of_the_next() {
    on_one_core(async {
        let house = House::new(MAX_BYTES, 1).await;
        let killed = house.lane(1);
        (1..=2).for_each(|request| serve(&killed, ORG, request));
        let running = killed.open(opening(ORG, 3), Holds::default()).unwrap();
        killed.written().unwrap();
        std::mem::forget(running);
        drop(killed);

        let older = take_over_all(house.folder.path(), MAX_BYTES).unwrap();
        let lane = house.lane(2);
        house.send(&lane, older);
        serve(&lane, ORG, 4);
        let (complete_to, spent) = house.told(ORG).await;
        assert_eq!(spent, [(1, 3), (2, 1)], "with the estimate of what was open");
        assert!(complete_to > 0);
        house.mark(1, 3, false, false).await;
        assert_eq!(house.told(ORG).await.1, [(1, 3), (2, 1)], "its end is still sent");
        house.mark(1, 3, true, false).await;
        assert_eq!(house.told(ORG).await.1, [(2, 1)]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn nothing_is_promised_of_what_a_crash_would_number_otherwise() {
    on_one_core(async {
        let house = House::new(MAX_BYTES, 1).await;
        let lane = house.lane(1);
        let disk = lane.with_epoch(|epoch| epoch.swap_file(full_disk()));
        serve(&lane, ORG, 1);
        assert!(lane.summary(DAY, &[]).is_none(), "the record is not in the file");
        assert_eq!(lane.written(), Err(Denial::Overloaded));
        lane.with_epoch(|epoch| epoch.swap_file(disk));
        assert_eq!(lane.written(), Ok(()));
        assert!(lane.summary(DAY, &[]).is_some());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_spool_can_be_watched() {
    on_one_core(async {
        let house = House::new(MAX_BYTES, 1).await;
        let lane = house.lane(1);
        house.send(&lane, Vec::new());
        let ticket = open(&lane, 1, house.clock.now());
        let open_answer = lane.open_answer();
        serve(&lane, ORG, 2);
        lane.tally.answered(200);
        house.clock.sleep(10 * SECOND_MS).await;
        let told = |name: &str| -> i64 {
            let text = house.metrics.text();
            let line =
                text.lines().find_map(|line| line.strip_prefix(&format!("turnpike_{name} ")));
            line.unwrap_or_else(|| panic!("{name}: {text}")).parse().unwrap()
        };
        assert_eq!(told("spool_max_bytes"), i64::try_from(MAX_BYTES).unwrap());
        assert!(told("spool_used_bytes") > 0);
        assert_eq!((told("requests_open"), told("answers_open")), (1, 1));
        assert_eq!(told("answers_total{status=\"2xx\"}"), 1);
        assert_eq!(told("spend_unbooked_age_ms"), 10_000);
        house.mark(1, 1, false, false).await;
        drop((ticket, open_answer));
        house.mark(1, 2, false, false).await;
        house.clock.sleep(SECOND_MS).await;
        assert_eq!((told("requests_open"), told("answers_open")), (0, 0));
        assert_eq!(told("spend_unbooked_age_ms"), 0);
    })
    .await;
}
