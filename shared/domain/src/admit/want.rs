//! Refusals for want of budget: which code stands for which account, and with which status.

use super::Denial;
use crate::ledger::Refused;
use crate::limit::Account;
use crate::state::LimitStatus;

impl Denial {
    /// A budget of `account` is used up, or what is left does not suffice.
    #[must_use]
    pub const fn used_up(account: Account) -> Self {
        match account {
            Account::Wallet => Self::BillingShortfall,
            Account::Project(_) | Account::Key(_) | Account::Ephemeral(_) => Self::QuotaExceeded,
        }
    }

    /// What the authority of budgets says to a word that it does not grant.
    #[must_use]
    pub const fn of_refused(refused: &Refused) -> Self {
        match refused {
            Refused::Exhausted { account, .. } => Self::used_up(*account),
            Refused::HeldElsewhere { .. } => Self::InFlightBudgetExhausted,
            Refused::Fenced => Self::LimitAuthorityUnavailable,
        }
    }

    /// The HTTP status under an organisation's setting, which is about used-up budgets alone.
    #[must_use]
    pub const fn status_under(self, limit_status: LimitStatus) -> u16 {
        match (self, limit_status) {
            (Self::QuotaExceeded | Self::BillingShortfall, LimitStatus::TooManyRequests) => 429,
            (denial, LimitStatus::TooManyRequests | LimitStatus::PaymentRequired) => {
                denial.status()
            }
        }
    }
}
