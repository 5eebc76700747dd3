//! One of each message between processes, for its golden.

use std::sync::Arc;

use turnpike_domain::admit::{Denial, Figures, LimitSource};
use turnpike_domain::id::{
    EphemeralId, EpochId, GatewayId, IncarnationId, KeyId, LeaseId, McpServerId, MemberId, OrgId,
    PlanId, Position, ProjectId, ProviderId, RequestId, TokenId, TopUpId,
};
use turnpike_domain::ledger::{BudgetFigures, Refused, Word};
use turnpike_domain::limit::{Account, Unit};
use turnpike_domain::meter::Usage;
use turnpike_domain::money::{Multiplier, NanoUsd};
use turnpike_domain::secret::{Sealed, SecretKind};
use turnpike_domain::spend::{Source, Spend};
use turnpike_domain::state::{
    Cap, Gateway, Head, Hit, Key, McpServer, Member, MemberState, Model, Organisation, Plan,
    Platform, PreviousSecret, Project, Provider, RevokeReason, Role, Standing, Token, TopUp,
    Wallet,
};
use turnpike_domain::time::{Reset, Timestamp, Window};
use turnpike_wire::authority::{Call, EndRuns, LeaseAnswer, LeaseCall, Recall, RunsEnded};
use turnpike_wire::decision::Decision;
use turnpike_wire::form::{decode, encode};
use turnpike_wire::heartbeat::{
    CircuitState, Heartbeat, LostChange, LostKind, MovedHead, ProviderHealth, Quarantine, Receipt,
};
use turnpike_wire::sign::{Signers, SigningKey, SigningKeys};
use turnpike_wire::snapshot::{
    Assembly, Frames, Splitter, State, Taken, framed, organisation, platform,
};
use turnpike_wire::spend::{Booked, batch, booked, read_batch, settled};

use crate::{ephemeral, rates, samples};

const AT: Timestamp = Timestamp(1_795_000_000_000);
const EPOCH: EpochId = EpochId(0xe0);
const TAKEN: Taken = Taken { incarnation: IncarnationId(0x1c), at: AT };
const METADATA: &str = r#"{"team":"search"}"#;
const RUNS_ENDED: RunsEnded = RunsEnded { fence: 2, ended: true };
const RECALL: Recall = Recall { fence: 2, budget: Some((Account::Wallet, Unit::Usd)) };

fn signing_key() -> SigningKey {
    SigningKey::from_seed(&[1; 32])
}

fn signers() -> Signers {
    signing_key().verifying_key().into()
}

/// The name of each golden and what it should hold.
pub(crate) fn all() -> Vec<(&'static str, Vec<u8>)> {
    let spends = [turnpike_wire::spend::encode(&spend()), turnpike_wire::spend::encode(&least())];
    let complete_to = Some(AT);
    let mark = Booked { epoch: EPOCH, number: 9, complete_to, ended: true, gap: true };
    let key = signing_key();
    let mut all = vec![
        ("spend.v1.cbor", batch(EPOCH, 8, &spends, true)),
        ("spend-refused.v1.cbor", turnpike_wire::spend::encode(&refused())),
        ("spend-tool.v1.cbor", encode(&tool_call())),
        ("spend-failover.v1.cbor", encode(&failed_over())),
        ("spend-settled.v1.cbor", settled(&failed_over(), METADATA).unwrap()),
        ("booked.v1.cbor", encode(&mark)),
        ("heartbeat.v1.cbor", heartbeat().sign(&key)),
        ("heartbeat-signers.v1.cbor", heartbeat_with_signers().sign(&key)),
        ("receipt.v1.cbor", encode(&least_receipt())),
        ("receipt-spent.v1.cbor", encode(&receipt())),
        ("receipt-providers.v1.cbor", encode(&receipt_of_providers())),
        ("receipt-quarantine.v1.cbor", encode(&receipt_of_quarantine())),
        ("receipt-lost.v1.cbor", encode(&receipt_of_lost())),
        ("lease-call.v1.cbor", encode(&lease_call())),
        ("lease-answer.v1.cbor", encode(&lease_answer())),
        ("lease-refusal.v1.cbor", encode(&lease_refusal())),
        ("end-runs.v1.cbor", encode(&end_runs())),
        ("runs-ended.v1.cbor", encode(&RUNS_ENDED)),
        ("recall.v1.cbor", encode(&RECALL)),
        ("decision.v1.cbor", encode(&decision())),
        ("decision-tool.v1.cbor", encode(&tool_decision())),
        ("snapshot-organisation.v1.frames", stream(organisation(&example(), TAKEN, &key))),
        ("snapshot-mcp-server.v1.frames", stream(organisation(&with_tools(), TAKEN, &key))),
        ("snapshot-platform.v1.frames", stream(platform(&operator(), TAKEN, &key))),
    ];
    all.push(("snapshot-tokens.v1.frames", stream(organisation(&with_tokens(), TAKEN, &key))));
    all.extend(rates::all());
    all.extend(ephemeral::all());
    all
}

/// Checks that a golden means what was written into it.
pub(crate) fn read(name: &str, bytes: &[u8]) {
    match name {
        "spend.v1.cbor" => {
            let records = read_batch(bytes).unwrap().records;
            let spends: Vec<_> =
                records.iter().map(|one| turnpike_wire::spend::decode(&one.0).unwrap()).collect();
            assert_eq!(spends, [spend(), least()]);
        }
        "spend-refused.v1.cbor" => {
            assert_eq!(turnpike_wire::spend::decode(bytes), Ok(refused()));
        }
        "spend-tool.v1.cbor" => assert_eq!(decode(bytes), Ok(tool_call())),
        "spend-failover.v1.cbor" => assert_eq!(decode(bytes), Ok(failed_over())),
        "spend-settled.v1.cbor" => {
            assert_eq!(decode(bytes), Ok(failed_over()));
            assert!(bytes.ends_with(METADATA.as_bytes()));
        }
        "booked.v1.cbor" => assert_eq!(booked(bytes).unwrap().number, 9),
        "heartbeat.v1.cbor" => {
            assert_eq!(Heartbeat::verify(bytes, &signers()), Ok(heartbeat()));
        }
        "heartbeat-signers.v1.cbor" => {
            assert_eq!(Heartbeat::verify(bytes, &signers()), Ok(heartbeat_with_signers()));
        }
        "receipt.v1.cbor" => assert_eq!(decode(bytes), Ok(least_receipt())),
        "receipt-providers.v1.cbor" => assert_eq!(decode(bytes), Ok(receipt_of_providers())),
        "receipt-quarantine.v1.cbor" => assert_eq!(decode(bytes), Ok(receipt_of_quarantine())),
        "receipt-lost.v1.cbor" => assert_eq!(decode(bytes), Ok(receipt_of_lost())),
        "receipt-spent.v1.cbor" => assert_eq!(decode(bytes), Ok(receipt())),
        "lease-call.v1.cbor" => assert_eq!(decode(bytes), Ok(lease_call())),
        "lease-answer.v1.cbor" => assert_eq!(decode(bytes), Ok(lease_answer())),
        "lease-refusal.v1.cbor" => assert_eq!(decode(bytes), Ok(lease_refusal())),
        "end-runs.v1.cbor" => assert_eq!(decode(bytes), Ok(end_runs())),
        "runs-ended.v1.cbor" => assert_eq!(decode(bytes), Ok(RUNS_ENDED)),
        "recall.v1.cbor" => assert_eq!(decode(bytes), Ok(RECALL)),
        "decision.v1.cbor" => assert_eq!(decode(bytes), Ok(decision())),
        "decision-tool.v1.cbor" => assert_eq!(decode(bytes), Ok(tool_decision())),
        "snapshot-organisation.v1.frames" => {
            assert_eq!(state(bytes), State::Organisation(Box::new(example())));
        }
        "snapshot-mcp-server.v1.frames" => {
            assert_eq!(state(bytes), State::Organisation(Box::new(with_tools())));
        }
        "snapshot-tokens.v1.frames" => {
            assert_eq!(state(bytes), State::Organisation(Box::new(with_tokens())));
        }
        _ if rates::read(name, bytes) || ephemeral::read(name, bytes) => {}
        _ => assert_eq!(state(bytes), State::Platform(Box::new(operator())), "{name}"),
    }
}

fn stream(frames: Frames<'_>) -> Vec<u8> {
    frames.flat_map(|frame| framed(&frame)).collect()
}

fn state(stream: &[u8]) -> State {
    let mut splitter = Splitter::default();
    splitter.push(stream);
    let mut assembly = Assembly::new(signers());
    loop {
        let frame = splitter.next_frame().unwrap().unwrap();
        if let Some(snapshot) = assembly.take(frame).unwrap() {
            assert!(!splitter.is_cut());
            return snapshot.state;
        }
    }
}

fn spend() -> Spend {
    Spend {
        request: RequestId(0x4e),
        at: AT,
        key: KeyId(4),
        key_seq: 70_000,
        token: Some(EphemeralId(0xe9)),
        model: "echo-1".into(),
        provider: Some(ProviderId(8)),
        status: 200,
        usage: Usage {
            input: 9,
            output: 8,
            cached_input: 7,
            cache_write: 6,
            reasoning: 5,
            audio_input: 4,
            audio_output: 3,
            image_input: 2,
            image_output: 1,
            audio_seconds: 0,
        },
        source: Source::Provider,
        suspect: true,
        price_version: 3,
        multiplier: Multiplier(1_250_000),
        cost: NanoUsd(12_345),
        reserved: NanoUsd(5_000_000_000),
        reserved_tokens: 8_192,
        lease: Some(LeaseId(0x1e)),
        legacy: false,
        latency_ms: 1_234,
        denial: None,
        unmetered: false,
        repeats: 0,
        failovers: 0,
        decision: None,
        server: None,
        tool: None,
        streamed: false,
    }
}

fn tool_call() -> Spend {
    Spend {
        model: "mcp/files".into(),
        usage: Usage::default(),
        source: Source::Counted,
        suspect: false,
        server: Some("files".into()),
        tool: Some("read".into()),
        ..spend()
    }
}

/// Served by the third way.
fn failed_over() -> Spend {
    Spend { failovers: 2, ..least() }
}

fn least() -> Spend {
    Spend {
        token: None,
        usage: Usage::default(),
        source: Source::Estimated,
        suspect: false,
        multiplier: Multiplier::default(),
        lease: None,
        ..spend()
    }
}

/// Not admitted, for itself and for two more.
fn refused() -> Spend {
    Spend {
        provider: None,
        status: 429,
        price_version: 0,
        cost: NanoUsd(0),
        reserved: NanoUsd(0),
        reserved_tokens: 0,
        denial: Some(Denial::RateLimited),
        unmetered: true,
        repeats: 2,
        decision: Some("dec_1".into()),
        streamed: true,
        ..least()
    }
}

fn heartbeat() -> Heartbeat {
    Heartbeat {
        incarnation: IncarnationId(0x1c),
        number: 8,
        previous: 7,
        at: AT,
        position: Position(1 << 90),
        heads: vec![MovedHead { org: OrgId(1), seq: 5, hash: [6; 32] }],
        signers: Vec::new(),
    }
}

fn heartbeat_with_signers() -> Heartbeat {
    let former = SigningKey::from_seed(&[2; 32]).verifying_key();
    let keys = SigningKeys::new(signing_key(), [former]);
    Heartbeat { signers: keys.signers().ids().collect(), ..heartbeat() }
}

fn least_receipt() -> Receipt {
    let position = Position(1 << 90);
    let (spent, providers, lost) = (Vec::new(), Vec::new(), Vec::new());
    let (complete_to, quarantine) = (None, None);
    Receipt { epoch: EPOCH, position, at: AT, complete_to, spent, providers, quarantine, lost }
}

/// With the most and the least that is told of a provider.
fn receipt_of_providers() -> Receipt {
    let down = ProviderHealth {
        provider: ProviderId(8),
        circuit: CircuitState::Open,
        since: Some(AT),
        in_flight: 3,
        calls: 40,
        errors: 20,
        p50_ms: Some(120),
    };
    let fresh = ProviderHealth {
        provider: ProviderId(9),
        circuit: CircuitState::Closed,
        since: None,
        p50_ms: None,
        ..down.clone()
    };
    let probed = ProviderHealth { circuit: CircuitState::HalfOpen, ..down.clone() };
    Receipt { providers: vec![down, fresh, probed], ..least_receipt() }
}

fn receipt_of_quarantine() -> Receipt {
    let quarantine = Quarantine { events: 3, seq: Some(17), at: AT, stands: true };
    Receipt { quarantine: Some(quarantine), ..least_receipt() }
}

fn receipt_of_lost() -> Receipt {
    let lost = |(key, kind)| LostChange { key: KeyId(key), kind };
    let all = [
        (1, LostKind::Revoked),
        (2, LostKind::Disabled),
        (3, LostKind::Deleted),
        (4, LostKind::Rotated),
        (5, LostKind::Changed),
    ];
    Receipt { lost: all.map(lost).into(), ..least_receipt() }
}

fn receipt() -> Receipt {
    let spent = vec![(EPOCH, 9), (EpochId(0xe1), u64::MAX)];
    Receipt { complete_to: Some(AT), spent, ..least_receipt() }
}

fn lease_call() -> Call {
    Call::Lease(LeaseCall {
        epoch: EPOCH,
        lease: LeaseId(0x1e),
        key: KeyId(4),
        unit: Unit::Usd,
        word: Word { n: 3, total: 5_000_000_000, least: 1_000_000_000 },
        token: None,
    })
}

fn lease_answer() -> LeaseAnswer {
    let account = Account::Project(ProjectId(3));
    LeaseAnswer {
        fence: 2,
        n: 3,
        total: 4_000_000_000,
        path: vec![(account, Window(1_793_491_200_000)), (Account::Wallet, Window(0))],
        ends_at: Some(AT),
        refused: Some(Refused::Exhausted { account, left: Some(7), revision: 3 }),
        figures: None,
    }
}

fn lease_refusal() -> LeaseAnswer {
    let account = Account::Project(ProjectId(3));
    let figures = BudgetFigures {
        account,
        cap: Some(25_000_000_000),
        settled: 23_000_000_000,
        held: 2_000_000_000,
        lost: 5,
        revision: 3,
        resets_at: Some(AT),
    };
    let refused = Some(Refused::HeldElsewhere { account });
    LeaseAnswer { refused, figures: Some(figures), ..lease_answer() }
}

fn end_runs() -> Call {
    let places = vec![(EpochId(0xe1), 9), (EpochId(0xe2), 70_000)];
    Call::EndRuns(EndRuns { run: EPOCH, places, torn: true })
}

fn decision() -> Decision {
    let account = Account::Project(ProjectId(3));
    let figures = Figures {
        source: LimitSource::Budget(account, Unit::Usd),
        limit: Some(25_000_000_000),
        used: Some(24_000_000_000),
        held: Some(500_000_000),
        resets_at: Some(AT),
        retry_after_ms: Some(250),
        revision: 3,
    };
    Decision {
        org: OrgId(1),
        key: KeyId(4),
        at: AT,
        denial: Denial::InFlightBudgetExhausted,
        status: 402,
        gateway: GatewayId(7),
        request: RequestId(0x4e),
        seq: 9,
        platform_seq: 8,
        key_seq: 5,
        model: Some("echo-1".into()),
        address: Some([192, 0, 2, 7].into()),
        server: None,
        tool: None,
        figures: Some(figures),
        token: None,
    }
}

fn tool_decision() -> Decision {
    let denial = Denial::McpNotAllowed;
    let (server, tool) = (Some("files".into()), Some("remove".into()));
    Decision { denial, status: 403, model: None, figures: None, server, tool, ..decision() }
}

fn head() -> Head {
    Head { seq: 9, hash: [6; 32], position: Position(1 << 90) }
}

/// An organisation with one of each thing.
fn with_tokens() -> Organisation {
    let mut state = example();
    ephemeral::issue(&mut state);
    state
}

fn example() -> Organisation {
    let secret = || samples::secret("sk-tp-AbCd…wxyz");
    let mut state = Organisation::new(OrgId(1));
    state.head = head();
    state.name = "Example".into();
    state.settings = samples::settings();
    state.created_at = AT;
    state.settings_seq = 2;
    state.allowed_plans = Some(vec![PlanId(5)]);
    state.default_plan = Some(PlanId(5));
    let member = |state| Member {
        email: "ada@example.com".into(),
        name: "Ada".into(),
        role: Role::Owner,
        state,
        created_at: AT,
        seq: 3,
    };
    let invited = member(MemberState::Invited { invitation: secret() });
    let joined = member(MemberState::Joined { password: Sealed([7; 60].into()) });
    state.members = [(MemberId(2), invited), (MemberId(3), joined)].into();
    let limits = samples::limits();
    let project = Project { name: "Team".into(), limits, created_at: AT, seq: 4 };
    state.projects = [(ProjectId(3), project)].into();
    let key = Key {
        id: KeyId(4),
        profile: samples::profile(),
        secret: secret(),
        previous: Some(Box::new(PreviousSecret { secret: secret(), until: Some(AT) })),
        recoverable: Some(Sealed([8; 113].into())),
        standing: Standing { disabled: true, revoked: Some(RevokeReason::Other) },
        generation: 2,
        created_at: AT,
        rotated_at: Some(AT),
        ephemeral: false,
        seq: 5,
    };
    state.key_names = [(key.profile.name.clone(), key.id)].into();
    state.keys = [(key.id, Arc::new(key))].into();
    state.tokens = tokens();
    state.providers = providers();
    state.gateways = gateways();
    let amount = NanoUsd(25_000_000_000);
    let top_up = TopUp { id: TopUpId(10), at: AT, amount, note: "invoice 7".into() };
    state.wallet = Wallet { topped_up: amount, top_ups: vec![top_up], exhausted: true };
    let cap = Cap { amount: Some(amount.0), reset: Reset::Weekly, revision: 3 };
    let hit = Hit { window: Window(0), revision: 3, percent: 80, exhausted: false, settled: None };
    state.caps = [((Account::Key(KeyId(4)), Unit::Usd), cap)].into();
    state.hits = [((Account::Wallet, Unit::Tokens), hit)].into();
    state
}

/// An organisation with an MCP server.
fn with_tools() -> Organisation {
    let mut state = Organisation::new(OrgId(1));
    let server = McpServer { spec: samples::mcp_server(), seq: 9 };
    state.mcp_servers = [(McpServerId(12), server)].into();
    state
}

fn operator() -> Platform {
    Platform {
        head: head(),
        plans: [(PlanId(5), Plan { spec: samples::plan(), seq: 1 })].into(),
        models: [("echo-1".into(), Model { spec: samples::model(), price_version: 2 })].into(),
        providers: providers(),
        tokens: tokens(),
        gateways: gateways(),
    }
}

fn tokens() -> std::collections::BTreeMap<TokenId, Token> {
    let token = Token {
        name: "edge".into(),
        kind: SecretKind::Gateway,
        role: Role::Viewer,
        owner: Some(MemberId(3)),
        secret: samples::secret("gk-tp-AbCd…wxyz"),
        expires_at: Some(AT),
        created_at: AT,
        seq: 6,
    };
    [(TokenId(6), token)].into()
}

fn providers() -> std::collections::BTreeMap<ProviderId, Provider> {
    [(ProviderId(8), Provider { spec: samples::provider_spec(), seq: 7 })].into()
}

fn gateways() -> std::collections::BTreeMap<GatewayId, Gateway> {
    let (name, token) = ("edge-1".into(), TokenId(6));
    let gateway = Gateway { name, token, joined_at: AT, left: true, fenced: true, seq: 8 };
    [(GatewayId(7), gateway)].into()
}
