//! Keys: made, changed, rotated, stopped and brought back.

use super::mistakes::Mistakes;
use super::{By, Decision, World, conflict, limits, migrate, name_taken, scopes};
use crate::command::{FreshSecret, KeyDraft, KeyPatch, MAX_OVERLAP_MS};
use crate::event::{Event, KeyProfile};
use crate::id::{KeyId, MemberId, PlanId, ProjectId};
use crate::refusal::Refusal;
use crate::secret::Sealed;
use crate::state::{Key, RevokeReason, Role, SecretReveal, Standing};
use crate::text::MAX_METADATA_BYTES;

/// Why no overlap is given while a legacy secret works: three secrets would open one key.
const ALONE: &str = "must be 0 while the key is being migrated: its new secret is replaced at \
                     once, and its legacy secret goes on";

pub(super) fn create(
    world: World<'_>,
    by: By<'_>,
    id: KeyId,
    draft: &KeyDraft,
    secret: &FreshSecret,
) -> Decision {
    by.requester.at_least(Role::Member)?;
    let profile = Box::new(drafted(world, by, id, draft)?);
    let (secret, recoverable) = (secret.stored.clone(), kept(world, secret));
    Ok(vec![Event::KeyCreated { key: id, profile, secret, recoverable }])
}

/// The profile of a new key, if the caller may make one like that.
pub(super) fn drafted(
    world: World<'_>,
    by: By<'_>,
    id: KeyId,
    draft: &KeyDraft,
) -> Result<KeyProfile, Refusal> {
    let state = world.organisation;
    let caller = by.member(state);
    let owner = draft.owner.or(caller);
    let plan = draft.plan.or(state.default_plan);
    if owner != caller || plan != state.default_plan {
        by.requester.at_least(Role::Admin)?;
    }
    if state.keys.contains_key(&id) {
        return Err(conflict("a key with this id exists"));
    }
    let mut mistakes = Mistakes::default();
    mistakes.name(&draft.name);
    if owner.is_some() || by.requester.role < Role::Admin {
        check_owner(world, owner, &mut mistakes);
    }
    check_project(world, draft.project, &mut mistakes);
    mistakes.expiry(draft.expires_at, by.now);
    limits::check(&draft.limits, &mut mistakes);
    scopes::check(&draft.scopes, &mut mistakes);
    check_metadata(draft.metadata.as_deref(), &mut mistakes);
    check_plan(world, plan, &mut mistakes);
    mistakes.finish()?;
    if state.key_names.contains_key(&draft.name) {
        return Err(name_taken("key", &draft.name));
    }
    // Without a plan the check above has refused.
    Ok(draft.profile(owner, plan.unwrap_or_default()))
}

/// What is not changed is not checked: a key may outlive its plan, its owner and its own end, and
/// can still be renamed.
pub(super) fn change(world: World<'_>, by: By<'_>, id: KeyId, patch: &KeyPatch) -> Decision {
    let key = find(world, by, id)?;
    let (old, new) = (&key.profile, patch.applied(&key.profile));
    if new.owner != old.owner || new.plan != old.plan {
        by.requester.at_least(Role::Admin)?;
    }
    let mut mistakes = Mistakes::default();
    if new.name != old.name {
        mistakes.name(&new.name);
    }
    if new.owner != old.owner {
        check_owner(world, new.owner, &mut mistakes);
    }
    if new.project != old.project {
        check_project(world, new.project, &mut mistakes);
    }
    if new.plan != old.plan {
        check_plan(world, Some(new.plan), &mut mistakes);
    }
    if new.expires_at != old.expires_at {
        mistakes.expiry(new.expires_at, by.now);
    }
    if new.limits != old.limits {
        limits::check(&new.limits, &mut mistakes);
    }
    if new.scopes != old.scopes {
        scopes::check(&new.scopes, &mut mistakes);
    }
    if new.metadata != old.metadata {
        check_metadata(new.metadata.as_deref(), &mut mistakes);
    }
    mistakes.finish()?;
    if new.name != old.name && world.organisation.key_names.contains_key(&new.name) {
        return Err(name_taken("key", &new.name));
    }
    Ok(changed_or_nothing(id, old, new))
}

/// An expired key may be rotated: its end is changed on its own. A rotation during a migration
/// replaces the new secret.
pub(super) fn rotate(
    world: World<'_>,
    by: By<'_>,
    id: KeyId,
    secret: &FreshSecret,
    overlap_ms: u64,
) -> Decision {
    let key = find(world, by, id)?;
    refuse_revoked(key)?;
    let mut mistakes = Mistakes::default();
    let short = overlap_ms <= MAX_OVERLAP_MS;
    mistakes.unless(short, "/overlap_seconds", "must be at most 86400 (24 hours)");
    let alone = overlap_ms == 0 || !key.is_migrating();
    mistakes.unless(alone, "/overlap_seconds", ALONE);
    mistakes.finish()?;
    let mut rotated = rotation(world, key, secret)?;
    if let Event::KeyRotated { overlap_until, .. } = &mut rotated {
        *overlap_until = (overlap_ms > 0).then(|| by.now.plus_ms(overlap_ms));
    }
    Ok(vec![rotated])
}

pub(super) fn switch(world: World<'_>, by: By<'_>, key: KeyId, off: bool) -> Decision {
    let found = find(world, by, key)?;
    refuse_revoked(found)?;
    Ok(match (found.standing.disabled, off) {
        (false, true) => vec![Event::KeyDisabled { key }],
        (true, false) => vec![Event::KeyEnabled { key }],
        (true, true) | (false, false) => Vec::new(),
    })
}

/// "Compromised" is never taken back by another reason: it would open the key without a rotation.
pub(super) fn revoke(world: World<'_>, by: By<'_>, key: KeyId, reason: RevokeReason) -> Decision {
    match find(world, by, key)?.standing.revoked {
        Some(known) if known == reason => Ok(Vec::new()),
        Some(RevokeReason::Compromised) => {
            Err(conflict("the key was revoked as compromised, which no other reason replaces"))
        }
        Some(RevokeReason::Unused | RevokeReason::Other) | None => {
            Ok(vec![Event::KeyRevoked { key, reason }])
        }
    }
}

pub(super) fn activate(
    world: World<'_>,
    by: By<'_>,
    id: KeyId,
    rotate: Option<&FreshSecret>,
) -> Decision {
    let key = find(world, by, id)?;
    let activated = Event::KeyActivated { key: id };
    match (key.standing == Standing::default(), rotate) {
        (true, None) => Ok(Vec::new()),
        (true, Some(_)) => Err(conflict("the key is active: rotate it without activating it")),
        (false, None) if key.standing.revoked == Some(RevokeReason::Compromised) => {
            Err(Refusal::RotationRequired)
        }
        (false, None) => Ok(vec![activated]),
        // What somebody else may have is the legacy secret as well as ours.
        (false, Some(secret)) => {
            let ended = key.is_migrating().then(|| migrate::ended(id));
            let rotated = rotation(world, key, secret)?;
            Ok(ended.into_iter().chain([rotated, activated]).collect())
        }
    }
}

pub(super) fn delete(world: World<'_>, by: By<'_>, key: KeyId) -> Decision {
    find(world, by, key)?;
    Ok(vec![Event::KeyDeleted { key }])
}

pub(super) fn reveal(world: World<'_>, by: By<'_>, id: KeyId) -> Decision {
    let key = find(world, by, id)?;
    match (world.organisation.settings.secret_reveal, &key.recoverable) {
        (SecretReveal::Recoverable, Some(_)) => Ok(vec![Event::SecretRevealed { key: id }]),
        (SecretReveal::Recoverable, None) if key.secret.public_id.is_legacy() => {
            Err(conflict("a legacy secret is not kept: migrate the key"))
        }
        (SecretReveal::Recoverable, None) => {
            Err(conflict("the secret was made before secrets were kept: rotate the key"))
        }
        (SecretReveal::Once, _) => Err(conflict("the organisation does not keep secrets")),
    }
}

/// The key, if the caller may change it in the version that was seen.
pub(super) fn find<'a>(world: World<'a>, by: By<'_>, id: KeyId) -> Result<&'a Key, Refusal> {
    let key = world.organisation.keys.get(&id).ok_or(Refusal::NotFound { noun: "key" })?;
    by.requester.may_change(key)?;
    by.has_seen(key.seq)?;
    Ok(key)
}

fn changed_or_nothing(key: KeyId, old: &KeyProfile, new: KeyProfile) -> Vec<Event> {
    if *old == new { Vec::new() } else { vec![Event::KeyChanged { key, profile: Box::new(new) }] }
}

pub(super) fn refuse_revoked(key: &Key) -> Result<(), Refusal> {
    match key.standing.revoked {
        Some(_) => Err(conflict("the key is revoked: activate it first")),
        None => Ok(()),
    }
}

/// The change to `secret`, with no overlap.
fn rotation(world: World<'_>, key: &Key, secret: &FreshSecret) -> Result<Event, Refusal> {
    if key.ephemeral {
        return Err(conflict("the key was made for one ephemeral token: make another"));
    }
    let fresh = secret.stored.public_id;
    let previous = key.previous.as_ref().map(|previous| previous.secret.public_id);
    if key.secret.public_id == fresh || previous == Some(fresh) {
        return Err(conflict("the key has this secret already"));
    }
    let (secret, recoverable) = (secret.stored.clone(), kept(world, secret));
    Ok(Event::KeyRotated { key: key.id, secret, recoverable, overlap_until: None })
}

pub(super) fn kept(world: World<'_>, secret: &FreshSecret) -> Option<Sealed> {
    match world.organisation.settings.secret_reveal {
        SecretReveal::Once => None,
        SecretReveal::Recoverable => Some(secret.recoverable.clone()),
    }
}

fn check_owner(world: World<'_>, owner: Option<MemberId>, mistakes: &mut Mistakes) {
    let known = owner.is_some_and(|owner| world.organisation.members.contains_key(&owner));
    mistakes.unless(known, "/owner_id", "must be a member of the organisation");
}

fn check_project(world: World<'_>, project: Option<ProjectId>, mistakes: &mut Mistakes) {
    let known = project.is_none_or(|project| world.organisation.projects.contains_key(&project));
    mistakes.unless(known, "/project_id", "must be a project of the organisation");
}

fn check_plan(world: World<'_>, plan: Option<PlanId>, mistakes: &mut Mistakes) {
    let Some(plan) = plan else {
        mistakes.add("/plan_id", "must be given: the organisation has no default plan");
        return;
    };
    let known = world.platform.plans.contains_key(&plan);
    let allowed = world.organisation.allowed_plans.as_ref();
    let allowed = allowed.is_none_or(|plans| plans.contains(&plan));
    mistakes.unless(known && allowed, "/plan_id", "must be a plan that the organisation may use");
}

fn check_metadata(metadata: Option<&str>, mistakes: &mut Mistakes) {
    if metadata.is_some_and(|text| text.len() > MAX_METADATA_BYTES) {
        mistakes.add("/metadata", format!("must have at most {MAX_METADATA_BYTES} bytes of JSON"));
    }
}
