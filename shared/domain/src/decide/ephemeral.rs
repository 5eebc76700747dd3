//! Ephemeral tokens: issued within what their key may do, and stopped.

use super::mistakes::Mistakes;
use super::{By, Decision, World, conflict, key, scopes};
use crate::command::{Command, EphemeralDraft};
use crate::ephemeral::{DEFAULT_LIFE_MS, MAX_LIFE_MS, MAX_LIVE_TOKENS, MIN_LIFE_MS, alone};
use crate::event::{EphemeralGrant, Event};
use crate::id::{EphemeralId, KeyId};
use crate::refusal::Refusal;
use crate::scope::{Allow, Attenuation, Scopes};
use crate::state::{Key, Role, Status};
use crate::time::Timestamp;

const LIFE: &str = "/expires_in_seconds";

pub(super) fn issue(
    world: World<'_>,
    by: By<'_>,
    id: KeyId,
    token: EphemeralId,
    draft: &EphemeralDraft,
) -> Decision {
    let found = key::find(world, by, id)?;
    works(found, by.now)?;
    if world.organisation.ephemerals.contains_key(&(id, token)) {
        return Err(conflict("a token with this id exists"));
    }
    let living = world.organisation.tokens_of(id);
    let living = living.filter(|(_, token)| by.now < token.grant.expires_at).count();
    if living >= MAX_LIVE_TOKENS {
        return Err(conflict("the key has 10000 tokens that have not ended: let some end first"));
    }
    let mut mistakes = Mistakes::default();
    if let Some(name) = &draft.name {
        mistakes.name(name);
    }
    let expires_at = end(draft.life_ms, found.profile.expires_at, by.now, &mut mistakes);
    narrows(&draft.attenuation, &found.profile.scopes, &mut mistakes);
    if let Some(cap) = draft.cost_cap {
        mistakes.unless(cap.0 >= 0, "/cost_usd", "must not be negative");
        let fits = found.profile.limits.cost.is_none_or(|limit| cap <= limit);
        mistakes.unless(fits, "/cost_usd", "must be at most the key's own limit");
    }
    if let Some(cap) = draft.token_cap {
        mistakes.unless(i64::try_from(cap).is_ok(), "/tokens", "is too large");
        let fits = found.profile.limits.tokens.is_none_or(|limit| cap <= limit);
        mistakes.unless(fits, "/tokens", "must be at most the key's own limit");
    }
    mistakes.finish()?;
    let grant = Box::new(EphemeralGrant {
        name: draft.name.clone(),
        generation: found.generation,
        expires_at,
        attenuation: draft.attenuation.clone(),
        cost_cap: draft.cost_cap,
        token_cap: draft.token_cap,
        alone: false,
    });
    Ok(vec![Event::EphemeralIssued { key: id, token, grant }])
}

/// A key of its own, and the token that is its only credential. What the token may do and spend is
/// what the key may.
pub(super) fn create_key(world: World<'_>, by: By<'_>, command: &Command) -> Decision {
    let Command::CreateEphemeralKey { key: id, token, draft, secret, life_ms } = command else {
        return Ok(Vec::new());
    };
    by.requester.at_least(Role::Member)?;
    let mut mistakes = Mistakes::default();
    end(*life_ms, None, by.now, &mut mistakes);
    mistakes.finish()?;
    let grant = Box::new(alone(by.now, *life_ms));
    let mut draft = draft.clone();
    draft.expires_at = Some(grant.expires_at);
    let mut events = key::create(world, by, *id, &draft, secret)?;
    for event in &mut events {
        if let Event::KeyCreated { recoverable, .. } = event {
            // Nobody is told this secret, so nobody can want it back.
            *recoverable = None;
        }
    }
    events.push(Event::EphemeralIssued { key: *id, token: *token, grant });
    Ok(events)
}

/// Whoever may change the key may stop its tokens, whatever became of the key.
pub(super) fn revoke(world: World<'_>, by: By<'_>, id: KeyId, token: EphemeralId) -> Decision {
    let key = world.organisation.keys.get(&id).ok_or(Refusal::NotFound { noun: "key" })?;
    by.requester.may_change(key)?;
    let known = world.organisation.ephemerals.get(&(id, token));
    let known = known.ok_or(Refusal::NotFound { noun: "ephemeral token" })?;
    by.has_seen(known.seq)?;
    Ok(if known.revoked { Vec::new() } else { vec![Event::EphemeralRevoked { key: id, token }] })
}

fn works(key: &Key, now: Timestamp) -> Result<(), Refusal> {
    match key.status(now, false) {
        Status::Revoked => Err(conflict("the key is revoked: activate it first")),
        Status::Inactive => Err(conflict("the key is switched off: enable it first")),
        Status::Expired => Err(conflict("the key has expired")),
        Status::Exhausted | Status::Active => Ok(()),
    }
}

/// When a token ends: not after its key.
fn end(
    life_ms: Option<u64>,
    of_key: Option<Timestamp>,
    now: Timestamp,
    mistakes: &mut Mistakes,
) -> Timestamp {
    let sound = life_ms.is_none_or(|life| (MIN_LIFE_MS..=MAX_LIFE_MS).contains(&life));
    mistakes.unless(sound, LIFE, "must be from 1 to 86400 (24 hours)");
    let wanted = now.plus_ms(life_ms.unwrap_or(DEFAULT_LIFE_MS));
    match of_key {
        Some(of_key) if of_key < wanted => {
            mistakes.unless(life_ms.is_none(), LIFE, "must not be after the end of the key");
            of_key
        }
        Some(_) | None => wanted,
    }
}

/// Whether the token's scopes make sense, and are within its key's.
fn narrows(attenuation: &Attenuation, key: &Scopes, mistakes: &mut Mistakes) {
    let mut asked = Scopes {
        models: attenuation.models.clone(),
        providers: attenuation.providers.clone(),
        addresses: attenuation.addresses.clone(),
        ..Scopes::default()
    };
    if let Some(mcp) = &attenuation.mcp {
        asked.mcp = mcp.clone();
    }
    scopes::check(&asked, mistakes);
    let within = attenuation.models == Allow::All || attenuation.models.within(&key.models);
    mistakes.unless(within, "/scopes/models", "must be models of the key");
    let within =
        attenuation.providers == Allow::All || attenuation.providers.within(&key.providers);
    mistakes.unless(within, "/scopes/providers", "must be providers of the key");
    let only = |addresses| Scopes { addresses, ..Scopes::default() };
    let addresses = &attenuation.addresses;
    let within =
        addresses.is_none() || only(addresses.clone()).within(&only(key.addresses.clone()));
    mistakes.unless(within, "/scopes/ips", "must lie within the addresses of the key");
    let within = attenuation.mcp.as_ref().is_none_or(|mcp| mcp.within(&key.mcp));
    mistakes.unless(within, "/scopes/mcp", "must be within what the key may do with MCP");
}
