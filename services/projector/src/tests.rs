//! A projector on a bus and a store in memory: nothing is lost and nothing is counted twice.

mod authority;
mod budget;
mod house;
mod log;
mod nats;
mod past;
mod rates;
mod slow;

use turnpike_bus::seam::{Bus as _, Feed, Publish, Start, Topic};
use turnpike_domain::id::OrgId;
use turnpike_runtime::entropy;
use turnpike_store::booking::shard_of;
use turnpike_store::leader::{Role, TAKE_OVER_MS};
use turnpike_wire::spend;

use house::{Gateway, House, ORG};

#[tokio::test(start_paused = true)]
async fn spend_is_booked_published_and_told() {
    let house = House::new();
    let projector = house.projector();
    let mut gateway = Gateway::new(1, 250);
    gateway.send_until_booked(&house).await;
    house.assert_booked(&[&gateway]).await;
    assert_eq!(house.settled().await, gateway.requests());
    assert_eq!(gateway.mark.unwrap().complete_to, Some(house.places().await[0].place.at));
    assert!(projector.probes.is_ready());
}

#[tokio::test(start_paused = true)]
async fn what_waits_on_the_bus_at_the_start_is_booked() {
    let house = House::new();
    let gateway = Gateway::new(1, 40);
    gateway.send(&house, 0..40, true).await;
    let _projector = house.projector();
    house.clock.sleep(3_000).await;
    house.assert_booked(&[&gateway]).await;
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_is_won_later_books_what_its_dead_gateway_had_sent() {
    let house = House::new();
    // Another projector had the shard, and died: its term runs on for seconds.
    let name = format!("shard/{}", shard_of(ORG));
    let role = Role::new(house.kv.clone(), house.clock.clone(), &name);
    let _term = role.win().await.unwrap();
    let gateway = Gateway::new(1, 60);
    gateway.send(&house, 0..60, true).await;
    let projector = house.projector();
    house.clock.sleep(1_000).await;
    assert!(projector.probes.is_ready(), "the other shards are owned and read");
    assert!(house.places().await.is_empty());
    house.clock.sleep(TAKE_OVER_MS + 2_000).await;
    house.assert_booked(&[&gateway]).await;
}

#[tokio::test(start_paused = true)]
async fn who_is_alive_does_not_hide_what_a_dead_gateway_had_sent() {
    let house = House::new();
    let name = format!("shard/{}", shard_of(ORG));
    let role = Role::new(house.kv.clone(), house.clock.clone(), &name);
    let _term = role.win().await.unwrap();
    let (dead, alive) = (Gateway::new(1, 60), Gateway::new(2, 1));
    dead.send(&house, 0..60, true).await;
    let _projector = house.projector();
    // Its messages come in the moment in which the shard is won, and stand behind the other's.
    for _ in 0..(TAKE_OVER_MS + 3_000) / 50 {
        alive.send(&house, 0..1, true).await;
        house.clock.sleep(50).await;
    }
    house.assert_booked(&[&dead, &alive]).await;
}

#[tokio::test(start_paused = true)]
async fn repeated_and_reordered_records_count_once() {
    let house = House::new();
    let _projector = house.projector();
    let mut gateway = Gateway::new(1, 60);
    for range in [20..40, 0..20, 20..40, 10..30, 0..60, 59..60] {
        gateway.send(&house, range, false).await;
    }
    gateway.send_until_booked(&house).await;
    house.assert_booked(&[&gateway]).await;
}

#[tokio::test(start_paused = true)]
async fn a_gap_is_told_at_once_and_once_a_second() {
    let house = House::new();
    let _projector = house.projector();
    let gateway = Gateway::new(1, 60);
    let mut marks = house.marks(&gateway).await;
    gateway.send(&house, 0..10, false).await;
    house.clock.sleep(1_500).await;
    while marks.ready().is_some() {}
    let asked_ms = house.clock.boot_ms();
    for from in [20, 30, 40, 50] {
        gateway.send(&house, from..from + 10, false).await;
    }
    let mark = spend::booked(&marks.next().await.unwrap().payload).unwrap();
    assert_eq!((mark.number, mark.gap), (10, true));
    assert!(house.clock.boot_ms() - asked_ms < 100, "told at once");
    house.clock.sleep(500).await;
    while let Some(Ok(message)) = marks.ready() {
        assert!(!spend::booked(&message.payload).unwrap().gap, "asked once is enough");
    }
}

#[tokio::test(start_paused = true)]
async fn another_projector_takes_over_where_the_first_one_died() {
    let house = House::new();
    let first = house.projector();
    let mut gateway = Gateway::new(1, 300);
    gateway.send(&house, 0..150, false).await;
    house.clock.sleep(20).await;
    let second = house.projector();
    house.clock.sleep(2_000).await;
    gateway.send(&house, 150..200, false).await;
    first.abort();
    house.clock.sleep(TAKE_OVER_MS + 2_000).await;
    gateway.send_until_booked(&house).await;
    house.assert_booked(&[&gateway]).await;
    assert_eq!(house.settled().await, gateway.requests());
    second.stop().await;
}

#[tokio::test(start_paused = true)]
async fn replicas_divide_the_shards_and_nothing_is_lost_meanwhile() {
    let house = House::new();
    let shares = |house: &House| {
        let text = house.metrics.text();
        let count = |line: &str| line.strip_prefix("turnpike_booking_shards ")?.parse().ok();
        text.lines().filter_map(count).collect::<Vec<u32>>()
    };
    let first = house.projector();
    house.clock.sleep(1_000).await;
    assert_eq!(shares(&house), [64]);
    let second = house.projector();
    let mut gateway = Gateway::new(1, 600);
    for from in (0..600).step_by(20) {
        gateway.send(&house, from..from + 20, false).await;
        house.clock.sleep(500).await;
    }
    assert_eq!(shares(&house), [32, 32]);
    first.stop().await;
    house.clock.sleep(3_000).await;
    assert_eq!(shares(&house), [0, 64]);
    gateway.send_until_booked(&house).await;
    house.assert_booked(&[&gateway]).await;
    second.stop().await;
}

#[tokio::test(start_paused = true)]
async fn who_stops_books_what_has_arrived_and_gives_its_shards_up() {
    let house = House::new();
    let first = house.projector();
    house.clock.sleep(100).await;
    let mut gateway = Gateway::new(1, 100);
    gateway.send(&house, 0..100, true).await;
    house.clock.sleep(1).await;
    first.stop().await;
    house.assert_booked(&[&gateway]).await;
    let second = house.projector();
    house.clock.sleep(1_000).await;
    assert!(second.probes.is_ready(), "nobody had to wait for a silent owner");
    gateway.send_until_booked(&house).await;
    house.assert_booked(&[&gateway]).await;
}

#[tokio::test(start_paused = true)]
async fn a_bus_that_loses_messages_loses_no_spend() {
    for seed in 0..10 {
        entropy::seed_this_thread(seed);
        let house = House::new();
        let projector = house.projector();
        house.bus.lose_one_in(3);
        let mut gateways: Vec<Gateway> = (1..=3).map(|number| Gateway::new(number, 120)).collect();
        for gateway in &mut gateways {
            gateway.send_until_booked(&house).await;
        }
        house.assert_booked(&gateways.iter().collect::<Vec<_>>()).await;
        let requests = gateways.iter().flat_map(|one| one.requests()).collect();
        assert_eq!(house.settled().await, requests, "seed {seed}");
        projector.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn one_bad_record_is_put_aside_and_one_bad_message_stops_nobody() {
    let house = House::new();
    let _projector = house.projector();
    let mut gateway = Gateway::new(1, 30);
    gateway.records[9] = b"nonsense".to_vec();
    let topic = Topic::Spend { org: ORG, gateway: gateway.id };
    let message = Publish {
        topic,
        id: String::new(),
        headers: Vec::new(),
        payload: b"nonsense".as_slice().into(),
    };
    house.bus.publish(message).await.unwrap();
    gateway.send_until_booked(&house).await;
    assert_eq!(house.places().await[0].place.number, 30);
    assert_eq!(house.totals().await.requests, 29);
    let text = house.metrics.text();
    for line in ["booked_records_total 29", "booking_aside_total 1", "booking_unreadable_total 1"] {
        assert!(text.contains(&format!("turnpike_{line}\n")), "{line}: {text}");
    }
}

#[tokio::test(start_paused = true)]
async fn whose_spend_it_is_says_the_subject() {
    let house = House::new();
    let _projector = house.projector();
    let gateway = Gateway::new(1, 10);
    let payload = spend::batch(gateway.epoch, 1, &gateway.records, true).into();
    let topic = Topic::Spend { org: OrgId(99), gateway: gateway.id };
    let message = Publish { topic, id: String::new(), headers: Vec::new(), payload };
    house.bus.publish(message).await.unwrap();
    house.clock.sleep(1_000).await;
    assert_eq!(house.totals().await.requests, 0, "another organisation's");
    assert!(house.places().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn many_epochs_and_a_queue_larger_than_a_commit() {
    let house = House::new();
    let mut gateways: Vec<Gateway> = (1..=8).map(|number| Gateway::new(number, 400)).collect();
    for gateway in &gateways {
        gateway.send(&house, 0..400, true).await;
    }
    let _projector = house.projector();
    house.clock.sleep(2_000).await;
    house.assert_booked(&gateways.iter().collect::<Vec<_>>()).await;
    for gateway in &mut gateways {
        gateway.send_until_booked(&house).await;
    }
    let all = house.bus_messages(Feed::Ledger(None), Start::Oldest).await;
    assert_eq!(all, 8 * 400, "and nothing was published twice");
}
