//! The caps that events change, told before the events are applied.

use std::collections::{BTreeMap, BTreeSet};

use super::{Touched, organisation, touched};
use crate::event::{Event, Record};
use crate::limit::{Account, Unit};
use crate::state::{Cap, Organisation, Wallet};

/// The caps that `records` will have changed, as they stand then. The events are applied to a small
/// part of `state`: what caps follow from.
#[must_use]
pub fn caps_after(state: &Organisation, records: &[Record]) -> Vec<((Account, Unit), Cap)> {
    let accounts: BTreeSet<Account> = records.iter().map(|record| account(&record.event)).collect();
    let mut part = Organisation::new(state.id);
    part.settings = state.settings;
    part.wallet = Wallet { topped_up: state.wallet.topped_up, ..Wallet::default() };
    part.caps = caps_of(state, &accounts);
    let keys = records.iter().filter_map(|record| match touched(&record.event) {
        Touched::Key(id) => state.keys.get(&id).map(|key| (id, key.clone())),
        Touched::Project(_) | Touched::Tokens | Touched::Routing | Touched::Other => None,
    });
    part.keys.extend(keys);
    for account in &accounts {
        match account {
            Account::Project(id) => {
                part.projects.extend(state.projects.get(id).map(|project| (*id, project.clone())));
            }
            Account::Wallet | Account::Key(_) | Account::Ephemeral(_) => {}
        }
    }
    let before = part.caps.clone();
    for record in records {
        organisation(&mut part, record, [0; 32], state.head.position);
    }
    part.caps.into_iter().filter(|(on, cap)| before.get(on) != Some(cap)).collect()
}

fn caps_of(state: &Organisation, accounts: &BTreeSet<Account>) -> BTreeMap<(Account, Unit), Cap> {
    let on =
        accounts.iter().flat_map(|account| [Unit::Usd, Unit::Tokens].map(|unit| (*account, unit)));
    on.filter_map(|on| state.caps.get(&on).map(|cap| (on, *cap))).collect()
}

/// The account whose caps may follow from an event; the wallet's follow from what touches neither
/// key nor project.
#[must_use]
pub const fn account(event: &Event) -> Account {
    if let Event::EphemeralIssued { token, .. } = event {
        return Account::Ephemeral(*token);
    }
    match touched(event) {
        Touched::Key(key) => Account::Key(key),
        Touched::Project(project) => Account::Project(project),
        Touched::Tokens | Touched::Routing | Touched::Other => Account::Wallet,
    }
}
