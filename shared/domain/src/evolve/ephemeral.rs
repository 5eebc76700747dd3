//! Tokens made from keys. Which ones have ended long ago is said by the events' own times, so that
//! every fold of a stream forgets the same.

use std::sync::Arc;

use super::budget;
use crate::event::{EphemeralGrant, Record};
use crate::id::{EphemeralId, KeyId};
use crate::limit::{Account, Limits};
use crate::state::{Ephemeral, Organisation, REMEMBERED_MS};
use crate::time::Timestamp;

pub(super) fn issued(
    state: &mut Organisation,
    id: (KeyId, EphemeralId),
    grant: &EphemeralGrant,
    record: &Record,
) {
    forget_ended(state, record.at);
    let Some(key) = state.keys.get_mut(&id.0) else {
        return;
    };
    if state.ephemerals.contains_key(&id) {
        return;
    }
    if grant.alone {
        Arc::make_mut(key).ephemeral = true;
    }
    let (created_at, seq) = (record.at, record.seq);
    let token = Ephemeral { grant: grant.clone(), created_at, revoked: false, seq };
    state.ephemeral_ends.insert((grant.expires_at, id.0, id.1));
    state.ephemerals.insert(id, token);
    let limits = Limits { cost: grant.cost_cap, tokens: grant.token_cap, ..Limits::default() };
    budget::caps(state, Account::Ephemeral(id.1), &limits);
}

pub(super) fn revoked(state: &mut Organisation, id: (KeyId, EphemeralId), seq: u64) {
    if let Some(token) = state.ephemerals.get_mut(&id) {
        token.revoked = true;
        token.seq = seq;
    }
}

/// Forgets the tokens of a key that is gone.
pub(super) fn key_deleted(state: &mut Organisation, key: KeyId) {
    let ids: Vec<EphemeralId> = state.tokens_of(key).map(|(id, _)| id).collect();
    for id in ids {
        forget(state, (key, id));
    }
}

fn forget_ended(state: &mut Organisation, now: Timestamp) {
    while let Some((end, key, token)) = state.ephemeral_ends.first().copied()
        && end.plus_ms(REMEMBERED_MS) <= now
    {
        state.ephemeral_ends.pop_first();
        forget(state, (key, token));
    }
}

/// A token's id never comes back, so neither does a revision of its cap.
fn forget(state: &mut Organisation, id: (KeyId, EphemeralId)) {
    if let Some(token) = state.ephemerals.remove(&id) {
        state.ephemeral_ends.remove(&(token.grant.expires_at, id.0, id.1));
        budget::forget(state, Account::Ephemeral(id.1));
    }
}
