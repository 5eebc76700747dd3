//! Ledgers and leases: what is granted, what is refused and why, what is told.

use turnpike_domain::command::{Command, KeyPatch};
use turnpike_domain::id::{KeyId, ProjectId};
use turnpike_domain::ledger::{
    self, BudgetFigures, Due, Holding, Lease, Level, Refused, Row, Standing, Told, Word,
};
use turnpike_domain::limit::{Account, Limits, Unit};
use turnpike_domain::state::Cap;
use turnpike_domain::time::{DAY_MS, Reset, Timestamp, Window};

use crate::house::{House, KEY, NOW, PROJECT, admin, capped, member, patched};

const OWN: Account = Account::Key(KEY);
const ALONE: Standing = Standing { fenced: false, gateways: 1 };

fn level(account: Account, cap: Option<i64>, row: Row) -> Level {
    let cap = Cap { amount: cap, reset: Reset::None, revision: 7 };
    Level { account, window: Window(0), cap, row }
}

fn row(settled: i64, held: i64, lost: i64) -> Row {
    Row { settled, held, lost, told: Told::default() }
}

fn word(n: u64, total: i64, least: i64) -> Word {
    Word { n, total, least }
}

#[test]
fn a_grant_is_the_need_and_a_fair_share_of_the_rest() {
    // (cap, gateways, total asked for, least) → granted.
    let table = [
        (None, 1, 500, 10, 500),
        (Some(1_000), 1, 100, 10, 100),
        (Some(1_000), 1, 900, 10, 500),
        (Some(1_000), 5, 900, 10, 100),
        (Some(1_000), 5, 900, 700, 700),
        (Some(1_000), 0, 900, 10, 500),
        (Some(1_000), 1, 1_000, 1_000, 1_000),
        (Some(0), 1, 5, 0, 0),
    ];
    for (cap, gateways, total, least, granted) in table {
        let mut path = [level(OWN, cap, row(0, 0, 0)), level(Account::Wallet, None, row(9, 9, 9))];
        let mut lease = Lease::default();
        let standing = Standing { fenced: false, gateways };
        assert_eq!(lease.hear(&mut path, &word(1, total, least), standing), Ok(()));
        assert_eq!(
            (lease.total, path[0].row.held, path[1].row.held),
            (granted, granted, 9 + granted)
        );
    }
}

#[test]
fn a_refusal_says_whether_waiting_helps() {
    let exhausted = |account, left| Err(Refused::Exhausted { account, left, revision: 7 });
    let elsewhere = |account| Err(Refused::HeldElsewhere { account });
    let wallet = Account::Wallet;
    let full = level(wallet, Some(100), row(100, 0, 0));
    let open = |account| level(account, None, row(0, 0, 0));
    let table = [
        ([level(OWN, Some(100), row(95, 0, 0)), open(wallet)], exhausted(OWN, Some(5))),
        ([level(OWN, Some(100), row(0, 95, 0)), open(wallet)], elsewhere(OWN)),
        ([level(OWN, Some(100), row(95, 5, 0)), open(wallet)], exhausted(OWN, None)),
        ([level(OWN, Some(100), row(0, 0, 95)), open(wallet)], exhausted(OWN, None)),
        ([level(OWN, Some(100), row(120, 0, 0)), open(wallet)], exhausted(OWN, Some(0))),
        ([open(OWN), full], exhausted(wallet, Some(0))),
        ([level(OWN, Some(100), row(0, 95, 0)), full], exhausted(wallet, Some(0))),
        ([level(OWN, Some(100), row(90, 0, 0)), open(wallet)], Ok(())),
    ];
    for (mut path, expected) in table {
        let before = path;
        let mut lease = Lease::default();
        assert_eq!(lease.hear(&mut path, &word(1, 10, 10), ALONE), expected, "{before:?}");
        if expected.is_err() {
            assert_eq!((path, lease), (before, Lease::default()), "a refusal changes nothing");
        }
    }
}

#[test]
fn old_words_change_nothing_and_less_is_always_heard() {
    let mut path = [level(OWN, Some(1_000), row(0, 0, 0))];
    let mut lease = Lease::default();
    lease.hear(&mut path, &word(2, 100, 10), ALONE).expect("a grant");
    lease.hear(&mut path, &word(1, 400, 400), ALONE).expect("an old word");
    lease.hear(&mut path, &word(2, 400, 400), ALONE).expect("the same word");
    assert_eq!((lease.total, path[0].row.held), (100, 100));
    let fenced = Standing { fenced: true, gateways: 1 };
    let more = lease.hear(&mut path, &word(3, 200, 200), fenced);
    assert_eq!(more, Err(Refused::Fenced));
    lease.hear(&mut path, &word(3, 40, 40), fenced).expect("giving back");
    assert_eq!((lease.total, path[0].row.held), (40, 40));
    lease.hear(&mut path, &word(4, -9, 0), ALONE).expect("giving back all");
    assert_eq!((lease.total, path[0].row.held), (0, 0));
}

#[test]
fn what_is_lost_counts_until_it_is_proven_or_released() {
    let mut path = [level(OWN, Some(100), row(0, 0, 0))];
    let mut lease = Lease::default();
    lease.hear(&mut path, &word(1, 80, 80), ALONE).expect("a grant");
    lease.book(&mut path, 10);
    lease.lose(&mut path);
    lease.lose(&mut path);
    assert_eq!(path[0].row, row(10, 0, 70));
    assert_eq!(lease.hear(&mut path, &word(2, 90, 90), ALONE), Err(Refused::Fenced));
    lease.book(&mut path, 20);
    assert_eq!(path[0].row, row(30, 0, 50), "a late record is proof");
    lease.free(&mut path);
    assert_eq!(path[0].row, row(30, 0, 0));
    lease.book(&mut path, 5);
    assert_eq!(path[0].row, row(35, 0, 0), "what comes later still counts");
}

#[test]
fn a_request_that_costs_more_than_its_lease_is_booked_in_full() {
    let mut path = [level(OWN, Some(100), row(0, 0, 0))];
    let mut lease = Lease::default();
    lease.hear(&mut path, &word(1, 50, 50), ALONE).expect("a grant");
    lease.book(&mut path, 120);
    assert_eq!((path[0].row, lease.hold()), (row(120, 0, 0), 0));
    lease.book(&mut path, -5);
    assert_eq!(path[0].row.settled, 120, "nothing is ever taken back");
    assert_eq!(path[0].available(), 0);
}

#[test]
fn a_gateway_spends_only_what_it_was_granted() {
    let mut holding = Holding::default();
    assert!(!holding.reserve(1));
    let asked = holding.ask(10, 40);
    assert_eq!(asked, word(1, 50, 10));
    holding.hear(1, 30);
    assert!(holding.reserve(10) && holding.reserve(20) && !holding.reserve(1));
    assert!(!holding.reserve(-1));
    holding.settle(20, 5);
    assert_eq!(holding.free(), 15);
    assert_eq!(holding.give_back(), word(2, 15, 15));
    assert_eq!(holding.free(), 0, "given back before it is said");
    holding.hear(1, 30);
    assert_eq!(holding.free(), 0, "the answer to an old word says too much");
    holding.settle(10, 25);
    assert_eq!(holding.free(), -15);
    assert_eq!(holding.ask(10, 0), word(3, 40, 40), "an overshoot is covered first");
}

#[test]
fn thresholds_are_told_once_for_each_revision_of_a_cap() {
    let percents = [50, 80, 100];
    let mut level = level(OWN, Some(1_000), row(499, 0, 0));
    let due = |revision, percent| {
        let (account, unit, window) = (OWN, Unit::Usd, Window(0));
        Due { account, unit, window, revision, percent }
    };
    assert_eq!(level.crossed(Unit::Usd, &percents), []);
    level.row.settled = 850;
    assert_eq!(level.crossed(Unit::Usd, &percents), [due(7, Some(50)), due(7, Some(80))]);
    assert_eq!(level.crossed(Unit::Usd, &percents), []);
    level.row.settled = 1_000;
    assert_eq!(level.crossed(Unit::Usd, &percents), [due(7, Some(100)), due(7, None)]);
    level.cap = Cap { amount: Some(2_000), reset: Reset::None, revision: 8 };
    assert_eq!(level.crossed(Unit::Usd, &percents), [due(8, Some(50))]);
    level.cap = Cap { amount: None, reset: Reset::None, revision: 9 };
    assert_eq!(level.crossed(Unit::Usd, &percents), []);
    level.cap = Cap { amount: Some(0), reset: Reset::None, revision: 10 };
    level.row.settled = 0;
    assert_eq!(level.crossed(Unit::Usd, &[]), [due(10, None)], "zero is used up from the start");
    let close = due(10, None).command(5);
    assert!(matches!(close, Command::CloseBudget { revision: 10, settled: 5, .. }));
    let alert = due(7, Some(50)).command(500);
    assert!(matches!(alert, Command::RaiseAlert { percent: 50, settled: 500, .. }));
}

#[test]
fn a_refusal_closes_what_has_less_than_a_hundredth_left() {
    let table = [
        (row(990, 0, 0), false),
        (row(991, 0, 0), true),
        (row(991, 1, 0), false),
        (row(991, 0, 1), false),
        (row(1_200, 0, 0), true),
    ];
    for (row, closes) in table {
        let mut level = level(OWN, Some(1_000), row);
        let dues = level.refused(Unit::Usd, &[50, 100]);
        let told: Vec<Option<u8>> = dues.iter().map(|due| due.percent).collect();
        let expected: &[Option<u8>] = if closes { &[Some(50), Some(100), None] } else { &[] };
        assert_eq!(told, expected, "{row:?}");
        assert_eq!(level.refused(Unit::Usd, &[50, 100]), [], "once");
    }
    assert_eq!(level(OWN, None, row(5, 0, 0)).refused(Unit::Usd, &[]), []);
}

#[test]
fn a_path_leads_from_the_key_to_the_wallet_in_their_windows() {
    let mut house = House::furnished();
    let path = |house: &House| ledger::path(&house.org, &house.org.keys[&KEY], None, house.now);
    assert_eq!(path(&house), [(OWN, Window(0)), (Account::Wallet, Window(0))]);
    let limits = Limits { reset: Reset::Weekly, ..capped(5) };
    let change = Command::ChangeProject { project: PROJECT, name: None, limits: Some(limits) };
    house.done(admin(), change);
    let patch = KeyPatch {
        project: Some(Some(PROJECT)),
        limits: Some(Limits { reset: Reset::Daily, ..Limits::default() }),
        ..KeyPatch::default()
    };
    house.done(member(), patched(patch));
    let expected = [
        (OWN, Reset::Daily.window(NOW)),
        (Account::Project(PROJECT), Reset::Weekly.window(NOW)),
        (Account::Wallet, Window(0)),
    ];
    assert_eq!(path(&house), expected);
    let path_of = |house: &House, key, then| ledger::path_of(&house.org, key, then, None, NOW);
    assert_eq!(path_of(&house, KEY, None), expected);
    let then = house.org.keys[&KEY].profile.clone();
    let mut stray = (*house.org.keys[&KEY]).clone();
    stray.profile.project = Some(ProjectId(77));
    assert_eq!(
        ledger::path(&house.org, &stray, None, NOW).len(),
        2,
        "a project that is gone binds nobody"
    );
    // What is gone keeps the windows of its last cap.
    let limits = Limits { reset: Reset::Daily, ..capped(5) };
    house.done(member(), patched(KeyPatch { limits: Some(limits), ..KeyPatch::default() }));
    house.done(admin(), Command::DeleteKey { key: KEY });
    let gone = [(OWN, Reset::Daily.window(NOW)), (Account::Wallet, Window(0))];
    assert_eq!(path_of(&house, KEY, None), gone);
    let never = Account::Key(KeyId(77));
    assert_eq!(path_of(&house, KeyId(77), None)[0], (never, Window(0)));
    // Where it is known what admitted the request, that is booked on, whatever has gone since.
    assert_eq!(path_of(&house, KEY, Some(&then)), expected);
    house.done(admin(), Command::DeleteProject { project: PROJECT });
    assert_eq!(path_of(&house, KEY, Some(&then)), expected);
}

#[test]
fn only_what_is_lost_is_released_and_no_more_than_was_said() {
    let mut path = [level(OWN, Some(100), row(0, 0, 0))];
    let mut lease = Lease::default();
    lease.hear(&mut path, &word(1, 80, 80), ALONE).expect("a grant");
    assert_eq!(lease.release(&mut path, 50), 0, "it is held");
    lease.lose(&mut path);
    assert_eq!(lease.release(&mut path, -5), 0);
    assert_eq!((lease.release(&mut path, 50), path[0].row), (50, row(0, 0, 30)));
    assert_eq!((lease.release(&mut path, 50), path[0].row), (30, row(0, 0, 0)));
    lease.book(&mut path, 60);
    assert_eq!(path[0].row, row(60, 0, 0), "what was released is spent above the cap");
}

#[test]
fn a_cap_says_nothing_of_windows_of_another_policy() {
    let monday = Window(4 * DAY_MS);
    let table = [
        (Reset::None, Window(0), true),
        (Reset::None, monday, false),
        (Reset::Daily, Window(0), false),
        (Reset::Daily, monday, true),
        (Reset::Weekly, monday, true),
        (Reset::Weekly, Window(5 * DAY_MS), false),
    ];
    for (reset, window, crosses) in table {
        let cap = Cap { amount: Some(10), reset, revision: 1 };
        let mut level = Level { account: OWN, window, cap, row: row(10, 0, 0) };
        assert_eq!(!level.crossed(Unit::Usd, &[]).is_empty(), crosses, "{reset:?} {window:?}");
    }
}

#[test]
fn figures_say_what_is_used_and_when_it_ends() {
    let cap = Cap { amount: Some(10), reset: Reset::Daily, revision: 3 };
    let level = Level { account: OWN, window: Window(DAY_MS), cap, row: row(4, 3, 2) };
    let expected = BudgetFigures {
        account: OWN,
        cap: Some(10),
        settled: 4,
        held: 3,
        lost: 2,
        revision: 3,
        resets_at: Some(Timestamp(2 * DAY_MS)),
    };
    assert_eq!(level.figures(), expected);
}
