//! The suite against a real server, and what a real server can do to its clients.

#[path = "../../../../tests/harness/nats.rs"]
#[expect(unreachable_pub, reason = "it stands in the harness, which others use")]
mod server;

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Arc;

use turnpike_runtime::clock;

use super::*;
use crate::nats::{
    self, BusAddress, BusOptions, Credentials, NatsBus, NatsOptions, Retention, StreamLimits,
};
use server::NatsServer;

async fn open() -> (House, NatsServer) {
    let server = NatsServer::start().unwrap();
    let house = house(&server).await;
    (house, server)
}

async fn house(server: &NatsServer) -> House {
    House {
        clock: clock::system(),
        first: connect(options(server)).await,
        second: connect(NatsOptions { streams: None, ..options(server) }).await,
    }
}

fn options(server: &NatsServer) -> NatsOptions {
    let streams = Some(StreamLimits::default());
    // Whoever misses an answer hears of it by his own patience, not by that of a service.
    NatsOptions { streams, ack_ms: PATIENCE_MS, ..NatsOptions::new(&server.url(), "test") }
}

async fn connect(options: NatsOptions) -> Arc<dyn Bus> {
    Arc::new(NatsBus::connect(options, clock::system()).await.unwrap())
}

super::sentences! { #[tokio::test] open }

impl House {
    /// Publishes until the bus takes it again, as every publisher of ours does.
    async fn publish_at_last(&self, bus: &dyn Bus, message: Publish) {
        self.soon(async {
            while bus.publish(message.clone()).await.is_err() {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}

#[tokio::test]
async fn readers_and_publishers_go_on_after_kill_minus_nine() {
    let (house, mut server) = open().await;
    let mut all = house.second.read(Feed::Events(None), Start::Oldest).await.unwrap();
    let mut now = house.second.read(Feed::Events(Some(ORG)), Start::Now).await.unwrap();
    let mut passing = house.second.read(Feed::Heartbeat(None), Start::Now).await.unwrap();
    for round in 0..3_u8 {
        for number in 0..10_u8 {
            let id = format!("{round} {number}");
            house.first.publish(event(ORG, &id, vec![round, number])).await.unwrap();
        }
        server.kill().unwrap();
        let lost = event(ORG, "", "lost");
        house.soon(async { while house.first.publish(lost.clone()).await.is_ok() {} }).await;
        assert!(matches!(
            house.first.call(CALL, Bytes::new(), 1_000).await,
            Err(BusError::Unavailable(_))
        ));
        server.restart().unwrap();
        let back = event(ORG, &format!("{round} back"), "back");
        house.publish_at_last(&*house.first, back).await;
        for reader in [&mut all, &mut now] {
            for number in 0..10_u8 {
                assert_eq!(house.payload(reader).await, vec![round, number]);
            }
            assert_eq!(house.payload(reader).await, "back");
        }
        house
            .soon(async {
                while house.second.publish(heartbeat()).await.is_err() {
                    tokio::task::yield_now().await;
                }
            })
            .await;
        assert_eq!(house.payload(&mut passing).await, "heartbeat");
    }
}

#[tokio::test]
async fn who_listens_to_everything_is_in_nobodys_way() {
    let server = NatsServer::start().unwrap();
    let everything = async_nats::connect(server.url()).await.unwrap();
    let _heard = everything.subscribe(">").await.unwrap();
    everything.flush().await.unwrap();
    let house = house(&server).await;
    let mut passing = house.second.read(Feed::Heartbeat(None), Start::Now).await.unwrap();
    let mut kept = house.second.read(Feed::Events(Some(ORG)), Start::Now).await.unwrap();
    house.first.publish(heartbeat()).await.unwrap();
    house.first.publish(event(ORG, "1", "event")).await.unwrap();
    assert_eq!(house.payload(&mut passing).await, "heartbeat");
    assert_eq!(house.payload(&mut kept).await, "event");
}

fn heartbeat() -> Publish {
    publish(Topic::Heartbeat { org: ORG }, "", "heartbeat")
}

#[tokio::test]
async fn after_the_loss_of_its_files_the_streams_are_made_again_and_readers_are_told() {
    let (house, mut server) = open().await;
    let mut idle = house.second.read(Feed::Events(Some(ORG)), Start::Now).await.unwrap();
    let mut reader = house.second.read(Feed::Events(None), Start::Oldest).await.unwrap();
    house.first.publish(event(ORG, "1", "lost")).await.unwrap();
    let place = house.next(&mut reader).await.unwrap().place;
    assert_eq!(house.payload(&mut idle).await, "lost");

    server.kill_and_wipe().unwrap();
    server.restart().unwrap();
    // More than the old stream held, so that its sequences alone would not tell.
    for number in 0..5_u8 {
        house.publish_at_last(&*house.first, event(ORG, &number.to_string(), vec![number])).await;
    }
    // The second connection may come back later than the first.
    let mut again = house
        .soon(async {
            loop {
                match house.second.read(Feed::Events(None), Start::After(place)).await {
                    Ok(reader) => break reader,
                    Err(_) => tokio::task::yield_now().await,
                }
            }
        })
        .await;
    for reader in [&mut again, &mut reader, &mut idle] {
        assert_eq!(house.next(reader).await.unwrap_err(), ReadError::Trimmed);
        for number in 0..5_u8 {
            assert_eq!(house.payload(reader).await, vec![number]);
        }
    }
}

#[tokio::test]
async fn what_retention_cut_is_trimmed() {
    let server = NatsServer::start().unwrap();
    let small = Retention { max_bytes: 20_000, max_age_ms: 0 };
    let limits = StreamLimits { events: small, ..StreamLimits::default() };
    let bus = connect(NatsOptions { streams: Some(limits), ..options(&server) }).await;
    let house = House { clock: clock::system(), first: Arc::clone(&bus), second: bus };
    let mut reader = house.first.read(Feed::Events(Some(ORG)), Start::Oldest).await.unwrap();
    house.first.publish(event(ORG, "", vec![0; 5_000])).await.unwrap();
    let place = house.next(&mut reader).await.unwrap().place;
    for number in 1..10_u8 {
        house.first.publish(event(ORG, "", vec![number; 5_000])).await.unwrap();
    }
    let mut late = house.first.read(Feed::Events(Some(ORG)), Start::After(place)).await.unwrap();
    assert_eq!(house.next(&mut late).await.unwrap_err(), ReadError::Trimmed);
    assert!(house.payload(&mut late).await[0] > 1);
}

#[tokio::test]
async fn limits_are_changed_and_streams_are_made_by_those_who_are_told_to() {
    let server = NatsServer::start().unwrap();
    let guest = connect(NatsOptions { streams: None, ..options(&server) }).await;
    let missing = guest.publish(event(ORG, "", "x")).await.unwrap_err();
    assert!(matches!(&missing, BusError::Unavailable(text) if text.contains("stream")));
    assert!(guest.read(Feed::Spend(None), Start::Now).await.is_err());
    connect(options(&server)).await;
    guest.publish(event(ORG, "", "x")).await.unwrap();
    let mut limits = StreamLimits::default();
    limits.ledger.max_bytes *= 2;
    connect(NatsOptions { streams: Some(limits), ..options(&server) }).await;
    guest.read(Feed::Ledger(None), Start::Oldest).await.unwrap();
}

/// The users of `deploy/nats/users.sh`, for one line a user.
fn users(lines: &str) -> String {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/nats/users.sh");
    let mut shell = Command::new("sh")
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    shell.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    let output = shell.wait_with_output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

fn as_user(server: &NatsServer, name: &str, gateway: Option<GatewayId>) -> NatsOptions {
    NatsOptions {
        credentials: Credentials::User { name: name.to_owned(), password: "secret".to_owned() },
        gateway,
        streams: None,
        ..options(server)
    }
}

#[tokio::test]
async fn a_gateway_may_do_what_is_its_own_and_nothing_else() {
    let stranger = GatewayId(77);
    let server = NatsServer::start_with(&users(&format!(
        "control-plane secret\nprojector secret\ngateway {GATEWAY} secret {ORG}\n\
         gateway {stranger} secret *\n"
    )))
    .unwrap();
    let streams = Some(StreamLimits::default());
    let control = as_user(&server, "control-plane", None);
    let control = connect(NatsOptions { streams, ..control }).await;
    let projector = connect(as_user(&server, "projector", None)).await;
    let gateway = connect(as_user(&server, &GATEWAY.to_string(), Some(GATEWAY))).await;
    let house = House { clock: clock::system(), first: gateway, second: projector };

    allowed(&house, &*control).await;
    for (topic, why) in [
        (Topic::Spend { org: OTHER, gateway: GATEWAY }, "spend of another organisation"),
        (Topic::Spend { org: ORG, gateway: stranger }, "spend of another gateway"),
        (Topic::Events { org: ORG, kind: "KeyRevoked".to_owned() }, "an event"),
        (Topic::Ledger { org: ORG, key: KeyId(1) }, "the ledger"),
    ] {
        refused(house.first.publish(publish(topic, "", "x")).await, why);
    }
    let call = |org, gateway| {
        house.first.call(Service::Authority { org, gateway }, Bytes::new(), PATIENCE_MS)
    };
    refused(call(ORG, stranger).await, "a call as another gateway");
    refused(call(OTHER, GATEWAY).await, "a call for another organisation");
    for feed in [
        Feed::Events(None),
        Feed::Events(Some(OTHER)),
        Feed::Spend(Some(ORG)),
        Feed::Ledger(Some(ORG)),
    ] {
        refused(house.first.read(feed, Start::Oldest).await, "a foreign stream");
    }
    for feed in [
        Feed::Heartbeat(None),
        Feed::Heartbeat(Some(OTHER)),
        Feed::Recall(Some(OTHER)),
        Feed::Receipts(Some(ORG)),
        Feed::Booked(Some(ORG), stranger),
    ] {
        // The subscription's refusal arrives beside the server's next answer.
        let read = match house.first.read(feed, Start::Now).await {
            Ok(mut reader) => house.next(&mut reader).await.map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        let error = read.unwrap_err();
        assert!(error.contains("Permissions Violation"), "{feed:?}: {error}");
    }
    let mut serving = house.first.serve(Serve::Authority(Some(ORG))).await.unwrap();
    assert!(house.soon(serving.next()).await.is_err(), "a gateway serves calls");
}

/// What a gateway does all day.
async fn allowed(house: &House, control: &dyn Bus) {
    let bus = &house.first;
    let mut events = bus.read(Feed::Events(Some(ORG)), Start::Oldest).await.unwrap();
    let mut prices = bus.read(Feed::Events(Some(OrgId::PLATFORM)), Start::Oldest).await.unwrap();
    let mut heartbeats = bus.read(Feed::Heartbeat(Some(ORG)), Start::Now).await.unwrap();
    let mut marks = bus.read(Feed::Booked(None, GATEWAY), Start::Now).await.unwrap();
    let mut recalls = bus.read(Feed::Recall(Some(ORG)), Start::Now).await.unwrap();
    let mut receipts = control.read(Feed::Receipts(None), Start::Now).await.unwrap();
    let mut spend = house.second.read(Feed::Spend(None), Start::Oldest).await.unwrap();
    control.publish(event(ORG, "1", "event")).await.unwrap();
    control.publish(event(OrgId::PLATFORM, "2", "price")).await.unwrap();
    control.publish(heartbeat()).await.unwrap();
    let own = |topic| publish(topic, "1", "own");
    let (org, gateway) = (ORG, GATEWAY);
    // What is not kept is refused without an answer; the spend behind it has one.
    bus.publish(publish(Topic::Recall { org }, "1", "forged")).await.unwrap();
    bus.publish(own(Topic::Spend { org, gateway })).await.unwrap();
    bus.publish(own(Topic::Receipts { org, gateway })).await.unwrap();
    house.second.publish(own(Topic::Booked { org, gateway })).await.unwrap();
    house.second.publish(own(Topic::Recall { org })).await.unwrap();
    assert_eq!(house.payload(&mut events).await, "event");
    assert_eq!(house.payload(&mut prices).await, "price");
    assert_eq!(house.payload(&mut heartbeats).await, "heartbeat");
    for reader in [&mut marks, &mut recalls, &mut receipts, &mut spend] {
        assert_eq!(house.payload(reader).await, "own");
    }
    let mut server = house.second.serve(Serve::Authority(None)).await.unwrap();
    let call = bus.call(CALL, Bytes::new(), PATIENCE_MS);
    let (answer, ()) = tokio::join!(call, house.answer(&mut server, 1, "lease"));
    assert_eq!(answer, Ok(Bytes::from_static(b"lease")));
}

fn refused<T>(result: Result<T, BusError>, why: &str) {
    let Err(BusError::Unavailable(text)) = result else { panic!("{why} was not refused") };
    assert!(text.contains("Permissions Violation"), "{why}: {text}");
}

#[tokio::test]
async fn a_stolen_credential_cannot_reach_what_this_crate_never_asks_for() {
    let server = NatsServer::start_with(&users(&format!(
        "control-plane secret\ngateway {GATEWAY} secret {ORG}\n"
    )))
    .unwrap();
    let control = as_user(&server, "control-plane", None);
    let streams = Some(StreamLimits::default());
    let control = connect(NatsOptions { streams, ..control }).await;
    control.publish(event(OTHER, "1", "of another")).await.unwrap();
    let thief = async_nats::ConnectOptions::new()
        .user_and_password(GATEWAY.to_string(), "secret".to_owned())
        .custom_inbox_prefix(format!("_INBOX_{GATEWAY}"))
        .request_timeout(Some(std::time::Duration::from_millis(200)))
        .connect(server.url())
        .await
        .unwrap();
    for subject in [
        "$JS.API.INFO",
        "$JS.API.STREAM.NAMES",
        "$JS.API.STREAM.INFO.TURNPIKE_EVENTS",
        "$JS.API.STREAM.PURGE.TURNPIKE_EVENTS",
        "$JS.API.STREAM.DELETE.TURNPIKE_EVENTS",
        "$JS.API.STREAM.MSG.GET.TURNPIKE_EVENTS",
        "$JS.API.CONSUMER.CREATE.TURNPIKE_EVENTS",
        "$JS.API.CONSUMER.CREATE.TURNPIKE_EVENTS.thief",
        "$JS.API.CONSUMER.NAMES.TURNPIKE_EVENTS",
    ] {
        let answer = thief.request(subject, Bytes::from_static(b"{}")).await;
        assert!(answer.is_err(), "{subject}: {answer:?}");
    }
    // The filter in the subject is allowed, those in the body are others.
    let own = format!("turnpike.v1.{ORG}.events.*");
    for filter in [
        r#""filter_subject":"turnpike.v1.*.events.*""#.to_owned(),
        r#""filter_subject":"""#.to_owned(),
        format!(r#""filter_subjects":["{own}","turnpike.v1.{OTHER}.events.*"]"#),
    ] {
        let subject = format!("$JS.API.CONSUMER.CREATE.TURNPIKE_EVENTS.thief.{own}");
        let body = format!(
            r#"{{"stream_name":"TURNPIKE_EVENTS","config":{{"name":"thief",{filter},
            "deliver_subject":"_INBOX_{GATEWAY}.loot","ack_policy":"none"}}}}"#
        );
        let answer = thief.request(subject, body.into()).await.unwrap().payload;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(answer.contains("\"error\""), "{filter}: {answer}");
    }
}

#[tokio::test]
async fn services_log_in_by_their_options_or_by_the_url_of_their_bus() {
    let lines = format!("projector a.password\ngateway {GATEWAY} secret {ORG}\n");
    let server = NatsServer::start_with(&users(&lines)).unwrap();
    let url = server.url();
    let streams = Some(StreamLimits::default());
    let with_user = url.replace("nats://", "nats://projector:a%2Epassword@");
    let (address, nobody) = (with_user.parse().unwrap(), BusOptions::default());
    let projector = nats::connect(&address, &nobody, "test", None, streams, clock::system());
    let projector = projector.await.unwrap();
    let mut all = projector.read(Feed::Spend(None), Start::Oldest).await.unwrap();

    let password = Some(secrecy::SecretString::from("secret").into());
    let gateway = BusOptions { user: Some(GATEWAY.to_string()), password, ..nobody.clone() };
    let address = url.parse().unwrap();
    let id = Some(GATEWAY);
    let gateway =
        nats::connect(&address, &gateway, "test", id, None, clock::system()).await.unwrap();
    let own = publish(Topic::Spend { org: ORG, gateway: GATEWAY }, "1", "own");
    gateway.publish(own).await.unwrap();
    assert_eq!(all.next().await.unwrap().payload, "own");

    let stranger = nats::connect(&address, &nobody, "test", None, None, clock::system());
    assert!(stranger.await.unwrap().publish(heartbeat()).await.is_err());
    let local = nats::connect(&BusAddress::Local, &nobody, "test", None, None, clock::system());
    assert!(local.await.is_err());
}

#[tokio::test]
async fn a_wrong_password_is_told_and_never_shown() {
    let server = NatsServer::start_with(&users("projector right-secret\n")).unwrap();
    let wrong = as_user(&server, "projector", None);
    let bus = connect(wrong).await;
    let error = bus.publish(event(ORG, "", "x")).await.unwrap_err().to_string();
    assert!(error.contains("authorization violation"), "{error}");
    assert!(!error.contains("secret"), "{error}");
}

#[tokio::test]
async fn a_bus_can_be_opened_before_its_server() {
    let (house, mut server) = open().await;
    server.kill().unwrap();
    let early = connect(options(&server)).await;
    assert!(matches!(early.publish(heartbeat()).await, Err(BusError::Unavailable(_))));
    assert!(early.read(Feed::Events(None), Start::Now).await.is_err());
    server.restart().unwrap();
    house.publish_at_last(&*early, event(ORG, "1", "late")).await;
    let mut reader = early.read(Feed::Events(None), Start::Oldest).await.unwrap();
    assert_eq!(house.payload(&mut reader).await, "late");
}
