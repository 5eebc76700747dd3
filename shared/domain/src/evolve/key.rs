//! Keys. A changed key is a new value: whoever holds the old one keeps what it has seen.

use std::sync::Arc;

use super::{budget, ephemeral};
use crate::event::{Event, KeyProfile, Record};
use crate::id::KeyId;
use crate::limit::Account;
use crate::secret::{Sealed, StoredSecret};
use crate::state::{FIRST_GENERATION, Key, Organisation, PreviousSecret, RevokeReason, Standing};

pub(super) fn created(state: &mut Organisation, record: &Record) {
    let Event::KeyCreated { key, profile, secret, recoverable } = &record.event else {
        return;
    };
    made(state, record, (*key, profile), (secret, recoverable.as_ref()));
}

/// A legacy secret is never kept: whoever has it needs no copy of ours.
pub(super) fn imported(state: &mut Organisation, record: &Record) {
    let Event::KeyImported { key, profile, secret } = &record.event else {
        return;
    };
    made(state, record, (*key, profile), (secret, None));
}

fn made(
    state: &mut Organisation,
    record: &Record,
    (id, profile): (KeyId, &KeyProfile),
    (secret, recoverable): (&StoredSecret, Option<&Sealed>),
) {
    if state.keys.contains_key(&id) {
        return;
    }
    let key = Key {
        id,
        profile: profile.clone(),
        secret: secret.clone(),
        previous: None,
        recoverable: recoverable.cloned(),
        standing: Standing::default(),
        generation: FIRST_GENERATION,
        created_at: record.at,
        rotated_at: None,
        ephemeral: false,
        seq: record.seq,
    };
    state.keys.insert(id, Arc::new(key));
    state.key_names.insert(profile.name.clone(), id);
    budget::caps(state, Account::Key(id), &profile.limits);
}

pub(super) fn changed(state: &mut Organisation, id: KeyId, profile: &KeyProfile, seq: u64) {
    let Some(key) = touch(state, id, seq) else {
        return;
    };
    let before = std::mem::replace(&mut key.profile, profile.clone());
    if before.name != profile.name {
        forget_name(state, &before.name, id);
        state.key_names.insert(profile.name.clone(), id);
    }
    budget::caps(state, Account::Key(id), &profile.limits);
}

pub(super) fn rotated(state: &mut Organisation, record: &Record) {
    let Event::KeyRotated { key: id, secret, recoverable, overlap_until } = &record.event else {
        return;
    };
    let Some(key) = touch(state, *id, record.seq) else {
        return;
    };
    let old = std::mem::replace(&mut key.secret, secret.clone());
    // A migration goes on: its legacy secret ends by name, never by the way.
    if !key.is_migrating() {
        let until = *overlap_until;
        key.previous = until.map(|_| Box::new(PreviousSecret { secret: old, until }));
    }
    key.recoverable.clone_from(recoverable);
    key.generation = key.generation.saturating_add(1);
    key.rotated_at = Some(record.at);
}

/// A secret that ends takes along the tokens that were made while it worked; one that begins takes
/// nothing.
pub(super) fn migrated(state: &mut Organisation, record: &Record) {
    let Event::KeyMigrated { key: id, secret, recoverable } = &record.event else {
        return;
    };
    let Some(key) = touch(state, *id, record.seq) else {
        return;
    };
    match secret {
        Some(secret) => {
            let old = std::mem::replace(&mut key.secret, secret.clone());
            key.previous = Some(Box::new(PreviousSecret { secret: old, until: None }));
            key.recoverable.clone_from(recoverable);
            key.rotated_at = Some(record.at);
        }
        None => {
            key.previous = None;
            key.generation = key.generation.saturating_add(1);
        }
    }
}

pub(super) fn switched(state: &mut Organisation, id: KeyId, disabled: bool, seq: u64) {
    if let Some(key) = touch(state, id, seq) {
        key.standing.disabled = disabled;
    }
}

/// Both secrets of an overlap die with the standing; the generation kills tokens made before, which
/// a later activation must not bring back.
pub(super) fn revoked(state: &mut Organisation, id: KeyId, reason: RevokeReason, seq: u64) {
    if let Some(key) = touch(state, id, seq) {
        key.standing.revoked = Some(reason);
        key.generation = key.generation.saturating_add(1);
    }
}

pub(super) fn activated(state: &mut Organisation, id: KeyId, seq: u64) {
    if let Some(key) = touch(state, id, seq) {
        key.standing = Standing::default();
    }
}

pub(super) fn deleted(state: &mut Organisation, id: KeyId) {
    if let Some(key) = state.keys.remove(&id) {
        forget_name(state, &key.profile.name, id);
        budget::no_caps(state, Account::Key(id));
        ephemeral::key_deleted(state, id);
    }
}

fn touch(state: &mut Organisation, id: KeyId, seq: u64) -> Option<&mut Key> {
    let key = Arc::make_mut(state.keys.get_mut(&id)?);
    key.seq = seq;
    Some(key)
}

fn forget_name(state: &mut Organisation, name: &str, id: KeyId) {
    if state.key_names.get(name) == Some(&id) {
        state.key_names.remove(name);
    }
}
