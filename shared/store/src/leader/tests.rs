//! Two who want one role, on a clock that the test owns.

use turnpike_domain::id::Position;
use turnpike_domain::time::Timestamp;
use turnpike_runtime::clock::{Clock, PausedClock};

use super::*;
use crate::engines;
use crate::follower::Follower;
use crate::hostile::Hostile;
use crate::kv::{BoxFuture, Committed, Entry, ReadError, Scan};

/// The longest a candidate needs beyond the stillness itself: one look more.
const LOOK_MORE_MS: u64 = LOOK_MS + LOOK_MS / 5;

fn role(kv: &Arc<dyn Kv>, clock: &PausedClock) -> Role {
    Role::new(Arc::clone(kv), Arc::new(clock.clone()), "relay")
}

fn ground() -> (Arc<dyn Kv>, PausedClock) {
    (engines::fresh(), PausedClock::new(Timestamp(0)))
}

/// What an owner writes.
fn work(term: &Term, read_at: Version) -> Batch {
    let writes = vec![Write::Put { key: Bytes::from_static(b"work"), value: Bytes::new() }];
    Batch { read_at, unchanged: vec![term.guard()], writes }
}

#[tokio::test(start_paused = true)]
async fn of_two_candidates_one_wins_and_the_other_waits_as_long_as_it_renews() {
    let (kv, clock) = ground();
    let (one, two) = (role(&kv, &clock), role(&kv, &clock));
    let first = tokio::select! {
        biased;
        term = one.win() => term.unwrap(),
        term = two.win() => term.unwrap(),
    };
    assert_eq!(first.fence(), 1);
    tokio::select! {
        error = first.keep() => panic!("{error}"),
        _ = two.win() => panic!("two owners"),
        () = clock.sleep(60_000) => {}
    }
    assert!(first.may_answer());
}

#[tokio::test(start_paused = true)]
async fn a_silent_owner_is_replaced_and_can_write_no_more() {
    let (kv, clock) = ground();
    let first = role(&kv, &clock).win().await.unwrap();
    let before = kv.snapshot().await.unwrap();
    first.check(&*before).await.unwrap();
    let successor = role(&kv, &clock);
    let watching = successor.win();
    tokio::pin!(watching);
    // Nobody answers between the last moment of the old owner and the first of the new one.
    tokio::select! {
        biased;
        _ = &mut watching => panic!("too early"),
        () = clock.sleep(ANSWER_MS) => {}
    }
    assert!(!first.may_answer());
    let second = watching.await.unwrap();
    assert!((TAKE_OVER_MS..=TAKE_OVER_MS + LOOK_MORE_MS).contains(&clock.boot_ms()));
    assert!(second.fence() > first.fence() && second.may_answer());

    let late = kv.commit(work(&first, before.version())).await;
    assert_eq!(late, Err(CommitError::Conflict));
    let now = kv.snapshot().await.unwrap();
    assert_eq!(first.check(&*now).await, Err(StoreError::Fenced));
    assert_eq!(first.renew().await, Err(StoreError::Fenced));
    assert_eq!(first.keep().await, StoreError::Fenced);
    second.check(&*now).await.unwrap();
    kv.commit(work(&second, now.version())).await.unwrap();
    second.renew().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn who_resigns_is_replaced_at_once_and_answers_no_more() {
    let (kv, clock) = ground();
    let first = role(&kv, &clock).win().await.unwrap();
    assert!(first.may_answer());
    first.resign().await;
    assert!(!first.may_answer());
    let second = role(&kv, &clock).win().await.unwrap();
    assert_eq!((second.fence(), clock.boot_ms()), (2, 0));
    // Its resignation does not touch the successor.
    first.resign().await;
    let third = role(&kv, &clock);
    tokio::select! {
        error = second.keep() => panic!("{error}"),
        _ = third.win() => panic!("two owners"),
        () = clock.sleep(20_000) => {}
    }
}

#[tokio::test(start_paused = true)]
async fn an_owner_whose_store_fails_stops_answering() {
    let (kv, clock) = ground();
    let term = role(&kv, &clock).win().await.unwrap();
    clock.sleep(ANSWER_MS - 1).await;
    assert!(term.may_answer());
    clock.sleep(1).await;
    assert!(!term.may_answer());
    term.renew().await.unwrap();
    assert!(term.may_answer());
}

#[tokio::test(start_paused = true)]
async fn who_was_not_told_that_it_won_waits_like_any_other() {
    let hostile = Arc::new(Hostile::default());
    let kv: Arc<dyn Kv> = Arc::<Hostile>::clone(&hostile);
    let clock = PausedClock::new(Timestamp(0));
    hostile.lose_next();
    let candidate = role(&kv, &clock);
    // The lost commit, and the failure to look for it.
    assert!(candidate.win().await.is_err());
    hostile.land_all().await;
    let term = candidate.win().await.unwrap();
    assert_eq!(term.fence(), 2);
    assert!(clock.boot_ms() >= TAKE_OVER_MS);
}

#[tokio::test(start_paused = true)]
async fn a_conflict_without_a_successor_costs_no_role() {
    let hostile = Arc::new(Hostile::default());
    let kv: Arc<dyn Kv> = Arc::<Hostile>::clone(&hostile);
    let clock = PausedClock::new(Timestamp(0));
    let term = role(&kv, &clock).win().await.unwrap();
    let follower = Follower::new(Arc::clone(&kv), "relay");
    hostile.set_failing(true);
    for place in 0..1_000 {
        assert_ne!(term.renew().await, Err(StoreError::Fenced));
        assert_ne!(follower.save(Position(place), &term).await, Err(StoreError::Fenced));
    }
}

#[tokio::test(start_paused = true)]
async fn a_follower_keeps_its_place_until_it_is_fenced() {
    let (kv, clock) = ground();
    let follower = Follower::new(Arc::clone(&kv), "relay");
    assert_eq!(follower.place().await, Ok(Position(0)));
    let first = role(&kv, &clock).win().await.unwrap();
    follower.save(Position(7), &first).await.unwrap();
    assert_eq!(follower.place().await, Ok(Position(7)));
    assert_eq!(Follower::new(Arc::clone(&kv), "another").place().await, Ok(Position(0)));
    first.resign().await;
    let second = role(&kv, &clock).win().await.unwrap();
    assert_eq!(follower.save(Position(8), &first).await, Err(StoreError::Fenced));
    assert_eq!(follower.place().await, Ok(Position(7)));
    follower.save(Position(9), &second).await.unwrap();
    assert_eq!(follower.place().await, Ok(Position(9)));
}

#[tokio::test(start_paused = true)]
async fn terms_renewed_together_are_kept_and_the_lost_are_named() {
    let (kv, clock) = ground();
    let role = |name| Role::new(Arc::clone(&kv), Arc::new(clock.clone()), name);
    let win = async |name| Arc::new(role(name).win().await.unwrap());
    let terms = [win("a").await, win("b").await, win("c").await];
    let rival = role("b");
    let keep = async {
        for _ in 0..20 {
            clock.sleep(RENEW_MS).await;
            assert!(renew_all(&terms).await.unwrap().is_empty());
        }
    };
    tokio::select! {
        _ = rival.win() => panic!("a renewed term was taken over"),
        () = keep => {}
    }
    assert!(terms.iter().all(|term| term.may_answer()));

    let others = [Arc::clone(&terms[0]), Arc::clone(&terms[2])];
    let keep = async {
        loop {
            clock.sleep(RENEW_MS).await;
            renew_all(&others).await.unwrap();
        }
    };
    let taken = tokio::select! {
        taken = rival.win() => taken.unwrap(),
        () = keep => unreachable!(),
    };
    let lost = renew_all(&terms).await.unwrap();
    assert!(lost.len() == 1 && Arc::ptr_eq(&lost[0], &terms[1]));
    assert!(taken.may_answer() && !terms[1].may_answer() && terms[2].may_answer());
    assert!(renew_all(&[]).await.unwrap().is_empty());
}

/// A store of which one row cannot be read, in all of its moments or in one of them.
struct Unreadable<T: ?Sized> {
    key: Bytes,
    below: Arc<T>,
}

impl Kv for Unreadable<dyn Kv> {
    fn snapshot(&self) -> BoxFuture<'_, Result<Arc<dyn Snapshot>, ReadError>> {
        Box::pin(async move {
            let (key, below) = (self.key.clone(), self.below.snapshot().await?);
            Ok(Arc::new(Unreadable { key, below }) as Arc<dyn Snapshot>)
        })
    }

    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<Committed, CommitError>> {
        self.below.commit(batch)
    }

    fn watch(&self, key: Bytes) -> BoxFuture<'static, ()> {
        self.below.watch(key)
    }
}

impl Snapshot for Unreadable<dyn Snapshot> {
    fn version(&self) -> Version {
        self.below.version()
    }

    fn get<'a>(&'a self, key: &'a [u8]) -> BoxFuture<'a, Result<Option<Bytes>, ReadError>> {
        if key == self.key {
            return Box::pin(std::future::ready(Err(ReadError::TooOld)));
        }
        self.below.get(key)
    }

    fn scan<'a>(&'a self, scan: Scan) -> BoxFuture<'a, Result<Vec<Entry>, ReadError>> {
        self.below.scan(scan)
    }
}

/// Found by running a house on a store that failed one read in thirty: of 32 terms one could not be
/// read nearly each second, none was renewed, and all were lost.
#[tokio::test(start_paused = true)]
async fn a_term_that_cannot_be_read_costs_the_others_nothing() {
    let (kv, clock) = ground();
    let sick = Unreadable { key: keyspace::fence("b"), below: Arc::clone(&kv) };
    let sick: Arc<dyn Kv> = Arc::new(sick);
    let win = async |name| Role::new(Arc::clone(&kv), Arc::new(clock.clone()), name).win().await;
    let mut terms = Vec::new();
    for name in ["a", "b"] {
        let won = win(name).await.unwrap();
        let role = Role { kv: Arc::clone(&sick), ..won.role.clone() };
        terms.push(Arc::new(Term { role, ..won }));
    }
    clock.sleep(ANSWER_MS - 1).await;
    assert!(renew_all(&terms).await.unwrap().is_empty());
    clock.sleep(1).await;
    assert_eq!((terms[0].may_answer(), terms[1].may_answer()), (true, false));
    let alone = renew_all(&terms[1..]).await;
    assert!(matches!(alone, Err(StoreError::Read(ReadError::TooOld))));
}
