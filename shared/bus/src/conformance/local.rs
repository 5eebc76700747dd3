//! The suite for the bus in process, and what only it promises.

use std::sync::Arc;

use turnpike_domain::time::{MINUTE_MS, Timestamp};
use turnpike_runtime::clock::PausedClock;

use super::*;
use crate::local::LocalBus;

/// A day in 2026, in milliseconds.
const TODAY: Timestamp = Timestamp(1_795_000_000_000);

async fn open() -> (House, ()) {
    let clock: SharedClock = Arc::new(PausedClock::new(TODAY));
    let bus = LocalBus::new(Arc::clone(&clock));
    (House { clock, first: Arc::new(bus.clone()), second: Arc::new(bus) }, ())
}

super::sentences! { #[tokio::test(start_paused = true)] open }

#[tokio::test(start_paused = true)]
async fn ids_are_forgotten_after_two_minutes() {
    let (house, ()) = open().await;
    let mut reader = house.first.read(Feed::Events(None), Start::Now).await.unwrap();
    house.first.publish(event(ORG, "1", "first")).await.unwrap();
    house.clock.sleep(2 * MINUTE_MS - 1).await;
    house.first.publish(event(ORG, "1", "within")).await.unwrap();
    house.clock.sleep(1).await;
    house.first.publish(event(ORG, "1", "after")).await.unwrap();
    assert_eq!(house.payload(&mut reader).await, "first");
    assert_eq!(house.payload(&mut reader).await, "after");
}

#[tokio::test(start_paused = true)]
async fn a_reader_behind_the_bound_is_told_once() {
    let (house, ()) = open().await;
    let bus = LocalBus::with_kept_bytes(Arc::clone(&house.clock), 10_000);
    let mut kept = bus.read(Feed::Events(Some(ORG)), Start::Oldest).await.unwrap();
    for number in 0..5_u8 {
        bus.publish(event(ORG, "", vec![number; 3_000])).await.unwrap();
    }
    assert_eq!(house.next(&mut kept).await.unwrap_err(), ReadError::Trimmed);
    assert_eq!(house.payload(&mut kept).await, vec![2; 3_000]);
    // Within the bound nothing is dropped, whoever reads.
    assert_eq!(house.payload(&mut kept).await, vec![3; 3_000]);
    assert_eq!(house.payload(&mut kept).await, vec![4; 3_000]);
    assert!(kept.ready().is_none());
    // One message is held whatever its size.
    bus.publish(event(ORG, "", vec![5; 50_000])).await.unwrap();
    assert_eq!(house.payload(&mut kept).await, vec![5; 50_000]);
}

#[tokio::test(start_paused = true)]
async fn a_place_of_an_earlier_life_is_trimmed() {
    let (house, ()) = open().await;
    let mut reader = house.first.read(Feed::Spend(None), Start::Oldest).await.unwrap();
    let spend = || publish(Topic::Spend { org: ORG, gateway: GATEWAY }, "", "spend");
    house.first.publish(spend()).await.unwrap();
    let place = house.next(&mut reader).await.unwrap().place;
    house.clock.sleep(1).await;
    let next_life = LocalBus::new(Arc::clone(&house.clock));
    for _ in 0..10 {
        next_life.publish(spend()).await.unwrap();
    }
    let mut reader = next_life.read(Feed::Spend(None), Start::After(place)).await.unwrap();
    assert_eq!(house.next(&mut reader).await.unwrap_err(), ReadError::Trimmed);
}

#[tokio::test(start_paused = true)]
async fn passing_messages_beyond_a_slow_reader_are_lost_silently() {
    let (house, ()) = open().await;
    let mut reader = house.first.read(Feed::Heartbeat(None), Start::Now).await.unwrap();
    for number in 0..10_u8 {
        let heartbeat = publish(Topic::Heartbeat { org: ORG }, "", vec![number; 800_000]);
        house.first.publish(heartbeat).await.unwrap();
    }
    let first = house.payload(&mut reader).await[0];
    assert!(first > 0 && first < 9, "{first}");
    for number in first + 1..10 {
        assert_eq!(house.payload(&mut reader).await[0], number);
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_takes_its_deadline_of_the_clock() {
    let (house, ()) = open().await;
    let _server = house.first.serve(Serve::Authority(None)).await.unwrap();
    let clock = Arc::clone(&house.clock);
    assert_eq!(house.first.call(CALL, Bytes::new(), 1_234).await, Err(BusError::Timeout));
    assert_eq!(clock.now(), TODAY.plus_ms(1_234));
}
