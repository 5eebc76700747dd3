//! Requests from end to end: a caller, the gateway and a scripted provider on real sockets.

mod budget;
mod cut;
mod dialects;
mod mcp;
mod noted;
mod routing;

use std::collections::HashMap;
use std::net::Ipv4Addr;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::join;
use tokio::net::TcpStream;
use turnpike_bus::local::LocalBus;
use turnpike_domain::event::{KeyProfile, ModelSpec, PlanSpec};
use turnpike_domain::id::{EpochId, PlanId, ProviderId};
use turnpike_domain::limit::Limits;
use turnpike_domain::meter::Prices;
use turnpike_domain::money::{Multiplier, NanoUsd, Price};
use turnpike_domain::scope::{Allow, Scopes};
use turnpike_domain::secret::Sealed;
use turnpike_domain::spend::{Source, Spend};
use turnpike_domain::state::{
    Key, Model, Organisation, Plan, Platform, Provider as Known, ProviderKind, ProviderSpec, Route,
    Standing,
};
use turnpike_domain::time::Timestamp;
use turnpike_runtime::clock::system;
use turnpike_runtime::serve::listen;
use turnpike_wire::decision::Decision;
use turnpike_wire::spend;

use super::*;
use crate::config::ServeOptions;
use crate::core::ProviderCredential;
use crate::fake;
use crate::lane::Room;
use crate::server::{self, serve};
use crate::testing::{Connection, Provider, TestCore, on_a_core};
use crate::view::{OrgCell, OrgView};
use crate::{lease, permit};

/// A gateway with one key, two providers of all dialects and some models.
struct House {
    address: SocketAddr,
    core: Arc<Core>,
    lane: Rc<Lane>,
    bus: Arc<LocalBus>,
    providers: [Provider; 2],
    _folder: TempDir,
}

const STREAM: [&str; 4] = [
    "data: {\"choices\":[{\"delta\":{\"content\":\"one \"}}]}\n\n",
    "data: {\"choices\":[{\"delta\":{\"content\":\"two\"}}]}\n\n",
    "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2}}\n\n",
    "data: [DONE]\n\n",
];
const WHOLE: &str =
    r#"{"choices":[{"message":{}}],"usage":{"prompt_tokens":3,"completion_tokens":2}}"#;
/// 3 tokens at USD 1 and 2 at USD 2 per million.
const COST: NanoUsd = NanoUsd(7_000);

impl House {
    fn new(core: &TestCore) -> Self {
        Self::limited(core, Limits::default())
    }

    /// With these limits on its key.
    fn limited(core: &TestCore, limits: Limits) -> Self {
        let providers = [Provider::new(), Provider::new()];
        let shared = shared(&providers, limits);
        let folder = TempDir::new().unwrap();
        let room = Room::new(1 << 20, 1);
        let lane = Lane::create(system(), folder.path(), EpochId(entropy::number()), room).unwrap();
        let lane = Rc::new(lane);
        let shared = Arc::new(shared);
        let bus = Arc::new(LocalBus::new(system()));
        let site = Rc::new(Site {
            leases: lease::for_test(&shared, Arc::<LocalBus>::clone(&bus), &Tasks::new("leases")),
            permits: permit::for_test(&shared, Arc::<LocalBus>::clone(&bus), &Tasks::new("rates")),
            core: Arc::clone(&shared),
            lane: Rc::clone(&lane),
            pool: Rc::clone(&core.pool),
            bodies: Budget::new(1_000_000),
            tasks: core.tasks.clone(),
        });
        let listener = listen((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let address = listener.local_addr().unwrap();
        let means = server::Means {
            bounds: server::Bounds {
                max_connections: 100,
                max_head_bytes: 16 * 1024,
                head_timeout_ms: 10_000,
                idle_timeout_ms: 75_000,
            },
            clock: system(),
            tasks: core.tasks.clone(),
            leaving: core.tasks.stopping(),
        };
        let handle = move |request, peer| answer(Rc::clone(&site), request, peer);
        core.tasks.spawn_local("serve", async move { serve(listener, handle, means).await });
        Self { address, core: shared, lane, bus, providers, _folder: folder }
    }

    /// Asks for a chat completion and reads the whole answer.
    async fn chat(&self, body: &str) -> String {
        self.ask(&chat_request(fake::secret(1, 0).expose(), body)).await
    }

    async fn ask(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        String::from_utf8(answer).unwrap()
    }

    /// Sends a request, and goes away once `seen` of the first event has come; the provider goes
    /// on to the last one.
    async fn leave(&self, request: &str, events: &[&str], seen: &str) {
        let mut caller = TcpStream::connect(self.address).await.unwrap();
        caller.write_all(request.as_bytes()).await.unwrap();
        let mut connection = self.providers[0].connection().await;
        connection.request().await;
        begin_events(&mut connection).await;
        connection.piece(events[0]).await;
        let mut read = Vec::new();
        while !String::from_utf8_lossy(&read).contains(seen) {
            caller.read_buf(&mut read).await.unwrap();
        }
        drop(caller);
        for piece in events[1..].iter().copied().chain([""]) {
            connection.piece(piece).await;
        }
    }

    /// Waits for the next record and reads all that are there.
    async fn booked(&self) -> Vec<Spend> {
        loop {
            let waiting = self.lane.with_epoch(|epoch| {
                epoch.flush().unwrap();
                epoch.take_waiting(100, 0)
            });
            let records = waiting.iter().flat_map(|waiting| &waiting.records);
            let records: Vec<Spend> = records.map(|bytes| spend::decode(bytes).unwrap()).collect();
            if !records.is_empty() {
                return records;
            }
            self.lane.records().await;
        }
    }
}

fn chat_request(secret: &str, body: &str) -> String {
    format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
         authorization: Bearer {secret}\r\nx-api-key: leak\r\ncookie: leak\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn shared(providers: &[Provider; 2], limits: Limits) -> Core {
    let options = ServeOptions { max_body_bytes: 10_000, ..ServeOptions::default() };
    let core = Core::new(system(), options, fake::peppers(), fake::decisions(), fake::GATEWAY);
    core.set_fresh_at(core.now().plus_ms(60_000));
    core.set_in_step(true);
    let key = key(limits, Scopes::default());
    let mut organisation = Organisation::new(fake::ORG);
    organisation.keys.insert(key.id, Arc::clone(&key));
    let cell = Arc::new(OrgCell::new(OrgView::of(&organisation, false)));
    core.table.replace(&cell, &organisation, false, None, Some(&key));
    core.set_platform(platform(providers));
    let credential = ProviderCredential::new("provider-secret");
    core.set_credentials(HashMap::from([(Box::from(&b"sealed"[..]), credential)]));
    core
}

/// The key of all tests.
fn key(limits: Limits, scopes: Scopes) -> Arc<Key> {
    Arc::new(Key {
        id: fake::key(1),
        profile: KeyProfile {
            name: "a key".into(),
            owner: None,
            project: None,
            plan: PlanId(1),
            expires_at: None,
            limits,
            scopes,
            metadata: None,
        },
        secret: fake::peppers().stored(&fake::secret(1, 0)),
        previous: None,
        recoverable: None,
        standing: Standing::default(),
        generation: 1,
        ephemeral: false,
        created_at: Timestamp(0),
        rotated_at: None,
        seq: 7,
    })
}

fn platform(providers: &[Provider; 2]) -> Platform {
    let mut platform = Platform::default();
    let spec =
        PlanSpec { name: "all".into(), models: Allow::All, multiplier: Multiplier::default() };
    platform.plans.insert(PlanId(1), Plan { spec, seq: 1 });
    let [first, second] = providers;
    let kinds = [
        (1, "p1", ProviderKind::OpenAi, first),
        (2, "p2", ProviderKind::OpenAi, second),
        (11, "anthropic", ProviderKind::Anthropic, first),
        (12, "gemini", ProviderKind::Gemini, first),
    ];
    for (number, name, kind, provider) in kinds {
        let spec = ProviderSpec {
            name: name.into(),
            kind,
            base_url: format!("http://{}", provider.address).into(),
            credential: Some(Sealed(Box::from(&b"sealed"[..]))),
            headers: vec![("x-account".into(), "7".into())],
            serves: Vec::new(),
            connect_timeout_ms: 5_000,
            answer_timeout_ms: 10_000,
            idle_timeout_ms: 20_000,
            total_timeout_ms: 0,
            max_concurrency: 0,
            disabled: false,
            tls_roots: None,
            max_failures: 0,
        };
        platform.providers.insert(ProviderId(number), Known { spec, seq: 1 });
    }
    let route = |provider: &str, upstream: Option<&str>| Route {
        provider: provider.into(),
        upstream_model: upstream.map(Into::into),
        weight: 0,
        prices: None,
    };
    let models = [
        ("plain", vec![route("p1", None)]),
        ("renamed", vec![route("p1", Some("their/model"))]),
        ("doubled", vec![route("p1", Some("first")), route("p2", None)]),
        ("claude", vec![route("anthropic", None)]),
        ("gem", vec![route("gemini", Some("their-gem"))]),
        ("both", vec![route("p1", None), route("anthropic", None), route("gemini", None)]),
    ];
    let plain =
        Prices { input: Price(1_000_000_000), output: Price(2_000_000_000), ..Prices::default() };
    let cached = Prices {
        cached_input: Some(Price(100_000_000)),
        cache_write: Some(Price(1_250_000_000)),
        ..plain
    };
    for (name, routes) in models {
        let prices = if name == "claude" { cached } else { plain };
        let spec =
            ModelSpec { prices: Some(prices), context_window: 1_000, max_output: 100, routes };
        platform.models.insert(name.into(), Model { spec, price_version: 3 });
    }
    platform
}

async fn answer_json(connection: &mut Connection, status: &str, body: &str) {
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\nset-cookie: leak\r\n\
         openai-organization: leak\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    connection.write(head + body).await;
}

async fn begin_events(connection: &mut Connection) {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\
                transfer-encoding: chunked\r\n\r\n";
    connection.write(head).await;
}

/// The body of an answer in chunks.
fn unchunked(answer: &str) -> String {
    let (_, mut rest) = answer.split_once("\r\n\r\n").unwrap();
    let mut body = String::new();
    while let Some((length, tail)) = rest.split_once("\r\n") {
        let length = usize::from_str_radix(length, 16).unwrap();
        body.push_str(&tail[..length]);
        rest = tail[length..].strip_prefix("\r\n").unwrap();
    }
    body
}

#[test]
fn an_answer_passes_unchanged_and_is_booked_as_the_provider_says() {
    on_a_core(|core| async move {
        let house = House::new(&core);
        let serve = async {
            let mut connection = house.providers[0].connection().await;
            let request = connection.request().await;
            assert!(request.contains("authorization: Bearer provider-secret\r\n"), "{request}");
            assert!(request.contains("x-account: 7\r\n"), "{request}");
            assert!(request.ends_with(r#"{"model":"their/model","messages":[]}"#), "{request}");
            assert!(!request.contains("leak") && !request.contains("tp-"), "{request}");
            answer_json(&mut connection, "200 OK", WHOLE).await;
        };
        let ((), answer) = join!(serve, house.chat(r#"{"model":"renamed","messages":[]}"#));
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.ends_with(WHOLE), "{answer}");
        assert!(answer.contains("x-turnpike-cost-usd: 0.000007\r\n"), "{answer}");
        assert!(answer.contains("x-turnpike-request-id: req_"), "{answer}");
        assert!(!answer.contains("leak"), "{answer}");

        let [record] = &house.booked().await[..] else { panic!("one record") };
        assert_eq!((record.cost, record.source), (COST, Source::Provider));
        assert_eq!(
            (&*record.model, record.provider, record.status),
            ("renamed", Some(ProviderId(1)), 200)
        );
        assert_eq!((record.key, record.key_seq, record.price_version), (fake::key(1), 7, 3));
        assert_eq!(record.reserved, NanoUsd(33_000 + 200_000));
        assert_eq!(house.lane.open_requests(), 0);
    });
}

#[test]
fn a_stream_is_metered_without_showing_it() {
    on_a_core(|core| async move {
        let house = House::new(&core);
        let serve = async {
            let mut connection = house.providers[0].connection().await;
            let request = connection.request().await;
            assert!(request.contains(r#"{"stream_options":{"include_usage":true},"#), "{request}");
            begin_events(&mut connection).await;
            for piece in STREAM.into_iter().chain([""]) {
                connection.piece(piece).await;
            }
        };
        let ((), answer) = join!(serve, house.chat(r#"{"model":"plain","stream":true}"#));
        let want = [STREAM[0], STREAM[1], STREAM[3], ": x-turnpike-cost-usd: 0.000007\n\n"];
        assert_eq!(unchunked(&answer), want.concat());
        let [record] = &house.booked().await[..] else { panic!("one record") };
        assert_eq!((record.cost, record.source, record.status), (COST, Source::Provider, 200));
    });
}

#[test]
fn a_caller_who_leaves_a_stream_pays_for_what_the_provider_made() {
    on_a_core(|core| async move {
        let house = House::new(&core);
        let secret = fake::secret(1, 0);
        let request = chat_request(secret.expose(), r#"{"model":"plain","stream":true}"#);
        house.leave(&request, &STREAM, "one ").await;
        let [record] = &house.booked().await[..] else { panic!("one record") };
        assert_eq!((record.cost, record.source, record.status), (COST, Source::Provider, 499));
    });
}

#[test]
fn a_caller_who_leaves_before_the_answer_pays_for_it() {
    on_a_core(|core| async move {
        let house = House::new(&core);
        let secret = fake::secret(1, 0);
        let request = chat_request(secret.expose(), r#"{"model":"plain"}"#);
        let mut caller = TcpStream::connect(house.address).await.unwrap();
        caller.write_all(request.as_bytes()).await.unwrap();
        let mut connection = house.providers[0].connection().await;
        connection.request().await;
        drop(caller);
        // The gateway has seen the caller go once it has run dry of other work.
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        answer_json(&mut connection, "200 OK", WHOLE).await;
        let [record] = &house.booked().await[..] else { panic!("one record") };
        assert_eq!((record.cost, record.source, record.status), (COST, Source::Provider, 499));
    });
}

#[test]
fn a_caller_may_leave_at_any_moment_and_leaves_nothing_open() {
    const CALLERS: usize = 60;
    on_a_core(|core| async move {
        let house = House::new(&core);
        let secret = fake::secret(1, 0);
        let serve = async {
            loop {
                let mut connection = house.providers[0].connection().await;
                core.tasks.spawn_local("provider", async move {
                    while connection.is_asked().await {
                        answer_json(&mut connection, "200 OK", WHOLE).await;
                    }
                });
            }
        };
        let call = async {
            for turns in 0..CALLERS {
                let mut caller = TcpStream::connect(house.address).await.unwrap();
                let request = chat_request(secret.expose(), r#"{"model":"plain"}"#);
                caller.write_all(request.as_bytes()).await.unwrap();
                for _ in 0..turns {
                    tokio::task::yield_now().await;
                }
            }
            // The last caller stays, so that there is a record behind all the others.
            assert!(house.chat(r#"{"model":"plain"}"#).await.ends_with(WHOLE));
            while house.lane.open_requests() > 0 {
                house.lane.records().await;
            }
        };
        tokio::select! { () = serve => {}, () = call => {} }
        let records = house.booked().await;
        assert!(records.len() <= CALLERS + 1);
        // Whoever was served pays for it, and nobody else pays anything.
        let known = |record: &Spend| match record.source {
            Source::Provider => record.cost == COST,
            Source::Counted => record.cost == NanoUsd::ZERO,
            Source::Estimated => false,
        };
        assert!(records.iter().all(known), "{records:?}");
    });
}

#[test]
fn a_long_answer_passes_as_it_comes_and_is_metered_all_the_same() {
    on_a_core(|core| async move {
        let house = House::new(&core);
        let long = WHOLE.replace("{}", &format!("{{\"content\":\"{}\"}}", "x".repeat(3_000_000)));
        let serve = async {
            let mut connection = house.providers[0].connection().await;
            connection.request().await;
            answer_json(&mut connection, "200 OK", &long).await;
        };
        let ((), answer) = join!(serve, house.chat(r#"{"model":"plain"}"#));
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("content-length: {}", long.len())), "{head}");
        assert!(!head.contains("x-turnpike-cost-usd"), "{head}");
        assert!(body == long, "the body differs");
        let [record] = &house.booked().await[..] else { panic!("one record") };
        assert_eq!((record.cost, record.source, record.status), (COST, Source::Provider, 200));
    });
}

#[test]
fn an_answer_that_breaks_off_before_it_was_passed_on_is_an_error() {
    on_a_core(|core| async move {
        let house = House::new(&core);
        let serve = async {
            let mut connection = house.providers[0].connection().await;
            connection.request().await;
            let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";
            connection.write(format!("{head}content-length: 99\r\n\r\n{{")).await;
        };
        let ((), answer) = join!(serve, house.chat(r#"{"model":"plain"}"#));
        assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
        let [record] = &house.booked().await[..] else { panic!("one record") };
        assert_eq!((record.cost, record.source), (record.reserved, Source::Estimated));
        assert_eq!((record.status, record.denial), (502, Some(Denial::ProviderError)));
    });
}

#[test]
fn another_provider_serves_what_the_first_refused() {
    on_a_core(|core| async move {
        let house = House::new(&core);
        let serve = async {
            let mut first = house.providers[0].connection().await;
            assert!(first.request().await.contains(r#""model":"first""#));
            answer_json(&mut first, "429 Too Many Requests", "{}").await;
            let mut second = house.providers[1].connection().await;
            assert!(second.request().await.contains(r#""model":"doubled""#));
            answer_json(&mut second, "200 OK", WHOLE).await;
        };
        let ((), answer) = join!(serve, house.chat(r#"{"model":"doubled"}"#));
        assert!(answer.ends_with(WHOLE), "{answer}");
        let [record] = &house.booked().await[..] else { panic!("one record") };
        assert_eq!((record.cost, record.provider), (COST, Some(ProviderId(2))));
    });
}

#[test]
fn a_provider_that_refuses_us_costs_nothing_and_is_no_401() {
    on_a_core(|core| async move {
        let house = House::new(&core);
        let serve = async {
            let mut connection = house.providers[0].connection().await;
            connection.request().await;
            answer_json(&mut connection, "401 Unauthorized", r#"{"error":"leak"}"#).await;
        };
        let ((), answer) = join!(serve, house.chat(r#"{"model":"plain"}"#));
        assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
        assert!(answer.contains("x-turnpike-error-code: provider_error\r\n"), "{answer}");
        assert!(answer.contains(r#""retryable":true"#) && !answer.contains("leak"), "{answer}");
        let [record] = &house.booked().await[..] else { panic!("one record") };
        assert_eq!((record.cost, record.status), (NanoUsd::ZERO, 502));
    });
}

#[test]
fn a_provider_that_never_answers_is_booked_at_the_reserve() {
    on_a_core(|core| async move {
        let house = House::new(&core);
        house.with(|platform| {
            for provider in platform.providers.values_mut() {
                provider.spec.answer_timeout_ms = 200;
            }
        });
        let serve = async {
            let mut connection = house.providers[0].connection().await;
            connection.request().await;
            connection.closed().await;
        };
        let ((), answer) = join!(serve, house.chat(r#"{"model":"plain"}"#));
        assert!(answer.starts_with("HTTP/1.1 504 "), "{answer}");
        assert!(answer.contains("provider_timeout"), "{answer}");
        let [record] = &house.booked().await[..] else { panic!("one record") };
        assert_eq!((record.cost, record.source), (record.reserved, Source::Estimated));
    });
}

#[test]
fn the_callers_own_mistake_passes_and_costs_nothing() {
    on_a_core(|core| async move {
        let house = House::new(&core);
        let mistake = r#"{"error":{"message":"bad temperature"}}"#;
        let serve = async {
            let mut connection = house.providers[0].connection().await;
            connection.request().await;
            answer_json(&mut connection, "400 Bad Request", mistake).await;
        };
        let ((), answer) = join!(serve, house.chat(r#"{"model":"plain"}"#));
        assert!(answer.starts_with("HTTP/1.1 400 ") && answer.ends_with(mistake), "{answer}");
        let [record] = &house.booked().await[..] else { panic!("one record") };
        assert_eq!((record.cost, record.status), (NanoUsd::ZERO, 400));
    });
}

#[test]
fn every_refusal_has_its_status_and_code_and_reaches_no_provider() {
    on_a_core(|core| async move {
        let house = House::new(&core);
        let own = fake::secret(1, 0).expose().to_owned();
        let (unknown, twin) = (fake::secret(2, 0), fake::secret(1, 9));
        let long = format!(r#"{{"model":"plain","x":"{}"}}"#, "x".repeat(10_000));
        let plain = r#"{"model":"plain"}"#;
        let cases = [
            (chat_request("", plain), 401, "unauthorized"),
            (chat_request("nonsense", plain), 401, "unauthorized"),
            (chat_request(unknown.expose(), plain), 401, "unauthorized"),
            (chat_request(twin.expose(), plain), 401, "unauthorized"),
            (chat_request(&own.replace("sk-tp", "mk-tp"), plain), 401, "unauthorized"),
            (chat_request(&own, ""), 400, "invalid_request"),
            (chat_request(&own, r#"{"model":"plain","model":"x"}"#), 400, "invalid_request"),
            (chat_request(&own, r#"{"model":"absent"}"#), 404, "model_not_found"),
            (chat_request(&own, &long), 413, "request_too_large"),
            (chat_request(&own, plain).replace("/chat/", "/chatter/"), 404, "not_found"),
            (chat_request(&own, plain).replace("POST", "PUT"), 405, "method_not_allowed"),
        ];
        for (request, status, code) in cases {
            let answer = house.ask(&request).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
            assert!(answer.contains(&format!("x-turnpike-error-code: {code}\r\n")), "{answer}");
            assert!(answer.contains("x-turnpike-request-id: req_"), "{answer}");
            assert!(answer.contains(&format!("\"code\":\"{code}\"")), "{answer}");
            let (_, rest) = answer.split_once("\"decision_id\":\"").unwrap();
            let (id, _) = rest.split_once('"').unwrap();
            let decision = Decision::open(id, &fake::decisions());
            assert_eq!(decision.is_ok(), request.contains(&own), "{id}");
            if let Ok(decision) = decision {
                assert_eq!((decision.denial.code(), decision.status), (code, status));
                assert_eq!((decision.org, decision.key), (fake::ORG, fake::key(1)));
                assert!(answer.contains(&format!("request-id: {}\r\n", decision.request)));
                assert_eq!(decision.model.is_some(), code == "model_not_found");
                assert_eq!(decision.address, Some([127, 0, 0, 1].into()));
            }
            assert!(!answer.contains(&own[10..]), "{answer}");
        }
        assert_eq!(house.lane.open_requests(), 0);
    });
}

#[test]
fn a_key_can_ask_for_its_models_and_for_itself() {
    on_a_core(|core| async move {
        let house = House::new(&core);
        let get = |path: &str| {
            let secret = fake::secret(1, 0);
            let secret = secret.expose();
            format!(
                "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
                 authorization: Bearer {secret}\r\n\r\n"
            )
        };
        let models = house.ask(&get("/v1/models")).await;
        for name in ["plain", "renamed", "doubled"] {
            assert!(models.contains(&format!("\"id\":\"{name}\"")), "{models}");
        }
        let model = house.ask(&get("/v1/models/plain")).await;
        assert!(model.starts_with("HTTP/1.1 200 ") && model.contains("\"object\":\"model\""));
        assert!(house.ask(&get("/v1/models/absent")).await.starts_with("HTTP/1.1 404 "));
        let key = house.ask(&get("/v1/key")).await;
        assert!(key.contains("\"name\":\"a key\"") && key.contains("\"status\":\"active\""));
    });
}
