//! Holds that no word gives back: lost, ended, released; and thresholds that are told once.

use turnpike_domain::event::Event;
use turnpike_domain::id::LeaseId;
use turnpike_domain::limit::{Account, Limits, Unit};
use turnpike_domain::time::{DAY_MS, Reset, Window};
use turnpike_wire::authority::{EndRuns, LeaseCall};

use super::house::*;
use super::*;
use crate::ledger;

async fn calm() -> (House, Booker) {
    let house = House::new(stores::fresh()).await;
    let booker = house.owner().await;
    (house, booker)
}

fn ended(places: Vec<(EpochId, u64)>, torn: bool) -> EndRuns {
    EndRuns { run: EpochId(11), places, torn }
}

#[tokio::test(start_paused = true)]
async fn a_hold_without_proof_is_lost_and_late_records_settle_it() {
    let (house, mut booker) = calm().await;
    say(&mut booker, ask(LEASE, 1, 80, 80)).await;
    booker.book(&[spend(1, KEY, Some(LEASE), 10)], NOW).await.unwrap();
    booker.lose(ORG, GATEWAY).await.unwrap();
    booker.lose(ORG, GatewayId(2)).await.unwrap();
    for account in [OWN, TEAM, Account::Wallet] {
        assert_eq!(house.money(account).await, (10, 0, 70));
    }
    booker.book(&[spend(2, KEY, Some(LEASE), 25)], NOW).await.unwrap();
    assert_eq!(house.money(TEAM).await, (35, 0, 45));
    // The gateway is back and says what it still needs; then it needs another lease.
    assert_eq!(say(&mut booker, ask(LEASE, 2, 40, 40)).await.total, 40);
    assert_eq!(house.money(OWN).await, (35, 0, 5));
    assert!(say(&mut booker, ask(LEASE, 3, 60, 60)).await.refused.is_some());
    assert_eq!(say(&mut booker, ask(LeaseId(5), 1, 60, 60)).await.total, 60);
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_run_frees_what_it_held_once_all_is_booked() {
    let (house, mut booker) = calm().await;
    for lease in 0..700 {
        say(&mut booker, ask(LeaseId(lease), 1, i64::from(lease < 50), 0)).await;
    }
    let mine = LeaseCall { epoch: EpochId(11), ..ask(LEASE, 1, 7, 7).call };
    let mine = Ask { call: LeaseCall { lease: LeaseId(9_000), ..mine }, ..ask(LEASE, 1, 1, 1) };
    say(&mut booker, mine).await;
    let places = vec![(RUN, 1)];
    assert_eq!(booker.end_runs(ORG, GATEWAY, &ended(places.clone(), false)).await, Ok(false));
    assert_eq!(house.money(OWN).await, (0, 57, 0));
    booker.book(&[spend(1, KEY, Some(LeaseId(3)), 1)], NOW).await.unwrap();
    for _ in 0..2 {
        let ended = booker.end_runs(ORG, GATEWAY, &ended(places.clone(), false)).await;
        assert_eq!(ended, Ok(true));
        for account in [OWN, TEAM, Account::Wallet] {
            assert_eq!(house.money(account).await, (1, 7, 0));
        }
    }
    // The same said by the run before, arriving late, ends nobody.
    let late = EndRuns { run: RUN, places, torn: false };
    assert_eq!(booker.end_runs(ORG, GATEWAY, &late).await, Ok(true));
    assert_eq!(house.money(OWN).await, (1, 7, 0));
}

#[tokio::test(start_paused = true)]
async fn what_a_torn_run_held_is_lost_until_a_person_releases_it() {
    for unreadable in [false, true] {
        let (house, mut booker) = calm().await;
        say(&mut booker, ask(LEASE, 1, 30, 30)).await;
        say(&mut booker, ask(LeaseId(5), 1, 20, 20)).await;
        if unreadable {
            let mut delivery = spend(1, KEY, Some(LEASE), 1);
            delivery.batch.records[0].0 = b"\xff".to_vec();
            booker.book(&[delivery], NOW).await.unwrap();
        }
        let torn = ended(vec![(RUN, u64::from(unreadable))], !unreadable);
        assert_eq!(booker.end_runs(ORG, GATEWAY, &torn).await, Ok(true));
        assert_eq!(house.money(TEAM).await, (0, 0, 50));
        // The next run knows nothing of it.
        let next = EndRuns { run: EpochId(12), ..ended(vec![], false) };
        assert_eq!(booker.end_runs(ORG, GATEWAY, &next).await, Ok(true));
        assert_eq!(house.money(TEAM).await, (0, 0, 50));
        let release =
            Release { seq: 9, gateway: GATEWAY, account: TEAM, unit: Unit::Usd, amount: 35 };
        for release in [
            Release {
                account: Account::Project(turnpike_domain::id::ProjectId(8)),
                seq: 7,
                ..release
            },
            Release { unit: Unit::Tokens, seq: 8, ..release },
            release,
            release,
            Release { seq: 3, ..release },
        ] {
            booker.release(ORG, release).await.unwrap();
        }
        for account in [OWN, TEAM, Account::Wallet] {
            assert_eq!(house.money(account).await, (0, 0, 15));
        }
        booker.book(&[spend(2, KEY, Some(LEASE), 15)], NOW).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_running_hold_is_not_released_by_hand() {
    let (house, mut booker) = calm().await;
    say(&mut booker, ask(LEASE, 1, 30, 30)).await;
    let release = Release { seq: 9, gateway: GATEWAY, account: OWN, unit: Unit::Usd, amount: 35 };
    booker.release(ORG, release).await.unwrap();
    assert_eq!(house.money(OWN).await, (0, 30, 0));
}

#[tokio::test(start_paused = true)]
async fn each_threshold_is_told_once() {
    let (house, mut booker) = calm().await;
    booker.book(&[spend(1, KEY, None, 60)], NOW).await.unwrap();
    booker.book(&[spend(2, KEY, None, 30), spend(3, KEY, None, 20)], NOW).await.unwrap();
    assert_eq!(booker.take_dues().len(), 3, "50, 80 and the end");
    let told = house.tell().await;
    assert!(
        matches!(
            told[..],
            [
                Event::AlertRaised { percent: 50, .. },
                Event::AlertRaised { percent: 80, .. },
                Event::QuotaHit { account: OWN, settled: 110, cap: 100, .. }
            ]
        ),
        "{told:?}"
    );
    booker.book(&[spend(4, KEY, None, 5)], NOW).await.unwrap();
    assert_eq!(house.tell().await, []);
    // A raised cap reopens it; a cap lowered below what is used closes it without a booking.
    let accounts = [(OWN, Unit::Usd)];
    house.limit(KEY, capped(1_000)).await;
    booker.recheck(ORG, &accounts, NOW).await.unwrap();
    assert_eq!(house.tell().await, []);
    let streams = house.executor.streams();
    let exhausted = async || {
        let read = |state: &turnpike_domain::state::Organisation| state.is_exhausted(KEY, NOW);
        streams.organisation(ORG, read).await.unwrap()
    };
    assert!(!exhausted().await);
    house.limit(KEY, capped(115)).await;
    for _ in 0..2 {
        booker.recheck(ORG, &accounts, NOW).await.unwrap();
    }
    let told = house.tell().await;
    assert!(matches!(told[..], [_, _, Event::QuotaHit { revision: 3, .. }]), "{told:?}");
    assert!(exhausted().await);
}

#[tokio::test(start_paused = true)]
async fn a_lowered_cap_is_looked_at_in_the_window_that_another_clock_has_begun() {
    let (house, mut booker) = calm().await;
    house.limit(KEY, Limits { reset: Reset::Daily, ..capped(1_000) }).await;
    // The authority before this one had a clock that is ahead, and so the row is tomorrow's.
    let tomorrow = Timestamp(Reset::Daily.window(NOW).0).plus_ms(DAY_MS);
    booker.hear(&[ask(LEASE, 1, 200, 200)], tomorrow).await.unwrap();
    booker.book(&[spend(1, KEY, Some(LEASE), 200)], NOW).await.unwrap();
    assert_eq!(booker.take_dues(), []);
    house.limit(KEY, Limits { reset: Reset::Daily, ..capped(100) }).await;
    booker.recheck(ORG, &[(OWN, Unit::Usd)], NOW).await.unwrap();
    let dues = booker.take_dues();
    assert!(!dues.is_empty());
    assert!(dues.iter().all(|(_, due)| due.window == Window(tomorrow.0)), "{dues:?}");
}

#[tokio::test(start_paused = true)]
async fn a_due_row_that_means_nothing_any_more_is_gone_without_an_event() {
    let (house, mut booker) = calm().await;
    booker.book(&[spend(1, KEY, None, 100)], NOW).await.unwrap();
    house.limit(KEY, capped(900)).await;
    assert_eq!(house.tell().await, []);
    let (_, due) = booker.take_dues()[0];
    assert_eq!(house.executor.tell_due(ORG, due).await, Ok(None), "told already");
}

#[tokio::test(start_paused = true)]
async fn thresholds_of_a_lost_answer_are_told_once_it_is_known_to_have_landed() {
    let hostile = Arc::new(Hostile::default());
    let house = House::new(Arc::<Hostile>::clone(&hostile)).await;
    let mut booker = house.owner().await;
    hostile.lose_next();
    assert!(booker.book(&[spend(1, KEY, None, 100)], NOW).await.is_err());
    assert!(booker.take_dues().is_empty());
    hostile.land_all().await;
    booker.book(&[spend(2, OTHER, None, 1)], NOW).await.unwrap();
    assert_eq!(booker.take_dues().len(), 3);
    assert_eq!(house.tell().await.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_would_cross_too_much_books_less() {
    let (house, mut booker) = calm().await;
    let limits = Limits { alert_percent: (1..=100).collect(), tokens: Some(1), ..capped(1) };
    for key in 0..100_u128 {
        house.make(KeyId(1_000 + key), limits.clone(), None).await;
    }
    let mut delivery = spend(1, KEY, None, 1);
    for number in 0..99_u64 {
        let key = KeyId(1_000 + u128::from(number));
        delivery.batch.records.extend(spend(number + 2, key, None, 5).batch.records);
    }
    let mut place = 0;
    while place < 100 {
        let answer = booker.book(std::slice::from_ref(&delivery), NOW).await.unwrap()[0];
        assert!(answer.fresh > 0 && answer.fresh < 100, "{answer:?}");
        place = answer.place.number;
    }
    assert_eq!(booker.take_dues().len(), 99 * 202);
    let row = house.row(Account::Wallet, Unit::Usd, Window(0)).await;
    assert_eq!(row.settled, 1 + 99 * 5);
}

#[tokio::test(start_paused = true)]
async fn figures_show_the_present_window_with_its_cap() {
    let (house, mut booker) = calm().await;
    say(&mut booker, ask(LEASE, 1, 30, 30)).await;
    booker.book(&[spend(1, KEY, Some(LEASE), 20)], NOW).await.unwrap();
    let state = house.executor.streams().organisation(ORG, Clone::clone).await.unwrap();
    let snapshot = house.kv.snapshot().await.unwrap();
    let figures = async |unit| ledger::figures(&*snapshot, &state, OWN, unit, NOW).await.unwrap();
    let (money, tokens) = (figures(Unit::Usd).await, figures(Unit::Tokens).await);
    assert_eq!((money.cap, money.settled, money.held, money.revision), (Some(100), 20, 10, 1));
    assert_eq!((tokens.cap, tokens.settled, tokens.held), (None, 10, 0));
}

/// A record that is spoilt, but says where it was admitted and what it had reserved there.
fn spoilt(number: u64, lease: Option<LeaseId>, reserved: i64) -> Delivery {
    let mut delivery = spend(number, KEY, lease, 1);
    let record = form::decode(&delivery.batch.records[0].0).unwrap();
    let (cost, reserved) = (NanoUsd(-1), NanoUsd(reserved));
    let record = Spend { cost, reserved, reserved_tokens: 40, ..record };
    delivery.batch.records[0].0 = form::encode(&record);
    delivery
}

#[tokio::test(start_paused = true)]
async fn what_a_record_held_that_cannot_be_read_is_lost_at_once_and_no_more() {
    let (house, mut booker) = calm().await;
    say(&mut booker, ask(LEASE, 1, 60, 60)).await;
    booker.book(&[spend(1, KEY, Some(LEASE), 10), spoilt(2, Some(LEASE), 30)], NOW).await.unwrap();
    for account in [OWN, TEAM, Account::Wallet] {
        assert_eq!(house.money(account).await, (10, 20, 30));
    }
    // Its gateway counts thirty as spent: that is not granted again, and not given back.
    assert_eq!(say(&mut booker, ask(LEASE, 2, 40, 40)).await.total, 40);
    assert_eq!(house.money(TEAM).await, (10, 0, 30));
    let refused = say(&mut booker, ask(LeaseId(5), 1, 61, 61)).await.refused;
    assert!(refused.is_some(), "ten are settled and thirty lost of a hundred");
    let snapshot = house.kv.snapshot().await.unwrap();
    let lost = ledger::lost(&*snapshot, ORG).await.unwrap();
    assert!(matches!(lost[..], [ledger::LostHold { account: OWN, amount: 30, .. }]), "{lost:?}");
    // More than is held cannot have been reserved, and who held nothing loses nothing.
    booker.book(&[spoilt(3, Some(LEASE), 30), spoilt(4, None, 30)], NOW).await.unwrap();
    booker.book(&[spoilt(5, Some(LeaseId(6)), 30)], NOW).await.unwrap();
    assert_eq!(house.money(OWN).await, (10, 0, 30));
    // The end of the run frees the rest; what nobody knows goes only by hand.
    say(&mut booker, ask(LeaseId(7), 1, 5, 5)).await;
    assert_eq!(booker.end_runs(ORG, GATEWAY, &ended(vec![(RUN, 5)], false)).await, Ok(true));
    assert_eq!(house.money(OWN).await, (10, 0, 30));
    let release = Release { seq: 9, gateway: GATEWAY, account: OWN, unit: Unit::Usd, amount: 30 };
    booker.release(ORG, release).await.unwrap();
    assert_eq!(house.money(Account::Wallet).await, (10, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_release_reaches_every_lease_of_its_gateway() {
    let (house, mut booker) = calm().await;
    for lease in 0..700 {
        let ask = ask(LeaseId(lease), 1, 1, 1);
        say(&mut booker, Ask { call: LeaseCall { key: OTHER, ..ask.call }, ..ask }).await;
    }
    booker.lose(ORG, GATEWAY).await.unwrap();
    let account = Account::Key(OTHER);
    assert_eq!(house.money(account).await, (0, 0, 700));
    let release = Release { seq: 9, gateway: GATEWAY, account, unit: Unit::Usd, amount: 690 };
    // An owner that dies in the midst of it is followed by one that does the rest.
    assert_eq!(booker.release_page(ORG, release).await, Ok(false));
    let mut booker = house.owner().await;
    for _ in 0..2 {
        booker.release(ORG, release).await.unwrap();
        assert_eq!(house.money(account).await, (0, 0, 10));
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_of_which_nothing_is_held_goes_a_day_after_its_window() {
    let (house, mut booker) = calm().await;
    house.limit(KEY, Limits { reset: Reset::Daily, ..capped(100) }).await;
    say(&mut booker, ask(LEASE, 1, 10, 10)).await;
    say(&mut booker, ask(LeaseId(5), 1, 10, 10)).await;
    booker.book(&[spend(1, KEY, Some(LEASE), 10)], NOW).await.unwrap();
    let endless = ask(LeaseId(6), 1, 1, 1);
    let endless = Ask { call: LeaseCall { key: OTHER, ..endless.call }, ..endless };
    say(&mut booker, endless).await;
    booker.book(&[spend(2, OTHER, Some(LeaseId(6)), 1)], NOW).await.unwrap();
    let stand = async || {
        let key = |lease| keyspace::lease(ORG, GATEWAY, LeaseId(lease), Unit::Usd);
        let snapshot = house.kv.snapshot().await.unwrap();
        let rows = [key(LEASE.0), key(5), key(6)].map(|key| (Arc::clone(&snapshot), key));
        let mut stand = Vec::new();
        for (snapshot, key) in rows {
            stand.push(snapshot.get(&key).await.unwrap().is_some());
        }
        stand
    };
    let ends = Timestamp(Reset::Daily.window(NOW).0).plus_ms(DAY_MS);
    for (at, expected) in [(ends.plus_ms(DAY_MS - 1), true), (ends.plus_ms(DAY_MS), false)] {
        assert_eq!(booker.forget_past(ORG, None, at).await, Ok(None));
        assert_eq!(stand().await, [expected, true, true]);
    }
    // The hold of the other is proven by its record, whenever that comes.
    booker.book(&[spend(3, KEY, Some(LeaseId(5)), 10)], NOW).await.unwrap();
    assert_eq!(booker.forget_past(ORG, None, ends.plus_ms(DAY_MS)).await, Ok(None));
    assert_eq!(stand().await, [false, false, true]);
    let row = house.row(OWN, Unit::Usd, Reset::Daily.window(NOW)).await;
    assert_eq!((row.settled, row.held), (20, 0));
}
