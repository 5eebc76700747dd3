//! Generators: small worlds of ids, so that random things meet each other.

pub(crate) mod ephemeral;

use std::collections::BTreeSet;

use proptest::collection::{btree_map, btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use turnpike_domain::authority::Requester;
use turnpike_domain::command::{Command, KeyDraft, KeyPatch, PlanChoice};
use turnpike_domain::event::{Event, KeyProfile};
use turnpike_domain::id::{
    EphemeralId, GatewayId, KeyId, McpServerId, MemberId, PlanId, ProjectId, ProviderId, TokenId,
    TopUpId,
};
use turnpike_domain::limit::{Account, Limits, Unit};
use turnpike_domain::money::NanoUsd;
use turnpike_domain::scope::{Allow, Cidr, McpMode, McpScope, Scopes};
use turnpike_domain::secret::{Sealed, SecretKind};
use turnpike_domain::state::{RevokeReason, Role, SecretReveal, Settings, WalletMode};
use turnpike_domain::time::{DAY_MS, Reset, Timestamp, Window};

use crate::house::{
    NOW, admin, fresh, gateway, imported, invitation, legacy, mcp_server, member, operator, other,
    owner, provider, secret, viewer,
};

/// How many cases a law is tried on. A failing one becomes a rule with a name, not a file of seeds.
pub(crate) fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

fn id() -> impl Strategy<Value = u128> {
    1_u128..4
}

fn name() -> impl Strategy<Value = Box<str>> {
    select(vec!["one", "two", "three", "", "first"]).prop_map(Into::into)
}

fn names() -> impl Strategy<Value = BTreeSet<Box<str>>> {
    btree_set(select(vec!["a", "b", "c"]).prop_map(Into::into), 0..4)
}

fn reset() -> impl Strategy<Value = Reset> {
    select(vec![Reset::None, Reset::Daily, Reset::Weekly, Reset::Monthly])
}

fn limits() -> impl Strategy<Value = Limits> {
    let cost = option::of((0_i64..100).prop_map(NanoUsd));
    let percents = prop_oneof![Just(vec![50, 80, 100]), Just(Vec::new())];
    (cost, option::of(0_u64..100), reset(), percents).prop_map(
        |(cost, tokens, reset, alert_percent)| Limits {
            cost,
            tokens,
            reset,
            alert_percent,
            ..Limits::default()
        },
    )
}

fn allow() -> impl Strategy<Value = Allow> {
    prop_oneof![Just(Allow::All), names().prop_map(Allow::Only)]
}

fn cidr() -> impl Strategy<Value = Cidr> {
    let ranges = ["10.0.0.0/8", "10.1.0.0/16", "10.1.2.3", "2001:db8::/32", "::/0", "0.0.0.0/0"];
    select(ranges.map(|range| range.parse().expect("a range")).to_vec())
}

fn mcp() -> impl Strategy<Value = McpScope> {
    let modes = vec![McpMode::AllowAll, McpMode::DenyAll, McpMode::AllowList, McpMode::DenyList];
    let tools = btree_map(select(vec!["a", "b", "c"]).prop_map(Into::into), names(), 0..3);
    (any::<bool>(), select(modes), names(), tools)
        .prop_map(|(enabled, mode, servers, tools)| McpScope { enabled, mode, servers, tools })
}

pub(crate) fn scopes() -> impl Strategy<Value = Scopes> {
    (allow(), allow(), option::of(btree_set(cidr(), 0..3)), mcp()).prop_map(
        |(models, providers, addresses, mcp)| Scopes { models, providers, addresses, mcp },
    )
}

fn moment() -> impl Strategy<Value = Timestamp> {
    (0..3 * DAY_MS).prop_map(|ms| NOW.plus_ms(ms))
}

fn draft() -> impl Strategy<Value = KeyDraft> {
    let ids = (option::of(id()), option::of(id()), option::of(id()));
    (name(), ids, option::of(moment()), limits(), scopes()).prop_map(
        |(name, (owner, project, plan), expires_at, limits, scopes)| KeyDraft {
            name,
            owner: owner.map(MemberId),
            project: project.map(ProjectId),
            plan: plan.map(PlanId),
            expires_at,
            limits,
            scopes,
            metadata: None,
        },
    )
}

fn profile() -> impl Strategy<Value = KeyProfile> {
    (draft(), id()).prop_map(|(draft, plan)| draft.profile(None, PlanId(plan)))
}

fn patch() -> impl Strategy<Value = KeyPatch> {
    let name = option::of(name());
    let project = option::of(option::of(id().prop_map(ProjectId)));
    (name, option::of(id()), project, option::of(limits()), option::of(option::of(moment())))
        .prop_map(|(name, owner, project, limits, expires_at)| KeyPatch {
            name,
            owner: owner.map(MemberId),
            project,
            limits,
            expires_at,
            ..KeyPatch::default()
        })
}

fn account() -> impl Strategy<Value = Account> {
    prop_oneof![
        Just(Account::Wallet),
        id().prop_map(|project| Account::Project(ProjectId(project))),
        id().prop_map(|key| Account::Key(KeyId(key))),
        id().prop_map(|token| Account::Ephemeral(EphemeralId(token))),
    ]
}

fn unit() -> impl Strategy<Value = Unit> {
    select(vec![Unit::Usd, Unit::Tokens])
}

fn window() -> impl Strategy<Value = Window> {
    (reset(), moment()).prop_map(|(reset, at)| reset.window(at))
}

fn role() -> impl Strategy<Value = Role> {
    select(vec![Role::Viewer, Role::Member, Role::Admin, Role::Owner, Role::Operator])
}

fn reason() -> impl Strategy<Value = RevokeReason> {
    select(vec![RevokeReason::Compromised, RevokeReason::Unused, RevokeReason::Other])
}

fn settings() -> impl Strategy<Value = Settings> {
    let wallets = select(vec![WalletMode::Off, WalletMode::Prepaid]);
    let reveals = select(vec![SecretReveal::Once, SecretReveal::Recoverable]);
    (wallets, reveals).prop_map(|(wallet, secret_reveal)| Settings {
        wallet,
        secret_reveal,
        ..Settings::default()
    })
}

pub(crate) fn requester() -> impl Strategy<Value = Requester> {
    let people = vec![operator(), owner(), admin(), member(), other(), viewer()];
    prop_oneof![
        9 => select(people),
        1 => id().prop_map(|id| gateway(GatewayId(id))),
    ]
}

/// Events that need not make sense.
pub(crate) fn event() -> impl Strategy<Value = Event> {
    prop_oneof![people_event(), key_event(), ephemeral::event(), money_event(), other_event()]
}

fn people_event() -> impl Strategy<Value = Event> {
    let member = || id().prop_map(MemberId);
    prop_oneof![
        (name(), settings())
            .prop_map(|(name, settings)| Event::OrgSettingsChanged { name, settings }),
        (member(), name(), role()).prop_map(|(member, name, role)| Event::MemberInvited {
            member,
            email: name.clone(),
            name,
            role,
            invitation: secret(7),
        }),
        member().prop_map(|member| Event::MemberJoined { member, password: Sealed([1].into()) }),
        (member(), role()).prop_map(|(member, role)| Event::MemberRoleChanged { member, role }),
        member().prop_map(|member| Event::MemberRemoved { member }),
        (id(), name(), limits()).prop_map(|(project, name, limits)| Event::ProjectCreated {
            project: ProjectId(project),
            name,
            limits,
        }),
        (id(), name(), limits()).prop_map(|(project, name, limits)| Event::ProjectChanged {
            project: ProjectId(project),
            name,
            limits,
        }),
        id().prop_map(|project| Event::ProjectDeleted { project: ProjectId(project) }),
    ]
}

fn key_event() -> impl Strategy<Value = Event> {
    let key = || id().prop_map(KeyId);
    let boxed = || profile().prop_map(Box::new);
    prop_oneof![
        (key(), boxed(), any::<u8>()).prop_map(|(key, profile, n)| Event::KeyCreated {
            key,
            profile,
            secret: secret(n),
            recoverable: None,
        }),
        (key(), boxed(), any::<u8>()).prop_map(|(key, profile, n)| Event::KeyImported {
            key,
            profile,
            secret: legacy(n),
        }),
        (key(), option::of(any::<u8>())).prop_map(|(key, n)| Event::KeyMigrated {
            key,
            secret: n.map(secret),
            recoverable: None,
        }),
        (key(), boxed()).prop_map(|(key, profile)| Event::KeyChanged { key, profile }),
        (key(), any::<u8>(), option::of(moment())).prop_map(|(key, n, overlap_until)| {
            Event::KeyRotated { key, secret: secret(n), recoverable: None, overlap_until }
        }),
        key().prop_map(|key| Event::KeyDisabled { key }),
        key().prop_map(|key| Event::KeyEnabled { key }),
        (key(), reason()).prop_map(|(key, reason)| Event::KeyRevoked { key, reason }),
        key().prop_map(|key| Event::KeyActivated { key }),
        key().prop_map(|key| Event::KeyDeleted { key }),
        key().prop_map(|key| Event::SecretRevealed { key }),
    ]
}

fn money_event() -> impl Strategy<Value = Event> {
    let figures = || (account(), unit(), window(), any::<u64>(), any::<i64>());
    prop_oneof![
        figures().prop_map(|(account, unit, window, revision, cap)| Event::QuotaHit {
            account,
            unit,
            window,
            revision,
            cap,
            settled: cap,
        }),
        (figures(), any::<u8>()).prop_map(|((account, unit, window, revision, cap), percent)| {
            Event::AlertRaised { account, unit, window, revision, percent, cap, settled: cap }
        }),
        (id(), any::<i64>()).prop_map(|(top_up, amount)| Event::WalletToppedUp {
            top_up: TopUpId(top_up),
            amount: NanoUsd(amount),
            note: "".into(),
        }),
        any::<u64>().prop_map(|revision| Event::WalletExhausted { revision }),
        any::<u64>().prop_map(|revision| Event::WalletRestored { revision }),
        (id(), account(), unit(), any::<i64>()).prop_map(|(gateway, account, unit, amount)| {
            Event::LeaseAbandoned { gateway: GatewayId(gateway), account, unit, amount }
        }),
    ]
}

fn other_event() -> impl Strategy<Value = Event> {
    let spec = || option::of(name().prop_map(|name| Box::new(provider(&name))));
    prop_oneof![
        (id(), role()).prop_map(|(token, role)| Event::TokenCreated {
            token: TokenId(token),
            name: "token".into(),
            kind: SecretKind::Management,
            role,
            owner: None,
            secret: secret(9),
            expires_at: None,
        }),
        id().prop_map(|token| Event::TokenDeleted { token: TokenId(token) }),
        (option::of(vec(id().prop_map(PlanId), 0..3)), option::of(id())).prop_map(
            |(allowed, default)| Event::PlanAssigned { allowed, default: default.map(PlanId) }
        ),
        (id(), name()).prop_map(|(gateway, name)| Event::GatewayJoined {
            gateway: GatewayId(gateway),
            name,
            token: TokenId(1),
        }),
        id().prop_map(|gateway| Event::GatewayLeft { gateway: GatewayId(gateway) }),
        id().prop_map(|gateway| Event::GatewayFenced { gateway: GatewayId(gateway) }),
        (id(), spec()).prop_map(|(provider, spec)| Event::ProviderChanged {
            provider: ProviderId(provider),
            spec,
        }),
        (id(), option::of(name())).prop_map(|(server, name)| Event::McpServerChanged {
            server: McpServerId(server),
            spec: name.map(|name| Box::new(mcp_server(&name))),
        }),
        id().prop_map(|plan| Event::PlanChanged { plan: PlanId(plan), spec: None }),
        name().prop_map(|model| Event::ModelPriced { model, spec: None }),
    ]
}

/// Commands of every kind, about things that are often there.
pub(crate) fn command() -> impl Strategy<Value = Command> {
    let of_keys = prop_oneof![2 => key_command(), 1 => ephemeral::command()];
    prop_oneof![people_command(), of_keys, money_command(), other_command()]
}

fn plans() -> impl Strategy<Value = PlanChoice> {
    let plan = || id().prop_map(PlanId);
    (option::of(vec(plan(), 0..3)), option::of(plan()))
        .prop_map(|(allowed, default)| PlanChoice { allowed, default })
}

fn people_command() -> impl Strategy<Value = Command> {
    let member = || (1_u128..8).prop_map(MemberId);
    let project = || id().prop_map(ProjectId);
    prop_oneof![
        (option::of(name()), option::of(settings()), option::of(plans()))
            .prop_map(|(name, settings, plans)| Command::ChangeOrg { name, settings, plans }),
        (member(), name(), role()).prop_map(|(member, name, role)| invitation(member, &name, role)),
        member().prop_map(|member| Command::JoinMember { member, password: Sealed([1].into()) }),
        (member(), role()).prop_map(|(member, role)| Command::ChangeRole { member, role }),
        member().prop_map(|member| Command::RemoveMember { member }),
        (project(), name(), limits()).prop_map(|(project, name, limits)| {
            Command::CreateProject { project, name, limits }
        }),
        (project(), option::of(name()), option::of(limits()))
            .prop_map(|(project, name, limits)| Command::ChangeProject { project, name, limits }),
        project().prop_map(|project| Command::DeleteProject { project }),
    ]
}

fn key_command() -> impl Strategy<Value = Command> {
    let key = || id().prop_map(KeyId);
    let number = || any::<u8>();
    prop_oneof![
        2 => (key(), name(), limits(), number()).prop_map(|(key, name, limits, number)| {
            let draft = Box::new(KeyDraft { name, limits, ..KeyDraft::default() });
            Command::CreateKey { key, draft, secret: fresh(number) }
        }),
        1 => (key(), draft(), number()).prop_map(|(key, draft, number)| Command::CreateKey {
            key,
            draft: Box::new(draft),
            secret: fresh(number),
        }),
        1 => vec((key(), draft(), number()), 0..3).prop_map(|keys| Command::ImportKeys {
            keys: keys.into_iter().map(|(key, draft, n)| imported(key, draft, n)).collect(),
        }),
        1 => (key(), number()).prop_map(|(key, number)| Command::MigrateKey {
            key,
            secret: fresh(number),
        }),
        1 => key().prop_map(|key| Command::FinishMigration { key }),
        2 => (key(), patch()).prop_map(|(key, patch)| Command::ChangeKey {
            key,
            patch: Box::new(patch),
        }),
        1 => (key(), number(), 0..2 * DAY_MS).prop_map(|(key, number, overlap_ms)| {
            Command::RotateKey { key, secret: fresh(number), overlap_ms }
        }),
        1 => key().prop_map(|key| Command::DisableKey { key }),
        1 => key().prop_map(|key| Command::EnableKey { key }),
        1 => (key(), reason()).prop_map(|(key, reason)| Command::RevokeKey { key, reason }),
        1 => (key(), option::of(number())).prop_map(|(key, number)| Command::ActivateKey {
            key,
            rotate: number.map(fresh),
        }),
        1 => key().prop_map(|key| Command::DeleteKey { key }),
    ]
}

fn money_command() -> impl Strategy<Value = Command> {
    let due = || (account(), unit(), window(), 1_u64..5, 0_i64..200);
    prop_oneof![
        (id(), 0_i64..100).prop_map(|(top_up, amount)| Command::TopUpWallet {
            top_up: TopUpId(top_up),
            amount: NanoUsd(amount),
            note: "".into(),
        }),
        due().prop_map(|(account, unit, window, revision, settled)| Command::CloseBudget {
            account,
            unit,
            window,
            revision,
            settled,
        }),
        (due(), select(vec![50_u8, 80, 100])).prop_map(
            |((account, unit, window, revision, settled), percent)| Command::RaiseAlert {
                account,
                unit,
                window,
                revision,
                percent,
                settled,
            }
        ),
    ]
}

fn other_command() -> impl Strategy<Value = Command> {
    let token = || id().prop_map(TokenId);
    let gateway = || id().prop_map(GatewayId);
    let kinds = vec![SecretKind::Management, SecretKind::Gateway, SecretKind::Model];
    prop_oneof![
        (token(), role(), select(kinds)).prop_map(|(token, role, kind)| Command::CreateToken {
            token,
            name: "token".into(),
            kind,
            role,
            secret: secret(9),
            expires_at: None,
        }),
        token().prop_map(|token| Command::DeleteToken { token }),
        (gateway(), name(), token()).prop_map(|(gateway, name, token)| Command::JoinGateway {
            gateway,
            name,
            token,
        }),
        gateway().prop_map(|gateway| Command::LeaveGateway { gateway }),
        gateway().prop_map(|gateway| Command::FenceGateway { gateway }),
        (id(), option::of(name())).prop_map(|(id, name)| Command::ChangeProvider {
            provider: ProviderId(id),
            spec: name.map(|name| Box::new(provider(&name))),
        }),
        (id(), option::of(name())).prop_map(|(id, name)| Command::ChangeMcpServer {
            server: McpServerId(id),
            spec: name.map(|name| Box::new(mcp_server(&name))),
        }),
    ]
}

/// Names that a scope may speak of, and some that it does not.
pub(crate) const SPOKEN_OF: [&str; 4] = ["a", "b", "c", "d"];
