//! The organisation: made by the operator, set up by its owner.

use std::iter;

use super::mistakes::Mistakes;
use super::{By, Decision, World, conflict};
use crate::command::PlanChoice;
use crate::event::Event;
use crate::id::PlanId;
use crate::limit::{Account, Unit};
use crate::state::{Role, Settings, WalletMode};
use crate::text::MAX_LIST_ENTRIES;
use crate::time::{DAY_MS, SECOND_MS};

/// The least staleness bound: heartbeats come once a second.
const MIN_STALENESS_MS: u64 = SECOND_MS;
/// The greatest staleness bound; beyond it "unbounded" is the honest setting.
const MAX_STALENESS_MS: u64 = 30 * DAY_MS;

/// Keys need a plan: an organisation that is given none has the platform's first, as soon as there
/// is one.
pub(super) fn create(
    world: World<'_>,
    by: By<'_>,
    name: &str,
    settings: &Settings,
    plans: Option<&PlanChoice>,
) -> Decision {
    by.requester.at_least(Role::Operator)?;
    if world.organisation.head.seq > 0 {
        return Err(conflict("an organisation with this id exists"));
    }
    let mut mistakes = Mistakes::default();
    mistakes.name(name);
    check(settings, &mut mistakes);
    // Ids begin with the time at which they were made.
    let first = || world.platform.plans.keys().next().copied();
    let usual = || PlanChoice { allowed: None, default: first() };
    let chosen = plans.map_or_else(usual, |plans| checked(world, plans, &mut mistakes));
    mistakes.finish()?;
    let made = Event::OrgCreated { name: name.into(), settings: *settings };
    Ok(iter::once(made).chain(assigned(world, chosen)).collect())
}

pub(super) fn change(
    world: World<'_>,
    by: By<'_>,
    name: Option<&str>,
    settings: Option<&Settings>,
    plans: Option<&PlanChoice>,
) -> Decision {
    let state = world.organisation;
    by.requester.at_least(Role::Owner)?;
    by.has_seen(state.settings_seq)?;
    let name = name.unwrap_or(&state.name);
    let settings = *settings.unwrap_or(&state.settings);
    let mut mistakes = Mistakes::default();
    let plans = plans.map(|plans| checked(world, plans, &mut mistakes));
    let plans: Vec<Event> = plans.into_iter().flat_map(|plans| assigned(world, plans)).collect();
    if settings.wallet != state.settings.wallet || !plans.is_empty() {
        by.requester.at_least(Role::Operator)?;
    }
    let mut events = Vec::new();
    if (name, settings) != (&*state.name, state.settings) {
        mistakes.name(name);
        check(&settings, &mut mistakes);
        events.push(Event::OrgSettingsChanged { name: name.into(), settings });
        if settings.wallet == WalletMode::Off && state.wallet.exhausted {
            let cap = state.caps.get(&(Account::Wallet, Unit::Usd)).copied().unwrap_or_default();
            events.push(Event::WalletRestored { revision: cap.revision.saturating_add(1) });
        }
    }
    mistakes.finish()?;
    events.extend(plans);
    Ok(events)
}

/// The choice, each plan once, if all of it is there.
fn checked(world: World<'_>, plans: &PlanChoice, mistakes: &mut Mistakes) -> PlanChoice {
    let exists = |plan: &PlanId| world.platform.plans.contains_key(plan);
    let allowed = plans.allowed.as_deref().map(|plans| {
        if plans.is_empty() {
            mistakes.add("/allowed_plans", "must not be empty: use null for all plans");
        }
        let few = plans.len() <= MAX_LIST_ENTRIES;
        mistakes.unless(few, "/allowed_plans", "has too many entries");
        let known = plans.iter().all(exists);
        mistakes.unless(known, "/allowed_plans", "must name plans of the platform");
        let mut plans = plans.to_vec();
        plans.sort_unstable();
        plans.dedup();
        plans
    });
    if let Some(plan) = plans.default {
        mistakes.unless(exists(&plan), "/default_plan", "must be a plan of the platform");
        let chosen = allowed.as_ref().is_none_or(|plans| plans.contains(&plan));
        mistakes.unless(chosen, "/default_plan", "must be one of the allowed plans");
    }
    PlanChoice { allowed, default: plans.default }
}

/// The event of a choice that is not in force yet.
fn assigned(world: World<'_>, plans: PlanChoice) -> Option<Event> {
    let PlanChoice { allowed, default } = plans;
    let state = world.organisation;
    let stands = (&allowed, default) == (&state.allowed_plans, state.default_plan);
    (!stands).then_some(Event::PlanAssigned { allowed, default })
}

fn check(settings: &Settings, mistakes: &mut Mistakes) {
    let bounds = MIN_STALENESS_MS..=MAX_STALENESS_MS;
    mistakes.unless(
        settings.max_staleness_ms.is_none_or(|bound| bounds.contains(&bound)),
        "/max_staleness_seconds",
        "must be from 1 second to 30 days, or unbounded",
    );
}
