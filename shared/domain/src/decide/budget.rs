//! Budgets: closed and warned about when bookings say so, released by hand.
//!
//! A due row is made in one commit and decided in a later one. In between the cap may have changed,
//! the row may have been decided already, the account may be gone: then there is nothing to tell.

use super::mistakes::Mistakes;
use super::{By, Decision, World};
use crate::command::Command;
use crate::event::Event;
use crate::id::GatewayId;
use crate::limit::{Account, Unit};
use crate::refusal::Refusal;
use crate::state::{Hit, Organisation, Role};
use crate::time::{Timestamp, Window};

/// A budget counts as used up from here on, in percent of the cap: what is left is less than any
/// request that was asked for (money.md, "Refusals").
const USED_UP_PERCENT: u8 = 99;

/// What a due row says.
#[derive(Clone, Copy)]
struct Due {
    on: (Account, Unit),
    window: Window,
    revision: u64,
    settled: i64,
}

pub(super) fn close(world: World<'_>, by: By<'_>, command: &Command) -> Decision {
    let Command::CloseBudget { account, unit, window, revision, settled } = *command else {
        return Ok(Vec::new());
    };
    by.requester.at_least(Role::Operator)?;
    let due = Due { on: (account, unit), window, revision, settled };
    let Some((cap, told)) = standing(world.organisation, due, USED_UP_PERCENT, by.now)? else {
        return Ok(Vec::new());
    };
    if told.is_some_and(|told| told.exhausted) {
        return Ok(Vec::new());
    }
    Ok(match account {
        Account::Wallet => vec![Event::WalletExhausted { revision }],
        Account::Project(_) | Account::Key(_) | Account::Ephemeral(_) => {
            vec![Event::QuotaHit { account, unit, window, revision, cap, settled }]
        }
    })
}

pub(super) fn alert(world: World<'_>, by: By<'_>, command: &Command) -> Decision {
    let Command::RaiseAlert { account, unit, window, revision, percent, settled } = *command else {
        return Ok(Vec::new());
    };
    by.requester.at_least(Role::Operator)?;
    let due = Due { on: (account, unit), window, revision, settled };
    if !world.organisation.alert_percents(account).contains(&percent) {
        return Ok(Vec::new());
    }
    // All of a budget is used when it counts as used up.
    let reached = percent.min(USED_UP_PERCENT);
    let Some((cap, told)) = standing(world.organisation, due, reached, by.now)? else {
        return Ok(Vec::new());
    };
    if told.is_some_and(|told| told.percent >= percent) {
        return Ok(Vec::new());
    }
    Ok(vec![Event::AlertRaised { account, unit, window, revision, percent, cap, settled }])
}

pub(super) fn abandon(
    world: World<'_>,
    by: By<'_>,
    gateway: GatewayId,
    (account, unit): (Account, Unit),
    amount: i64,
) -> Decision {
    by.requester.at_least(match account {
        // The organisation's people do not write off what the operator is owed.
        Account::Wallet => Role::Operator,
        Account::Project(_) | Account::Key(_) | Account::Ephemeral(_) => Role::Admin,
    })?;
    let own = world.organisation.gateways.contains_key(&gateway);
    if !own && !world.platform.gateways.contains_key(&gateway) {
        return Err(Refusal::NotFound { noun: "gateway" });
    }
    let mut mistakes = Mistakes::default();
    mistakes.unless(amount > 0, "/amount", "must be more than zero");
    mistakes.finish()?;
    Ok(vec![Event::LeaseAbandoned { gateway, account, unit, amount }])
}

/// The cap, and what was told of this very window and revision, if the row still means what it
/// says: the cap is the one in force, the window is not older than one that was told, and `percent`
/// of the cap is settled. A window that has not begun is none of the present: telling it now would
/// hide the one that runs.
fn standing(
    state: &Organisation,
    due: Due,
    percent: u8,
    now: Timestamp,
) -> Result<Option<(i64, Option<Hit>)>, Refusal> {
    let cap = state.caps.get(&due.on).filter(|cap| cap.revision == due.revision);
    let Some((cap, amount)) = cap.and_then(|cap| Some((cap, cap.amount?))) else {
        return Ok(None);
    };
    let reached = i128::from(due.settled) * 100 >= i128::from(amount) * i128::from(percent);
    let hit = state.hits.get(&due.on).filter(|hit| hit.revision == due.revision).copied();
    let is_past = hit.is_some_and(|hit| hit.window > due.window);
    if !cap.reset.names(due.window) || !reached || is_past {
        return Ok(None);
    }
    if !due.window.has_begun(now) {
        return Err(Refusal::StateConflict { reason: "the window has not begun".into() });
    }
    Ok(Some((amount, hit.filter(|hit| hit.window == due.window))))
}
