//! The request log on every engine: refused requests beside the others, searches, retention.

use turnpike_domain::admit::Denial;
use turnpike_domain::id::KeyId;

use super::*;
use crate::embedded::Embedded;
use crate::retention::{self, Keep};

const SECOND_MS: u64 = 1_000;
const KEYS: u128 = 3;

/// A request of key `number % 3` at second `number`; every fourth is refused.
fn logged(number: u128) -> Spend {
    let at = NOW.plus_ms(u64::try_from(number).unwrap() * SECOND_MS);
    let usual = Spend {
        request: RequestId((u128::from(at.0) << 80) | number),
        at,
        key: KeyId(number % KEYS),
        ..record(number)
    };
    if !number.is_multiple_of(4) {
        return usual;
    }
    Spend {
        model: "made up".into(),
        provider: None,
        status: 429,
        usage: Usage::default(),
        cost: NanoUsd(0),
        denial: Some(Denial::RateLimited),
        unmetered: true,
        repeats: 2,
        decision: Some("dec_1".into()),
        ..usual
    }
}

fn batch_of(numbers: impl Iterator<Item = u128>) -> Delivery {
    let records = numbers.map(|number| form::Encoded(form::encode(&logged(number)))).collect();
    let batch = form::Batch { epoch: EpochId(1), first: 1, records, end: false };
    Delivery { batch, ..delivery(1, 0, 0) }
}

/// The numbers of the requests that a search finds, page by page.
async fn found(kv: &Arc<dyn Kv>, mut search: Search, limit: usize) -> Vec<u128> {
    let mut numbers = Vec::new();
    loop {
        let snapshot = kv.snapshot().await.unwrap();
        let rows = requests::newest(&*snapshot, ORG, &search, limit).await.unwrap();
        let fitting = rows.iter().filter(|row| search.fits(row));
        numbers.extend(fitting.map(|row| row.record.request.0 & 0xffff_ffff));
        search.before = rows.last().map(|row| row.record.request);
        if rows.len() < limit || rows.last().is_some_and(|row| search.is_over(row)) {
            return numbers;
        }
    }
}

/// Books, searches, sweeps.
pub(crate) async fn day(kv: Arc<dyn Kv>) {
    let mut booker = booker(&kv, &PausedClock::new(NOW)).await;
    let booked = booker.book(&[batch_of(1..=60)], NOW).await.unwrap();
    assert_eq!((booked[0].fresh, booked[0].place.number), (60, 60));
    let again = booker.book(&[batch_of(1..=60)], NOW).await.unwrap();
    assert_eq!(again[0].fresh, 0);

    let all: Vec<u128> = (1..=60).rev().collect();
    assert_eq!(found(&kv, Search::default(), 7).await, all);
    let of = |keys: &[u128]| Search {
        keys: Some(keys.iter().map(|key| KeyId(*key)).collect()),
        ..Search::default()
    };
    let held = |keys: &[u128]| -> Vec<u128> {
        all.iter().copied().filter(|number| keys.contains(&(number % KEYS))).collect()
    };
    assert_eq!(found(&kv, of(&[2]), 4).await, held(&[2]));
    assert_eq!(found(&kv, of(&[2, 0]), 4).await, held(&[2, 0]));
    assert_eq!(found(&kv, of(&[9]), 4).await, held(&[9]));
    let second = |number| Some(NOW.plus_ms(number * SECOND_MS));
    let between = Search { from: second(20), until: second(30), ..Search::default() };
    let wanted: Vec<u128> = (20..30).rev().collect();
    assert_eq!(found(&kv, between.clone(), 3).await, wanted);
    let of_one = Search { keys: of(&[1]).keys, ..between };
    assert_eq!(found(&kv, of_one, 3).await, [28, 25, 22]);

    totals(&*kv).await;
    let keep = Keep { requests_from: second(51).unwrap(), commands_from: NOW };
    assert_eq!(retention::sweep(&*kv, ORG, keep).await.unwrap().requests, 50);
    assert_eq!(found(&kv, Search::default(), 7).await, (51..=60).rev().collect::<Vec<_>>());
    assert_eq!(found(&kv, of(&[0]), 7).await, [60, 57, 54, 51]);
    totals(&*kv).await;
}

/// Refused requests are counted apart, with all that they stand for, under no model.
async fn totals(kv: &dyn Kv) {
    let snapshot = kv.snapshot().await.unwrap();
    let mut sum = Total::default();
    for hour in usage::hours(&*snapshot, ORG, Timestamp(0), Timestamp(u64::MAX)).await.unwrap() {
        assert_eq!(hour.model.is_empty(), hour.total.requests == 0, "{hour:?}");
        sum.add(&hour.total);
    }
    let cost: i64 = (1..=60).filter(|number| number % 4 != 0).map(|number| number * 7).sum();
    assert_eq!((sum.requests, sum.refused, sum.cost), (45, 45, NanoUsd(cost)));
    let by_key = usage::keys(&*snapshot, ORG).await.unwrap();
    let mut all = Total::default();
    by_key.iter().for_each(|(_, total)| all.add(total));
    assert_eq!((all.requests, all.refused, all.cost), (45, 45, NanoUsd(cost)));
}

#[tokio::test(start_paused = true)]
async fn a_day_of_the_log() {
    day(stores::fresh()).await;
}

#[tokio::test]
async fn a_day_of_the_log_on_disk() {
    let directory = tempfile::TempDir::new().unwrap();
    day(Arc::new(Embedded::open(directory.path()).unwrap())).await;
}

#[tokio::test(start_paused = true)]
async fn a_refused_request_moves_no_account_and_what_says_that_it_cost_is_put_aside() {
    let (kv, mut booker) = calm().await;
    let costly = Spend { cost: NanoUsd(1), ..logged(4) };
    let leased = Spend { lease: Some(turnpike_domain::id::LeaseId(1)), ..logged(8) };
    let mut delivery = batch_of([12, 16].into_iter());
    for record in [&costly, &leased] {
        delivery.batch.records.push(form::Encoded(form::encode(record)));
    }
    let booked = booker.book(&[delivery], NOW).await.unwrap()[0];
    assert_eq!((booked.fresh, booked.aside, booked.place.number), (2, 2, 4));
    let snapshot = kv.snapshot().await.unwrap();
    let window = turnpike_domain::time::Window(0);
    for key in [0, 1] {
        let account = turnpike_domain::limit::Account::Key(KeyId(key));
        for unit in [turnpike_domain::limit::Unit::Usd, turnpike_domain::limit::Unit::Tokens] {
            let row = snapshot.get(&keyspace::account(ORG, account, unit, window)).await.unwrap();
            assert_eq!(row, None);
        }
    }
}

#[test]
fn totals_of_the_form_without_refused_requests_are_read() {
    let total = Total { requests: 1, cost: NanoUsd(2), last_at: NOW, ..Total::default() };
    let bytes = total.bytes();
    let mut old = bytes[..bytes.len() - 8].to_vec();
    old[0] = crate::rows::VERSION;
    assert_eq!(Total::read(&old).unwrap(), total);
    let counted = Total { refused: 3, ..total };
    let migrated = Total { legacy: 1, legacy_at: NOW, ..counted };
    for total in [counted, migrated] {
        assert_eq!(Total::read(&total.bytes()).unwrap(), total);
    }
}
