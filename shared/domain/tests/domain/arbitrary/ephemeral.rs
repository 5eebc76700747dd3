//! Generators of ephemeral tokens.

use proptest::collection::btree_set;
use proptest::option;
use proptest::prelude::*;
use turnpike_domain::command::{Command, EphemeralDraft, KeyDraft};
use turnpike_domain::event::{EphemeralGrant, Event};
use turnpike_domain::id::{EphemeralId, KeyId};
use turnpike_domain::money::NanoUsd;
use turnpike_domain::scope::Attenuation;
use turnpike_domain::time::HOUR_MS;

use super::{allow, cidr, id, mcp, moment, name};
use crate::house::fresh;

pub(crate) fn attenuation() -> impl Strategy<Value = Attenuation> {
    let addresses = option::of(btree_set(cidr(), 0..3));
    (allow(), allow(), addresses, option::of(mcp())).prop_map(
        |(models, providers, addresses, mcp)| Attenuation { models, providers, addresses, mcp },
    )
}

pub(crate) fn draft() -> impl Strategy<Value = EphemeralDraft> {
    let life_ms = option::of(0..30 * HOUR_MS);
    (option::of(name()), life_ms, attenuation(), option::of(-1_i64..100)).prop_map(
        |(name, life_ms, attenuation, cost)| EphemeralDraft {
            name,
            life_ms,
            attenuation,
            cost_cap: cost.map(NanoUsd),
            token_cap: None,
        },
    )
}

/// No two keys have tokens of the same id: those who make them draw 122 random bits.
fn ids() -> impl Strategy<Value = (KeyId, EphemeralId)> {
    (id(), id()).prop_map(|(key, token)| (KeyId(key), EphemeralId(10 * key + token)))
}

pub(super) fn event() -> impl Strategy<Value = Event> {
    let about = (option::of(name()), 0_u32..4, moment(), any::<bool>());
    let grant = (about, attenuation(), option::of(0_i64..100)).prop_map(
        |((name, generation, expires_at, alone), attenuation, cost)| EphemeralGrant {
            name,
            generation,
            expires_at,
            attenuation,
            cost_cap: cost.map(NanoUsd),
            token_cap: cost.and_then(|cap| u64::try_from(cap).ok()).map(|cap| cap / 2),
            alone,
        },
    );
    prop_oneof![
        (ids(), grant).prop_map(|((key, token), grant)| Event::EphemeralIssued {
            key,
            token,
            grant: Box::new(grant),
        }),
        ids().prop_map(|(key, token)| Event::EphemeralRevoked { key, token }),
    ]
}

pub(super) fn command() -> impl Strategy<Value = Command> {
    // Most may be made: a token that everything speaks against tells nothing about the next step.
    let plain = option::of(1_i64..50).prop_map(|cost| EphemeralDraft {
        cost_cap: cost.map(NanoUsd),
        token_cap: cost.and_then(|cap| u64::try_from(cap).ok()).filter(|cap| cap % 3 == 0),
        ..EphemeralDraft::default()
    });
    prop_oneof![
        (ids(), prop_oneof![plain.boxed(), draft().boxed()]).prop_map(|((key, token), draft)| {
            Command::IssueEphemeral { key, token, draft: Box::new(draft) }
        }),
        (ids(), name(), any::<u8>(), option::of(0..30 * HOUR_MS)).prop_map(
            |((key, token), name, number, life_ms)| {
                let draft = Box::new(KeyDraft { name, ..KeyDraft::default() });
                let secret = fresh(number);
                Command::CreateEphemeralKey { key, token, draft, secret, life_ms }
            }
        ),
        ids().prop_map(|(key, token)| Command::RevokeEphemeral { key, token }),
    ]
}
