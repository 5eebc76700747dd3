//! Budgets of ephemeral tokens: carved out of their key's, never beside it.

use turnpike_domain::command::{Command, EphemeralDraft};
use turnpike_domain::event::Event;
use turnpike_domain::id::{EphemeralId, LeaseId};
use turnpike_domain::ledger::Refused;
use turnpike_domain::limit::{Account, Unit};
use turnpike_wire::authority::LeaseCall;

use super::house::{House, KEY, LEASE, OWN, TEAM, ask, one, say};
use super::*;

const TOKEN: EphemeralId = EphemeralId(1);
const OTHER_TOKEN: EphemeralId = EphemeralId(2);
const OF_TOKEN: Account = Account::Ephemeral(TOKEN);

async fn issue(house: &House, token: EphemeralId, cap: Option<i64>) {
    let cost_cap = cap.map(NanoUsd);
    let draft = Box::new(EphemeralDraft { cost_cap, ..EphemeralDraft::default() });
    house.done(Command::IssueEphemeral { key: KEY, token, draft }).await;
}

fn of(token: EphemeralId, lease: LeaseId, n: u64, total: i64) -> Ask {
    let plain = ask(lease, n, total, total);
    let call = LeaseCall { token: Some(token), ..plain.call.clone() };
    Ask { call, ..plain }
}

fn spent(number: u64, token: EphemeralId, lease: Option<LeaseId>, cost: i64) -> Delivery {
    let (key, cost, token) = (KEY, NanoUsd(cost), Some(token));
    one(number, &Spend { key, token, lease, cost, at: NOW, ..record(number.into()) })
}

#[tokio::test(start_paused = true)]
async fn a_grant_to_a_token_is_one_to_its_key() {
    let house = House::new(stores::fresh()).await;
    let mut booker = house.owner().await;
    issue(&house, TOKEN, Some(40)).await;
    let answer = say(&mut booker, of(TOKEN, LEASE, 1, 30)).await;
    let accounts: Vec<Account> = answer.path.iter().map(|(account, _)| *account).collect();
    assert_eq!(accounts, [OF_TOKEN, OWN, TEAM, Account::Wallet]);
    for account in accounts {
        assert_eq!(house.money(account).await, (0, 30, 0), "{account:?}");
    }
    let held = say(&mut booker, of(TOKEN, LeaseId(5), 1, 20)).await.refused;
    assert_eq!(held, Some(Refused::HeldElsewhere { account: OF_TOKEN }));
    booker.book(&[spent(1, TOKEN, Some(LEASE), 25)], NOW).await.unwrap();
    for account in [OF_TOKEN, OWN, TEAM, Account::Wallet] {
        assert_eq!(house.money(account).await, (25, 5, 0), "{account:?}");
    }
    let snapshot = house.kv.snapshot().await.unwrap();
    let total = usage::token(&*snapshot, ORG, TOKEN).await.unwrap();
    assert_eq!((total.requests, total.cost), (1, NanoUsd(25)));
}

/// Whatever two tokens and their key are granted: together they stay within the key, each within
/// its own.
#[tokio::test(start_paused = true)]
async fn children_never_come_to_more_than_their_parent() {
    let house = House::new(stores::fresh()).await;
    let mut booker = house.owner().await;
    issue(&house, TOKEN, Some(80)).await;
    issue(&house, OTHER_TOKEN, Some(80)).await;
    for step in 1..40_u64 {
        let total = i64::try_from(step * 7 % 90).unwrap();
        let words = [
            of(TOKEN, LeaseId(5), step, total),
            of(OTHER_TOKEN, LeaseId(6), step, 90 - total),
            ask(LeaseId(7), step, total / 2, total / 2),
        ];
        booker.hear(&words, NOW).await.unwrap();
        let (_, one, _) = house.money(OF_TOKEN).await;
        let (_, other, _) = house.money(Account::Ephemeral(OTHER_TOKEN)).await;
        let (_, all, _) = house.money(OWN).await;
        assert!(
            one <= 80 && other <= 80 && one + other <= all && all <= 100,
            "{one} {other} {all}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_used_up_token_is_told_once_and_leaves_its_key_open() {
    let house = House::new(stores::fresh()).await;
    let mut booker = house.owner().await;
    issue(&house, TOKEN, Some(40)).await;
    booker.book(&[spent(1, TOKEN, None, 40)], NOW).await.unwrap();
    let told = house.tell().await;
    assert!(
        matches!(&told[..], [Event::QuotaHit { account, cap: 40, .. }] if *account == OF_TOKEN)
    );
    let refused = say(&mut booker, of(TOKEN, LEASE, 1, 1)).await.refused;
    let exhausted = Refused::Exhausted { account: OF_TOKEN, left: Some(0), revision: 1 };
    assert_eq!(refused, Some(exhausted));
    assert_eq!(say(&mut booker, ask(LeaseId(5), 1, 60, 60)).await.total, 60);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_granted_to_a_token_that_nobody_has_issued() {
    let house = House::new(stores::fresh()).await;
    let mut booker = house.owner().await;
    issue(&house, OTHER_TOKEN, None).await;
    for token in [TOKEN, OTHER_TOKEN] {
        let answer = say(&mut booker, of(token, LEASE, 1, 1)).await;
        assert_eq!((answer.refused, answer.path), (Some(Refused::Fenced), vec![]));
    }
    // A token without a budget of its own spends its key's.
    booker.book(&[spent(1, OTHER_TOKEN, None, 10)], NOW).await.unwrap();
    assert_eq!(house.money(OWN).await, (10, 0, 0));
    assert_eq!(house.money(Account::Ephemeral(OTHER_TOKEN)).await, (0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_budget_of_tokens_is_carved_out_like_one_of_money() {
    let house = House::new(stores::fresh()).await;
    let mut booker = house.owner().await;
    let draft = Box::new(EphemeralDraft { token_cap: Some(40), ..EphemeralDraft::default() });
    house.done(Command::IssueEphemeral { key: KEY, token: TOKEN, draft }).await;
    let of_tokens = |lease, n, total| {
        let plain = of(TOKEN, lease, n, total);
        let call = LeaseCall { unit: Unit::Tokens, ..plain.call.clone() };
        Ask { call, ..plain }
    };
    let granted = say(&mut booker, of_tokens(LEASE, 1, 30)).await;
    assert_eq!((granted.total, granted.path[0].0), (30, OF_TOKEN));
    let held = say(&mut booker, of_tokens(LeaseId(5), 1, 20)).await.refused;
    assert_eq!(held, Some(Refused::HeldElsewhere { account: OF_TOKEN }));
    let of_usd = say(&mut booker, of(TOKEN, LeaseId(6), 1, 90)).await;
    assert_eq!(of_usd.total, 90, "its money is its key's");
}
