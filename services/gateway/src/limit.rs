//! The gateway's own word on budgets and rates, between the offer and the lane.

use turnpike_domain::admit::Denial;
use turnpike_domain::limit::{Account, Unit};
use turnpike_domain::state::WalletMode;
use turnpike_domain::time::Timestamp;

use crate::core::Entry;

/// Whether the key's budgets leave room at all.
///
/// What is used up is refused without asking anybody. What is limited and not used up needs a lease
/// or a permit of the authority; nobody can give one yet, so that it could not be checked: a key
/// with a limit on its path is never served without it.
///
/// # Errors
/// [`Denial::BillingShortfall`], [`Denial::QuotaExceeded`], [`Denial::LimitAuthorityUnavailable`].
pub fn check(entry: &Entry, now: Timestamp) -> Result<(), Denial> {
    let organisation = &entry.org.organisation;
    let prepaid = match organisation.settings.wallet {
        WalletMode::Off => false,
        WalletMode::Prepaid => true,
    };
    if prepaid && organisation.wallet.exhausted {
        return Err(Denial::BillingShortfall);
    }
    let project = entry.key.profile.project;
    let used_up = |project| {
        [Unit::Usd, Unit::Tokens]
            .into_iter()
            .any(|unit| organisation.is_used_up(Account::Project(project), unit, now))
    };
    if entry.exhausted || project.is_some_and(used_up) {
        return Err(Denial::QuotaExceeded);
    }
    let of_project = project.and_then(|project| organisation.projects.get(&project));
    let limited = prepaid
        || !entry.key.profile.limits.is_unlimited()
        || of_project.is_some_and(|project| !project.limits.is_unlimited());
    if limited { Err(Denial::LimitAuthorityUnavailable) } else { Ok(()) }
}
