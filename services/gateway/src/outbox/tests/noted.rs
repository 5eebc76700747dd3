//! Records of requests that were never admitted: numbered with the others, and bounded.

use turnpike_domain::admit::Denial;

use super::*;

/// A refusal of a key.
fn refusal(request: u128, key: u128, denial: Denial) -> Spend {
    let estimate = opening(ORG, request).with_estimate(Spend::clone);
    Spend {
        key: KeyId(key),
        status: denial.status(),
        denial: Some(denial),
        unmetered: true,
        cost: NanoUsd(0),
        reserved: NanoUsd(0),
        usage: Usage::default(),
        ..estimate
    }
}

/// All records of a lane that were not taken yet.
fn taken(lane: &Rc<Lane>) -> Vec<Spend> {
    let waiting = lane.with_epoch(|epoch| {
        epoch.flush().unwrap();
        epoch.take_waiting(100, 0)
    });
    let records = waiting.iter().flat_map(|one| &one.records);
    records.map(|bytes| spend::decode(bytes).unwrap()).collect()
}

/// How many requests the records stand for.
fn requests(records: &[Spend]) -> u64 {
    records.iter().map(|record| u64::from(record.repeats) + 1).sum()
}

#[tokio::test(start_paused = true)]
async fn refusals_and_spend_are_numbered_as_one_and_no_crash_doubles_them() {
    let house = House::new(MAX_BYTES, 1).await;
    let lane = house.lane(1);
    serve(&lane, ORG, 1);
    lane.note(ORG, refusal(2, 1, Denial::RateLimited));
    serve(&lane, ORG, 3);
    let numbered = |waiting: &[Waiting]| -> Vec<u128> {
        let records = waiting.iter().flat_map(|one| &one.records);
        records.map(|bytes| spend::decode(bytes).unwrap().request.0).collect()
    };
    let waiting = lane.with_epoch(|epoch| {
        epoch.flush().unwrap();
        epoch.take_waiting(100, 0)
    });
    assert_eq!((waiting[0].first, numbered(&waiting)), (1, vec![1, 2, 3]));
    drop(lane);
    let mut older = take_over_all(house.folder.path(), MAX_BYTES).unwrap();
    let again = older[0].take_waiting(100, 0);
    assert_eq!((again[0].first, numbered(&again)), (1, vec![1, 2, 3]));
}

#[tokio::test(start_paused = true)]
async fn a_flood_shares_one_record_of_each_end_when_the_second_is_over() {
    let house = House::new(MAX_BYTES, 1).await;
    let lane = house.lane(1);
    for request in 0..1_000 {
        let denial = if request % 4 == 0 { Denial::QuotaExceeded } else { Denial::RateLimited };
        lane.note(ORG, refusal(request, 1, denial));
    }
    let first = taken(&lane);
    assert_eq!((first.len(), requests(&first)), (10, 10));
    house.clock.sleep(SECOND_MS).await;
    lane.note(ORG, refusal(1_000, 1, Denial::RateLimited));
    let mut second = taken(&lane);
    let own = second.pop().unwrap();
    assert_eq!((own.request, own.repeats), (RequestId(1_000), 0), "a new second is a new chance");
    let mut ends: Vec<_> = second.iter().map(|one| (one.denial.unwrap(), one.repeats)).collect();
    ends.sort_unstable();
    assert_eq!(requests(&second), 990, "none is lost: {ends:?}");
    assert_eq!(ends, [(Denial::QuotaExceeded, 246), (Denial::RateLimited, 742)]);
    assert_eq!(lane.open_requests(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_many_keys_is_counted_where_it_is_not_logged() {
    on_one_core(async {
        let house = House::new(MAX_BYTES, 1).await;
        let lane = house.lane(1);
        for key in 0..10_000 {
            lane.note(ORG, refusal(key, key, Denial::KeyDisabled));
        }
        lane.end_second();
        let mut logged = Vec::new();
        while let records = taken(&lane)
            && !records.is_empty()
        {
            logged.extend(records);
        }
        assert_eq!((logged.len(), requests(&logged)), (1_000, 1_000));
        house.send(&lane, Vec::new());
        house.soon().await;
        let text = house.metrics.text();
        let counted = "turnpike_requests_unlogged_total 9000";
        assert!(text.lines().any(|line| line == counted), "{text}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn half_of_the_spool_is_kept_for_what_costs() {
    let house = House::new(64 << 10, 1).await;
    let lane = house.lane(1);
    for second in 0..100_u128 {
        for request in 0..10 {
            lane.note(ORG, refusal(second * 10 + request, 1, Denial::RateLimited));
        }
        house.clock.sleep(SECOND_MS).await;
    }
    let noted = lane.with_epoch(|epoch| {
        epoch.flush().unwrap();
        assert!(epoch.used_bytes() <= 32 << 10, "{}", epoch.used_bytes());
        epoch.unbooked()
    });
    assert!((50..1_000).contains(&noted), "{noted}");
    for request in 2_000..2_010 {
        serve(&lane, ORG, request);
    }
    let left = lane.with_epoch(|epoch| epoch.unbooked());
    assert_eq!(left, noted + 10, "what costs still finds its room");
}

#[tokio::test(start_paused = true)]
async fn what_a_second_shares_is_sent_without_another_request_and_before_the_end() {
    on_one_core(async {
        let mut house = House::new(MAX_BYTES, 1).await;
        let lane = house.lane(1);
        house.send(&lane, Vec::new());
        (0..15).for_each(|request| lane.note(ORG, refusal(request, 1, Denial::RateLimited)));
        house.clock.sleep(2 * SECOND_MS).await;
        let sent: Vec<Spend> = house.sent().iter().flat_map(records).collect();
        assert_eq!((sent.len(), requests(&sent)), (11, 15));
        (20..35).for_each(|request| lane.note(ORG, refusal(request, 1, Denial::RateLimited)));
        let finish = house.tasks.drain(&house.clock, 10 * SECOND_MS);
        finish.await;
        let sent: Vec<Spend> = house.sent().iter().flat_map(records).collect();
        let last = sent.iter().filter(|record| record.request.0 >= 20).count();
        assert!(last >= 11, "{last}");
    })
    .await;
}
