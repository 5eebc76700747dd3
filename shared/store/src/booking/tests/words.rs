//! Words on leases: every level moves at once, and what is refused changes nothing.

use std::sync::Mutex;

use turnpike_domain::command::{Command, KeyPatch};
use turnpike_domain::event::{Event, Record};
use turnpike_domain::id::LeaseId;
use turnpike_domain::ledger::Refused;
use turnpike_domain::limit::{Account, Limits, Unit};
use turnpike_domain::time::{DAY_MS, Reset, Window};
use turnpike_wire::authority::{EndRuns, LeaseCall};

use super::house::*;
use super::*;

async fn calm() -> (House, Booker) {
    let house = House::new(stores::fresh()).await;
    let booker = house.owner().await;
    (house, booker)
}

#[tokio::test(start_paused = true)]
async fn a_grant_moves_every_level_of_its_path() {
    let (house, mut booker) = calm().await;
    let answer = say(&mut booker, ask(LEASE, 1, 80, 10)).await;
    // A quarter of what the key has left, for it is one of two gateways.
    assert_eq!((answer.n, answer.total, answer.refused), (1, 25, None));
    let path = [(OWN, Window(0)), (TEAM, Window(0)), (Account::Wallet, Window(0))];
    assert_eq!((answer.path.as_slice(), answer.ends_at), (path.as_slice(), None));
    assert_eq!(answer.fence, booker.term.fence());
    for account in [OWN, TEAM, Account::Wallet] {
        assert_eq!(house.money(account).await, (0, 25, 0));
    }
    // Repeated, and overtaken by a newer one.
    assert_eq!(say(&mut booker, ask(LEASE, 1, 80, 10)).await, answer);
    assert_eq!(say(&mut booker, ask(LEASE, 3, 5, 5)).await.total, 5);
    assert_eq!(say(&mut booker, ask(LEASE, 2, 90, 90)).await.total, 5);
    assert_eq!(house.money(TEAM).await, (0, 5, 0));
}

#[tokio::test(start_paused = true)]
async fn a_record_moves_its_lease_and_both_units_of_its_path() {
    let (house, mut booker) = calm().await;
    say(&mut booker, ask(LEASE, 1, 80, 80)).await;
    booker.book(&[spend(1, KEY, Some(LEASE), 30)], NOW).await.unwrap();
    for account in [OWN, TEAM, Account::Wallet] {
        assert_eq!(house.money(account).await, (30, 50, 0));
        assert_eq!(house.row(account, Unit::Tokens, Window(0)).await.settled, 10);
    }
    // Another process takes over: what it reads is what was kept in memory.
    house.clock.sleep(TAKE_OVER_MS).await;
    let mut next = house.owner().await;
    next.book(&[spend(2, KEY, Some(LEASE), 5)], NOW).await.unwrap();
    assert_eq!(house.money(OWN).await, (35, 45, 0));
    assert_eq!(booker.hear(&[ask(LEASE, 2, 0, 0)], NOW).await, Err(StoreError::Fenced));
    assert_eq!(say(&mut next, ask(LEASE, 2, 35, 35)).await.total, 35);
    assert_eq!(house.money(Account::Wallet).await, (35, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_record_without_a_lease_is_booked_on_the_path_of_its_key() {
    let (house, mut booker) = calm().await;
    let unknown = Some(LeaseId(77));
    booker.book(&[spend(1, KEY, None, 7), spend(2, KEY, unknown, 8)], NOW).await.unwrap();
    booker.book(&[spend(3, OTHER, None, 2)], NOW).await.unwrap();
    house.done(Command::DeleteKey { key: OTHER }).await;
    booker.book(&[spend(4, OTHER, None, 3)], NOW).await.unwrap();
    let money = async |account| house.money(account).await;
    assert_eq!((money(OWN).await, money(TEAM).await), ((15, 0, 0), (15, 0, 0)));
    assert_eq!(money(Account::Key(OTHER)).await, (5, 0, 0));
    assert_eq!(money(Account::Wallet).await, (20, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_record_without_a_lease_is_booked_where_its_key_was_when_it_was_admitted() {
    let (house, mut booker) = calm().await;
    let change = |patch| house.done(Command::ChangeKey { key: OTHER, patch: Box::new(patch) });
    let project = |project| KeyPatch { project: Some(project), ..KeyPatch::default() };
    let seq = |records: Vec<Record>| records.last().unwrap().seq;
    let inside = seq(change(project(Some(PROJECT))).await);
    let outside = seq(change(project(None)).await);
    let daily = Limits { reset: Reset::Daily, ..Limits::default() };
    let by_day = seq(house.limit(OTHER, daily).await);
    let mut number = 0;
    let mut admitted = |key_seq: u64, cost: i64| {
        number += 1;
        let usage = Usage { input: 6, output: 4, ..Usage::default() };
        let of = Spend { key: OTHER, key_seq, at: NOW, usage, ..record(number.into()) };
        one(number, &Spend { cost: NanoUsd(cost), ..of })
    };
    let ever = async |account| house.money(account).await.0;
    booker.book(&[admitted(inside, 7), admitted(outside, 2)], NOW).await.unwrap();
    assert_eq!((ever(TEAM).await, ever(Account::Key(OTHER)).await), (7, 9));
    booker.book(&[admitted(by_day, 4)], NOW).await.unwrap();
    let today = Reset::Daily.window(NOW);
    let own = house.row(Account::Key(OTHER), Unit::Usd, today).await;
    assert_eq!((own.settled, ever(Account::Key(OTHER)).await), (4, 9));

    // In another process, which has never seen the key.
    house.done(Command::DeleteKey { key: OTHER }).await;
    house.clock.sleep(TAKE_OVER_MS).await;
    let mut next = house.owner().await;
    next.book(&[admitted(inside, 1), admitted(by_day, 5)], NOW).await.unwrap();
    assert_eq!((ever(TEAM).await, ever(Account::Key(OTHER)).await), (8, 10));
    let own = house.row(Account::Key(OTHER), Unit::Usd, today).await;
    assert_eq!((own.settled, ever(Account::Wallet).await), (9, 19));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_names_the_account_and_changes_nothing() {
    let (house, mut booker) = calm().await;
    house.limit(KEY, capped(10_000)).await;
    say(&mut booker, ask(LEASE, 1, 400, 400)).await;
    let refused = say(&mut booker, ask(LeaseId(5), 1, 200, 200)).await;
    assert_eq!(refused.refused, Some(Refused::HeldElsewhere { account: TEAM }));
    let figures = refused.figures.unwrap();
    assert_eq!((figures.account, figures.cap, figures.held), (TEAM, Some(500), 400));
    assert_eq!((refused.n, refused.total), (0, 0));
    // The wait is over: the same word is heard when the hold has come back.
    say(&mut booker, ask(LEASE, 2, 100, 100)).await;
    assert_eq!(say(&mut booker, ask(LeaseId(5), 1, 200, 200)).await.total, 200);
    let answer = say(&mut booker, ask(LeaseId(5), 2, 900, 900)).await;
    let exhausted = Refused::Exhausted { account: TEAM, left: None, revision: 1 };
    assert_eq!(answer.refused, Some(exhausted));
    let fresh = ask(LeaseId(6), 1, 1, 1);
    let call = LeaseCall { key: KeyId(99), ..fresh.call.clone() };
    let unknown = Ask { call, ..fresh };
    let answer = say(&mut booker, unknown).await;
    assert_eq!((answer.refused, answer.path), (Some(Refused::Fenced), vec![]));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_near_the_cap_closes_the_budget_once() {
    let (house, mut booker) = calm().await;
    house.limit(KEY, Limits { alert_percent: vec![], ..capped(1_000_000) }).await;
    house.top_up(10_000_000).await;
    let limits = Some(Limits::default());
    house.done(Command::ChangeProject { project: PROJECT, name: None, limits }).await;
    booker.book(&[spend(1, KEY, None, 995_000)], NOW).await.unwrap();
    assert_eq!(house.tell().await, []);
    for n in 1..4 {
        let refused = say(&mut booker, ask(LEASE, n, 6_000, 6_000)).await.refused;
        assert_eq!(
            refused,
            Some(Refused::Exhausted { account: OWN, left: Some(5_000), revision: 2 })
        );
    }
    assert_eq!(booker.take_dues().len(), 1);
    let told = house.tell().await;
    assert!(matches!(told[..], [Event::QuotaHit { account: OWN, settled: 995_000, .. }]));
    assert!(booker.take_dues().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_lowered_cap_and_a_grant_never_pass_each_other() {
    for (account, command) in [
        (OWN, change(KEY, capped(40))),
        (TEAM, {
            let limits = Some(capped(40));
            Command::ChangeProject { project: PROJECT, name: None, limits }
        }),
    ] {
        let house = House::new(stores::fresh()).await;
        let between = Arc::new(Between {
            memory: Arc::clone(&house.kv),
            executor: house.executor.clone(),
            order: Mutex::new(None),
        });
        let kv: Arc<dyn Kv> = Arc::<Between>::clone(&between);
        let mut booker = booker(&kv, &house.clock).await;
        assert_eq!(say(&mut booker, ask(LEASE, 1, 30, 30)).await.total, 30);
        *between.order.lock().unwrap() = Some(house.order(command));
        let answer = say(&mut booker, ask(LEASE, 2, 90, 90)).await;
        let exhausted =
            matches!(answer.refused, Some(Refused::Exhausted { account: on, .. }) if on == account);
        assert!(exhausted, "{answer:?}");
        assert_eq!(house.money(account).await, (0, 30, 0));
        // A cap that nobody set before counts from its first moment on.
        let wallet = house.order(change(OTHER, capped(5)));
        *between.order.lock().unwrap() = Some(wallet);
        let other = LeaseCall { key: OTHER, ..ask(LeaseId(7), 1, 90, 90).call };
        let answer = say(&mut booker, Ask { call: other, ..ask(LEASE, 1, 1, 1) }).await;
        assert!(answer.refused.is_some(), "{answer:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_group_of_words_is_one_commit() {
    let (house, mut booker) = calm().await;
    house.limit(KEY, capped(400)).await;
    let tokens = |n| {
        let call = ask(LEASE, n, 50, 50).call;
        Ask { call: LeaseCall { unit: Unit::Tokens, ..call }, ..ask(LEASE, n, 1, 1) }
    };
    let asks: Vec<Ask> = (1..=5).map(|lease| ask(LeaseId(lease), 1, 100, 100)).collect();
    let asks = [asks, vec![tokens(1), ask(LEASE, 1, 1, 1)]].concat();
    let answers = booker.hear(&asks, NOW).await.unwrap();
    let granted: Vec<i64> = answers.iter().map(|answer| answer.total).collect();
    assert_eq!(granted, [100, 100, 100, 100, 0, 50, 0]);
    assert_eq!(answers[4].refused, Some(Refused::HeldElsewhere { account: OWN }));
    assert_eq!(house.money(OWN).await, (0, 400, 0));
    assert_eq!(house.row(OWN, Unit::Tokens, Window(0)).await.held, 50);
    assert_eq!(answers[5].path, answers[0].path);
}

#[tokio::test(start_paused = true)]
async fn a_window_that_ends_takes_its_leases_with_it() {
    let (house, mut booker) = calm().await;
    let today = Window(NOW.0 / DAY_MS * DAY_MS);
    let tomorrow = Timestamp(today.0 + DAY_MS);
    house.limit(KEY, Limits { reset: Reset::Daily, ..capped(100) }).await;
    let answer = say(&mut booker, ask(LEASE, 1, 60, 60)).await;
    assert_eq!((answer.path[0], answer.ends_at), ((OWN, today), Some(tomorrow)));
    // Nothing more of the old day is granted, and both units of a lease stay on one path.
    let more = booker.hear(&[ask(LEASE, 2, 70, 70)], tomorrow).await.unwrap();
    assert_eq!((more[0].refused, more[0].total), (Some(Refused::Fenced), 60));
    let tokens = LeaseCall { unit: Unit::Tokens, ..ask(LEASE, 1, 5, 5).call };
    let tokens = Ask { call: tokens, ..ask(LEASE, 1, 5, 5) };
    let answer = booker.hear(&[tokens], tomorrow).await.unwrap();
    assert_eq!((answer[0].refused, answer[0].path[0]), (Some(Refused::Fenced), (OWN, today)));
    let fresh = booker.hear(&[ask(LeaseId(8), 1, 90, 90)], tomorrow).await.unwrap();
    assert_eq!((fresh[0].total, fresh[0].path[0].1), (90, Window(tomorrow.0)));
    // What was admitted yesterday is spent of yesterday's money.
    booker.book(&[spend(1, KEY, Some(LEASE), 55)], tomorrow).await.unwrap();
    booker.hear(&[ask(LEASE, 2, 55, 55)], tomorrow).await.unwrap();
    let row = house.row(OWN, Unit::Usd, today).await;
    assert_eq!((row.settled, row.held), (55, 0));
    let row = house.row(OWN, Unit::Usd, Window(tomorrow.0)).await;
    assert_eq!((row.settled, row.held), (0, 90));
    let told = house.tell().await;
    assert!(
        matches!(told[..], [Event::AlertRaised { percent: 50, window, .. }] if window == today)
    );
}

#[tokio::test(start_paused = true)]
async fn a_key_that_moves_is_booked_where_it_was_admitted() {
    let (house, mut booker) = calm().await;
    say(&mut booker, ask(LEASE, 1, 50, 50)).await;
    let patch = Box::new(KeyPatch { project: Some(None), ..KeyPatch::default() });
    house.done(Command::ChangeKey { key: KEY, patch }).await;
    assert_eq!(say(&mut booker, ask(LEASE, 2, 60, 60)).await.refused, Some(Refused::Fenced));
    booker.book(&[spend(1, KEY, Some(LEASE), 20)], NOW).await.unwrap();
    assert_eq!(house.money(TEAM).await, (20, 30, 0));
    assert_eq!(say(&mut booker, ask(LeaseId(9), 1, 10, 10)).await.path.len(), 2);
    assert_eq!(say(&mut booker, ask(LEASE, 2, 20, 20)).await.total, 20);
    assert_eq!(house.money(TEAM).await, (20, 0, 0));
}

/// What the test above would miss if a lease could outlive its path.
#[cfg(feature = "mutations")]
#[tokio::test(start_paused = true)]
async fn a_planted_lease_outlives_its_path() {
    let (house, mut booker) = calm().await;
    say(&mut booker, ask(LEASE, 1, 50, 50)).await;
    let patch = Box::new(KeyPatch { project: Some(None), ..KeyPatch::default() });
    house.done(Command::ChangeKey { key: KEY, patch }).await;
    plant(Mistake::OutlivePath);
    assert_eq!(say(&mut booker, ask(LEASE, 2, 60, 60)).await.total, 60);
    plant(Mistake::None);
}

#[tokio::test(start_paused = true)]
async fn words_of_an_ended_run_are_not_heard() {
    let (house, mut booker) = calm().await;
    let later = EndRuns { run: EpochId(11), places: vec![], torn: false };
    assert_eq!(booker.end_runs(ORG, GATEWAY, &later).await, Ok(true));
    for word in [ask(LEASE, 1, 50, 50), ask(LEASE, 2, 0, 0)] {
        say(&mut booker, word).await;
    }
    let answer = say(&mut booker, ask(LEASE, 3, 50, 50)).await;
    assert_eq!(answer.refused, Some(Refused::Fenced));
    let snapshot = house.kv.snapshot().await.unwrap();
    let left = snapshot.scan(keyspace::leases(ORG, GATEWAY, 10)).await.unwrap();
    assert_eq!(left, []);
    let call = LeaseCall { epoch: EpochId(11), ..ask(LEASE, 1, 50, 50).call };
    assert_eq!(say(&mut booker, Ask { call, ..ask(LEASE, 1, 1, 1) }).await.total, 50);
}
