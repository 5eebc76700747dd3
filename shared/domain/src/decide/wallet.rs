//! The organisation's own money: added by the operator.

use super::mistakes::Mistakes;
use super::{By, Decision, World, conflict};
use crate::event::Event;
use crate::id::TopUpId;
use crate::limit::{Account, Unit};
use crate::money::NanoUsd;
use crate::state::Role;
use crate::text::MAX_NOTE_CHARS;

pub(super) fn top_up(
    world: World<'_>,
    by: By<'_>,
    id: TopUpId,
    amount: NanoUsd,
    note: &str,
) -> Decision {
    let state = world.organisation;
    by.requester.at_least(Role::Operator)?;
    if state.wallet.top_ups.iter().any(|top_up| top_up.id == id) {
        return Err(conflict("a top-up with this id was booked already"));
    }
    let mut mistakes = Mistakes::default();
    mistakes.unless(amount > NanoUsd::ZERO, "/amount_usd", "must be more than zero");
    let sum = state.wallet.topped_up.0.checked_add(amount.0);
    mistakes.unless(sum.is_some(), "/amount_usd", "is more than a wallet can hold");
    if note.chars().count() > MAX_NOTE_CHARS {
        mistakes.add("/note", format!("must have at most {MAX_NOTE_CHARS} characters"));
    }
    mistakes.finish()?;
    let mut events = vec![Event::WalletToppedUp { top_up: id, amount, note: note.into() }];
    if state.wallet.exhausted {
        let cap = state.caps.get(&(Account::Wallet, Unit::Usd)).copied().unwrap_or_default();
        events.push(Event::WalletRestored { revision: cap.revision.saturating_add(1) });
    }
    Ok(events)
}
