//! Limits that people wish for: caps that many requests meet within one life.

use turnpike_domain::command::Command;
use turnpike_domain::id::{ProjectId, TopUpId};
use turnpike_domain::limit::Limits;
use turnpike_domain::money::NanoUsd;
use turnpike_domain::state::{Settings, WalletMode};
use turnpike_domain::time::{Reset, Timestamp};
use turnpike_runtime::entropy;
use turnpike_tests::chance::Dice;

/// A cent; a request costs about as much.
const CENT: i64 = 10_000_000;
/// Caps in cents: from one that hardly any request fits into, to one that few keys reach.
const KEY_CENTS: [u64; 2] = [1, 80];
const PROJECT_CENTS: [u64; 2] = [5, 300];
const WALLET_CENTS: [u64; 2] = [10, 400];
/// Caps in tokens; a request reserves some thousands.
const TOKENS: [u64; 2] = [1_000, 150_000];
/// Rates that a key's own requests meet.
const REQUESTS_PER_MINUTE: [u64; 2] = [3, 30];

/// Limits of a key: half of them have any.
pub(crate) fn of_key(dice: &Dice) -> Limits {
    let [least, most] = REQUESTS_PER_MINUTE;
    let rate = dice.happens(1_500).then(|| u32::try_from(dice.between(least, most)).unwrap());
    let limits = if dice.happens(5_000) { Limits::default() } else { limits(dice, KEY_CENTS) };
    Limits { requests_per_minute: rate, ..limits }
}

/// Limits of a project: most have some.
pub(crate) fn of_project(dice: &Dice) -> Limits {
    if dice.happens(2_500) { Limits::default() } else { limits(dice, PROJECT_CENTS) }
}

/// Other limits of a project.
pub(crate) fn change_project(dice: &Dice, project: ProjectId) -> Command {
    Command::ChangeProject { project, name: None, limits: Some(of_project(dice)) }
}

/// More money in the wallet.
pub(crate) fn top_up(dice: &Dice, now: Timestamp) -> Command {
    let amount = NanoUsd(cents(dice, WALLET_CENTS));
    Command::TopUpWallet { top_up: TopUpId(entropy::id(now)), amount, note: "".into() }
}

/// The wallet begins to bind, or does not any more.
pub(crate) fn turn_wallet(settings: Settings) -> Command {
    let wallet = match settings.wallet {
        WalletMode::Off => WalletMode::Prepaid,
        WalletMode::Prepaid => WalletMode::Off,
    };
    Command::ChangeOrg { name: None, settings: Some(Settings { wallet, ..settings }) }
}

fn limits(dice: &Dice, of: [u64; 2]) -> Limits {
    let [least, most] = TOKENS;
    let resets = [Reset::None, Reset::Daily, Reset::Daily, Reset::Weekly, Reset::Monthly];
    let alerts: [&[u8]; 3] = [&[50, 80, 100], &[], &[90]];
    Limits {
        cost: dice.happens(7_000).then(|| NanoUsd(cents(dice, of))),
        tokens: dice.happens(4_000).then(|| dice.between(least, most)),
        reset: *dice.pick(&resets).unwrap(),
        alert_percent: dice.pick(&alerts).unwrap().to_vec(),
        ..Limits::default()
    }
}

fn cents(dice: &Dice, [least, most]: [u64; 2]) -> i64 {
    i64::try_from(dice.between(least, most)).unwrap() * CENT
}
