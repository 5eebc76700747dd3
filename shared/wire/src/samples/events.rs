//! Arbitrary events.

use super::*;

pub(crate) fn any_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        people().boxed(),
        projects().boxed(),
        keys().boxed(),
        tokens().boxed(),
        money().boxed(),
        gateways().boxed(),
        routing().boxed(),
    ]
}

fn people() -> impl Strategy<Value = Event> {
    let org = (any_text(), any_settings());
    let invited = (any_text(), any_text(), any_role(), any_secret());
    (any::<u128>(), any::<u8>(), org, invited, any_sealed()).prop_map(
        |(id, case, (name, settings), (email, full_name, role, invitation), password)| {
            let member = MemberId(id);
            match case % 6 {
                0 => Event::OrgCreated { name, settings },
                1 => Event::OrgSettingsChanged { name, settings },
                2 => Event::MemberInvited { member, email, name: full_name, role, invitation },
                3 => Event::MemberJoined { member, password },
                4 => Event::MemberRoleChanged { member, role },
                _ => Event::MemberRemoved { member },
            }
        },
    )
}

fn projects() -> impl Strategy<Value = Event> {
    (any::<u128>(), any::<u8>(), any_text(), any_limits()).prop_map(|(id, case, name, limits)| {
        let project = ProjectId(id);
        match case % 3 {
            0 => Event::ProjectCreated { project, name, limits },
            1 => Event::ProjectChanged { project, name, limits },
            _ => Event::ProjectDeleted { project },
        }
    })
}

fn keys() -> impl Strategy<Value = Event> {
    let secret = (any_secret(), option::of(any_sealed()), option::of(any_time()));
    (any::<[u128; 2]>(), any::<u8>(), any_profile(), secret, any_reason(), any_grant()).prop_map(
        |([id, token], case, profile, (secret, recoverable, overlap_until), reason, grant)| {
            let (token, grant) = (EphemeralId(token), Box::new(grant));
            let key = KeyId(id);
            match case % 13 {
                0 => Event::KeyCreated { key, profile, secret, recoverable },
                1 => Event::KeyChanged { key, profile },
                2 => Event::KeyRotated { key, secret, recoverable, overlap_until },
                3 => Event::KeyDisabled { key },
                4 => Event::KeyEnabled { key },
                5 => Event::KeyRevoked { key, reason },
                6 => Event::KeyActivated { key },
                7 => Event::KeyDeleted { key },
                8 => Event::KeyImported { key, profile, secret },
                9 => Event::KeyMigrated { key, secret: overlap_until.map(|_| secret), recoverable },
                10 => Event::EphemeralIssued { key, token, grant },
                11 => Event::EphemeralRevoked { key, token },
                _ => Event::SecretRevealed { key },
            }
        },
    )
}

fn tokens() -> impl Strategy<Value = Event> {
    let made = (any_text(), any_kind(), any_role(), option::of(any::<u128>()), any_secret());
    (any::<u128>(), any::<bool>(), made, option::of(any_time())).prop_map(
        |(id, created, (name, kind, role, owner, secret), expires_at)| {
            let (token, owner) = (TokenId(id), owner.map(MemberId));
            if created {
                Event::TokenCreated { token, name, kind, role, owner, secret, expires_at }
            } else {
                Event::TokenDeleted { token }
            }
        },
    )
}

fn money() -> impl Strategy<Value = Event> {
    let budget = (any_account(), any_unit(), any_window(), any::<u64>(), any::<u8>());
    let plans = (option::of(vec(any::<u128>(), 0..3)), option::of(any::<u128>()));
    (any::<u8>(), budget, any::<[i64; 2]>(), (any::<u128>(), any_text()), plans).prop_map(
        |(case, (account, unit, window, revision, percent), [cap, settled], (id, note), plans)| {
            let allowed = plans.0.map(|ids| ids.into_iter().map(PlanId).collect());
            match case % 6 {
                0 => Event::QuotaHit { account, unit, window, revision, cap, settled },
                1 => Event::AlertRaised { account, unit, window, revision, percent, cap, settled },
                2 => Event::WalletToppedUp { top_up: TopUpId(id), amount: NanoUsd(cap), note },
                3 => Event::WalletExhausted { revision },
                4 => Event::WalletRestored { revision },
                _ => Event::PlanAssigned { allowed, default: plans.1.map(PlanId) },
            }
        },
    )
}

fn gateways() -> impl Strategy<Value = Event> {
    let held = (any_account(), any_unit(), any::<i64>());
    (any::<[u128; 2]>(), any::<u8>(), any_text(), held).prop_map(
        |([id, token], case, name, (account, unit, amount))| {
            let gateway = GatewayId(id);
            match case % 4 {
                0 => Event::GatewayJoined { gateway, name, token: TokenId(token) },
                1 => Event::GatewayLeft { gateway },
                2 => Event::GatewayFenced { gateway },
                _ => Event::LeaseAbandoned { gateway, account, unit, amount },
            }
        },
    )
}

fn routing() -> impl Strategy<Value = Event> {
    let mcp_server = option::of(any_mcp_server());
    let specs =
        (option::of(any_provider()), option::of(any_plan()), option::of(any_model()), mcp_server);
    (any::<u128>(), any::<u8>(), any_text(), specs).prop_map(
        |(id, case, model, (provider, plan, spec, server))| match case % 4 {
            0 => Event::ProviderChanged { provider: ProviderId(id), spec: provider.map(Box::new) },
            1 => Event::McpServerChanged { server: McpServerId(id), spec: server.map(Box::new) },
            2 => Event::PlanChanged { plan: PlanId(id), spec: plan },
            _ => Event::ModelPriced { model, spec: spec.map(Box::new) },
        },
    )
}
