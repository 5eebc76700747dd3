//! The authority over a real `nats-server`, with two projectors that both hear every call.

#[path = "../../../../tests/harness/nats.rs"]
#[expect(unreachable_pub, dead_code, reason = "it stands in the harness, which others use")]
mod server;

use std::sync::Arc;

use turnpike_bus::nats::{NatsBus, NatsOptions, StreamLimits};
use turnpike_bus::seam::Bus;
use turnpike_domain::ledger::Refused;
use turnpike_domain::limit::{Account, Limits, Unit};
use turnpike_domain::state::WalletMode;
use turnpike_runtime::clock::{self, deadline};

use super::budget::{Holder, KEY, cost, spender};
use super::house::House;
use server::NatsServer;

/// Longer than anything takes on a machine that builds at the same time.
const PATIENCE_MS: u64 = 60_000;

#[tokio::test]
async fn leases_are_granted_recalled_and_told_over_nats() {
    let server = NatsServer::start().unwrap();
    let streams = Some(StreamLimits::default());
    let options = NatsOptions { streams, ..NatsOptions::new(&server.url(), "test") };
    let bus: Arc<dyn Bus> = Arc::new(NatsBus::connect(options, clock::system()).await.unwrap());
    let house = House::on(bus, clock::system());
    house.found(WalletMode::Off, Limits { alert_percent: vec![50], ..cost(1_000) }).await;
    let (first, second) = (house.projector(), house.projector());
    let (mut one, mut two) = (Holder::new(1), Holder::new(2));
    let mut recalls = house.recalls().await;
    assert_eq!(one.ask(&house, 900, 0).await.total, 900, "whoever owns the shard answers");
    let recalled = async {
        let recall = recalls.next().await.unwrap();
        one.give_back(&house).await;
        turnpike_wire::form::decode::<turnpike_wire::authority::Recall>(&recall.payload).unwrap()
    };
    let (answer, recall) = tokio::join!(two.ask(&house, 700, 0), recalled);
    // On a machine that builds at the same time the moment may have passed.
    let answer = if answer.refused.is_some() { two.ask(&house, 700, 0).await } else { answer };
    assert_eq!((answer.total, answer.refused), (700, None::<Refused>));
    assert_eq!(recall.budget, Some((Account::Key(KEY), Unit::Usd)));
    two.give_back(&house).await;
    spender(3, 1_000).send_until_booked(&house).await;
    let told = async {
        while house.count("QuotaHit").await + house.count("AlertRaised").await < 2 {
            house.clock.sleep(20).await;
        }
    };
    deadline(&*house.clock, PATIENCE_MS, told).await.expect("both thresholds are told");
    first.stop().await;
    second.stop().await;
}
