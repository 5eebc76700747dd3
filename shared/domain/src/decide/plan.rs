//! Plans: pricing groups, made by the operator.

use super::mistakes::Mistakes;
use super::{By, Decision, conflict, name_taken, scopes};
use crate::command::PlanUsers;
use crate::event::{Event, PlanSpec};
use crate::id::PlanId;
use crate::money::{Multiplier, PARTS_PER_ONE};
use crate::refusal::Refusal;
use crate::state::{Platform, Role};

/// The greatest factor on prices: above it a slip of the decimal point is likelier than a plan.
const MAX_MULTIPLIER: Multiplier = Multiplier(100 * PARTS_PER_ONE);

pub(super) fn change(state: &Platform, by: By<'_>, id: PlanId, spec: &PlanSpec) -> Decision {
    by.requester.at_least(Role::Operator)?;
    let known = state.plans.get(&id);
    by.has_seen(known.map_or(0, |plan| plan.seq))?;
    if known.is_some_and(|plan| plan.spec == *spec) {
        return Ok(Vec::new());
    }
    let mut mistakes = Mistakes::default();
    mistakes.name(&spec.name);
    scopes::allow(&spec.models, "/models", &mut mistakes);
    let sane = spec.multiplier <= MAX_MULTIPLIER;
    mistakes.unless(sane, "/multiplier", "must be at most 100");
    mistakes.finish()?;
    if state.plans.iter().any(|(other, plan)| plan.spec.name == spec.name && *other != id) {
        return Err(name_taken("plan", &spec.name));
    }
    Ok(vec![Event::PlanChanged { plan: id, spec: Some(spec.clone()) }])
}

/// A key that comes to the plan between the count and this keeps it: it can call nothing until it
/// is given another.
pub(super) fn delete(state: &Platform, by: By<'_>, id: PlanId, used_by: PlanUsers) -> Decision {
    by.requester.at_least(Role::Operator)?;
    let known = state.plans.get(&id).ok_or(Refusal::NotFound { noun: "plan" })?;
    by.has_seen(known.seq)?;
    let PlanUsers { keys, organisations } = used_by;
    if used_by != PlanUsers::default() {
        return Err(conflict(&format!(
            "the plan is in use (keys: {keys}, organisations: {organisations}): give them another \
             first"
        )));
    }
    Ok(vec![Event::PlanChanged { plan: id, spec: None }])
}
