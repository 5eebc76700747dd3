//! Caps with their revisions, thresholds that were told, the wallet.

use std::collections::btree_map::Entry;

use crate::event::{Event, Record};
use crate::id::TopUpId;
use crate::limit::{Account, Limits, Unit};
use crate::money::NanoUsd;
use crate::state::{Cap, Hit, Organisation, TopUp, WalletMode};
use crate::time::{Reset, Timestamp, Window};

const UNITS: [Unit; 2] = [Unit::Usd, Unit::Tokens];

/// Lets the caps of an account follow its limits.
pub(super) fn caps(state: &mut Organisation, account: Account, limits: &Limits) {
    for unit in UNITS {
        cap(state, (account, unit), limits.cap(unit), limits.reset);
    }
}

/// Takes the caps of an account away for good. Its revisions stay: a due row or a lease may still
/// name them, and a revision that was used once never comes back.
pub(super) fn no_caps(state: &mut Organisation, account: Account) {
    for unit in UNITS {
        let reset = state.caps.get(&(account, unit)).map(|cap| cap.reset);
        cap(state, (account, unit), None, reset.unwrap_or_default());
        state.hits.remove(&(account, unit));
    }
}

/// Forgets an account that never comes back.
pub(super) fn forget(state: &mut Organisation, account: Account) {
    for unit in UNITS {
        state.caps.remove(&(account, unit));
        state.hits.remove(&(account, unit));
    }
}

/// Lets the wallet's cap follow settings and top-ups.
pub(super) fn wallet_cap(state: &mut Organisation) {
    let amount = match state.settings.wallet {
        WalletMode::Off => None,
        WalletMode::Prepaid => Some(state.wallet.topped_up.0),
    };
    cap(state, (Account::Wallet, Unit::Usd), amount, Reset::None);
}

pub(super) fn topped_up(
    state: &mut Organisation,
    id: TopUpId,
    amount: NanoUsd,
    note: &str,
    at: Timestamp,
) {
    if state.wallet.top_ups.iter().any(|top_up| top_up.id == id) {
        return;
    }
    state.wallet.topped_up = state.wallet.topped_up.plus(amount);
    state.wallet.top_ups.push(TopUp { id, at, amount, note: note.into() });
    wallet_cap(state);
}

pub(super) fn wallet_exhausted(state: &mut Organisation, revision: u64) {
    state.wallet.exhausted = true;
    let on = (Account::Wallet, Unit::Usd);
    told(
        state,
        on,
        Hit { window: Window(0), revision, percent: 0, exhausted: true, settled: None },
    );
}

/// Notes that a budget is used up.
pub(super) fn hit(state: &mut Organisation, record: &Record) {
    let Event::QuotaHit { account, unit, window, revision, settled, .. } = record.event else {
        return;
    };
    let settled = Some(settled);
    told(state, (account, unit), Hit { window, revision, percent: 0, exhausted: true, settled });
}

/// Notes that a threshold was told.
pub(super) fn alert(state: &mut Organisation, record: &Record) {
    let Event::AlertRaised { account, unit, window, revision, percent, settled, .. } = record.event
    else {
        return;
    };
    let settled = Some(settled);
    told(state, (account, unit), Hit { window, revision, percent, exhausted: false, settled });
}

/// Only the newest window of the newest revision is kept: an older one binds nobody any more.
fn told(state: &mut Organisation, on: (Account, Unit), hit: Hit) {
    if matches!(on.0, Account::Ephemeral(_)) && !state.caps.contains_key(&on) {
        return;
    }
    let Some(known) = state.hits.get_mut(&on) else {
        state.hits.insert(on, hit);
        return;
    };
    let (new, old) = ((hit.revision, hit.window), (known.revision, known.window));
    if new > old {
        *known = hit;
    } else if new == old {
        known.percent = known.percent.max(hit.percent);
        known.exhausted |= hit.exhausted;
        known.settled = known.settled.max(hit.settled);
    }
}

fn cap(state: &mut Organisation, on: (Account, Unit), amount: Option<i64>, reset: Reset) {
    match state.caps.entry(on) {
        Entry::Vacant(_) if amount.is_none() => {}
        Entry::Vacant(place) => {
            place.insert(Cap { amount, reset, revision: 1 });
        }
        Entry::Occupied(mut place) => {
            let cap = place.get_mut();
            if (cap.amount, cap.reset) != (amount, reset) {
                *cap = Cap { amount, reset, revision: cap.revision.saturating_add(1) };
            }
        }
    }
}
