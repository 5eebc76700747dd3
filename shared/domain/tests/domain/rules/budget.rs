//! Budgets: closed, warned about, released.

use turnpike_domain::command::{Command, KeyPatch};
use turnpike_domain::event::Event;
use turnpike_domain::id::{GatewayId, KeyId};
use turnpike_domain::limit::{Account, Limits, Unit};
use turnpike_domain::state::Hit;
use turnpike_domain::time::{DAY_MS, Reset, Window};

use crate::house::{GATEWAY, House, KEY, admin, capped, member, operator, owner, patched};

const ACCOUNT: Account = Account::Key(KEY);

fn daily(cost: i64) -> Limits {
    Limits { reset: Reset::Daily, alert_percent: vec![50, 80], ..capped(cost) }
}

fn limit(limits: Limits) -> Command {
    patched(KeyPatch { limits: Some(limits), ..KeyPatch::default() })
}

fn house() -> House {
    let mut house = House::furnished();
    house.done(member(), limit(daily(1_000)));
    house
}

fn today(house: &House) -> Window {
    Reset::Daily.window(house.now)
}

fn yesterday(house: &House) -> Window {
    Window(today(house).0 - DAY_MS)
}

fn close(window: Window, revision: u64, settled: i64) -> Command {
    Command::CloseBudget { account: ACCOUNT, unit: Unit::Usd, window, revision, settled }
}

fn alert(window: Window, revision: u64, percent: u8, settled: i64) -> Command {
    let (account, unit) = (ACCOUNT, Unit::Usd);
    Command::RaiseAlert { account, unit, window, revision, percent, settled }
}

#[test]
fn a_budget_is_closed_once_for_the_cap_that_was_reached() {
    let mut house = house();
    let window = today(&house);
    let tomorrow = Window(window.0 + DAY_MS);
    house.answers(vec![
        (operator(), close(window, 1, 1_000), "QuotaHit"),
        (operator(), close(window, 1, 990), "QuotaHit"),
        (operator(), close(window, 1, 989), "nothing"),
        (operator(), close(window, 2, 1_000), "nothing"),
        (operator(), close(tomorrow, 1, 1_000), "state_conflict"),
        (operator(), close(tomorrow, 1, 989), "nothing"),
        (operator(), close(tomorrow, 2, 1_000), "nothing"),
        (operator(), close(Window(window.0 + 1), 1, 1_000), "nothing"),
        (operator(), close(yesterday(&house), 1, 1_000), "QuotaHit"),
        (admin(), close(window, 1, 1_000), "needs operator"),
    ]);
    let (account, unit, revision) = (ACCOUNT, Unit::Usd, 1);
    let hit = Event::QuotaHit { account, unit, window, revision, cap: 1_000, settled: 1_007 };
    assert_eq!(house.decide(operator(), close(window, 1, 1_007)), Ok(vec![hit]));
    house.done(operator(), close(window, 1, 1_007));
    assert!(house.org.is_exhausted(KEY, house.now));
    house.answers(vec![
        (operator(), close(window, 1, 1_007), "nothing"),
        (operator(), close(yesterday(&house), 1, 1_000), "nothing"),
    ]);
}

#[test]
fn time_and_raised_caps_reopen_a_budget() {
    let mut house = house();
    let window = today(&house);
    house.done(operator(), close(window, 1, 1_000));
    let mut tomorrow = house.clone();
    tomorrow.now = house.now.plus_ms(DAY_MS);
    assert!(!tomorrow.org.is_exhausted(KEY, tomorrow.now));
    let window_of_tomorrow = today(&tomorrow);
    tomorrow.answers(vec![(operator(), close(window_of_tomorrow, 1, 1_000), "QuotaHit")]);
    house.done(member(), limit(daily(2_000)));
    assert!(!house.org.is_exhausted(KEY, house.now));
    house.answers(vec![
        (operator(), close(window, 1, 1_000), "nothing"),
        (operator(), close(window, 2, 2_000), "QuotaHit"),
    ]);
    house.done(member(), limit(Limits::default()));
    house.answers(vec![(operator(), close(Window(0), 3, 9_999), "nothing")]);
}

#[test]
fn a_cap_of_zero_is_used_up_by_nothing() {
    let mut house = House::furnished();
    house.done(member(), limit(capped(0)));
    house.answers(vec![(operator(), close(Window(0), 1, 0), "QuotaHit")]);
}

#[test]
fn thresholds_fire_once_in_ascending_order() {
    let mut house = house();
    let window = today(&house);
    house.answers(vec![
        (operator(), alert(window, 1, 50, 500), "AlertRaised"),
        (operator(), alert(window, 1, 50, 499), "nothing"),
        (operator(), alert(window, 1, 60, 1_000), "nothing"),
        (operator(), alert(window, 2, 50, 500), "nothing"),
        (admin(), alert(window, 1, 50, 500), "needs operator"),
    ]);
    house.done(operator(), alert(window, 1, 80, 800));
    house.done(operator(), close(window, 1, 1_000));
    house.answers(vec![
        (operator(), alert(window, 1, 80, 900), "nothing"),
        (operator(), alert(window, 1, 50, 900), "nothing"),
    ]);
    let told = house.org.hits[&(ACCOUNT, Unit::Usd)];
    let settled = Some(1_000);
    assert_eq!(told, Hit { window, revision: 1, percent: 80, exhausted: true, settled });
    house.now = house.now.plus_ms(DAY_MS);
    let window = today(&house);
    house.answers(vec![(operator(), alert(window, 1, 50, 500), "AlertRaised")]);
}

#[test]
fn what_is_gone_has_no_budget() {
    let mut house = house();
    let window = today(&house);
    house.done(member(), Command::DeleteKey { key: KEY });
    let cap = house.org.caps[&(ACCOUNT, Unit::Usd)];
    assert_eq!((cap.amount, cap.revision), (None, 2));
    house.answers(vec![
        (operator(), close(window, 1, 1_000), "nothing"),
        (operator(), close(window, 2, 1_000), "nothing"),
        (operator(), alert(window, 1, 50, 1_000), "nothing"),
    ]);
}

#[test]
fn caps_count_their_changes() {
    let mut house = house();
    let cap = |house: &House, unit| house.org.caps.get(&(ACCOUNT, unit)).copied();
    assert_eq!(cap(&house, Unit::Tokens), None, "what never had a cap has no row");
    let steps = [
        (daily(1_000), 1),
        (Limits { requests_per_minute: Some(5), ..daily(1_000) }, 1),
        (daily(900), 2),
        (Limits { reset: Reset::Weekly, ..daily(900) }, 3),
        (Limits::default(), 4),
        (daily(900), 5),
    ];
    for (limits, revision) in steps {
        let amount = limits.cost.map(|cost| cost.0);
        house.done(member(), limit(limits.clone()));
        let found = cap(&house, Unit::Usd).expect("a row");
        assert_eq!((found.amount, found.revision), (amount, revision), "{limits:?}");
    }
}

#[test]
fn holds_are_released_by_admins_and_the_wallets_by_the_operator() {
    let abandon = |gateway, account, amount| Command::AbandonLease {
        gateway,
        account,
        unit: Unit::Usd,
        amount,
    };
    House::furnished().answers(vec![
        (admin(), abandon(GATEWAY, ACCOUNT, 5), "LeaseAbandoned"),
        (member(), abandon(GATEWAY, ACCOUNT, 5), "needs admin"),
        (owner(), abandon(GATEWAY, Account::Wallet, 5), "needs operator"),
        (operator(), abandon(GATEWAY, Account::Wallet, 5), "LeaseAbandoned"),
        (admin(), abandon(GatewayId(9), ACCOUNT, 5), "not_found"),
        (admin(), abandon(GATEWAY, Account::Key(KeyId(77)), 0), "/amount"),
    ]);
}
