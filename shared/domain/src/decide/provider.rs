//! Providers: where models are served, for one organisation or for all.

pub(super) mod form;

use std::collections::BTreeMap;

use super::{By, Decision, World, conflict, name_taken};
use crate::event::Event;
use crate::id::ProviderId;
use crate::refusal::Refusal;
use crate::state::{Platform, Provider, ProviderSpec, Role};

/// A provider of the organisation.
pub(super) fn change_own(
    world: World<'_>,
    by: By<'_>,
    id: ProviderId,
    spec: Option<&ProviderSpec>,
) -> Decision {
    by.requester.at_least(Role::Admin)?;
    change(by, &world.organisation.providers, id, spec)
}

/// A provider of the platform. Routes name it, so its name stays while one does.
pub(super) fn change_shared(
    state: &Platform,
    by: By<'_>,
    id: ProviderId,
    spec: Option<&ProviderSpec>,
) -> Decision {
    by.requester.at_least(Role::Operator)?;
    let events = change(by, &state.providers, id, spec)?;
    let old = state.providers.get(&id).map(|provider| &*provider.spec.name);
    let new = spec.map(|spec| &*spec.name);
    let routed = |name: &str| {
        let mut routes = state.models.values().flat_map(|model| &model.spec.routes);
        routes.any(|route| *route.provider == *name)
    };
    if old != new && old.is_some_and(routed) {
        return Err(conflict("models are routed to the provider: give them other routes first"));
    }
    Ok(events)
}

fn change(
    by: By<'_>,
    providers: &BTreeMap<ProviderId, Provider>,
    id: ProviderId,
    spec: Option<&ProviderSpec>,
) -> Decision {
    let known = providers.get(&id);
    by.has_seen(known.map_or(0, |provider| provider.seq))?;
    let Some(spec) = spec else {
        known.ok_or(Refusal::NotFound { noun: "provider" })?;
        return Ok(vec![Event::ProviderChanged { provider: id, spec: None }]);
    };
    let base_url = spec.base_url.trim_end_matches('/').into();
    let spec = ProviderSpec { base_url, ..spec.clone() };
    if known.is_some_and(|provider| provider.spec == spec) {
        return Ok(Vec::new());
    }
    form::check(&spec)?;
    if providers.iter().any(|(other, found)| found.spec.name == spec.name && *other != id) {
        return Err(name_taken("provider", &spec.name));
    }
    Ok(vec![Event::ProviderChanged { provider: id, spec: Some(Box::new(spec)) }])
}
