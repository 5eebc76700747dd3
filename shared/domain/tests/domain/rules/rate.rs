//! Rates at their authority: what is granted, what comes back, who is next.

use turnpike_domain::id::{EpochId, GatewayId};
use turnpike_domain::limit::{Account, Limits};
use turnpike_domain::rate::{
    Amount, Answer, Ask, COUNTS_MS, Grant, Heard, Hearing, Look, PERMIT_MS, Permits, Rate, Rates,
    Report, Returned, Ring, WINDOW_MS,
};

const RATE: Rate = Rate { requests: Some(10), tokens: None, seq: 1 };

fn who(gateway: u128) -> (GatewayId, EpochId) {
    (GatewayId(gateway), EpochId(1))
}

fn requests(requests: u64) -> Amount {
    Amount { requests, tokens: 0 }
}

fn ask(batch: u64, wanted: u64) -> Ask {
    Ask { batch, wanted: requests(wanted), waits: Some(0), rate: RATE, returned: Vec::new() }
}

#[test]
fn a_permit_counts_until_a_window_after_its_end_and_not_a_moment_longer() {
    let mut ring = Ring::default();
    assert_eq!(ring.ask(who(1), &ask(1, 8), 1_000), (requests(8), None));
    assert_eq!(ring.ask(who(2), &ask(1, 8), 2_000), (requests(2), None));
    let wait_ms = COUNTS_MS - 2_000;
    assert_eq!(ring.ask(who(2), &ask(2, 1), 3_000), (Amount::NONE, Some(wait_ms)));
    let end_ms = 1_000 + PERMIT_MS + WINDOW_MS;
    assert_eq!(ring.left(end_ms - 1).free.requests, 0);
    assert_eq!(ring.left(end_ms).free.requests, 8);
    assert_eq!(ring.left(end_ms).reset_ms, 1_000);
    assert!(ring.is_idle(end_ms + COUNTS_MS + 2_000));
}

#[test]
fn an_ask_that_is_repeated_or_overtaken_is_granted_once() {
    let mut ring = Ring::default();
    assert_eq!(ring.ask(who(1), &ask(2, 3), 0).0, requests(3));
    assert_eq!(ring.ask(who(1), &ask(2, 3), 1), (Amount::NONE, None));
    assert_eq!(ring.ask(who(1), &ask(1, 3), 2), (Amount::NONE, None));
    assert_eq!(ring.left(3).free.requests, 7);
    let other_run = (GatewayId(1), EpochId(2));
    assert_eq!(ring.ask(other_run, &ask(1, 3), 4).0, requests(3));
}

#[test]
fn what_a_batch_did_not_use_is_said_in_all_and_counts_once() {
    let mut ring = Ring::default();
    let rate = Rate { requests: Some(10), tokens: Some(1_000), seq: 1 };
    let wanted = Amount { requests: 5, tokens: 500 };
    let first = Ask { batch: 1, wanted, waits: Some(100), rate, returned: Vec::new() };
    assert_eq!(ring.ask(who(1), &first, 0).0, wanted);
    let cases = [
        (2, 2, 100, (7, 600)),
        (3, 2, 100, (7, 600)),
        (4, 5, 500, (10, 1_000)),
        (5, 9, 900, (10, 1_000)),
        (6, 0, -200, (5, 300)),
    ];
    for (batch, requests, tokens, left) in cases {
        let returned = vec![Returned { batch: 1, requests, tokens }];
        let say = Ask { batch, wanted: Amount::NONE, waits: None, rate, returned };
        assert_eq!(ring.ask(who(1), &say, 1), (Amount::NONE, None));
        let free = ring.left(1).free;
        assert_eq!((free.requests, free.tokens), left, "word {batch}");
        // Another gateway cannot give it back, and nobody a batch that is not there.
        let foreign = Ask { batch, ..say.clone() };
        ring.ask(who(2), &foreign, 1);
        assert_eq!(ring.left(1).free, free);
    }
}

#[test]
fn the_longest_waiter_is_served_first_and_keeps_its_place_for_a_moment() {
    let mut ring = Ring::default();
    assert_eq!(ring.ask(who(1), &ask(1, 10), 0).0, requests(10));
    for (gateway, now_ms) in [(2, 10), (3, 20), (4, 30)] {
        assert_eq!(ring.ask(who(gateway), &ask(1, 5), now_ms).0, Amount::NONE);
    }
    let returned = vec![Returned { batch: 1, requests: 2, tokens: 0 }];
    let give_back = Ask { wanted: Amount::NONE, waits: None, returned, ..ask(2, 0) };
    ring.ask(who(1), &give_back, 40);
    assert_eq!(ring.ask(who(4), &ask(2, 5), 50).0, Amount::NONE, "two wait ahead");
    assert_eq!(ring.ask(who(3), &ask(2, 5), 60).0, requests(1), "one is kept for the first");
    assert_eq!(ring.ask(who(2), &ask(2, 5), 70).0, requests(1));
    // The fourth was told to come back when the first batch ends, and has two seconds more.
    let kept = |now_ms| {
        let mut ring = ring.clone();
        ring.ask(who(5), &ask(1, 10), now_ms).0
    };
    assert_eq!(kept(COUNTS_MS + 1_900), requests(9));
    assert_eq!(kept(COUNTS_MS + 2_100), requests(10));
}

#[test]
fn those_who_wait_behind_leave_the_first_its_part() {
    let mut ring = Ring::default();
    ring.ask(who(1), &ask(1, 10), 0);
    for gateway in [2, 3] {
        ring.ask(who(gateway), &ask(1, 10), 10);
    }
    assert_eq!(ring.ask(who(2), &ask(2, 10), COUNTS_MS).0, requests(5));
    assert_eq!(ring.ask(who(3), &ask(2, 10), COUNTS_MS).0, requests(5));
}

#[test]
fn the_rate_of_the_newest_event_is_in_force() {
    let mut ring = Ring::default();
    let with = |batch, limit, seq| {
        let rate = Rate { requests: Some(limit), tokens: None, seq };
        Ask { rate, ..ask(batch, 100) }
    };
    assert_eq!(ring.ask(who(1), &with(1, 4, 7), 0).0, requests(4));
    assert_eq!(ring.ask(who(2), &with(1, 50, 6), 1).0, Amount::NONE, "an older event");
    assert_eq!(ring.ask(who(2), &with(2, 5, 8), 2).0, requests(1));
    assert_eq!(ring.ask(who(1), &with(2, 2, 9), 3).0, Amount::NONE, "lowered below what counts");
    assert_eq!(Rate::of(&Limits::default(), 1), None);
}

#[test]
fn who_looks_sees_what_counts_and_takes_nothing() {
    let mut ring = Ring::default();
    let look = |ring: &mut Ring, now_ms| ring.look(RATE, 0, now_ms);
    let nothing = Look { free: Amount { requests: 10, tokens: u64::MAX }, ..Look::default() };
    assert_eq!(look(&mut ring, 0), nothing);
    assert_eq!(ring.ask(who(1), &ask(1, 6), 0).0, requests(6));
    assert_eq!(ring.ask(who(2), &ask(1, 3), 2_000).0, requests(3));
    let seen = look(&mut ring, 2_999);
    assert_eq!((seen.counted, seen.out), (requests(9), requests(3)), "the first batch has ended");
    assert_eq!((seen.free.requests, seen.waiting, seen.next_ms), (1, 0, 0));
    assert_eq!(seen.reset_ms, COUNTS_MS - 999);
    assert_eq!(look(&mut ring, 3_000).out, Amount::NONE);
    // One waits and is kept the last; a newcomer's turn comes when the first batch counts no more.
    assert_eq!(ring.ask(who(3), &ask(1, 1), 3_000).0, requests(1));
    assert_eq!(ring.ask(who(4), &ask(1, 1), 3_000), (Amount::NONE, Some(COUNTS_MS - 3_000)));
    let seen = look(&mut ring, 3_000);
    assert_eq!((seen.free.requests, seen.waiting), (0, 1));
    assert_eq!(seen.next_ms, COUNTS_MS - 3_000);
    assert_eq!(look(&mut ring, 3_000), seen, "to look changes nothing");
    assert_eq!(ring.ask(who(4), &ask(2, 1), COUNTS_MS).0, requests(1));
    // The newest event's limit, also where nobody has asked under it; tokens up to the limit.
    let raised = Rate { requests: None, tokens: Some(1_000), seq: 2 };
    let seen = ring.look(raised, 5_000, COUNTS_MS);
    assert_eq!((seen.free, seen.next_ms), (Amount { requests: u64::MAX, tokens: 1_000 }, 0));
}

#[test]
fn a_new_owner_has_nothing_to_show_before_all_have_reported() {
    let account = Account::Wallet;
    let mut rates = Rates::new(0);
    let others = [GatewayId(1)];
    assert_eq!(rates.look(&others, (account, RATE, 0), 1), None);
    let used = vec![(account, vec![(1_000, requests(4))])];
    let hearing = Hearing { who: who(1), now_ms: 2, others: &others };
    assert!(rates.report(hearing, &Report { part: 0, last: true, used }));
    let seen = rates.look(&others, (account, RATE, 0), 3).unwrap();
    assert_eq!((seen.counted, seen.out), (requests(4), Amount::NONE), "it has ended");
    assert!(!rates.tidy(3) && rates.tidy(200_000), "to look keeps nothing");
}

#[test]
fn a_report_in_parts_begins_again_when_one_is_missing() {
    let account = Account::Wallet;
    let mut rates = Rates::new(0);
    let others = [GatewayId(1)];
    let at = |now_ms| Hearing { who: who(1), now_ms, others: &others };
    let part = |part, last, requests: u64| {
        let used = vec![(account, vec![(59_000, Amount { requests, tokens: 0 })])];
        Report { part, last, used }
    };
    assert_eq!(rates.ask(at(1), account, &ask(1, 1)), Answer::Gathering { report: true });
    assert!(rates.report(at(2), &part(0, false, 5)));
    assert!(!rates.report(at(3), &part(2, true, 1)), "the second part is missing");
    assert!(rates.report(at(4), &part(0, false, 3)));
    assert!(rates.report(at(5), &part(1, true, 4)));
    assert!(!rates.is_complete());
    let permitted =
        |rates: &mut Rates, batch, now_ms| match rates.ask(at(now_ms), account, &ask(batch, 10)) {
            Answer::Permitted { amount, .. } => amount.requests,
            Answer::Gathering { .. } => panic!("all has been reported"),
        };
    assert_eq!(permitted(&mut rates, 2, 6), 3, "the first report was replaced");
    assert!(rates.report(at(7), &part(0, true, 9)), "it comes too late to change anything");
    assert_eq!(permitted(&mut rates, 3, 1_010), 7, "what was used 59 s before is over");
    assert!(!rates.tidy(2_000) && rates.tidy(200_000));
}

#[test]
fn a_gateway_knows_its_own_minute_and_hears_only_its_newest_ask_of_the_highest_fence() {
    let mut permits = Permits::default();
    let first = permits.ask(RATE, requests(4), Some(0), 0);
    let second = permits.ask(RATE, requests(4), Some(0), 100);
    assert_eq!(second.returned, [Returned { batch: first.batch, requests: 4, tokens: 0 }]);
    assert_eq!(permits.hear(5, first.batch, requests(4), 110), Heard::Stale);
    let grant = Grant { batch: second.batch, amount: requests(4), ends_ms: 100 + PERMIT_MS };
    assert_eq!(permits.hear(4, second.batch, requests(4), 120), Heard::Granted(grant));
    let third = permits.ask(RATE, requests(1), None, 200);
    assert_eq!(permits.hear(3, third.batch, requests(1), 210), Heard::Stale, "of an older owner");
    assert_eq!(permits.hear(4, third.batch, requests(1), 1_200), Heard::Nothing, "it has ended");
    assert_eq!(permits.used(), requests(4));
    assert_eq!(
        permits.fall_back(RATE, 2, requests(9), 1_300).map(|one| one.amount),
        Some(requests(1))
    );
    assert_eq!(permits.fall_back(RATE, 2, requests(9), 1_400), None, "five are its share");
    let ends_ms = 100 + PERMIT_MS + WINDOW_MS - 1_400;
    assert_eq!(permits.frees_ms(Rate { requests: Some(5), ..RATE }, 0, 700, 1_400), ends_ms);
    assert_eq!(permits.frees_ms(RATE, 0, 700, 1_400), 700, "an authority may have room");
    assert_eq!(permits.report(3_100), [(2_000, requests(4)), (800, requests(1))]);
    assert!(permits.lapse(3_000 + WINDOW_MS));
}
