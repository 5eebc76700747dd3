//! Streams that were cut, saved, spoiled or restored: what is folded is what is stored.

use turnpike_runtime::clock::system;

use super::*;
use crate::engines;
use crate::execute::Executor;
use crate::keyspace;
use crate::kv::{Batch, Scan, Write};
use crate::orders::{attempt, create, plan, rename};
use crate::snapshots::EVERY_EVENTS;

const ORG: OrgId = OrgId(7);
const NOW: Timestamp = Timestamp(1_000_000);

fn executor(kv: &Arc<dyn Kv>) -> Executor {
    Executor::new(Arc::new(Streams::new(Arc::clone(kv))), system())
}

/// A store with a stream of `events`, and who has made it.
async fn stream(events: u64) -> (Arc<dyn Kv>, Executor) {
    let kv: Arc<dyn Kv> = engines::fresh();
    incarnation::ensure(&*kv, NOW).await.unwrap();
    let executor = executor(&kv);
    grow(&executor, 1, events).await;
    (kv, executor)
}

async fn grow(executor: &Executor, from: u64, until: u64) {
    for id in from..=until {
        let order = if id == 1 { create(id) } else { rename(id, id) };
        executor.organisation(ORG, &order, attempt(1, 1)).await.unwrap();
    }
}

/// The state as a process reads it that has just started. Positions are known to writers only.
async fn fresh(kv: &Arc<dyn Kv>) -> Result<Organisation, StoreError> {
    Streams::new(Arc::clone(kv)).organisation(ORG, without_position).await
}

fn without_position(state: &Organisation) -> Organisation {
    let mut state = state.clone();
    state.head.position = Position::default();
    state
}

async fn remembered(executor: &Executor) -> Organisation {
    executor.streams().remembered(ORG, without_position).await
}

async fn write(kv: &Arc<dyn Kv>, writes: Vec<Write>) {
    kv.commit(Batch { writes, ..Batch::default() }).await.unwrap();
}

async fn delete(kv: &Arc<dyn Kv>, key: Bytes) {
    write(kv, vec![Write::Delete { key }]).await;
}

async fn rows(kv: &Arc<dyn Kv>, scan: Scan) -> Vec<(Bytes, Bytes)> {
    kv.snapshot().await.unwrap().scan(scan).await.unwrap()
}

#[tokio::test]
async fn another_process_folds_what_the_writer_has() {
    // More than one page, and by steps.
    let (kv, executor) = stream(3).await;
    let reader = Streams::new(Arc::clone(&kv));
    for until in [3, 4, 620] {
        grow(&executor, 4, until).await;
        let read = reader.organisation(ORG, without_position).await.unwrap();
        assert_eq!((read.head.seq, &read), (until, &remembered(&executor).await));
    }
    assert_eq!(reader.remembered(ORG, |state| state.head.seq).await, 620);
    assert_eq!(reader.organisation(OrgId(8), |state| state.head.seq).await, Ok(0));
}

#[tokio::test]
async fn a_saved_state_and_the_tail_are_the_fold() {
    let (kv, executor) = stream(EVERY_EVENTS - 1).await;
    let streams = executor.streams();
    assert_eq!(streams.save(ORG, NOW).await, Ok(false));
    grow(&executor, EVERY_EVENTS, EVERY_EVENTS).await;
    assert_eq!(streams.save(ORG, NOW).await, Ok(true));
    assert_eq!(streams.save(ORG, NOW).await, Ok(false));
    grow(&executor, EVERY_EVENTS + 1, EVERY_EVENTS + 20).await;
    let whole = remembered(&executor).await;
    assert_eq!(fresh(&kv).await, Ok(whole.clone()));
    // The saved state was read, and not the whole stream.
    delete(&kv, keyspace::event(ORG, 5)).await;
    assert_eq!(fresh(&kv).await, Ok(whole));
}

#[tokio::test]
async fn a_newer_snapshot_removes_the_older() {
    let (kv, executor) = stream(EVERY_EVENTS).await;
    executor.streams().save(ORG, NOW).await.unwrap();
    grow(&executor, EVERY_EVENTS + 1, 2 * EVERY_EVENTS).await;
    assert_eq!(executor.streams().save(ORG, NOW).await, Ok(true));
    let left = rows(&kv, keyspace::snapshots(ORG, 1_000)).await;
    let seqs: Vec<_> = left.iter().map(|(key, _)| keyspace::read_snapshot_chunk(key)).collect();
    assert!(!seqs.is_empty());
    assert!(seqs.iter().flatten().all(|(seq, _)| *seq == 2 * EVERY_EVENTS), "{seqs:?}");
}

#[tokio::test]
async fn a_spoiled_snapshot_costs_a_longer_fold_and_nothing_else() {
    let (kv, executor) = stream(EVERY_EVENTS).await;
    executor.streams().save(ORG, NOW).await.unwrap();
    let whole = remembered(&executor).await;
    let chunks = rows(&kv, keyspace::snapshots(ORG, 1_000)).await;
    assert!(chunks.len() > 1);
    for (key, value) in &chunks {
        let mut flipped = value.to_vec();
        flipped[value.len() / 2] ^= 1;
        let spoiled = Write::Put { key: key.clone(), value: flipped.into() };
        write(&kv, vec![spoiled]).await;
        assert_eq!(fresh(&kv).await, Ok(whole.clone()), "flipped {key:?}");
        delete(&kv, key.clone()).await;
        assert_eq!(fresh(&kv).await, Ok(whole.clone()), "deleted {key:?}");
        write(&kv, vec![Write::Put { key: key.clone(), value: value.clone() }]).await;
    }
}

#[tokio::test]
async fn of_two_who_save_one_snapshot_one_is_whole() {
    let (kv, executor) = stream(EVERY_EVENTS).await;
    let others = Streams::new(Arc::clone(&kv));
    let (one, two) =
        tokio::join!(executor.streams().save(ORG, NOW), others.save(ORG, Timestamp(NOW.0 + 1)),);
    assert!(one.is_ok() || two.is_ok(), "{one:?} {two:?}");
    delete(&kv, keyspace::event(ORG, 5)).await;
    assert_eq!(fresh(&kv).await, Ok(remembered(&executor).await));
}

#[tokio::test]
async fn the_platform_is_saved_like_any_stream() {
    let (kv, executor) = stream(0).await;
    for id in 1..=EVERY_EVENTS {
        executor.platform(&plan(id), attempt(1, 1)).await.unwrap();
    }
    assert_eq!(executor.streams().save(OrgId::PLATFORM, NOW).await, Ok(true));
    delete(&kv, keyspace::event(OrgId::PLATFORM, 5)).await;
    let plans = |state: &Platform| state.plans.clone();
    let read = Streams::new(Arc::clone(&kv)).platform(plans).await;
    assert_eq!(read, Ok(executor.streams().remembered_platform(plans).await));
}

#[tokio::test]
async fn a_restored_store_with_another_past_begins_anew() {
    for (length, other_length) in [(5, 3), (5, 5), (3, 5)] {
        let (kv, executor) = stream(length).await;
        let (other, its_executor) = stream(0).await;
        its_executor.organisation(ORG, &create(90), attempt(1, 1)).await.unwrap();
        grow(&its_executor, 2, other_length).await;
        // As a restore does it: all rows at once.
        let every = || Scan {
            begin: Bytes::new(),
            end: Bytes::from_static(&[0xff]),
            limit: usize::MAX,
            reverse: false,
        };
        let gone = rows(&kv, every()).await.into_iter().map(|(key, _)| Write::Delete { key });
        let come = rows(&other, every()).await.into_iter();
        let come = come.map(|(key, value)| Write::Put { key, value });
        write(&kv, gone.chain(come).collect()).await;
        let read = executor.streams().organisation(ORG, without_position).await;
        assert_eq!(read, Ok(remembered(&its_executor).await), "{length} {other_length}");
    }
}

#[tokio::test]
async fn a_stream_with_a_hole_or_a_changed_event_is_corrupt() {
    let (kv, _) = stream(5).await;
    let key = |seq| keyspace::event(ORG, seq);
    let body = rows(&kv, keyspace::events(ORG, 3, 3, 1)).await.remove(0).1;
    let last = rows(&kv, keyspace::events(ORG, 5, 5, 1)).await.remove(0).1;
    let mut flipped = last.to_vec();
    let end = flipped.len() - 1;
    flipped[end] ^= 1;
    let mut changed = body.to_vec();
    let end = changed.len() - 1;
    changed[end] ^= 1;
    let before = fresh(&kv).await.unwrap();
    let spoilt = [
        Write::Delete { key: key(3) },
        Write::Delete { key: key(5) },
        // Another event in its place: the fold must not go round for ever.
        Write::Put { key: key(5), value: body.clone() },
        Write::Put { key: key(5), value: flipped.into() },
        Write::Put { key: key(3), value: changed.into() },
    ];
    for spoilt in spoilt {
        write(&kv, vec![spoilt.clone()]).await;
        let read = fresh(&kv).await;
        assert!(matches!(read, Err(StoreError::Corrupt { .. })), "{spoilt:?}: {read:?}");
        let whole = [(3, &body), (5, &last)];
        let whole = whole.map(|(seq, value)| Write::Put { key: key(seq), value: value.clone() });
        write(&kv, whole.to_vec()).await;
        assert_eq!(fresh(&kv).await.as_ref(), Ok(&before));
    }
}
