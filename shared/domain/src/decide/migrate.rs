//! Migrating: a legacy key becomes a full one while its callers change over.

use super::{By, Decision, World, conflict, key};
use crate::command::FreshSecret;
use crate::event::Event;
use crate::id::KeyId;

/// A key that was rotated has a secret of ours already, and its legacy one ends on its own.
pub(super) fn begin(world: World<'_>, by: By<'_>, id: KeyId, secret: &FreshSecret) -> Decision {
    let found = key::find(world, by, id)?;
    key::refuse_revoked(found)?;
    if found.is_migrating() {
        return Err(conflict(
            "the key is being migrated already: rotate it if its new secret is lost",
        ));
    }
    if !found.secret.public_id.is_legacy() {
        return Err(conflict("the key is not a legacy key: rotate it for a new secret"));
    }
    let (stored, recoverable) = (secret.stored.clone(), key::kept(world, secret));
    Ok(vec![Event::KeyMigrated { key: id, secret: Some(stored), recoverable }])
}

/// A revoked key may be finished too: fewer secrets open it when it comes back.
pub(super) fn finish(world: World<'_>, by: By<'_>, id: KeyId) -> Decision {
    if key::find(world, by, id)?.is_migrating() {
        Ok(vec![ended(id)])
    } else {
        Err(conflict("the key is not being migrated"))
    }
}

/// The legacy secret ends.
pub(super) fn ended(key: KeyId) -> Event {
    Event::KeyMigrated { key, secret: None, recoverable: None }
}
