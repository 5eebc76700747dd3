//! A small organisation that rules are tried on.

use turnpike_domain::authority::Requester;
use turnpike_domain::command::{
    Command, FreshSecret, ImportedKey, KeyDraft, KeyPatch, Order, PlatformCommand,
};
use turnpike_domain::decide::{Decision, World, organisation, platform};
use turnpike_domain::event::{Actor, Event, ModelSpec, PlanSpec, Record, Who};
use turnpike_domain::evolve;
use turnpike_domain::id::{
    CommandId, EventId, GatewayId, KeyId, MemberId, OrgId, PlanId, Position, ProjectId, ProviderId,
    TokenId,
};
use turnpike_domain::limit::Limits;
use turnpike_domain::meter::Prices;
use turnpike_domain::money::{Multiplier, NanoUsd, Price};
use turnpike_domain::refusal::Refusal;
use turnpike_domain::scope::Allow;
use turnpike_domain::secret::{Digest, PepperVersion, PublicId, Sealed, SecretKind, StoredSecret};
use turnpike_domain::state::{
    McpServerSpec, Organisation, Platform, ProviderKind, ProviderSpec, Role, Route, Settings,
};
use turnpike_domain::time::{DAY_MS, Timestamp};

pub(crate) const ORG: OrgId = OrgId(1);
pub(crate) const STANDARD: PlanId = PlanId(1);
pub(crate) const GOLD: PlanId = PlanId(2);
pub(crate) const ECHO: ProviderId = ProviderId(1);
pub(crate) const OWNER: MemberId = MemberId(1);
pub(crate) const ADMIN: MemberId = MemberId(2);
pub(crate) const MEMBER: MemberId = MemberId(3);
pub(crate) const OTHER: MemberId = MemberId(4);
pub(crate) const VIEWER: MemberId = MemberId(5);
pub(crate) const PROJECT: ProjectId = ProjectId(1);
/// A key of [`MEMBER`].
pub(crate) const KEY: KeyId = KeyId(1);
/// A join token.
pub(crate) const JOIN: TokenId = TokenId(1);
pub(crate) const GATEWAY: GatewayId = GatewayId(1);
/// Monday, 2026-11-16, noon.
pub(crate) const NOW: Timestamp = Timestamp(20_773 * DAY_MS + DAY_MS / 2);

/// State under test, with what it takes to give it orders.
#[derive(Clone, Debug)]
pub(crate) struct House {
    pub(crate) platform: Platform,
    pub(crate) org: Organisation,
    pub(crate) now: Timestamp,
    pub(crate) expected: Option<u64>,
}

impl House {
    /// No event yet.
    pub(crate) fn empty() -> Self {
        let (platform, org) = (Platform::default(), Organisation::new(ORG));
        Self { platform, org, now: NOW, expected: None }
    }

    /// Two plans, a provider, a model; five people, a project, a key, a join token, a gateway.
    pub(crate) fn furnished() -> Self {
        let mut house = Self::empty();
        for (plan, name) in [(STANDARD, "standard"), (GOLD, "gold")] {
            let spec = PlanSpec {
                name: name.into(),
                models: Allow::All,
                multiplier: Multiplier::default(),
            };
            house.run(operator(), PlatformCommand::ChangePlan { plan, spec });
        }
        let spec = Some(Box::new(provider("echo")));
        house.run(operator(), PlatformCommand::ChangeProvider { provider: ECHO, spec });
        let (model, spec) = ("echo-1".into(), Some(Box::new(model())));
        house.run(operator(), PlatformCommand::PriceModel { model, spec });
        let (name, settings) = ("acme".into(), Settings::default());
        house.done(operator(), Command::CreateOrg { name, settings, plans: None });
        let people = [
            (OWNER, "olga", Role::Owner),
            (ADMIN, "adam", Role::Admin),
            (MEMBER, "mia", Role::Member),
            (OTHER, "otto", Role::Member),
            (VIEWER, "vera", Role::Viewer),
        ];
        for (member, name, role) in people {
            house.done(operator(), invitation(member, name, role));
            let password = Sealed(Box::new([1]));
            house.done(operator(), Command::JoinMember { member, password });
        }
        let (name, limits) = ("tower".into(), Limits::default());
        house.done(operator(), Command::CreateProject { project: PROJECT, name, limits });
        house.done(member(), create_key(KEY, "first"));
        house.done(admin(), join_token(JOIN));
        let join = Command::JoinGateway { gateway: GATEWAY, name: "gate".into(), token: JOIN };
        house.done(gateway(GATEWAY), join);
        house
    }

    /// What is decided, without doing it.
    pub(crate) fn decide(&self, by: Requester, command: Command) -> Decision {
        let world = World { platform: &self.platform, organisation: &self.org };
        organisation(world, &self.order(by, command))
    }

    /// The same for the platform.
    pub(crate) fn decide_platform(&self, by: Requester, command: PlatformCommand) -> Decision {
        platform(&self.platform, &self.order(by, command))
    }

    /// Does what must be allowed.
    pub(crate) fn done(&mut self, by: Requester, command: Command) {
        let events = self.decide(by, command.clone());
        let events = events.unwrap_or_else(|refusal| panic!("{command:?}: {refusal}"));
        self.apply(events);
    }

    /// The same for the platform.
    pub(crate) fn run(&mut self, by: Requester, command: PlatformCommand) {
        let events = self.decide_platform(by, command.clone());
        let events = events.unwrap_or_else(|refusal| panic!("{command:?}: {refusal}"));
        self.apply_platform(events);
    }

    /// Folds events into the organisation.
    pub(crate) fn apply(&mut self, events: Vec<Event>) {
        for event in events {
            let record = record(ORG, self.org.head.seq + 1, self.now, event);
            evolve::organisation(&mut self.org, &record, hash(record.seq), position(record.seq));
        }
    }

    /// Folds events into the platform.
    pub(crate) fn apply_platform(&mut self, events: Vec<Event>) {
        for event in events {
            let record = record(OrgId::PLATFORM, self.platform.head.seq + 1, self.now, event);
            evolve::platform(&mut self.platform, &record, hash(record.seq), position(record.seq));
        }
    }

    /// Checks rows of (by, command, outcome) on this very state; see [`outcome`].
    #[track_caller]
    pub(crate) fn answers(&self, table: Vec<(Requester, Command, &str)>) {
        for (by, command, expected) in table {
            let said = outcome(self.decide(by, command.clone()));
            assert_eq!(said, expected, "{:?} orders {command:?}", by.role);
        }
    }

    /// The same for the platform.
    #[track_caller]
    pub(crate) fn platform_answers(&self, table: Vec<(PlatformCommand, &str)>) {
        for (command, expected) in table {
            let said = outcome(self.decide_platform(operator(), command.clone()));
            assert_eq!(said, expected, "{command:?}");
        }
    }

    fn order<C>(&self, requester: Requester, command: C) -> Order<C> {
        let (now, expected) = (self.now, self.expected.map(|version| vec![version]));
        Order { id: CommandId(1), requester, now, expected, command }
    }
}

/// The names of the events, `nothing`, or the refusal's code with what it names.
pub(crate) fn outcome(decision: Decision) -> String {
    match decision {
        Ok(events) if events.is_empty() => "nothing".into(),
        Ok(events) => events.iter().map(Event::name).collect::<Vec<_>>().join(" "),
        Err(Refusal::Invalid(errors)) => {
            let pointers: Vec<&str> = errors.iter().map(|error| &*error.pointer).collect();
            pointers.join(" ")
        }
        Err(Refusal::Forbidden { needed }) => format!("needs {}", needed.name()),
        Err(refusal) => refusal.code().into(),
    }
}

pub(crate) fn record(org: OrgId, seq: u64, at: Timestamp, event: Event) -> Record {
    let actor = Actor { who: Who::System, address: None };
    let (id, command) = (EventId(seq.into()), CommandId(1));
    Record { id, org, seq, at, actor, command, event }
}

pub(crate) fn hash(seq: u64) -> [u8; 32] {
    let mut hash = [0; 32];
    hash[..8].copy_from_slice(&seq.to_be_bytes());
    hash
}

pub(crate) fn position(seq: u64) -> Position {
    Position(seq.into())
}

pub(crate) fn person(id: MemberId, role: Role) -> Requester {
    let actor = Actor { who: Who::Member(id), address: None };
    Requester { actor, role, member: Some(id) }
}

/// The operator is nobody's member here.
pub(crate) fn operator() -> Requester {
    let actor = Actor { who: Who::System, address: None };
    Requester { actor, role: Role::Operator, member: None }
}

pub(crate) fn owner() -> Requester {
    person(OWNER, Role::Owner)
}

pub(crate) fn admin() -> Requester {
    person(ADMIN, Role::Admin)
}

pub(crate) fn member() -> Requester {
    person(MEMBER, Role::Member)
}

pub(crate) fn other() -> Requester {
    person(OTHER, Role::Member)
}

pub(crate) fn viewer() -> Requester {
    person(VIEWER, Role::Viewer)
}

pub(crate) fn gateway(id: GatewayId) -> Requester {
    let actor = Actor { who: Who::Gateway(id), address: None };
    Requester { actor, role: Role::Viewer, member: None }
}

pub(crate) fn secret(number: u8) -> StoredSecret {
    StoredSecret {
        public_id: PublicId([number & 0x7f; 16]),
        digest: Digest([number; 32]),
        pepper: PepperVersion(1),
        preview: format!("sk-tp-{number}").into(),
    }
}

/// A secret that is not ours.
pub(crate) fn legacy(number: u8) -> StoredSecret {
    let digest = Digest([number; 32]);
    let preview = "le…cy".into();
    StoredSecret { public_id: PublicId::of_digest(&digest), digest, preview, ..secret(number) }
}

/// A row of an import.
pub(crate) fn imported(key: KeyId, draft: KeyDraft, number: u8) -> ImportedKey {
    ImportedKey { key, draft, secret: legacy(number), older: Box::new([]) }
}

pub(crate) fn fresh(number: u8) -> FreshSecret {
    FreshSecret { stored: secret(number), recoverable: Sealed(Box::new([number])) }
}

pub(crate) fn draft(name: &str) -> KeyDraft {
    KeyDraft { name: name.into(), ..KeyDraft::default() }
}

pub(crate) fn create_key(key: KeyId, name: &str) -> Command {
    Command::CreateKey { key, draft: Box::new(draft(name)), secret: fresh(1) }
}

pub(crate) fn drafted(draft: KeyDraft) -> Command {
    Command::CreateKey { key: KeyId(99), draft: Box::new(draft), secret: fresh(1) }
}

pub(crate) fn patched(patch: KeyPatch) -> Command {
    Command::ChangeKey { key: KEY, patch: Box::new(patch) }
}

pub(crate) fn invitation(member: MemberId, name: &str, role: Role) -> Command {
    let (email, invitation) = (format!("{name}@example.com").into(), secret(7));
    Command::InviteMember { member, email, name: name.into(), role, invitation }
}

pub(crate) fn join_token(token: TokenId) -> Command {
    Command::CreateToken {
        token,
        name: "join".into(),
        kind: SecretKind::Gateway,
        role: Role::Viewer,
        secret: secret(8),
        expires_at: None,
    }
}

pub(crate) fn capped(cost: i64) -> Limits {
    Limits { cost: Some(NanoUsd(cost)), ..Limits::default() }
}

pub(crate) fn provider(name: &str) -> ProviderSpec {
    ProviderSpec {
        name: name.into(),
        kind: ProviderKind::OpenAi,
        base_url: "http://127.0.0.1:7090".into(),
        credential: None,
        headers: Vec::new(),
        serves: Vec::new(),
        connect_timeout_ms: 1_000,
        answer_timeout_ms: 60_000,
        idle_timeout_ms: 60_000,
        total_timeout_ms: 0,
        max_concurrency: 0,
        disabled: false,
        tls_roots: None,
        max_failures: 0,
    }
}

pub(crate) fn model() -> ModelSpec {
    let input = Price(1_000_000_000);
    let prices = Prices { input, output: Price(2_000_000_000), ..Prices::default() };
    let route = Route { provider: "echo".into(), upstream_model: None, weight: 1, prices: None };
    let (context_window, max_output) = (128_000, 4_096);
    ModelSpec { prices: Some(prices), context_window, max_output, routes: vec![route] }
}

pub(crate) fn mcp_server(name: &str) -> McpServerSpec {
    McpServerSpec {
        name: name.into(),
        url: "http://127.0.0.1:7091/mcp".into(),
        credential: None,
        credential_header: None,
        headers: Vec::new(),
        connect_timeout_ms: 5_000,
        answer_timeout_ms: 60_000,
        idle_timeout_ms: 300_000,
        request_fee: NanoUsd(0),
        disabled: false,
        catalogue: None,
    }
}
