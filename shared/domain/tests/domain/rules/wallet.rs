//! The wallet: topped up, exhausted, reopened.

use turnpike_domain::command::Command;
use turnpike_domain::id::TopUpId;
use turnpike_domain::limit::{Account, Unit};
use turnpike_domain::money::NanoUsd;
use turnpike_domain::state::{Settings, WalletMode};
use turnpike_domain::time::Window;

use crate::house::{House, admin, operator, owner};

const WALLET: (Account, Unit) = (Account::Wallet, Unit::Usd);

fn top_up(id: u128, nano_usd: i64) -> Command {
    let (top_up, amount) = (TopUpId(id), NanoUsd(nano_usd));
    Command::TopUpWallet { top_up, amount, note: "invoice 7".into() }
}

fn set(wallet: WalletMode) -> Command {
    let settings = Settings { wallet, ..Settings::default() };
    Command::ChangeOrg { name: None, settings: Some(settings), plans: None }
}

fn close(revision: u64, settled: i64) -> Command {
    let (account, unit) = WALLET;
    Command::CloseBudget { account, unit, window: Window(0), revision, settled }
}

fn prepaid() -> House {
    let mut house = House::furnished();
    house.done(operator(), set(WalletMode::Prepaid));
    house
}

#[test]
fn only_the_operator_adds_money_and_each_top_up_once() {
    let mut house = prepaid();
    house.done(operator(), top_up(1, 100));
    let long = Command::TopUpWallet {
        top_up: TopUpId(2),
        amount: NanoUsd(0),
        note: "x".repeat(501).into(),
    };
    house.answers(vec![
        (operator(), top_up(2, 100), "WalletToppedUp"),
        (owner(), top_up(2, 100), "needs operator"),
        (admin(), top_up(2, 100), "needs operator"),
        (operator(), top_up(1, 100), "state_conflict"),
        (operator(), top_up(2, -1), "/amount_usd"),
        (operator(), top_up(2, i64::MAX), "/amount_usd"),
        (operator(), long, "/amount_usd /note"),
    ]);
    assert_eq!(house.org.wallet.topped_up, NanoUsd(100));
}

#[test]
fn an_empty_wallet_is_closed_once_and_reopened_by_a_top_up() {
    let mut house = prepaid();
    house.done(operator(), top_up(1, 100));
    let cap = house.org.caps[&WALLET];
    assert_eq!((cap.amount, cap.revision), (Some(100), 2));
    house.answers(vec![
        (operator(), close(1, 100), "nothing"),
        (operator(), close(2, 98), "nothing"),
        (operator(), close(2, 99), "WalletExhausted"),
        (owner(), close(2, 100), "needs operator"),
    ]);
    house.done(operator(), close(2, 100));
    assert!(house.org.wallet.exhausted);
    assert!(house.org.is_used_up(Account::Wallet, Unit::Usd, house.now));
    house.answers(vec![
        (operator(), close(2, 100), "nothing"),
        (operator(), top_up(2, 5), "WalletToppedUp WalletRestored"),
    ]);
    house.done(operator(), top_up(2, 5));
    assert!(!house.org.wallet.exhausted);
    assert!(!house.org.is_used_up(Account::Wallet, Unit::Usd, house.now));
    house.answers(vec![
        (operator(), close(2, 105), "nothing"),
        (operator(), close(3, 105), "WalletExhausted"),
    ]);
}

#[test]
fn a_wallet_that_is_switched_off_binds_nobody() {
    let mut house = prepaid();
    house.done(operator(), close(1, 0));
    assert!(house.org.wallet.exhausted, "a wallet without money is used up from the start");
    house.answers(vec![(operator(), set(WalletMode::Off), "OrgSettingsChanged WalletRestored")]);
    house.done(operator(), set(WalletMode::Off));
    let cap = house.org.caps[&WALLET];
    assert_eq!((cap.amount, cap.revision), (None, 2));
    house.done(operator(), top_up(1, 100));
    assert_eq!(house.org.caps[&WALLET].revision, 2, "no cap has changed");
    house.done(operator(), set(WalletMode::Prepaid));
    let cap = house.org.caps[&WALLET];
    assert_eq!((cap.amount, cap.revision), (Some(100), 3));
}
