//! The budgets that stand on a key's path, as its organisation has set them.

use crate::limit::{Account, Limits, Unit};
use crate::state::{Key, Organisation, WalletMode};
use crate::time::{Reset, Timestamp};

/// The budget of one account: every level of a path has one, whether or not it is capped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Whose.
    pub account: Account,
    /// When it begins anew.
    pub reset: Reset,
    usd: Option<i64>,
    tokens: Option<i64>,
}

/// The budgets that a request of `key` is counted on, from the leaf to the wallet.
pub fn budgets(organisation: &Organisation, key: &Key) -> impl Iterator<Item = Budget> + use<> {
    let project = key.profile.project.and_then(|id| Some((id, organisation.projects.get(&id)?)));
    let project =
        project.map(|(id, project)| Budget::of_limits(Account::Project(id), &project.limits));
    let own = Budget::of_limits(Account::Key(key.id), &key.profile.limits);
    [Some(own), project, Some(Budget::of_wallet(organisation))].into_iter().flatten()
}

/// The budget of the key's path that is used up at `now`: the wallet's before others, because no
/// change of limits helps against it. `own` is the unit in which the key's own budget is used up,
/// by [`Organisation::is_used_up`]; gateways keep that beside the key.
#[must_use]
pub fn used_up(
    organisation: &Organisation,
    key: &Key,
    own: Option<Unit>,
    now: Timestamp,
) -> Option<(Account, Unit)> {
    let is_prepaid = Budget::of_wallet(organisation).usd.is_some();
    if is_prepaid && organisation.wallet.exhausted {
        return Some((Account::Wallet, Unit::Usd));
    }
    if let Some(unit) = own {
        return Some((Account::Key(key.id), unit));
    }
    let project = Account::Project(key.profile.project?);
    let is_used_up = |unit: &Unit| organisation.is_used_up(project, *unit, now);
    Some((project, Unit::BOTH.into_iter().find(is_used_up)?))
}

impl Budget {
    /// The cap in `unit`, if there is one: nano-USD or tokens.
    #[must_use]
    pub const fn cap(&self, unit: Unit) -> Option<i64> {
        match unit {
            Unit::Usd => self.usd,
            Unit::Tokens => self.tokens,
        }
    }

    fn of_limits(account: Account, limits: &Limits) -> Self {
        let (usd, tokens) = (limits.cap(Unit::Usd), limits.cap(Unit::Tokens));
        Self { account, reset: limits.reset, usd, tokens }
    }

    /// All that was ever topped up, where the organisation is prepaid.
    const fn of_wallet(organisation: &Organisation) -> Self {
        let usd = match organisation.settings.wallet {
            WalletMode::Off => None,
            WalletMode::Prepaid => Some(organisation.wallet.topped_up.0),
        };
        Self { account: Account::Wallet, reset: Reset::None, usd, tokens: None }
    }
}
