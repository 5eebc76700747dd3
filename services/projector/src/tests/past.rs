//! Leases of windows that are over: an owner looks for them by itself, hour by hour.

use bytes::Bytes;
use turnpike_domain::id::LeaseId;
use turnpike_domain::limit::Limits;
use turnpike_domain::state::WalletMode;
use turnpike_domain::time::{DAY_MS, HOUR_MS, Reset};
use turnpike_store::kv::Scan;

use super::budget::{Holder, cost};
use super::house::House;

/// Until a projector has taken its shards and heard the news.
const SETTLED_MS: u64 = 2_000;
/// Within how long after its time a thing of a second's rhythm is done.
const SOON_MS: u64 = 5_000;

/// Whether the store has a row that is named after the lease.
async fn stands(house: &House, lease: LeaseId) -> bool {
    let snapshot = house.kv.snapshot().await.unwrap();
    let (begin, end) = (Bytes::new(), Bytes::from_static(&[0xff; 8]));
    let all = Scan { begin, end, limit: 100_000, reverse: false };
    let name = lease.0.to_be_bytes();
    let rows = snapshot.scan(all).await.unwrap();
    rows.iter().any(|(key, _)| key.windows(name.len()).any(|part| *part == name))
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_holds_nothing_goes_a_day_after_its_window_and_one_that_does_stays() {
    let house = House::new();
    let daily = Limits { reset: Reset::Daily, ..cost(1_000) };
    house.found(WalletMode::Off, daily).await;
    let projector = house.projector();
    house.clock.sleep(SETTLED_MS).await;
    let [mut idle, mut busy] = [0x1d1e, 0xb0b0].map(Holder::new);
    idle.ask(&house, 300, 0).await;
    idle.give_back(&house).await;
    busy.ask(&house, 300, 0).await;
    assert!(busy.holding.reserve(300));
    projector.abort();

    // Nobody works while the days go by: each of their seconds would be a turn of 64 shards.
    house.clock.sleep(2 * DAY_MS).await;
    let _projector = house.projector();
    house.clock.sleep(SETTLED_MS).await;
    assert!(stands(&house, idle.lease).await, "a new owner has other things to do first");
    house.clock.sleep(HOUR_MS + SOON_MS).await;
    assert!(!stands(&house, idle.lease).await);
    assert!(stands(&house, busy.lease).await, "its spend may still come");

    let answer = idle.ask(&house, 300, 0).await;
    assert_eq!((answer.total, answer.refused), (300, None), "a new window, a lease as if new");
}
