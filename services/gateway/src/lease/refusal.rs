//! How a want of budget is told: code and figures.

use turnpike_domain::admit::{Denial, Figures, LimitSource};
use turnpike_domain::ledger::{BudgetFigures, Refused, used_up};
use turnpike_domain::limit::{Account, Unit};
use turnpike_domain::time::Timestamp;

use super::purse::{Short, Stop};
use crate::core::{Denied, Entry};

/// After how long a budget that running requests hold is worth asking for again, in milliseconds:
/// some of them end within moments.
const HELD_RETRY_MS: u64 = 1_000;
/// The same for an authority that is away: another one takes its place within seconds.
const AWAY_RETRY_MS: u64 = 2_000;

/// What the authority says of the budget that did not suffice; `None` if it named none.
pub(super) fn figures(
    refused: &Refused,
    known: Option<&BudgetFigures>,
    unit: Unit,
    ends_at: Option<Timestamp>,
) -> Option<Figures> {
    let (account, revision, retry_after_ms) = match refused {
        Refused::Exhausted { account, revision, .. } => (*account, *revision, None),
        Refused::HeldElsewhere { account } => (*account, 0, Some(HELD_RETRY_MS)),
        Refused::Fenced => return None,
    };
    let bare = Figures::of(LimitSource::Budget(account, unit));
    let Some(known) = known.filter(|known| known.account == account) else {
        return Some(Figures { revision, retry_after_ms, resets_at: ends_at, ..bare });
    };
    Some(Figures { retry_after_ms, ..told(known, unit) })
}

/// A budget as the authority tells of it.
pub(super) const fn told(known: &BudgetFigures, unit: Unit) -> Figures {
    Figures {
        limit: known.cap,
        used: Some(known.settled.saturating_add(known.lost)),
        held: Some(known.held),
        resets_at: known.resets_at,
        revision: known.revision,
        ..Figures::of(LimitSource::Budget(known.account, unit))
    }
}

/// What nobody holds of a budget.
pub(super) fn available(known: Option<&BudgetFigures>) -> i64 {
    let left = |known: &BudgetFigures| {
        let used = known.settled.saturating_add(known.held).saturating_add(known.lost);
        Some(known.cap?.saturating_sub(used))
    };
    known.and_then(left).unwrap_or(0)
}

/// What could be used of a budget if every hold came back unspent; without bound if that is not
/// known.
pub(super) fn if_all_came_back(known: Option<&BudgetFigures>) -> i64 {
    let left = |known: &BudgetFigures| {
        Some(known.cap?.saturating_sub(known.settled).saturating_sub(known.lost))
    };
    known.and_then(left).unwrap_or(i64::MAX)
}

/// A budget that did not suffice for a request.
#[derive(Debug)]
pub struct Shortage {
    /// What the caller is told.
    pub denied: Denied,
    /// In which unit, and the most that could be reserved instead, if that is known.
    pub fits: Option<(Unit, i64)>,
}

pub(super) fn shortage(entry: &Entry, why: Stop, now: Timestamp) -> Shortage {
    let told = |short: Short, denial| Shortage {
        denied: entry.denied(denial, now).with_figures(short.figures),
        fits: Some((short.unit, short.fits)),
    };
    match why {
        Stop::Exhausted(short) => {
            let denial = Denial::used_up(short.figures.source.account());
            told(*short, denial)
        }
        Stop::HeldElsewhere(short) => told(*short, Denial::InFlightBudgetExhausted),
        Stop::Unreachable | Stop::Moved => {
            let denied = entry.denied(Denial::LimitAuthorityUnavailable, now);
            Shortage { denied: denied.with_retry_after(AWAY_RETRY_MS), fits: None }
        }
    }
}

/// Refuses a key one of whose budgets is known to be used up, without asking anybody. It is open
/// again the moment that the mirror knows of another window or cap.
///
/// # Errors
/// [`Denial::BillingShortfall`] or [`Denial::QuotaExceeded`].
pub(super) fn open(entry: &Entry, now: Timestamp) -> Result<(), Box<Denied>> {
    let (organisation, key) = (&entry.org.organisation, &entry.key);
    let own = entry.used_up.map(|spent| spent.unit);
    let Some((account, unit)) = used_up(organisation, key, own, now) else { return Ok(()) };
    let (cap, settled) = match entry.used_up.filter(|_| account == Account::Key(key.id)) {
        Some(spent) => (spent.cap, spent.settled),
        None => {
            let cap = organisation.caps.get(&(account, unit)).copied().unwrap_or_default();
            (cap, organisation.hits.get(&(account, unit)).and_then(|hit| hit.settled))
        }
    };
    let figures = Figures {
        limit: cap.amount,
        used: settled,
        resets_at: cap.reset.ends(cap.reset.window(now)),
        revision: cap.revision,
        ..Figures::of(LimitSource::Budget(account, unit))
    };
    Err(Box::new(entry.denied(Denial::used_up(account), now).with_figures(figures)))
}
