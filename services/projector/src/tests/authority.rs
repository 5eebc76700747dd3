//! Budgets with a real store and bus: nothing is granted twice, nothing that was crossed is told
//! twice or not at all, whoever dies.

use std::collections::BTreeSet;
use std::sync::Arc;

use turnpike_bus::local::LocalBus;
use turnpike_bus::seam::{Bus as _, Service};
use turnpike_domain::command::Command;
use turnpike_domain::event::Event;
use turnpike_domain::id::{EpochId, TopUpId};
use turnpike_domain::ledger::{Refused, Word};
use turnpike_domain::limit::{Account, Limits, Unit};
use turnpike_domain::money::NanoUsd;
use turnpike_domain::state::WalletMode;
use turnpike_domain::time::{DAY_MS, MINUTE_MS, Reset, Timestamp};
use turnpike_runtime::clock::{PausedClock, SharedClock, deadline};
use turnpike_store::leader::TAKE_OVER_MS;
use turnpike_wire::authority::Recall;
use turnpike_wire::spend;

use super::budget::{ANSWER_MS, Holder, KEY, cost, recalled, spender, spender_on};
use super::house::{House, LOSE_AFTER_MS, ORG};
use super::slow::STEP_MS;

const ON_KEY: Account = Account::Key(KEY);
/// How long an ask waits for what others hold.
const WAIT_MS: u64 = 250;
/// Until everybody has taken his shards and heard the news.
const SETTLED_MS: u64 = 2_000;

/// A house with one key that may cost a thousand, and a projector.
async fn house() -> (House, crate::run::Running) {
    let house = House::new();
    house.found(WalletMode::Off, cost(1_000)).await;
    let projector = house.projector();
    house.clock.sleep(SETTLED_MS).await;
    (house, projector)
}

#[tokio::test(start_paused = true)]
async fn grants_end_at_the_cap() {
    let (house, _projector) = house().await;
    let (mut one, mut two) = (Holder::new(1), Holder::new(2));
    let granted = one.ask(&house, 600, 0).await;
    assert_eq!((granted.total, granted.refused), (600, None));
    let accounts: Vec<Account> = granted.path.iter().map(|(account, _)| *account).collect();
    assert_eq!(accounts, [ON_KEY, Account::Wallet]);
    let refused = two.ask(&house, 1_001, 0).await;
    assert!(matches!(refused.refused, Some(Refused::Exhausted { left: None, .. })), "{refused:?}");
    assert_eq!(refused.figures.unwrap().held, 600);
    let rest = two.ask(&house, 400, 0).await;
    assert_eq!((rest.total, rest.refused), (400, None));
    assert_eq!(house.used().await.held, 1_000);
    one.give_back(&house).await;
    two.give_back(&house).await;
    assert_eq!(house.used().await.used(), 0);
    let text = house.metrics.text();
    for line in ["lease_words_total 4", "lease_refusals_total{reason=\"exhausted\"} 1"] {
        assert!(text.contains(&format!("turnpike_{line}\n")), "{line}: {text}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_asks_for_what_others_hold_is_told_after_a_moment() {
    let (house, _projector) = house().await;
    let (mut one, mut two) = (Holder::new(1), Holder::new(2));
    let mut recalls = house.recalls().await;
    one.ask(&house, 600, 0).await;
    let asked_ms = house.clock.boot_ms();
    let refused = two.ask(&house, 500, 0).await;
    assert_eq!(refused.refused, Some(Refused::HeldElsewhere { account: ON_KEY }));
    let waited_ms = house.clock.boot_ms() - asked_ms;
    assert!((WAIT_MS..WAIT_MS + 50).contains(&waited_ms), "{waited_ms}");
    let recall = Recall { fence: refused.fence, budget: Some((ON_KEY, Unit::Usd)) };
    for _ in 0..3 {
        assert_eq!(recalled(&mut recalls), Some(recall), "again while somebody waits");
    }
    assert_eq!(recalled(&mut recalls), None);
}

#[tokio::test(start_paused = true)]
async fn what_a_recall_frees_goes_to_those_who_wait_in_their_order() {
    let (house, _projector) = house().await;
    let mut holders: Vec<Holder> = (1..=4).map(Holder::new).collect();
    let mut recalls = house.recalls().await;
    let mut holder = holders.remove(0);
    assert_eq!(holder.ask(&house, 100, 800).await.total, 500, "half of what there is, ahead");
    assert!(holder.holding.reserve(100));
    let [first, second, third] = &mut holders[..] else { panic!("three are left") };
    let recall = async {
        while recalled(&mut recalls).is_none() {
            house.clock.sleep(10).await;
        }
        // What a running request has reserved stays.
        assert_eq!(holder.give_back(&house).await.total, 100);
    };
    let asked_ms = house.clock.boot_ms();
    let late = |ms| house.clock.sleep(ms);
    let (one, two, three, ()) = tokio::join!(
        first.ask(&house, 600, 0),
        async {
            late(1).await;
            second.ask(&house, 550, 0).await
        },
        async {
            late(2).await;
            third.ask(&house, 300, 0).await
        },
        recall,
    );
    assert_eq!(three.total, 300, "there was enough for it");
    assert_eq!((one.total, one.refused), (600, None), "the first that waits is the first served");
    assert_eq!(two.refused, Some(Refused::HeldElsewhere { account: ON_KEY }));
    assert!(house.clock.boot_ms() - asked_ms >= WAIT_MS);
    assert_eq!(house.used().await.held, 1_000);
}

/// Found by the simulation: two asks within the rest between two recalls, and what the first was
/// granted was not recalled for the second.
#[tokio::test(start_paused = true)]
async fn what_was_granted_since_a_recall_is_recalled_too() {
    let (house, _projector) = house().await;
    let [mut one, mut two, mut three] = [1, 2, 3].map(Holder::new);
    let mut recalls = house.recalls().await;
    one.ask(&house, 600, 0).await;
    let (granted, ()) = tokio::join!(two.ask(&house, 600, 0), async {
        house.clock.sleep(1).await;
        assert!(recalled(&mut recalls).is_some());
        one.give_back(&house).await;
    });
    assert_eq!(granted.total, 600);
    let (granted, ()) = tokio::join!(three.ask(&house, 600, 0), async {
        while recalled(&mut recalls).is_none() {
            house.clock.sleep(1).await;
        }
        two.give_back(&house).await;
    });
    assert_eq!((granted.total, granted.refused), (600, None));
}

/// Found by a thousand keys at the end of one wallet: those that waited were heard again and again,
/// and what gave back that for which they waited was not heard at all.
#[tokio::test(start_paused = true)]
async fn however_many_wait_what_is_given_back_is_heard_and_granted_to_the_first() {
    let (house, _projector) = house().await;
    let mut one = Holder::new(1);
    one.ask(&house, 1_000, 0).await;
    let asked_ms = house.clock.boot_ms();
    let mut crowd: Vec<Holder> = (2..902).map(Holder::new).collect();
    let asks = crowd.iter_mut().map(async |other| other.ask(&house, 1_000, 0).await);
    let (answers, ()) = tokio::join!(futures_util::future::join_all(asks), async {
        house.clock.sleep(100).await;
        one.give_back(&house).await;
        assert!(house.clock.boot_ms() - asked_ms < 150);
    });
    let granted = answers.iter().filter(|answer| answer.refused.is_none());
    assert_eq!(granted.map(|answer| answer.total).collect::<Vec<_>>(), [1_000]);
    assert_eq!(answers[0].total, 1_000);
    assert!(house.clock.boot_ms() - asked_ms < WAIT_MS + 50);
}

/// Nothing runs any more: the hold was spend that was on its way.
#[tokio::test(start_paused = true)]
async fn who_waits_for_what_turns_out_to_be_spent_is_told_that_nothing_is_left() {
    let (house, _projector) = house().await;
    let (mut one, mut two) = (Holder::new(1), Holder::new(2));
    one.ask(&house, 600, 0).await;
    let asked_ms = house.clock.boot_ms();
    let (answer, ()) = tokio::join!(two.ask(&house, 500, 0), async {
        house.clock.sleep(100).await;
        spender_on(&one, 600).send(&house, 0..1, true).await;
    });
    let refused = answer.refused;
    assert!(matches!(refused, Some(Refused::Exhausted { left: Some(400), .. })), "{refused:?}");
    assert!(house.clock.boot_ms() - asked_ms < WAIT_MS);
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_what_is_published_to_others() {
    let (house, _projector) = house().await;
    let slow_ms = 3_000;
    house.bus.slow_down(slow_ms);
    let gateway = spender(1, 100);
    gateway.send(&house, 0..1, true).await;
    house.clock.sleep(100).await;
    assert_eq!(house.used().await.settled, 100, "it is booked, and on its way to others");
    let (mut one, mut two) = (Holder::new(2), Holder::new(3));
    let asked_ms = house.clock.boot_ms();
    assert_eq!(one.ask(&house, 800, 0).await.total, 800);
    let refused = two.ask(&house, 200, 0).await.refused;
    assert_eq!(refused, Some(Refused::HeldElsewhere { account: ON_KEY }));
    assert!(house.clock.boot_ms() - asked_ms < WAIT_MS + 50);
    assert_eq!(house.settled().await.len(), 0);
    house.clock.sleep(slow_ms).await;
    assert_eq!(house.settled().await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_word_that_is_repeated_or_overtaken_changes_nothing() {
    let (house, _projector) = house().await;
    let one = Holder::new(1);
    let word = |n, total| Word { n, total, least: total };
    for (n, total, held) in [(1, 300, 300), (1, 300, 300), (3, 100, 100), (2, 900, 100)] {
        assert_eq!(one.say(&house, word(n, total)).await.unwrap().total, held);
        assert_eq!(house.used().await.held, held);
    }
}

#[tokio::test(start_paused = true)]
async fn a_projector_that_dies_while_it_grants_grants_nothing_twice() {
    let mut stages = BTreeSet::new();
    for died_ms in 0..=4 * STEP_MS {
        let house = House::slow();
        house.found(WalletMode::Off, cost(1_000)).await;
        let first = house.projector();
        house.clock.sleep(SETTLED_MS).await;
        let mut one = Holder::new(1);
        let word = one.holding.ask(400, 0);
        let answered = deadline(&*house.clock, died_ms, one.say(&house, word)).await.is_some();
        first.abort();
        stages.insert((house.used().await.held, answered));
        let second = house.projector();
        let answer = one.insist(&house, word).await;
        assert_eq!((answer.total, answer.refused), (400, None), "died after {died_ms} ms");
        assert_eq!(house.used().await.held, 400, "died after {died_ms} ms");
        second.stop().await;
    }
    let all = [(0, false), (400, false), (400, true)];
    assert_eq!(stages, all.into(), "it died before and after the commit and the answer");
}

#[tokio::test(start_paused = true)]
async fn who_was_replaced_does_not_answer_and_answers_name_their_fence() {
    let (house, first) = house().await;
    let mut one = Holder::new(1);
    let before = one.ask(&house, 100, 0).await.fence;
    first.abort();
    let second = house.projector();
    let told_ms = house.clock.boot_ms();
    let after = one.ask(&house, 200, 0).await;
    assert!(after.fence > before, "{} after {before}", after.fence);
    let away_ms = house.clock.boot_ms() - told_ms;
    assert!((TAKE_OVER_MS - 1_500..TAKE_OVER_MS + 3_000).contains(&away_ms), "{away_ms}");
    second.stop().await;
}

#[tokio::test(start_paused = true)]
async fn of_two_projectors_one_answers() {
    let (house, first) = house().await;
    let second = house.projector();
    house.clock.sleep(SETTLED_MS).await;
    let mut one = Holder::new(1);
    for total in 1..=20 {
        let asked_ms = house.clock.boot_ms();
        assert_eq!(one.ask(&house, total, 0).await.total, total);
        assert!(house.clock.boot_ms() - asked_ms < ANSWER_MS);
    }
    assert_eq!(house.used().await.held, 20);
    second.stop().await;
    first.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_used_up_budget_is_told_once_whenever_the_projector_dies() {
    let mut stages = BTreeSet::new();
    for died_ms in 0..12 * STEP_MS {
        let house = House::slow();
        let limits = Limits { alert_percent: vec![50, 100], ..cost(1_000) };
        house.found(WalletMode::Off, limits).await;
        let first = house.projector();
        house.clock.sleep(SETTLED_MS).await;
        let mut gateway = spender(1, 1_000);
        gateway.send(&house, 0..1, true).await;
        house.clock.sleep(died_ms).await;
        first.abort();
        let told = house.count("QuotaHit").await + house.count("AlertRaised").await;
        stages.insert((house.used().await.settled, told));
        let second = house.projector();
        house.clock.sleep(TAKE_OVER_MS + SETTLED_MS).await;
        gateway.send_until_booked(&house).await;
        house.clock.sleep(SETTLED_MS).await;
        assert_eq!(house.count("QuotaHit").await, 1, "died after {died_ms} ms");
        assert_eq!(house.count("AlertRaised").await, 2, "died after {died_ms} ms");
        second.stop().await;
    }
    let all = [(0, 0), (1_000, 0), (1_000, 1), (1_000, 2), (1_000, 3)];
    assert_eq!(stages, all.into(), "it died before and after each step");
}

#[tokio::test(start_paused = true)]
async fn a_wallet_is_exhausted_and_restored() {
    let house = House::new();
    house.found(WalletMode::Prepaid, Limits::default()).await;
    let top_up = |id, amount| Command::TopUpWallet {
        top_up: TopUpId(id),
        amount: NanoUsd(amount),
        note: "".into(),
    };
    house.command(top_up(1, 1_000)).await;
    let _projector = house.projector();
    house.clock.sleep(SETTLED_MS).await;
    spender(1, 1_000).send_until_booked(&house).await;
    house.clock.sleep(SETTLED_MS).await;
    assert_eq!((house.count("WalletExhausted").await, house.count("QuotaHit").await), (1, 0));
    let mut one = Holder::new(1);
    let refused = one.ask(&house, 1, 0).await.refused;
    let Some(Refused::Exhausted { account, left, .. }) = refused else { panic!("{refused:?}") };
    assert_eq!((account, left), (Account::Wallet, Some(0)));
    house.command(top_up(2, 500)).await;
    assert_eq!(house.count("WalletRestored").await, 1);
    assert_eq!(one.ask(&house, 500, 0).await.total, 500);
}

#[tokio::test(start_paused = true)]
async fn a_cap_that_is_lowered_below_what_is_used_is_told() {
    let (house, first) = house().await;
    spender(1, 600).send_until_booked(&house).await;
    house.clock.sleep(SETTLED_MS).await;
    assert_eq!(house.count("QuotaHit").await, 0);
    house.limit(cost(600)).await;
    house.clock.sleep(SETTLED_MS).await;
    assert_eq!(house.count("QuotaHit").await, 1);
    house.limit(cost(2_000)).await;
    first.stop().await;
    // Nobody listens while it is lowered.
    house.limit(cost(500)).await;
    let _second = house.projector();
    house.clock.sleep(SETTLED_MS).await;
    assert_eq!(house.count("QuotaHit").await, 2);
}

#[tokio::test(start_paused = true)]
async fn a_raised_cap_is_heard_by_those_who_wait() {
    let (house, _projector) = house().await;
    let (mut one, mut two) = (Holder::new(1), Holder::new(2));
    one.ask(&house, 900, 0).await;
    let raise = async {
        house.clock.sleep(20).await;
        house.limit(cost(1_500)).await;
    };
    let (granted, ()) = tokio::join!(two.ask(&house, 600, 0), raise);
    assert_eq!((granted.total, granted.refused), (600, None));
}

#[tokio::test(start_paused = true)]
async fn what_a_silent_gateway_holds_is_lost_and_comes_back_with_proof() {
    let (house, _projector) = house().await;
    let (mut silent, mut other) = (Holder::new(1), Holder::new(2));
    silent.ask(&house, 600, 0).await;
    assert!(silent.holding.reserve(600));
    other.ask(&house, 100, 0).await;
    let began_ms = house.clock.boot_ms();
    while house.clock.boot_ms() - began_ms < LOSE_AFTER_MS + MINUTE_MS {
        house.receipt(&other).await;
        house.clock.sleep(MINUTE_MS / 2).await;
    }
    let row = house.used().await;
    assert_eq!((row.held, row.lost), (100, 600), "who was heard of keeps what it holds");
    assert!(house.metrics.text().contains("turnpike_holders_lost_total 1\n"));
    let refused = other.ask(&house, 600, 0).await.refused;
    assert!(matches!(refused, Some(Refused::Exhausted { left: None, .. })), "{refused:?}");
    spender_on(&silent, 200).send_until_booked(&house).await;
    let row = house.used().await;
    assert_eq!((row.settled, row.lost), (200, 400));
    silent.holding.settle(600, 200);
    silent.give_back(&house).await;
    let row = house.used().await;
    assert_eq!((row.settled, row.held, row.lost), (200, 100, 0));
}

#[tokio::test(start_paused = true)]
async fn nobody_is_given_up_because_the_bus_was_away() {
    let (house, _projector) = house().await;
    let mut one = Holder::new(1);
    one.ask(&house, 600, 0).await;
    house.bus.set_away(true);
    house.clock.sleep(2 * LOSE_AFTER_MS).await;
    house.bus.set_away(false);
    house.clock.sleep(LOSE_AFTER_MS - MINUTE_MS).await;
    assert_eq!(house.used().await.lost, 0);
    house.clock.sleep(2 * MINUTE_MS).await;
    assert_eq!(house.used().await.lost, 600);
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_was_silent_before_its_projector_began_is_lost_too() {
    let (house, first) = house().await;
    let mut silent = Holder::new(1);
    house.join(&silent).await;
    silent.ask(&house, 600, 0).await;
    first.stop().await;
    let _second = house.projector();
    house.clock.sleep(LOSE_AFTER_MS - MINUTE_MS).await;
    assert_eq!(house.used().await.lost, 0);
    house.clock.sleep(3 * MINUTE_MS).await;
    assert_eq!(house.used().await.lost, 600);
}

#[tokio::test(start_paused = true)]
async fn what_is_abandoned_is_released_once() {
    let (house, first) = house().await;
    let mut silent = Holder::new(1);
    house.join(&silent).await;
    silent.ask(&house, 600, 0).await;
    house.clock.sleep(LOSE_AFTER_MS + MINUTE_MS).await;
    let (gateway, account, unit) = (silent.gateway, ON_KEY, Unit::Usd);
    let abandon = |amount| Command::AbandonLease { gateway, account, unit, amount };
    house.command(abandon(250)).await;
    house.clock.sleep(SETTLED_MS).await;
    assert_eq!(house.used().await.lost, 350);
    first.stop().await;
    house.command(abandon(100)).await;
    for _ in 0..2 {
        let next = house.projector();
        house.clock.sleep(SETTLED_MS).await;
        assert_eq!(house.used().await.lost, 250);
        next.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_fenced_gateway_is_granted_nothing_and_may_give_back() {
    let (house, _projector) = house().await;
    let mut one = Holder::new(1);
    house.join(&one).await;
    one.ask(&house, 600, 0).await;
    house.command(Command::FenceGateway { gateway: one.gateway }).await;
    let refused = one.ask(&house, 700, 0).await;
    assert_eq!((refused.total, refused.refused), (600, Some(Refused::Fenced)));
    assert_eq!(one.give_back(&house).await.total, 0);
    assert_eq!(house.used().await.used(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_new_run_ends_the_holds_of_earlier_ones_once_their_spend_is_booked() {
    let (house, _projector) = house().await;
    let mut one = Holder::new(1);
    one.ask(&house, 600, 0).await;
    let mut gateway = spender_on(&one, 200);
    let again = Holder { run: EpochId(2), ..Holder::new(1) };
    let places = [(gateway.epoch, 1)];
    assert!(!again.end_runs(&house, &places).await, "a record is missing");
    assert_eq!(house.used().await.held, 600);
    gateway.send_until_booked(&house).await;
    assert!(again.end_runs(&house, &places).await);
    let row = house.used().await;
    assert_eq!((row.settled, row.held), (200, 0));
    let refused = one.ask(&house, 700, 0).await.refused;
    assert_eq!(refused, Some(Refused::Fenced), "that run is over");
}

#[tokio::test(start_paused = true)]
async fn calls_that_cannot_be_read_stop_nobody() {
    let (house, _projector) = house().await;
    let mut one = Holder::new(1);
    let service = Service::Authority { org: ORG, gateway: one.gateway };
    let nonsense = house.bus.call(service, b"nonsense".as_slice().into(), ANSWER_MS);
    assert!(nonsense.await.is_err());
    assert_eq!(one.ask(&house, 1, 0).await.total, 1);
    assert!(house.metrics.text().contains("turnpike_calls_unreadable_total 1\n"));
}

#[tokio::test(start_paused = true)]
async fn a_threshold_names_what_was_settled() {
    let house = House::new();
    house.found(WalletMode::Off, Limits { alert_percent: vec![80], ..cost(1_000) }).await;
    let _projector = house.projector();
    spender(1, 850).send_until_booked(&house).await;
    house.clock.sleep(SETTLED_MS).await;
    let events = house.events().await;
    let alert = events.iter().find_map(|event| {
        let Event::AlertRaised { account, percent, settled, .. } = event else { return None };
        Some((*account, *percent, *settled))
    });
    assert_eq!(alert, Some((ON_KEY, 80, 850)));
}

/// Its gateway's day was ahead, or that of the projector before this one.
#[tokio::test(start_paused = true)]
async fn a_budget_of_tomorrow_is_told_when_its_window_has_begun() {
    let tomorrow = Reset::Daily.window(House::new().clock.now().plus_ms(DAY_MS));
    let late: SharedClock = Arc::new(PausedClock::new(Timestamp(tomorrow.0 - 2 * SETTLED_MS)));
    let house = House::on(Arc::new(LocalBus::new(late.clone())), late);
    house.found(WalletMode::Off, Limits { reset: Reset::Daily, ..cost(1_000) }).await;
    let _projector = house.projector();
    house.clock.sleep(SETTLED_MS).await;
    let mut gateway = spender(1, 1_000);
    let mut record = spend::decode(&gateway.records[0]).unwrap();
    record.at = Timestamp(tomorrow.0);
    gateway.records[0] = spend::encode(&record);
    gateway.send_until_booked(&house).await;
    assert!(house.clock.now().0 < tomorrow.0);
    assert_eq!(house.count("QuotaHit").await, 0);
    house.clock.sleep(2 * SETTLED_MS + 5_000).await;
    let hit =
        |event: &Event| matches!(event, Event::QuotaHit { window, .. } if *window == tomorrow);
    assert_eq!(house.events().await.iter().filter(|event| hit(event)).count(), 1);
}
