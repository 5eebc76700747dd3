//! Limits that people wish for: caps that many requests meet within one life.

use turnpike_domain::command::Command;
use turnpike_domain::id::{GatewayId, ProjectId, TopUpId};
use turnpike_domain::limit::{Account, Limits, Unit};
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
const PROJECT_REQUESTS_PER_MINUTE: [u64; 2] = [10, 60];
const TOKENS_PER_MINUTE: [u64; 2] = [2_000, 60_000];

/// Limits of a key: half of them have any.
pub(crate) fn of_key(dice: &Dice) -> Limits {
    let limits = if dice.happens(5_000) { Limits::default() } else { limits(dice, KEY_CENTS) };
    with_rates(dice, limits, REQUESTS_PER_MINUTE)
}

/// Limits of a project: most have some.
pub(crate) fn of_project(dice: &Dice) -> Limits {
    let limits = if dice.happens(2_500) { Limits::default() } else { limits(dice, PROJECT_CENTS) };
    with_rates(dice, limits, PROJECT_REQUESTS_PER_MINUTE)
}

/// Some have a rate in requests, some in tokens, some in both.
fn with_rates(dice: &Dice, limits: Limits, [least, most]: [u64; 2]) -> Limits {
    let requests = dice.happens(1_500).then(|| u32::try_from(dice.between(least, most)).unwrap());
    let [few, many] = TOKENS_PER_MINUTE;
    let tokens = dice.happens(800).then(|| dice.between(few, many));
    Limits { requests_per_minute: requests, tokens_per_minute: tokens, ..limits }
}

/// What an administrator does about a gateway that does not come back.
pub(crate) fn abandon(dice: &Dice, gateway: GatewayId, accounts: &[Account]) -> Option<Command> {
    let (account, unit) = (*dice.pick(accounts)?, *dice.pick(&Unit::BOTH)?);
    let most = match unit {
        Unit::Usd => 10 * CENT,
        Unit::Tokens => 20_000,
    };
    let amount = i64::try_from(dice.between(1, most.unsigned_abs())).unwrap();
    Some(Command::AbandonLease { gateway, account, unit, amount })
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
    let settings = Some(Settings { wallet, ..settings });
    Command::ChangeOrg { name: None, settings, plans: None }
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
