//! Arbitrary states.

use std::sync::Arc;

use turnpike_domain::id::Position;
use turnpike_domain::state::{
    Cap, Ephemeral, Gateway, Head, Hit, Key, McpServer, Member, MemberState, Model, Organisation,
    Plan, Platform, PreviousSecret, Project, Provider, Standing, Token, TopUp, Wallet,
};

use super::*;

pub(crate) fn any_organisation() -> impl Strategy<Value = Organisation> {
    let about = (any_text(), any_settings(), any::<[u64; 2]>(), option::of(vec(any_id(), 0..3)));
    let people =
        (btree_map(any_id(), any_member(), 0..3), btree_map(any_id(), any_project(), 0..3));
    let token = (any_id(), any_id(), any_ephemeral());
    let keys = (vec(any_key(), 0..5), vec(token, 0..3));
    let rest = (any_tokens(), any_providers(), any_gateways(), any_wallet(), any_mcp_servers());
    let account = || (any_account(), any_unit());
    let budgets = (btree_map(account(), any_cap(), 0..3), btree_map(account(), any_hit(), 0..3));
    (1..u128::MAX, any_head(), about, people, keys, rest, budgets).prop_map(
        |(
            id,
            head,
            (name, settings, [created_at, settings_seq], plans),
            people,
            keys,
            rest,
            budgets,
        )| {
            let mut state = Organisation::new(OrgId(id));
            state.head = head;
            state.name = name;
            state.settings = settings;
            state.created_at = Timestamp(created_at);
            state.settings_seq = settings_seq;
            state.default_plan = plans.as_ref().and_then(|ids| ids.first()).map(|id| PlanId(*id));
            state.allowed_plans = plans.map(|ids| ids.into_iter().map(PlanId).collect());
            state.members = people.0.into_iter().map(|(id, it)| (MemberId(id), it)).collect();
            state.projects = people.1.into_iter().map(|(id, it)| (ProjectId(id), it)).collect();
            for (at, mut key) in keys.0.into_iter().enumerate() {
                key.profile.name = format!("{at} {}", key.profile.name).into();
                state.key_names.insert(key.profile.name.clone(), key.id);
                state.keys.insert(key.id, Arc::new(key));
            }
            for (key, id, token) in keys.1 {
                let (key, id) = (KeyId(key), EphemeralId(id));
                state.ephemeral_ends.insert((token.grant.expires_at, key, id));
                state.ephemerals.insert((key, id), token);
            }
            (state.tokens, state.providers, state.gateways, state.wallet, state.mcp_servers) = rest;
            (state.caps, state.hits) = budgets;
            state
        },
    )
}

pub(crate) fn any_platform() -> impl Strategy<Value = Platform> {
    let plan = (any_plan(), any::<u64>()).prop_map(|(spec, seq)| Plan { spec, seq });
    let model =
        (any_model(), any::<u64>()).prop_map(|(spec, price_version)| Model { spec, price_version });
    let plans = btree_map(any_id().prop_map(PlanId), plan, 0..3);
    let models = btree_map(any_text(), model, 0..3);
    (any_head(), plans, models, any_providers(), any_tokens(), any_gateways()).prop_map(
        |(head, plans, models, providers, tokens, gateways)| Platform {
            head,
            plans,
            models,
            providers,
            tokens,
            gateways,
        },
    )
}

fn any_id() -> impl Strategy<Value = u128> {
    any::<u128>()
}

fn any_head() -> impl Strategy<Value = Head> {
    (any::<u64>(), any::<[u8; 32]>(), any_id()).prop_map(|(seq, hash, position)| Head {
        seq,
        hash,
        position: Position(position),
    })
}

fn any_member() -> impl Strategy<Value = Member> {
    let state = prop_oneof![
        any_secret().prop_map(|invitation| MemberState::Invited { invitation }),
        any_sealed().prop_map(|password| MemberState::Joined { password }),
    ];
    (any_text(), any_text(), any_role(), state, any_time(), any::<u64>()).prop_map(
        |(email, name, role, state, created_at, seq)| Member {
            email,
            name,
            role,
            state,
            created_at,
            seq,
        },
    )
}

fn any_project() -> impl Strategy<Value = Project> {
    (any_text(), any_limits(), any_time(), any::<u64>())
        .prop_map(|(name, limits, created_at, seq)| Project { name, limits, created_at, seq })
}

fn any_key() -> impl Strategy<Value = Key> {
    let previous = (any_secret(), option::of(any_time()))
        .prop_map(|(secret, until)| Box::new(PreviousSecret { secret, until }));
    let secrets = (any_secret(), option::of(previous), option::of(any_sealed()));
    let standing = (any::<bool>(), option::of(any_reason()))
        .prop_map(|(disabled, revoked)| Standing { disabled, revoked });
    let times = (any::<u32>(), any_time(), option::of(any_time()), any::<u64>(), any::<bool>());
    (any_id(), any_profile(), secrets, standing, times).prop_map(
        |(id, profile, (secret, previous, recoverable), standing, times)| {
            let (generation, created_at, rotated_at, seq, ephemeral) = times;
            Key {
                id: KeyId(id),
                profile: *profile,
                secret,
                previous,
                recoverable,
                standing,
                generation,
                created_at,
                rotated_at,
                ephemeral,
                seq,
            }
        },
    )
}

fn any_ephemeral() -> impl Strategy<Value = Ephemeral> {
    (any_grant(), any_time(), any::<bool>(), any::<u64>())
        .prop_map(|(grant, created_at, revoked, seq)| Ephemeral { grant, created_at, revoked, seq })
}

fn any_tokens() -> impl Strategy<Value = std::collections::BTreeMap<TokenId, Token>> {
    let what = (any_text(), any_kind(), any_role(), option::of(any_id()), any_secret());
    let token = (what, option::of(any_time()), any_time(), any::<u64>()).prop_map(
        |((name, kind, role, owner, secret), expires_at, created_at, seq)| Token {
            name,
            kind,
            role,
            owner: owner.map(MemberId),
            secret,
            expires_at,
            created_at,
            seq,
        },
    );
    btree_map(any_id().prop_map(TokenId), token, 0..3)
}

fn any_providers() -> impl Strategy<Value = std::collections::BTreeMap<ProviderId, Provider>> {
    let provider = (any_provider(), any::<u64>()).prop_map(|(spec, seq)| Provider { spec, seq });
    btree_map(any_id().prop_map(ProviderId), provider, 0..3)
}

fn any_mcp_servers() -> impl Strategy<Value = std::collections::BTreeMap<McpServerId, McpServer>> {
    let server = (any_mcp_server(), any::<u64>()).prop_map(|(spec, seq)| McpServer { spec, seq });
    btree_map(any_id().prop_map(McpServerId), server, 0..3)
}

fn any_gateways() -> impl Strategy<Value = std::collections::BTreeMap<GatewayId, Gateway>> {
    let gateway = (any_text(), any_id(), any_time(), any::<[bool; 2]>(), any::<u64>()).prop_map(
        |(name, token, joined_at, [left, fenced], seq)| Gateway {
            name,
            token: TokenId(token),
            joined_at,
            left,
            fenced,
            seq,
        },
    );
    btree_map(any_id().prop_map(GatewayId), gateway, 0..3)
}

fn any_wallet() -> impl Strategy<Value = Wallet> {
    let top_up =
        (any_id(), any_time(), any::<i64>(), any_text()).prop_map(|(id, at, amount, note)| TopUp {
            id: TopUpId(id),
            at,
            amount: NanoUsd(amount),
            note,
        });
    (any::<i64>(), vec(top_up, 0..3), any::<bool>()).prop_map(|(topped_up, top_ups, exhausted)| {
        Wallet { topped_up: NanoUsd(topped_up), top_ups, exhausted }
    })
}

fn any_cap() -> impl Strategy<Value = Cap> {
    (option::of(any::<i64>()), any_reset(), any::<u64>())
        .prop_map(|(amount, reset, revision)| Cap { amount, reset, revision })
}

fn any_hit() -> impl Strategy<Value = Hit> {
    (any_window(), any::<u64>(), any::<u8>(), any::<bool>(), option::of(any::<i64>())).prop_map(
        |(window, revision, percent, exhausted, settled)| Hit {
            window,
            revision,
            percent,
            exhausted,
            settled,
        },
    )
}
