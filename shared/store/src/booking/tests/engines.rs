//! One day of an authority on every engine.

use turnpike_domain::event::Event;
use turnpike_domain::limit::{Account, Unit};
use turnpike_domain::state::Cap;
use turnpike_domain::time::Reset;
use turnpike_wire::authority::EndRuns;

use super::house::*;
use super::*;
use crate::embedded::Embedded;
use crate::ledger::rows;

/// A call that its caller's task may be moved within.
fn movable<T: Send>(call: T) -> T {
    call
}

/// Grants, books, loses, ends, closes, tells.
pub(crate) async fn day(kv: Arc<dyn Kv>) {
    let house = House::new(kv).await;
    let mut booker = house.owner().await;
    let granted = movable(booker.hear(&[ask(LEASE, 1, 80, 80)], NOW)).await.unwrap();
    assert_eq!((granted[0].total, house.money(TEAM).await), (80, (0, 80, 0)));
    let delivery = spend(1, KEY, Some(LEASE), 60);
    movable(booker.book(&[delivery], NOW)).await.unwrap();
    assert_eq!(movable(booker.lose(ORG, GATEWAY)).await, Ok(true));
    assert_eq!(house.money(Account::Wallet).await, (60, 0, 20));
    let end = EndRuns { run: EpochId(11), places: vec![(RUN, 1)], torn: false };
    assert_eq!(movable(booker.end_runs(ORG, GATEWAY, &end)).await, Ok(true));
    assert_eq!(house.money(Account::Wallet).await, (60, 0, 0));
    let release = Release { seq: 1, gateway: GATEWAY, account: OWN, unit: Unit::Usd, amount: 5 };
    movable(booker.release(ORG, release)).await.unwrap();
    house.limit(KEY, capped(60)).await;
    movable(booker.recheck(ORG, &[(OWN, Unit::Usd)], NOW)).await.unwrap();
    let told = house.tell().await;
    assert!(matches!(told.last(), Some(Event::QuotaHit { account: OWN, revision: 2, .. })));
    let cap = Cap { amount: Some(60), reset: Reset::None, revision: 2 };
    let snapshot = house.kv.snapshot().await.unwrap();
    let row = snapshot.get(&keyspace::cap(ORG, OWN, Unit::Usd)).await.unwrap();
    assert_eq!(row, Some(rows::cap(&cap)), "the command that set it has written it");
    assert_eq!(snapshot.get(&keyspace::cap(ORG, OWN, Unit::Tokens)).await, Ok(None));
    let refused = movable(booker.hear(&[ask(LEASE, 2, 80, 80)], NOW)).await.unwrap();
    assert!(refused[0].refused.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_day_of_an_authority() {
    day(stores::fresh()).await;
}

#[tokio::test]
async fn a_day_on_disk() {
    let directory = tempfile::TempDir::new().unwrap();
    day(Arc::new(Embedded::open(directory.path()).unwrap())).await;
}
