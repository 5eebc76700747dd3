//! One event of each form with every field in use, and some with as few as can be.

use std::collections::{BTreeMap, BTreeSet};

use turnpike_domain::event::{Actor, Event, KeyProfile, ModelSpec, PlanSpec, Record, Who};
use turnpike_domain::id::{
    CommandId, EventId, GatewayId, KeyId, McpServerId, MemberId, OrgId, PlanId, ProjectId,
    ProviderId, TokenId, TopUpId,
};
use turnpike_domain::limit::{Account, Fit, Limits, Unit};
use turnpike_domain::meter::Prices;
use turnpike_domain::money::{Multiplier, NanoUsd, Price};
use turnpike_domain::scope::{Allow, McpMode, McpScope, Scopes};
use turnpike_domain::secret::{Digest, PepperVersion, PublicId, Sealed, SecretKind, StoredSecret};
use turnpike_domain::state::{
    LimitStatus, McpCatalogue, McpServerSpec, McpTool, ProviderKind, ProviderSpec, RateFallback,
    RevokeReason, Role, Route, SecretReveal, Settings, WalletMode,
};
use turnpike_domain::time::{Reset, Timestamp, Window};

/// A number that looks like an id: a UUIDv7 that ends with `last`.
const fn id(last: u128) -> u128 {
    0x0198_0000_0000_7000_8000_0000_0000_0000 + last
}

const ORG: OrgId = OrgId(id(1));
const MEMBER: MemberId = MemberId(id(2));
const PROJECT: ProjectId = ProjectId(id(3));
const KEY: KeyId = KeyId(id(4));
const PLAN: PlanId = PlanId(id(5));
const TOKEN: TokenId = TokenId(id(6));
const GATEWAY: GatewayId = GatewayId(id(7));
const PROVIDER: ProviderId = ProviderId(id(8));
const AT: Timestamp = Timestamp(1_795_000_000_000);
const LATER: Timestamp = Timestamp(1_803_000_000_000);
/// 1 November 2026.
const WINDOW: Window = Window(1_793_491_200_000);

/// Every golden: its name (`Event` or `Event.case`, without the version) and its record.
pub(crate) fn all() -> Vec<(String, Record)> {
    let mut events = full();
    events.extend(least());
    events.extend(legacy());
    events.extend(mcp_servers());
    events.extend(crate::ephemeral::events());
    events.extend(added());
    let mut records = Vec::new();
    for (seq, (case, event)) in (1..).zip(events) {
        let org = if is_platform(&event) { OrgId::PLATFORM } else { ORG };
        let name = match case {
            "" => event.name().to_owned(),
            case => format!("{}.{case}", event.name()),
        };
        let (id, command) = (EventId(id(0x1_0000 + seq)), CommandId(id(0x2_0000 + seq)));
        let actor = Actor { who: who(seq), address: address(seq) };
        let seq = u64::try_from(seq).unwrap();
        records.push((name, Record { id, org, seq, at: AT, actor, command, event }));
    }
    records
}

fn is_platform(event: &Event) -> bool {
    matches!(event, Event::PlanChanged { .. } | Event::ModelPriced { .. })
}

fn who(seq: u128) -> Who {
    match seq % 4 {
        0 => Who::System,
        1 => Who::Member(MEMBER),
        2 => Who::Token(TOKEN),
        _ => Who::Gateway(GATEWAY),
    }
}

fn address(seq: u128) -> Option<std::net::IpAddr> {
    match seq % 3 {
        0 => None,
        1 => Some([192, 0, 2, 7].into()),
        _ => Some([0x2001, 0xdb8, 0, 0, 0, 0, 0, 7].into()),
    }
}

fn full() -> Vec<(&'static str, Event)> {
    [people(), keys(), money(), rest()].concat().into_iter().map(|event| ("", event)).collect()
}

fn people() -> Vec<Event> {
    let (member, project) = (MEMBER, PROJECT);
    let (invitation, password) = (secret("iv-tp-AbCd…wxyz"), Sealed([7; 60].into()));
    let (email, role) = ("ada@example.com".into(), Role::Admin);
    let (team, crew) = ("Team".into(), "Crew".into());
    vec![
        Event::OrgCreated { name: "Example".into(), settings: settings() },
        Event::OrgSettingsChanged { name: "Exämple".into(), settings: Settings::default() },
        Event::MemberInvited { member, email, name: "Ada".into(), role, invitation },
        Event::MemberJoined { member, password },
        Event::MemberRoleChanged { member, role: Role::Owner },
        Event::MemberRemoved { member },
        Event::ProjectCreated { project, name: team, limits: limits() },
        Event::ProjectChanged { project, name: crew, limits: Limits::default() },
        Event::ProjectDeleted { project },
    ]
}

fn keys() -> Vec<Event> {
    let (key, token) = (KEY, TOKEN);
    let recoverable = Some(Sealed([8; 113].into()));
    let (kind, role, owner) = (SecretKind::Management, Role::Member, Some(MEMBER));
    let (name, expires_at) = ("ci".into(), Some(LATER));
    vec![
        Event::KeyCreated {
            key,
            profile: Box::new(profile()),
            secret: secret("sk-tp-AbCd…wxyz"),
            recoverable: recoverable.clone(),
        },
        Event::KeyChanged { key, profile: Box::new(profile()) },
        Event::KeyRotated {
            key,
            secret: secret("sk-tp-EfGh…wxyz"),
            recoverable,
            overlap_until: Some(LATER),
        },
        Event::KeyDisabled { key },
        Event::KeyEnabled { key },
        Event::KeyRevoked { key, reason: RevokeReason::Compromised },
        Event::KeyActivated { key },
        Event::KeyDeleted { key },
        Event::SecretRevealed { key },
        Event::TokenCreated {
            token,
            name,
            kind,
            role,
            owner,
            secret: secret("mk-tp-AbCd…wxyz"),
            expires_at,
        },
        Event::TokenDeleted { token },
        Event::PlanAssigned { allowed: Some(vec![PLAN, PlanId(id(9))]), default: Some(PLAN) },
    ]
}

fn money() -> Vec<Event> {
    let (account, unit, window) = (Account::Key(KEY), Unit::Usd, WINDOW);
    let (revision, cap, settled) = (3, 25_000_000_000, 25_000_000_001);
    let top_up = TopUpId(id(10));
    let reached = 20_000_000_000;
    vec![
        Event::QuotaHit { account, unit, window, revision, cap, settled },
        Event::AlertRaised { account, unit, window, revision, percent: 80, cap, settled: reached },
        Event::WalletToppedUp { top_up, amount: NanoUsd(cap), note: "invoice 7".into() },
        Event::WalletExhausted { revision },
        Event::WalletRestored { revision },
        Event::LeaseAbandoned { gateway: GATEWAY, account, unit, amount: 1_500_000_000 },
    ]
}

fn rest() -> Vec<Event> {
    let (gateway, provider) = (GATEWAY, PROVIDER);
    vec![
        Event::GatewayJoined { gateway, name: "edge-1".into(), token: TOKEN },
        Event::GatewayLeft { gateway },
        Event::GatewayFenced { gateway },
        Event::ProviderChanged { provider, spec: Some(Box::new(provider_spec())) },
        Event::PlanChanged { plan: PLAN, spec: Some(plan()) },
        Event::ModelPriced { model: "echo-1".into(), spec: Some(Box::new(model())) },
    ]
}

/// Forms with everything left out that may be, and the other cases of enums.
fn least() -> Vec<(&'static str, Event)> {
    let (key, token, provider) = (KEY, TOKEN, PROVIDER);
    let profile = KeyProfile {
        name: "plain".into(),
        owner: None,
        project: None,
        plan: PLAN,
        expires_at: None,
        limits: Limits::default(),
        scopes: Scopes::default(),
        metadata: None,
    };
    let secret = || secret("gk-tp-AbCd…wxyz");
    let (account, unit, window) = (Account::Project(PROJECT), Unit::Tokens, Window(0));
    let (revision, cap, settled) = (1, 0, 0);
    vec![
        (
            "least",
            Event::KeyCreated {
                key,
                profile: Box::new(profile),
                secret: secret(),
                recoverable: None,
            },
        ),
        (
            "least",
            Event::KeyRotated { key, secret: secret(), recoverable: None, overlap_until: None },
        ),
        (
            "least",
            Event::TokenCreated {
                token,
                name: "edge".into(),
                kind: SecretKind::Gateway,
                role: Role::Viewer,
                owner: None,
                secret: secret(),
                expires_at: None,
            },
        ),
        ("least", Event::PlanAssigned { allowed: None, default: None }),
        ("project", Event::QuotaHit { account, unit, window, revision, cap, settled }),
        (
            "wallet",
            Event::QuotaHit { account: Account::Wallet, unit, window, revision, cap, settled },
        ),
        ("removed", Event::ProviderChanged { provider, spec: None }),
        ("removed", Event::PlanChanged { plan: PLAN, spec: None }),
        ("removed", Event::ModelPriced { model: "echo-1".into(), spec: None }),
        (
            "unpriced",
            Event::ModelPriced {
                model: "echo-unpriced".into(),
                spec: Some(Box::new(ModelSpec { prices: None, ..model() })),
            },
        ),
        ("own-roots", Event::ProviderChanged { provider, spec: Some(Box::new(with_own_roots())) }),
        (
            "own-prices",
            Event::ModelPriced {
                model: "echo-dear".into(),
                spec: Some(Box::new(with_own_prices())),
            },
        ),
    ]
}

/// Fields that came after their events.
fn added() -> Vec<(&'static str, Event)> {
    let (provider, model) = (PROVIDER, "whisper".into());
    let (total, spec) = (Box::new(with_a_total()), Box::new(by_the_second()));
    vec![
        ("total", Event::ProviderChanged { provider, spec: Some(total) }),
        ("by-the-second", Event::ModelPriced { model, spec: Some(spec) }),
    ]
}

/// Keys of secrets that are not ours.
fn legacy() -> Vec<(&'static str, Event)> {
    let (key, profile) = (KEY, Box::new(profile()));
    let ours = Some(secret("sk-tp-AbCd…wxyz"));
    let digest = Digest([0x5a; 32]);
    let (public_id, preview) = (PublicId::of_digest(&digest), "acme…1f3e".into());
    let own = StoredSecret { public_id, digest, pepper: PepperVersion(1), preview };
    vec![
        ("", Event::KeyImported { key, profile, secret: own }),
        ("", Event::KeyMigrated { key, secret: ours, recoverable: Some(Sealed([8; 113].into())) }),
        ("finished", Event::KeyMigrated { key, secret: None, recoverable: None }),
    ]
}

fn mcp_servers() -> Vec<(&'static str, Event)> {
    let server = McpServerId(id(11));
    let plain = McpServerSpec {
        credential: None,
        credential_header: None,
        headers: Vec::new(),
        request_fee: NanoUsd(0),
        disabled: false,
        catalogue: None,
        ..mcp_server()
    };
    vec![
        ("", Event::McpServerChanged { server, spec: Some(Box::new(mcp_server())) }),
        ("least", Event::McpServerChanged { server, spec: Some(Box::new(plain)) }),
        ("removed", Event::McpServerChanged { server, spec: None }),
    ]
}

pub(crate) fn mcp_server() -> McpServerSpec {
    let tool = |name: &str, description: &str| McpTool {
        name: name.into(),
        description: description.into(),
    };
    McpServerSpec {
        name: "files".into(),
        url: "https://mcp.example.com/mcp".into(),
        credential: Some(Sealed([9; 64].into())),
        credential_header: Some("x-api-key".into()),
        headers: vec![("x-team".into(), "search".into())],
        connect_timeout_ms: 5_000,
        answer_timeout_ms: 60_000,
        idle_timeout_ms: 300_000,
        request_fee: NanoUsd(1_000_000),
        disabled: true,
        catalogue: Some(McpCatalogue {
            at: AT,
            tools: vec![tool("read", "Reads a file."), tool("stat", "")],
        }),
    }
}

pub(crate) fn settings() -> Settings {
    Settings {
        limit_status: LimitStatus::TooManyRequests,
        secret_reveal: SecretReveal::Recoverable,
        max_staleness_ms: None,
        rate_fallback: RateFallback::Deny,
        wallet: WalletMode::Prepaid,
    }
}

pub(crate) fn secret(preview: &str) -> StoredSecret {
    StoredSecret {
        public_id: PublicId(*b"AbCdEfGhIjKlMnOp"),
        digest: Digest([0xd1; 32]),
        pepper: PepperVersion(1),
        preview: preview.into(),
    }
}

pub(crate) fn limits() -> Limits {
    Limits {
        cost: Some(NanoUsd(25_000_000_000)),
        tokens: Some(1_000_000),
        reset: Reset::Monthly,
        requests_per_minute: Some(600),
        tokens_per_minute: Some(100_000),
        alert_percent: vec![50, 80, 100],
        fit: Fit::Clamp,
    }
}

fn names(names: &[&str]) -> BTreeSet<Box<str>> {
    names.iter().map(|name| (*name).into()).collect()
}

pub(crate) fn profile() -> KeyProfile {
    let ranges = ["192.0.2.0/24", "2001:db8::/32", "198.51.100.7"];
    KeyProfile {
        name: "production".into(),
        owner: Some(MEMBER),
        project: Some(PROJECT),
        plan: PLAN,
        expires_at: Some(LATER),
        limits: limits(),
        scopes: Scopes {
            models: Allow::Only(names(&["echo-1"])),
            providers: Allow::Only(names(&["echo"])),
            addresses: Some(ranges.iter().map(|range| range.parse().unwrap()).collect()),
            mcp: McpScope {
                enabled: true,
                mode: McpMode::AllowList,
                servers: names(&["files", "search"]),
                tools: BTreeMap::from([
                    ("files".into(), names(&["read"])),
                    ("fs".into(), names(&["list", "stat"])),
                ]),
            },
        },
        metadata: Some(r#"{"team":"search"}"#.into()),
    }
}

pub(crate) fn plan() -> PlanSpec {
    PlanSpec {
        name: "Standard".into(),
        models: Allow::Only(names(&["echo-1", "echo-slow"])),
        multiplier: Multiplier(1_250_000),
    }
}

pub(crate) fn model() -> ModelSpec {
    let route = |provider: &str, upstream_model: Option<&str>, weight| Route {
        provider: provider.into(),
        upstream_model: upstream_model.map(Into::into),
        weight,
        prices: None,
    };
    ModelSpec {
        prices: Some(Prices {
            input: Price(1_000_000_000),
            output: Price(2_000_000_000),
            cached_input: Some(Price(100_000_000)),
            cache_write: Some(Price(1_250_000_000)),
            reasoning: Some(Price(2_000_000_001)),
            audio_input: Some(Price(3)),
            audio_output: Some(Price(4)),
            image_input: Some(Price(5)),
            image_output: Some(Price(6)),
            request_fee: NanoUsd(7),
            audio_second: None,
        }),
        context_window: 128_000,
        max_output: 8_192,
        routes: vec![route("echo", None, 1), route("spare", Some("echo-one"), 0)],
    }
}

fn with_own_prices() -> ModelSpec {
    let mut model = model();
    let prices = Prices { input: Price(1), output: Price(2), ..Prices::default() };
    model.routes[1].prices = Some(prices);
    model
}

fn with_own_roots() -> ProviderSpec {
    let roots = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    ProviderSpec { tls_roots: Some(roots.into()), max_failures: 5, ..provider_spec() }
}

fn with_a_total() -> ProviderSpec {
    ProviderSpec { total_timeout_ms: 3_600_000, ..provider_spec() }
}

fn by_the_second() -> ModelSpec {
    let mut model = model();
    let prices = Prices { audio_second: Some(NanoUsd(100_000)), ..Prices::default() };
    model.prices = Some(prices);
    model
}

pub(crate) fn provider_spec() -> ProviderSpec {
    ProviderSpec {
        name: "echo".into(),
        kind: ProviderKind::Anthropic,
        base_url: "https://echo.example.com".into(),
        credential: Some(Sealed([9; 64].into())),
        headers: vec![("x-team".into(), "search".into())],
        serves: vec!["own-1".into()],
        connect_timeout_ms: 2_000,
        answer_timeout_ms: 60_000,
        idle_timeout_ms: 30_000,
        total_timeout_ms: 0,
        max_concurrency: 64,
        disabled: false,
        tls_roots: None,
        max_failures: 0,
    }
}
