//! The sentences of the seam's contract, one by one, for every implementation.

mod local;
#[cfg(feature = "nats")]
mod nats;
mod questions;

use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::join_all;
use turnpike_domain::id::{GatewayId, KeyId, OrgId};
use turnpike_runtime::clock::{SharedClock, deadline};

use crate::limits::MAX_HEAD_BYTES;
use crate::seam::{
    Bus, BusError, Feed, MAX_PAYLOAD_BYTES, Message, Publish, ReadError, Reader, Requests, Serve,
    Service, Start, Topic,
};

const ORG: OrgId = OrgId(1);
const OTHER: OrgId = OrgId(2);
const GATEWAY: GatewayId = GatewayId(3);
/// Longer than anything takes on a machine that builds at the same time.
const PATIENCE_MS: u64 = 60_000;
const CALL: Service = Service::Authority { org: ORG, gateway: GATEWAY };

/// One bus, seen by two processes.
struct House {
    clock: SharedClock,
    first: Arc<dyn Bus>,
    second: Arc<dyn Bus>,
}

/// Makes one test of each sentence, for the house that `$open` makes.
macro_rules! sentences {
    ($(#[$attribute:meta])* $open:path) => {
        crate::conformance::sentences! {
            @each [$(#[$attribute])*] $open;
            order_within_a_topic_is_that_of_publication
            many_publications_may_be_in_flight
            a_reader_goes_on_from_its_place
            a_feed_holds_its_own_topics_only
            now_stands_before_it_answers
            the_same_id_on_the_same_topic_is_delivered_once
            a_place_that_is_not_held_is_trimmed_once
            topics_that_are_not_kept_reach_current_readers_only
            large_messages_are_refused
            hostile_texts_arrive_as_they_were
            calls_are_answered_or_fail_by_their_deadline
            every_server_hears_a_call_and_the_first_answer_counts
            calls_and_questions_have_servers_of_their_own
            a_slow_reader_loses_nothing
            waiting_for_a_message_can_be_given_up
        }
    };
    (@each $attributes:tt $open:path; $($name:ident)*) => {
        $(crate::conformance::sentences! { @one $attributes $open; $name })*
    };
    (@one [$(#[$attribute:meta])*] $open:path; $name:ident) => {
        $(#[$attribute])*
        async fn $name() {
            let (house, _server) = $open().await;
            crate::conformance::$name(&house).await;
        }
    };
}
use questions::calls_and_questions_have_servers_of_their_own;
use sentences;

fn event(org: OrgId, id: &str, payload: impl Into<Bytes>) -> Publish {
    publish(Topic::Events { org, kind: "KeyCreated".to_owned() }, id, payload)
}

fn key_created() -> Topic {
    Topic::Events { org: ORG, kind: "KeyCreated".to_owned() }
}

fn publish(topic: Topic, id: &str, payload: impl Into<Bytes>) -> Publish {
    let headers = vec![("ce-specversion".to_owned(), "1.0".to_owned())];
    Publish { topic, id: id.to_owned(), headers, payload: payload.into() }
}

impl House {
    async fn next(&self, reader: &mut Box<dyn Reader>) -> Result<Message, ReadError> {
        self.soon(reader.next()).await
    }

    async fn payload(&self, reader: &mut Box<dyn Reader>) -> Bytes {
        self.next(reader).await.unwrap().payload
    }

    async fn soon<T>(&self, future: impl Future<Output = T>) -> T {
        deadline(&*self.clock, PATIENCE_MS, future).await.expect("it takes too long")
    }

    /// Answers `count` calls with the server's name.
    async fn answer(&self, requests: &mut Box<dyn Requests>, count: usize, name: &'static str) {
        for _ in 0..count {
            let request = self.soon(requests.next()).await.unwrap();
            assert_eq!(request.service, CALL);
            (request.reply)(Bytes::from_static(name.as_bytes()));
        }
    }
}

async fn order_within_a_topic_is_that_of_publication(house: &House) {
    let mut reader = house.second.read(Feed::Events(Some(ORG)), Start::Oldest).await.unwrap();
    for number in 0..200_u8 {
        house.first.publish(event(ORG, &number.to_string(), vec![number])).await.unwrap();
    }
    let mut place = 0;
    for number in 0..200_u8 {
        let message = house.next(&mut reader).await.unwrap();
        assert_eq!(message.payload, vec![number]);
        assert_eq!(message.id, Some(number.to_string()));
        assert_eq!(message.topic, key_created());
        assert!(message.place > place);
        place = message.place;
    }
}

async fn many_publications_may_be_in_flight(house: &House) {
    let mut reader = house.second.read(Feed::Spend(None), Start::Now).await.unwrap();
    let spend = |number: u16| {
        let topic = Topic::Spend { org: ORG, gateway: GATEWAY };
        house.first.publish(publish(topic, &number.to_string(), number.to_be_bytes().to_vec()))
    };
    for result in house.soon(join_all((0..3_000).map(spend))).await {
        result.unwrap();
    }
    for number in 0..3_000_u16 {
        assert_eq!(house.payload(&mut reader).await, number.to_be_bytes().to_vec());
    }
}

async fn a_reader_goes_on_from_its_place(house: &House) {
    for text in ["a", "b", "c", "d"] {
        house.first.publish(event(ORG, text, text)).await.unwrap();
        house.first.publish(event(OTHER, text, "other")).await.unwrap();
    }
    let mut reader = house.first.read(Feed::Events(Some(ORG)), Start::Oldest).await.unwrap();
    assert_eq!(house.payload(&mut reader).await, "a");
    let place = house.next(&mut reader).await.unwrap().place;
    drop(reader);
    let mut reader = house.second.read(Feed::Events(Some(ORG)), Start::After(place)).await.unwrap();
    assert_eq!(house.payload(&mut reader).await, "c");
    let last = house.next(&mut reader).await.unwrap();
    assert_eq!(last.payload, "d");
    // The end of what is held is a place too.
    let end = Start::After(last.place + 1);
    let mut reader = house.second.read(Feed::Events(None), end).await.unwrap();
    house.first.publish(event(ORG, "e", "e")).await.unwrap();
    assert_eq!(house.payload(&mut reader).await, "e");
}

async fn a_feed_holds_its_own_topics_only(house: &House) {
    let bus = &house.first;
    let mut platform = bus.read(Feed::Events(Some(OrgId::PLATFORM)), Start::Oldest).await.unwrap();
    let mut all = bus.read(Feed::Events(None), Start::Oldest).await.unwrap();
    let mut ledger = bus.read(Feed::Ledger(Some(OTHER)), Start::Oldest).await.unwrap();
    for (id, org) in [("1", ORG), ("2", OTHER), ("3", OrgId::PLATFORM)] {
        bus.publish(event(org, id, id.to_owned())).await.unwrap();
        let topic = Topic::Ledger { org, key: KeyId(9) };
        bus.publish(publish(topic, id, id.to_owned())).await.unwrap();
    }
    assert_eq!(house.payload(&mut platform).await, "3");
    assert_eq!(house.payload(&mut ledger).await, "2");
    for id in ["1", "2", "3"] {
        assert_eq!(house.payload(&mut all).await, id);
    }
}

async fn now_stands_before_it_answers(house: &House) {
    house.first.publish(event(ORG, "1", "before")).await.unwrap();
    for round in 0..20_u8 {
        let mut reader = house.first.read(Feed::Events(Some(ORG)), Start::Now).await.unwrap();
        house.second.publish(event(ORG, "", vec![round])).await.unwrap();
        let message = house.next(&mut reader).await.unwrap();
        assert_eq!((message.payload, message.id), (Bytes::from(vec![round]), None));
    }
}

async fn the_same_id_on_the_same_topic_is_delivered_once(house: &House) {
    let mut reader = house.first.read(Feed::Events(None), Start::Oldest).await.unwrap();
    for (org, id, payload) in [
        (ORG, "1", "first"),
        (ORG, "1", "again"),
        // The same number of another organisation is another message.
        (OTHER, "1", "other topic"),
        (ORG, "", "no id"),
        (ORG, "", "no id"),
        (ORG, "2", "last"),
    ] {
        house.second.publish(event(org, id, payload)).await.unwrap();
    }
    for payload in ["first", "other topic", "no id", "no id", "last"] {
        assert_eq!(house.payload(&mut reader).await, payload);
    }
}

async fn a_place_that_is_not_held_is_trimmed_once(house: &House) {
    house.first.publish(event(ORG, "1", "held")).await.unwrap();
    let spend = Topic::Spend { org: ORG, gateway: GATEWAY };
    for (feed, topic) in [
        (Feed::Events(None), key_created()),
        (Feed::Events(Some(ORG)), key_created()),
        (Feed::Spend(None), spend),
    ] {
        for place in [0, 1, u64::MAX - 1, u64::MAX] {
            let mut reader = house.second.read(feed, Start::After(place)).await.unwrap();
            let trimmed = house.next(&mut reader).await.unwrap_err();
            assert_eq!(trimmed, ReadError::Trimmed, "{feed:?} after {place}");
            house.first.publish(publish(topic.clone(), "", "next")).await.unwrap();
            // It goes on with what the bus still holds.
            while house.payload(&mut reader).await != "next" {}
        }
    }
}

async fn topics_that_are_not_kept_reach_current_readers_only(house: &House) {
    let topics = |org| {
        [
            (Topic::Heartbeat { org }, Feed::Heartbeat(Some(ORG))),
            (Topic::Receipts { org, gateway: GATEWAY }, Feed::Receipts(Some(ORG))),
            (Topic::Recall { org }, Feed::Recall(Some(ORG))),
            (Topic::Booked { org, gateway: GATEWAY }, Feed::Booked(None, GATEWAY)),
        ]
    };
    for (topic, feed) in topics(ORG) {
        let send =
            |payload: &'static str| house.first.publish(publish(topic.clone(), "same", payload));
        send("nobody reads").await.unwrap();
        let mut first = house.first.read(feed, Start::Oldest).await.unwrap();
        let mut second = house.second.read(feed, Start::After(0)).await.unwrap();
        send("one").await.unwrap();
        send("two").await.unwrap();
        for reader in [&mut first, &mut second] {
            for payload in ["one", "two"] {
                let message = house.next(reader).await.unwrap();
                assert_eq!((message.place, &message.topic), (0, &topic));
                assert_eq!(
                    (message.id.as_deref(), message.payload),
                    (Some("same"), payload.into())
                );
            }
        }
    }
    let marks = Feed::Booked(Some(ORG), GATEWAY);
    let mut reader = house.first.read(marks, Start::Now).await.unwrap();
    for (org, gateway) in [(ORG, GatewayId(99)), (OTHER, GATEWAY), (ORG, GATEWAY)] {
        let payload = format!("{org} {gateway}");
        house.first.publish(publish(Topic::Booked { org, gateway }, "", payload)).await.unwrap();
    }
    assert_eq!(house.payload(&mut reader).await, format!("{ORG} {GATEWAY}"));
}

async fn large_messages_are_refused(house: &House) {
    let bus = &house.first;
    let mut reader = bus.read(Feed::Events(None), Start::Oldest).await.unwrap();
    let large = Bytes::from(vec![7; MAX_PAYLOAD_BYTES]);
    bus.publish(event(ORG, "1", large.clone())).await.unwrap();
    assert_eq!(house.payload(&mut reader).await, large);
    let too_large = Bytes::from(vec![7; MAX_PAYLOAD_BYTES + 1]);
    let refused = BusError::TooLarge(MAX_PAYLOAD_BYTES + 1);
    assert_eq!(bus.publish(event(ORG, "2", too_large.clone())).await, Err(refused.clone()));
    let heartbeat = publish(Topic::Heartbeat { org: ORG }, "", too_large.clone());
    assert_eq!(bus.publish(heartbeat).await, Err(refused.clone()));
    assert_eq!(bus.call(CALL, too_large, 1_000).await, Err(refused));

    let long = "k".repeat(MAX_HEAD_BYTES);
    let kind = Topic::Events { org: ORG, kind: long.clone() };
    let mut headers = event(ORG, "3", "headers");
    headers.headers.push((long.clone(), String::new()));
    for message in [publish(kind, "", "kind"), event(ORG, &long, "id"), headers] {
        assert!(matches!(bus.publish(message).await, Err(BusError::TooLarge(_))));
    }
    bus.publish(event(ORG, "4", "after")).await.unwrap();
    assert_eq!(house.payload(&mut reader).await, "after");
}

async fn hostile_texts_arrive_as_they_were(house: &House) {
    let mut reader = house.second.read(Feed::Events(Some(ORG)), Start::Oldest).await.unwrap();
    for text in ["a.b", "*", ">", " x ", "\r\nNats-Rollup: all\r\n\r\n", "ä\0@%", "%41", ""] {
        let kind = Topic::Events { org: ORG, kind: text.to_owned() };
        let mut message = publish(kind.clone(), text, text.to_owned());
        message.headers =
            vec![("ce-subject".to_owned(), text.to_owned()), (text.to_owned(), "value".to_owned())];
        house.first.publish(message).await.unwrap();
        let message = house.next(&mut reader).await.unwrap();
        assert_eq!((message.topic, message.payload), (kind, Bytes::from(text)));
        assert_eq!(message.id.as_deref(), (!text.is_empty()).then_some(text));
    }
}

async fn calls_are_answered_or_fail_by_their_deadline(house: &House) {
    let call = |ms| house.second.call(CALL, Bytes::from_static(b"question"), ms);
    assert_eq!(call(10_000).await, Err(BusError::NoResponders));
    let mut other = house.first.serve(Serve::Authority(Some(OTHER))).await.unwrap();
    assert_eq!(call(10_000).await, Err(BusError::NoResponders));

    let mut server = house.first.serve(Serve::Authority(Some(ORG))).await.unwrap();
    let (answer, ()) = tokio::join!(call(PATIENCE_MS), house.answer(&mut server, 1, "answer"));
    assert_eq!(answer, Ok(Bytes::from_static(b"answer")));

    let (answer, request) = tokio::join!(call(200), house.soon(server.next()));
    assert_eq!(answer, Err(BusError::Timeout));
    // An answer after the deadline goes nowhere.
    (request.unwrap().reply)(Bytes::new());
    let drops_it = async { drop(house.soon(server.next()).await.unwrap().reply) };
    assert_eq!(tokio::join!(call(200), drops_it).0, Err(BusError::Timeout));
    let too_large = async {
        (house.soon(server.next()).await.unwrap().reply)(vec![0; MAX_PAYLOAD_BYTES + 1].into());
    };
    assert_eq!(tokio::join!(call(200), too_large).0, Err(BusError::Timeout));
    assert!(other.next().now_or_never().is_none(), "foreign calls went to the wrong server");
}

async fn every_server_hears_a_call_and_the_first_answer_counts(house: &House) {
    let mut owner = house.first.serve(Serve::Authority(None)).await.unwrap();
    let mut other = house.second.serve(Serve::Authority(None)).await.unwrap();
    for number in 0..16_u8 {
        let call = house.first.call(CALL, Bytes::from(vec![number]), PATIENCE_MS);
        let serving = async {
            let (first, second) = tokio::join!(house.soon(owner.next()), house.soon(other.next()));
            let (first, second) = (first.unwrap(), second.unwrap());
            for heard in [&first, &second] {
                assert_eq!((heard.service, &heard.payload[..]), (CALL, &[number][..]));
            }
            // Who may not answer says nothing, and who comes late is not heard.
            if number % 2 == 0 {
                drop(second.reply);
            }
            (first.reply)(Bytes::from(vec![number, 1]));
        };
        let (answer, ()) = tokio::join!(call, serving);
        assert_eq!(answer, Ok(Bytes::from(vec![number, 1])));
    }
    // One answer is enough, whoever else has heard the call.
    let late = house.first.call(CALL, Bytes::from_static(b"late"), PATIENCE_MS);
    let (answer, request) = tokio::join!(late, async {
        house.answer(&mut other, 1, "other").await;
        house.soon(owner.next()).await.unwrap()
    });
    assert_eq!(answer, Ok(Bytes::from_static(b"other")));
    (request.reply)(Bytes::from_static(b"late"));
    // The one that stays gets all.
    drop(other);
    let calls = join_all(
        (0..8_u8).map(|number| house.second.call(CALL, Bytes::from(vec![number]), PATIENCE_MS)),
    );
    let (answers, ()) = tokio::join!(calls, house.answer(&mut owner, 8, "owner"));
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
}

async fn a_slow_reader_loses_nothing(house: &House) {
    let mut slow = house.first.read(Feed::Spend(None), Start::Now).await.unwrap();
    let mut slow_of_one = house.second.read(Feed::Spend(Some(ORG)), Start::Now).await.unwrap();
    let spend = |number: u32| {
        let mut payload = vec![0; 4_096];
        payload[..4].copy_from_slice(&number.to_be_bytes());
        house.first.publish(publish(Topic::Spend { org: ORG, gateway: GATEWAY }, "", payload))
    };
    for start in (0..10_000_u32).step_by(500) {
        for result in house.soon(join_all((start..start + 500).map(spend))).await {
            result.unwrap();
        }
    }
    for reader in [&mut slow, &mut slow_of_one] {
        for number in 0..10_000_u32 {
            let payload = house.payload(reader).await;
            assert_eq!(payload[..4], number.to_be_bytes(), "message {number}");
        }
    }
}

async fn waiting_for_a_message_can_be_given_up(house: &House) {
    let heartbeat = Topic::Heartbeat { org: ORG };
    for (feed, topic) in [(Feed::Events(None), key_created()), (Feed::Heartbeat(None), heartbeat)] {
        let mut reader = house.first.read(feed, Start::Now).await.unwrap();
        for number in 0..50_u8 {
            assert!(reader.next().now_or_never().is_none());
            assert!(reader.ready().is_none());
            house.second.publish(publish(topic.clone(), "", vec![number])).await.unwrap();
            let message = loop {
                if let Some(message) = reader.ready() {
                    break message.unwrap();
                }
                if let Some(message) = reader.next().now_or_never() {
                    break message.unwrap();
                }
                tokio::task::yield_now().await;
            };
            assert_eq!(message.payload, vec![number]);
        }
    }
}
