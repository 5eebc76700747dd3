//! The ledger of budgets: what each account has settled, holds and has lost sight of.
//!
//! Money and tokens are counted the same way, each in rows of its own. A row belongs to an account
//! and a window; a new window has a zero row by definition. A lease is granted on a whole path,
//! from the leaf to the wallet, and moves every row of it at once.

mod budgets;
mod holding;
mod lease;

pub use budgets::{Budget, budgets, used_up};
pub use holding::Holding;
pub use lease::{Lease, Refused, Standing, Word};

use crate::command::Command;
use crate::event::KeyProfile;
use crate::id::{EphemeralId, KeyId};
use crate::limit::{Account, Unit};
use crate::state::{Cap, Key, Organisation};
use crate::time::{Reset, Timestamp, Window};

/// What an account has used in one window, in one unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Row {
    /// Booked.
    pub settled: i64,
    /// Granted to gateways and not settled yet.
    pub held: i64,
    /// Granted to gateways that were not heard of again: it counts until it is proven or released.
    pub lost: i64,
    /// Which thresholds have left a due row.
    pub told: Told,
}

/// The thresholds of one cap that have left a due row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Told {
    /// The revision of the cap.
    pub revision: u64,
    /// The highest alert, in percent.
    pub percent: u8,
    /// The budget is used up.
    pub closed: bool,
}

/// One level of a path: an account in its window, with its cap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level {
    /// Whose budget.
    pub account: Account,
    /// In which window.
    pub window: Window,
    /// Its cap; without an amount it is infinite, and the row is kept all the same.
    pub cap: Cap,
    /// Its row.
    pub row: Row,
}

/// A threshold that was crossed and has to be told: the booking that crossed it leaves this behind
/// in its own commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Due {
    /// Whose budget.
    pub account: Account,
    /// In which unit.
    pub unit: Unit,
    /// In which window.
    pub window: Window,
    /// The revision of the cap.
    pub revision: u64,
    /// The alert's threshold in percent; `None`: the budget is used up.
    pub percent: Option<u8>,
}

/// What a budget has used, for people and for the refusals that name it. Amounts are nano-USD or
/// tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BudgetFigures {
    /// Whose budget.
    pub account: Account,
    /// The cap, if there is one.
    pub cap: Option<i64>,
    /// Booked.
    pub settled: i64,
    /// Granted to gateways and not settled yet.
    pub held: i64,
    /// Granted to gateways that were not heard of again.
    pub lost: i64,
    /// The revision of the cap.
    pub revision: u64,
    /// When it begins anew, if it does.
    pub resets_at: Option<Timestamp>,
}

/// The accounts that a request of `key`, made with `token` if it was, is counted on at `now`, from
/// the leaf to the wallet.
#[must_use]
pub fn path(
    organisation: &Organisation,
    key: &Key,
    token: Option<EphemeralId>,
    now: Timestamp,
) -> Vec<(Account, Window)> {
    let of_token = organisation.carve_out(key.id, token);
    let of_token = of_token.map(|account| (account, Window::default()));
    let of_key = budgets(organisation, key).map(|it| (it.account, it.reset.window(now)));
    of_token.into_iter().chain(of_key).collect()
}

/// The accounts that a record of `key` is booked on if it names no lease: those of the path that
/// admitted it. `then` is what the key was at that time, where it is not that any more; without it
/// they are those of what the key is now, or of what is known of a key that is gone.
#[must_use]
pub fn path_of(
    organisation: &Organisation,
    key: KeyId,
    then: Option<&KeyProfile>,
    token: Option<EphemeralId>,
    at: Timestamp,
) -> Vec<(Account, Window)> {
    let own = Account::Key(key);
    let (reset, project) = match (then, organisation.keys.get(&key)) {
        (Some(then), _) => (then.limits.reset, then.project),
        (None, Some(key)) => return path(organisation, key, token, at),
        (None, None) => (reset_of(organisation, own), None),
    };
    let of_token = organisation.carve_out(key, token).map(|account| (account, Window::default()));
    let of_project = project.map(|project| {
        let account = Account::Project(project);
        (account, reset_of(organisation, account).window(at))
    });
    let of_wallet = (Account::Wallet, Window::default());
    let of_key = [Some((own, reset.window(at))), of_project, Some(of_wallet)];
    of_token.into_iter().chain(of_key.into_iter().flatten()).collect()
}

/// When an account begins anew. One that is gone keeps the policy of its last cap.
#[must_use]
pub fn reset_of(organisation: &Organisation, account: Account) -> Reset {
    let last = || {
        let caps = Unit::BOTH.map(|unit| organisation.caps.get(&(account, unit)));
        caps.into_iter().flatten().next().map_or(Reset::None, |cap| cap.reset)
    };
    match account {
        Account::Wallet | Account::Ephemeral(_) => Reset::None,
        Account::Project(id) => {
            organisation.projects.get(&id).map_or_else(last, |project| project.limits.reset)
        }
        Account::Key(id) => {
            organisation.keys.get(&id).map_or_else(last, |key| key.profile.limits.reset)
        }
    }
}

impl Row {
    /// Everything that counts against the cap.
    #[must_use]
    pub const fn used(&self) -> i64 {
        self.settled.saturating_add(self.held).saturating_add(self.lost)
    }
}

impl Level {
    /// What may still be granted; never negative, although a lowered cap can lie below what is
    /// used.
    #[must_use]
    pub fn available(&self) -> i64 {
        self.cap.amount.map_or(i64::MAX, |cap| cap.saturating_sub(self.row.used()).max(0))
    }

    /// What was crossed since it was last asked, lowest first; to be asked after each booking and
    /// each change of the cap. Each threshold of a cap's revision is answered once.
    pub fn crossed(&mut self, unit: Unit, alert_percent: &[u8]) -> Vec<Due> {
        // What was admitted under an earlier policy is still booked in the windows of that one,
        // which this cap does not bind.
        let Some(cap) = self.cap.amount.filter(|_| self.cap.reset.names(self.window)) else {
            return Vec::new();
        };
        self.forget_other_revisions();
        let reached = |percent: u8| {
            i128::from(self.row.settled) * 100 >= i128::from(cap) * i128::from(percent)
        };
        let told = self.row.told;
        let alerts = alert_percent.iter().copied();
        let alerts: Vec<u8> =
            alerts.filter(|percent| *percent > told.percent && reached(*percent)).collect();
        let closes = !told.closed && reached(100);
        self.row.told.percent = alerts.iter().copied().fold(told.percent, u8::max);
        self.row.told.closed |= closes;
        let closing = closes.then(|| self.due(unit, None));
        alerts.into_iter().map(|percent| self.due(unit, Some(percent))).chain(closing).collect()
    }

    /// What a refusal for want of money leaves behind: with nothing held or lost and less than a
    /// hundredth of the cap left, the account is used up for all that anybody asks, and whoever
    /// wants to be warned of all of it is.
    pub fn refused(&mut self, unit: Unit, alert_percent: &[u8]) -> Vec<Due> {
        let Some(cap) = self.cap.amount else { return Vec::new() };
        self.forget_other_revisions();
        let left = i128::from(cap) - i128::from(self.row.settled);
        let idle = self.row.held == 0 && self.row.lost == 0;
        if !idle || self.row.told.closed || left * 100 >= i128::from(cap).max(1) {
            return Vec::new();
        }
        let told = self.row.told.percent;
        let alerts: Vec<u8> = alert_percent.iter().copied().filter(|all| *all > told).collect();
        self.row.told.percent = alerts.iter().copied().fold(told, u8::max);
        self.row.told.closed = true;
        let alerts = alerts.into_iter().map(|percent| self.due(unit, Some(percent)));
        alerts.chain([self.due(unit, None)]).collect()
    }

    /// What it has used, to be shown.
    #[must_use]
    pub fn figures(&self) -> BudgetFigures {
        let Row { settled, held, lost, .. } = self.row;
        let Cap { amount: cap, reset, revision } = self.cap;
        let resets_at = reset.ends(self.window);
        BudgetFigures { account: self.account, cap, settled, held, lost, revision, resets_at }
    }

    fn forget_other_revisions(&mut self) {
        if self.row.told.revision != self.cap.revision {
            self.row.told = Told { revision: self.cap.revision, ..Told::default() };
        }
    }

    const fn due(&self, unit: Unit, percent: Option<u8>) -> Due {
        let Self { account, window, cap, .. } = *self;
        Due { account, unit, window, revision: cap.revision, percent }
    }
}

impl Due {
    /// The command that tells it, given what is settled by now.
    #[must_use]
    pub const fn command(self, settled: i64) -> Command {
        let Self { account, unit, window, revision, percent } = self;
        match percent {
            Some(percent) => {
                Command::RaiseAlert { account, unit, window, revision, percent, settled }
            }
            None => Command::CloseBudget { account, unit, window, revision, settled },
        }
    }
}
