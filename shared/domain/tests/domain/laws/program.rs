//! Laws of random programs of commands: what must hold whoever orders whatever.

use std::collections::{BTreeMap, BTreeSet};

use proptest::collection::vec;
use proptest::prelude::*;
use turnpike_domain::authority::Requester;
use turnpike_domain::command::Command;
use turnpike_domain::event::Event;
use turnpike_domain::evolve;
use turnpike_domain::limit::{Account, Unit};
use turnpike_domain::refusal::Refusal;
use turnpike_domain::state::{Cap, Member, MemberState, Organisation, Role, WalletMode};
use turnpike_domain::time::HOUR_MS;

use crate::arbitrary::{cases, command, requester};
use crate::house::{House, NOW, ORG, record};

type Caps = BTreeMap<(Account, Unit), Cap>;

fn owners(org: &Organisation) -> usize {
    let owns = |member: &&Member| {
        member.role >= Role::Owner && matches!(member.state, MemberState::Joined { .. })
    };
    org.members.values().filter(owns).count()
}

/// The caps that events will have changed.
fn caps_after(house: &House, events: &[Event]) -> Caps {
    let numbered = (house.org.head.seq + 1..).zip(events);
    let records: Vec<_> =
        numbered.map(|(seq, event)| record(ORG, seq, house.now, event.clone())).collect();
    evolve::caps_after(&house.org, &records).into_iter().collect()
}

/// What is in force, as limits and wallet say it.
fn caps_in_force(org: &Organisation) -> BTreeMap<(Account, Unit), i64> {
    let keys = org.keys.iter().map(|(id, key)| (Account::Key(*id), &key.profile.limits));
    let projects =
        org.projects.iter().map(|(id, project)| (Account::Project(*id), &project.limits));
    let mut caps = BTreeMap::new();
    for (account, limits) in keys.chain(projects) {
        for unit in [Unit::Usd, Unit::Tokens] {
            caps.extend(limits.cap(unit).map(|cap| ((account, unit), cap)));
        }
    }
    for ((_, token), made) in &org.ephemerals {
        let cap = made.grant.cost_cap.map(|cap| cap.0);
        caps.extend(cap.map(|cap| ((Account::Ephemeral(*token), Unit::Usd), cap)));
        let cap = made.grant.token_cap.and_then(|cap| i64::try_from(cap).ok());
        caps.extend(cap.map(|cap| ((Account::Ephemeral(*token), Unit::Tokens), cap)));
    }
    if org.settings.wallet == WalletMode::Prepaid {
        caps.insert((Account::Wallet, Unit::Usd), org.wallet.topped_up.0);
    }
    caps
}

fn check(org: &Organisation, before: &Caps) -> Result<(), TestCaseError> {
    let names: BTreeSet<_> = org.keys.values().map(|key| &key.profile.name).collect();
    prop_assert_eq!(names.len(), org.keys.len(), "names of keys are unique");
    prop_assert_eq!(org.key_names.len(), org.keys.len());
    for (name, id) in &org.key_names {
        prop_assert_eq!(name, &org.keys[id].profile.name);
    }
    let projects: BTreeSet<_> = org.projects.values().map(|project| &project.name).collect();
    prop_assert_eq!(projects.len(), org.projects.len(), "names of projects are unique");
    let emails: BTreeSet<_> = org.members.values().map(|member| &member.email).collect();
    prop_assert_eq!(emails.len(), org.members.len(), "addresses are unique");
    prop_assert!(owners(org) > 0, "somebody owns the organisation");
    for key in org.keys.values() {
        let project = key.profile.project;
        prop_assert!(project.is_none_or(|project| org.projects.contains_key(&project)));
    }
    let in_force: BTreeMap<_, _> =
        org.caps.iter().filter_map(|(on, cap)| Some((*on, cap.amount?))).collect();
    prop_assert_eq!(in_force, caps_in_force(org));
    let ends = org.ephemerals.iter().map(|((key, id), made)| (made.grant.expires_at, *key, *id));
    prop_assert_eq!(&org.ephemeral_ends, &ends.collect::<BTreeSet<_>>());
    prop_assert!(org.ephemerals.keys().all(|(key, _)| org.keys.contains_key(key)));
    for (on, old) in before {
        // The id of a token never comes back, and its cap with it.
        if matches!(on.0, Account::Ephemeral(_)) && !org.caps.contains_key(on) {
            continue;
        }
        let new = org.caps.get(on).copied().unwrap_or_default();
        let same = (new.amount, new.reset) == (old.amount, old.reset);
        prop_assert!(new.revision >= old.revision, "revisions never go back");
        prop_assert!(same || new.revision > old.revision, "a changed cap has a new revision");
    }
    let used_up = org.is_used_up(Account::Wallet, Unit::Usd, NOW);
    prop_assert_eq!(org.wallet.exhausted, used_up, "both say whether the wallet is empty");
    Ok(())
}

/// Whether ordering it again is bound to find it done: some are acts of their own each time.
fn settles(command: &Command) -> bool {
    !matches!(command, Command::RevealSecret { .. } | Command::AbandonLease { .. })
}

fn program() -> impl Strategy<Value = Vec<(Requester, Command, u64)>> {
    vec((requester(), command(), 0..6 * HOUR_MS), 0..40)
}

proptest! {
    #![proptest_config(cases(256))]

    #[test]
    fn no_program_breaks_the_house(program in program()) {
        let mut house = House::furnished();
        for (by, command, pause_ms) in program {
            house.now = house.now.plus_ms(pause_ms);
            let (seq, caps) = (house.org.head.seq, house.org.caps.clone());
            let Ok(events) = house.decide(by, command.clone()) else {
                continue;
            };
            let count = u64::try_from(events.len()).expect("few");
            let told = caps_after(&house, &events);
            house.apply(events);
            let changed = house.org.caps.iter().filter(|(on, cap)| caps.get(on) != Some(*cap));
            let changed: Caps = changed.map(|(on, cap)| (*on, *cap)).collect();
            prop_assert_eq!(told, changed, "what is told beforehand of caps");
            prop_assert_eq!(house.org.head.seq, seq + count);
            check(&house.org, &caps)?;
            if settles(&command) {
                match house.decide(by, command.clone()) {
                    Ok(again) => prop_assert!(again.is_empty(), "{:?} then {:?}", command, again),
                    Err(Refusal::StateConflict { .. } | Refusal::NotFound { .. }) => {}
                    // One who orders the own removal or demotion may not order it twice.
                    Err(Refusal::Forbidden { .. }) => {}
                    Err(other) => prop_assert!(false, "{:?} then {}", command, other),
                }
            }
        }
    }

    #[test]
    fn the_weak_change_only_what_is_theirs(commands in vec(command(), 0..40)) {
        let mut house = House::furnished();
        for command in commands {
            if let Ok(events) = house.decide(crate::house::viewer(), command.clone()) {
                prop_assert!(events.is_empty(), "a viewer did {:?}", command);
            }
            let before = house.org.clone();
            let Ok(events) = house.decide(crate::house::member(), command) else {
                continue;
            };
            house.apply(events);
            let me = Some(crate::house::MEMBER);
            prop_assert_eq!(&house.org.members, &before.members);
            prop_assert_eq!(&house.org.projects, &before.projects);
            prop_assert_eq!(&house.org.wallet, &before.wallet);
            prop_assert_eq!(&house.org.settings, &before.settings);
            for (id, key) in &before.keys {
                let changed = house.org.keys.get(id) != Some(key);
                prop_assert!(!changed || key.profile.owner == me);
            }
            for key in house.org.keys.values().filter(|key| !before.keys.contains_key(&key.id)) {
                prop_assert_eq!(key.profile.owner, me);
            }
        }
    }
}
