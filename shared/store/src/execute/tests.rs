//! Commands under a store that fails: each one once, whatever is lost, repeated or late.

mod legacy;

use std::collections::BTreeMap;

use futures_util::future::join_all;
use turnpike_domain::id::CommandId;
use turnpike_domain::time::Timestamp;
use turnpike_runtime::clock::PausedClock;

use super::*;
use crate::engines;
use crate::hostile::Hostile;
use crate::kv::Kv;
use crate::orders::{attempt, create, plan, rename};

const ORG: OrgId = OrgId(7);

fn executor(kv: &Arc<dyn Kv>) -> Executor {
    let streams = Arc::new(Streams::new(Arc::clone(kv)));
    Executor::new(streams, Arc::new(PausedClock::new(Timestamp(0))))
}

/// All events of a stream, as they are stored.
async fn stored(kv: &dyn Kv, org: OrgId) -> Vec<Record> {
    let snapshot = kv.snapshot().await.unwrap();
    let head = log::head(&*snapshot, org).await.unwrap();
    let mut records = Vec::new();
    while u64::try_from(records.len()).unwrap() < head.seq {
        let after = u64::try_from(records.len()).unwrap();
        for logged in log::page(&*snapshot, org, after, head.seq).await.unwrap() {
            records.push(log::open(&logged, Position::default()).unwrap().record);
        }
    }
    records
}

#[tokio::test(start_paused = true)]
async fn a_repeated_command_has_one_effect_and_its_first_answer() {
    let kv = engines::fresh();
    let executor = executor(&kv);
    let first = executor.organisation(ORG, &create(1), attempt(1, 1)).await.unwrap();
    assert_eq!((first.records.len(), first.replayed), (1, false));
    let second = executor.organisation(ORG, &rename(2, 2), attempt(2, 2)).await.unwrap();
    assert!(second.position > first.position);
    // The same request again, after its answer was lost: still its own.
    let own = executor.organisation(ORG, &create(1), attempt(1, 1)).await.unwrap();
    assert_eq!((&own.records, own.replayed), (&first.records, false));
    // Another request with the same id and body.
    let replay = executor.organisation(ORG, &create(1), attempt(1, 99)).await.unwrap();
    assert_eq!((&replay.records, replay.replayed), (&first.records, true));
    assert!(replay.position >= first.position);
    assert_eq!(stored(&*kv, ORG).await.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_command_id_with_another_body_is_a_conflict() {
    let kv = engines::fresh();
    let executor = executor(&kv);
    executor.organisation(ORG, &create(1), attempt(1, 1)).await.unwrap();
    let other = executor.organisation(ORG, &rename(1, 5), attempt(2, 1)).await;
    assert_eq!(other, Err(ExecuteError::IdempotencyConflict));
    // An id belongs to its organisation.
    executor.organisation(OrgId(8), &create(1), attempt(3, 1)).await.unwrap();
    assert_eq!(stored(&*kv, ORG).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_command_without_events_is_remembered_too() {
    let kv = engines::fresh();
    let executor = executor(&kv);
    executor.organisation(ORG, &create(1), attempt(1, 1)).await.unwrap();
    let nothing = executor.organisation(ORG, &rename(2, 1), attempt(2, 2)).await.unwrap();
    assert_eq!((nothing.records.len(), nothing.replayed), (0, false));
    executor.organisation(ORG, &rename(3, 3), attempt(3, 3)).await.unwrap();
    // Decided afresh it would be an event now.
    let replay = executor.organisation(ORG, &rename(2, 1), attempt(2, 9)).await.unwrap();
    assert_eq!((replay.records.len(), replay.replayed), (0, true));
}

#[tokio::test(start_paused = true)]
async fn a_refused_command_may_be_tried_again() {
    let kv = engines::fresh();
    let executor = executor(&kv);
    let early = executor.organisation(ORG, &rename(2, 2), attempt(2, 1)).await;
    assert!(matches!(early, Err(ExecuteError::Refused(_))), "{early:?}");
    executor.organisation(ORG, &create(1), attempt(1, 1)).await.unwrap();
    let later = executor.organisation(ORG, &rename(2, 2), attempt(2, 1)).await.unwrap();
    assert_eq!((later.records.len(), later.replayed), (1, false));
}

#[tokio::test(start_paused = true)]
async fn of_two_processes_with_one_command_one_executes_and_one_replays() {
    let kv = engines::fresh();
    let (left, right) = (executor(&kv), executor(&kv));
    left.organisation(ORG, &create(1), attempt(1, 1)).await.unwrap();
    for id in 2..50 {
        let order = rename(id, id);
        let (one, two) = tokio::join!(
            left.organisation(ORG, &order, attempt(1, 1)),
            right.organisation(ORG, &order, attempt(1, 2)),
        );
        let (one, two) = (one.unwrap(), two.unwrap());
        assert_eq!(one.records, two.records);
        assert_ne!(one.replayed, two.replayed);
    }
    assert_eq!(stored(&*kv, ORG).await.len(), 49);
}

#[tokio::test(start_paused = true)]
async fn the_platform_has_a_stream_of_its_own() {
    let kv = engines::fresh();
    let executor = executor(&kv);
    executor.platform(&plan(1), attempt(1, 1)).await.unwrap();
    executor.organisation(ORG, &create(1), attempt(1, 1)).await.unwrap();
    let replay = executor.platform(&plan(1), attempt(1, 2)).await.unwrap();
    assert!(replay.replayed);
    let snapshot = kv.snapshot().await.unwrap();
    assert_eq!(log::organisations(&*snapshot).await, Ok(vec![ORG]));
    let feed = log::feed(&*snapshot, Position::default(), 10).await.unwrap();
    let streams: Vec<OrgId> = feed.iter().map(|placed| placed.logged.org).collect();
    assert_eq!(streams, [OrgId::PLATFORM, ORG]);
    assert_eq!(log::last_position(&*snapshot).await, Ok(feed[1].position));
    let behind = log::feed(&*snapshot, feed[0].position, 10).await.unwrap();
    assert_eq!(behind, feed[1..]);
}

/// Found by reading: a conflict that nobody made, and a lost answer whose commit lands later.
#[tokio::test(start_paused = true)]
async fn a_commit_that_lands_late_is_found_and_not_repeated() {
    let hostile = Arc::new(Hostile::default());
    let kv: Arc<dyn Kv> = Arc::<Hostile>::clone(&hostile);
    let executor = executor(&kv);
    executor.organisation(ORG, &create(1), attempt(1, 1)).await.unwrap();
    hostile.lose_next();
    let order = rename(2, 2);
    // The store is gone when the answer is looked for.
    let lost = executor.organisation(ORG, &order, attempt(2, 2)).await;
    assert!(matches!(lost, Err(ExecuteError::Store(_))), "{lost:?}");
    hostile.land_all().await;
    let found = executor.organisation(ORG, &order, attempt(2, 2)).await.unwrap();
    assert_eq!((found.records.len(), found.replayed), (1, false));
    assert_eq!(stored(&*kv, ORG).await.len(), 2);
}

const LIVES: u64 = 10;
/// A million commands.
const LIVES_IN_FULL: u64 = 1_000;
const COMMANDS: u64 = 1_000;
const ORGS: u64 = 20;

/// Bounds: 10 lives of 1,000 commands by 20 callers of two processes to 20 organisations.
#[tokio::test(start_paused = true)]
async fn t2_every_command_is_applied_once_on_a_hostile_store() {
    live(LIVES).await;
}

#[tokio::test(start_paused = true)]
#[ignore = "T2 in full"]
async fn t2_a_million_commands_are_applied_once_each() {
    live(LIVES_IN_FULL).await;
}

async fn live(lives: u64) {
    for seed in 0..lives {
        entropy::seed_this_thread(seed);
        let hostile = Arc::new(Hostile::default());
        let kv: Arc<dyn Kv> = Arc::<Hostile>::clone(&hostile);
        let executors = [executor(&kv), executor(&kv)];
        for org in 1..=ORGS {
            let order = create(1);
            let created = executors[0].organisation(OrgId(org.into()), &order, attempt(0, 0));
            created.await.unwrap();
        }
        hostile.set_failing(true);
        let callers = (0..20).map(|caller| {
            let mine = (0..COMMANDS).filter(move |command| command % 20 == caller);
            let executors = &executors;
            async move {
                let mut answers = Vec::new();
                for command in mine {
                    answers.push(insist(executors, command, seed).await);
                }
                answers
            }
        });
        let answers: Vec<_> = join_all(callers).await.into_iter().flatten().collect();
        hostile.set_failing(false);
        hostile.land_all().await;
        let mut applied = Vec::new();
        for org in 1..=ORGS {
            let org = OrgId(org.into());
            let records = stored(&*kv, org).await;
            for executor in &executors {
                let seq = executor.streams().organisation(org, |state| state.head.seq).await;
                assert_eq!(seq, Ok(u64::try_from(records.len()).unwrap()), "seed {seed}");
            }
            applied.extend(records.into_iter().skip(1));
        }
        for records in answers {
            assert!(records.iter().all(|record| applied.contains(record)), "seed {seed}");
        }
        let mut commands: Vec<CommandId> = applied.iter().map(|record| record.command).collect();
        commands.sort_unstable();
        let expected = (0..COMMANDS).map(|command| CommandId(u128::from(command) + 100));
        assert_eq!(commands, expected.collect::<Vec<_>>(), "seed {seed}: each once");
    }
}

/// Sends a command until it is answered, as a client does: again to any process, in a new request.
async fn insist(executors: &[Executor], command: u64, seed: u64) -> Vec<Record> {
    let org = OrgId(u128::from(command % ORGS) + 1);
    let order = rename(command + 100, command + 100);
    for maker in 1..1_000 {
        let executor = &executors[usize::try_from(entropy::below(2)).unwrap()];
        match executor.organisation(org, &order, attempt(1, maker)).await {
            Ok(executed) => {
                assert_eq!(executed.records.len(), 1, "seed {seed}: command {command}");
                return executed.records;
            }
            Err(ExecuteError::Store(_)) => {}
            Err(other) => panic!("seed {seed}: {other}"),
        }
    }
    panic!("seed {seed}: command {command} was never answered");
}

#[tokio::test(start_paused = true)]
async fn events_are_said_to_stand_where_the_feed_has_them() {
    let kv = engines::fresh();
    let executor = executor(&kv);
    executor.organisation(ORG, &create(1), attempt(1, 1)).await.unwrap();
    executor.organisation(OrgId(8), &create(1), attempt(3, 1)).await.unwrap();
    let renamed = executor.organisation(ORG, &rename(2, 2), attempt(2, 2)).await.unwrap();
    // One commit of two events.
    let snapshot = kv.snapshot().await.unwrap();
    let head = log::head(&*snapshot, ORG).await.unwrap();
    let again = |seq| Record { seq, ..renamed.records[0].clone() };
    let writes = log::append(head, &[again(3), again(4)]).unwrap().writes;
    let (read_at, unchanged) = (snapshot.version(), Vec::new());
    kv.commit(Batch { read_at, unchanged, writes }).await.unwrap();

    let snapshot = kv.snapshot().await.unwrap();
    let feed = log::feed(&*snapshot, Position(0), 100).await.unwrap().into_iter();
    let own = feed.filter(|placed| placed.logged.org == ORG);
    let mut feed: BTreeMap<_, _> = own.map(|it| (it.logged.seq, it.position)).collect();
    assert_eq!(feed.len(), 4);
    assert_eq!(log::positions(&*snapshot, ORG, 0, 4).await.unwrap(), feed);
    feed.retain(|seq, _| *seq == 4);
    assert_eq!(log::positions(&*snapshot, ORG, 3, 4).await.unwrap(), feed);
}
