//! A store that keeps the contract of the `Kv` seam in the most hostile way that it allows.
//!
//! # Fault model
//! Injected, each by its own chance: conflicts without cause; lost answers, where the commit is
//! lost too, stands already, or lands up to [`LATE_MS`] later (and may conflict then); slow
//! answers, where the commit stands before or after the wait; snapshots that are too old at their
//! first read; and, for one process at a time, a store that cannot be reached, or is slow
//! throughout.
//!
//! Not injected, because the contract excludes it: snapshots that miss an answered commit, half a
//! commit, a conflict that is overlooked, bytes that change.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::Bytes;
use tokio::sync::oneshot;
use turnpike_domain::id::Position;
use turnpike_runtime::clock::SharedClock;
use turnpike_store::kv::{
    Batch, BoxFuture, CommitError, Committed, Entry, Kv, ReadError, Scan, Snapshot, Version, Write,
};

use crate::chance::{Dice, Fault, Tally};

/// The longest time between a lost answer and its commit: FoundationDB forgets what it could
/// still commit after five seconds, and most are through after far less.
const LATE_MS: u64 = 2_000;
/// The longest wait for an answer.
const SLOW_MS: u64 = 150;
/// The wait before a lost answer is given up.
const GIVE_UP_MS: u64 = 40;

/// Chances in ten thousand.
const CONFLICT: u64 = 150;
const LOST_COMMIT: u64 = 100;
const LOST_ANSWER: u64 = 150;
const LATE_COMMIT: u64 = 100;
const SLOW: u64 = 200;
const OLD: u64 = 60;

/// Sees every commit that stands, in their order.
pub type Tap = Box<dyn Fn(&[Write]) + Send + Sync>;

/// The store behind all ports.
pub struct HostileKv {
    shared: Arc<Shared>,
}

/// The connection of one process to the store.
pub struct Port {
    shared: Arc<Shared>,
    down_until_ms: Arc<AtomicU64>,
    /// How long every snapshot and every commit takes.
    pace_ms: AtomicU64,
}

struct Shared {
    inner: Arc<dyn Kv>,
    clock: SharedClock,
    dice: Dice,
    tally: Tally,
    hostile: AtomicBool,
    /// Commits on their way, by the time at which they land and a number.
    late: Mutex<BTreeMap<(u64, u64), Late>>,
    /// When each version landed.
    landed: Mutex<BTreeMap<u64, u64>>,
    tap: OnceLock<Tap>,
}

struct Late {
    batch: Batch,
    /// For the caller, if it still waits.
    answer: Option<oneshot::Sender<Result<Committed, CommitError>>>,
}

struct Moment {
    inner: Arc<dyn Snapshot>,
    clock: SharedClock,
    down_until_ms: Arc<AtomicU64>,
    too_old: bool,
}

impl HostileKv {
    /// Stands before `inner`; friendly until [`Self::set_hostile`].
    #[must_use]
    pub fn new(inner: Arc<dyn Kv>, clock: SharedClock, dice: Dice, tally: Tally) -> Self {
        let shared = Shared {
            inner,
            clock,
            dice,
            tally,
            hostile: AtomicBool::new(false),
            late: Mutex::default(),
            landed: Mutex::default(),
            tap: OnceLock::new(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Shows every commit to `tap` from now on; the first tap stays.
    pub fn watch(&self, tap: Tap) {
        drop(self.shared.tap.set(tap));
    }

    /// Whether answers go wrong by chance. What is on its way lands in any case.
    pub fn set_hostile(&self, hostile: bool) {
        self.shared.hostile.store(hostile, Ordering::Relaxed);
    }

    /// A connection for one process.
    #[must_use]
    pub fn port(&self) -> Arc<Port> {
        let (down_until_ms, pace_ms) = (Arc::default(), AtomicU64::default());
        Arc::new(Port { shared: Arc::clone(&self.shared), down_until_ms, pace_ms })
    }

    /// The steady time at which the commit of `position` landed.
    #[must_use]
    pub fn landed_ms(&self, position: Position) -> Option<u64> {
        // The engines in this process count commits in the first eight of the stamp's ten bytes,
        // and a two-byte index follows the stamp.
        let version = u64::try_from(position.0 >> 32).ok()?;
        lock(&self.shared.landed).get(&version).copied()
    }

    /// Commits that have not landed.
    #[must_use]
    pub fn on_their_way(&self) -> usize {
        lock(&self.shared.late).len()
    }
}

impl Port {
    /// Makes the store unreachable from here for `ms`.
    pub fn take_down(&self, ms: u64) {
        self.shared.tally.count(Fault::StoreDown);
        let until_ms = self.shared.clock.boot_ms().saturating_add(ms);
        self.down_until_ms.store(until_ms, Ordering::Relaxed);
    }

    /// Makes the store reachable from here.
    pub fn bring_up(&self) {
        self.down_until_ms.store(0, Ordering::Relaxed);
    }

    /// Every snapshot and every commit takes so long from here, as on a machine with too much to
    /// do.
    pub fn set_pace(&self, ms: u64) {
        self.pace_ms.store(ms, Ordering::Relaxed);
    }

    async fn keep_pace(&self) {
        match self.pace_ms.load(Ordering::Relaxed) {
            0 => {}
            ms => self.shared.clock.sleep(ms).await,
        }
    }

    fn is_down(&self) -> bool {
        self.down_until_ms.load(Ordering::Relaxed) > self.shared.clock.boot_ms()
    }

    async fn commit_or_not(&self, batch: Batch) -> Result<Committed, CommitError> {
        let shared = &self.shared;
        self.keep_pace().await;
        if self.is_down() {
            shared.clock.sleep(shared.dice.below(GIVE_UP_MS)).await;
            return Err(CommitError::Unavailable("on purpose".to_owned()));
        }
        if shared.chance(Fault::Conflict, CONFLICT) {
            return Err(CommitError::Conflict);
        }
        if shared.chance(Fault::LostCommit, LOST_COMMIT) {
            return shared.lose_answer().await;
        }
        if shared.chance(Fault::LateCommit, LATE_COMMIT) {
            batch.check()?;
            shared.send_late(batch, shared.dice.between(1, LATE_MS), None);
            return shared.lose_answer().await;
        }
        if shared.chance(Fault::SlowStore, SLOW) {
            return self.commit_slowly(batch).await;
        }
        let answer = shared.land(batch).await;
        if answer.is_ok() && shared.chance(Fault::LostAnswer, LOST_ANSWER) {
            return shared.lose_answer().await;
        }
        answer
    }

    async fn commit_slowly(&self, batch: Batch) -> Result<Committed, CommitError> {
        let shared = &self.shared;
        let wait_ms = shared.dice.between(1, SLOW_MS);
        if shared.dice.happens(5_000) {
            let answer = shared.land(batch).await;
            shared.clock.sleep(wait_ms).await;
            return answer;
        }
        // It lands even if the caller is dropped while it waits.
        let (answer, answered) = oneshot::channel();
        shared.send_late(batch, wait_ms, Some(answer));
        shared.clock.sleep(wait_ms).await;
        shared.land_due().await;
        answered.await.unwrap_or_else(|_| Err(CommitError::Unknown("on purpose".to_owned())))
    }
}

impl Shared {
    fn chance(&self, fault: Fault, rate: u64) -> bool {
        let happens = self.hostile.load(Ordering::Relaxed) && self.dice.happens(rate);
        if happens {
            self.tally.count(fault);
        }
        happens
    }

    async fn lose_answer<T>(&self) -> Result<T, CommitError> {
        self.clock.sleep(self.dice.below(GIVE_UP_MS)).await;
        Err(CommitError::Unknown("on purpose".to_owned()))
    }

    fn send_late(
        &self,
        batch: Batch,
        wait_ms: u64,
        answer: Option<oneshot::Sender<Result<Committed, CommitError>>>,
    ) {
        let due_ms = self.clock.boot_ms().saturating_add(wait_ms);
        lock(&self.late).insert((due_ms, self.dice.next()), Late { batch, answer });
    }

    /// Lands what is due. Nobody looks between two calls, so that a commit that lands at the next
    /// call has landed in time.
    async fn land_due(&self) {
        loop {
            let now_ms = self.clock.boot_ms();
            let due = {
                let mut late = lock(&self.late);
                match late.first_entry() {
                    Some(first) if first.key().0 <= now_ms => first.remove(),
                    Some(_) | None => return,
                }
            };
            let answer = self.land_at(due.batch, now_ms).await;
            if let Some(waiting) = due.answer {
                // The caller may be gone: nobody is left to tell.
                drop(waiting.send(answer));
            }
        }
    }

    async fn land(&self, batch: Batch) -> Result<Committed, CommitError> {
        self.land_due().await;
        self.land_at(batch, self.clock.boot_ms()).await
    }

    async fn land_at(&self, batch: Batch, now_ms: u64) -> Result<Committed, CommitError> {
        let writes = self.tap.get().map(|_| batch.writes.clone());
        let committed = self.inner.commit(batch).await?;
        if let (Some(tap), Some(writes)) = (self.tap.get(), writes) {
            tap(&writes);
        }
        lock(&self.landed).insert(committed.version.0, now_ms);
        Ok(committed)
    }
}

impl Kv for Port {
    fn snapshot(&self) -> BoxFuture<'_, Result<Arc<dyn Snapshot>, ReadError>> {
        Box::pin(async move {
            let shared = &self.shared;
            self.keep_pace().await;
            if shared.chance(Fault::SlowStore, SLOW) {
                shared.clock.sleep(shared.dice.between(1, SLOW_MS)).await;
            }
            if self.is_down() {
                shared.clock.sleep(shared.dice.below(GIVE_UP_MS)).await;
                return Err(ReadError::Unavailable("on purpose".to_owned()));
            }
            shared.land_due().await;
            let moment = Moment {
                inner: shared.inner.snapshot().await?,
                clock: Arc::clone(&shared.clock),
                down_until_ms: Arc::clone(&self.down_until_ms),
                too_old: shared.chance(Fault::OldSnapshot, OLD),
            };
            Ok(Arc::new(moment) as Arc<dyn Snapshot>)
        })
    }

    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<Committed, CommitError>> {
        Box::pin(self.commit_or_not(batch))
    }

    fn watch(&self, key: Bytes) -> BoxFuture<'static, ()> {
        self.shared.inner.watch(key)
    }
}

impl Moment {
    fn check(&self) -> Result<(), ReadError> {
        if self.down_until_ms.load(Ordering::Relaxed) > self.clock.boot_ms() {
            return Err(ReadError::Unavailable("on purpose".to_owned()));
        }
        if self.too_old { Err(ReadError::TooOld) } else { Ok(()) }
    }
}

impl Snapshot for Moment {
    fn version(&self) -> Version {
        self.inner.version()
    }

    fn get<'a>(&'a self, key: &'a [u8]) -> BoxFuture<'a, Result<Option<Bytes>, ReadError>> {
        Box::pin(async move {
            self.check()?;
            self.inner.get(key).await
        })
    }

    fn scan<'a>(&'a self, scan: Scan) -> BoxFuture<'a, Result<Vec<Entry>, ReadError>> {
        Box::pin(async move {
            self.check()?;
            self.inner.scan(scan).await
        })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use turnpike_domain::time::Timestamp;
    use turnpike_runtime::clock::{Clock as _, PausedClock};
    use turnpike_store::kv::Write;
    use turnpike_store::memory::Memory;

    use super::*;

    fn store(seed: u64) -> (HostileKv, Tally, PausedClock) {
        let (clock, tally) = (PausedClock::new(Timestamp(0)), Tally::default());
        let shared: SharedClock = Arc::new(clock.clone());
        let kv = HostileKv::new(Arc::new(Memory::new()), shared, Dice::new(seed), tally.clone());
        (kv, tally, clock)
    }

    fn add(read_at: Version, guarded: bool) -> Batch {
        let key = Bytes::from_static(b"counter");
        let prefix = Bytes::from_static(b"log");
        let writes = vec![
            Write::Put { key: key.clone(), value: Bytes::new() },
            Write::Append { prefix, value: Bytes::new() },
        ];
        Batch { read_at, unchanged: if guarded { vec![key] } else { Vec::new() }, writes }
    }

    async fn appended(kv: &dyn Kv) -> usize {
        let (begin, end) = (Bytes::from_static(b"log"), Bytes::from_static(b"loh"));
        let scan = Scan { begin, end, limit: 10_000, reverse: false };
        kv.snapshot().await.unwrap().scan(scan).await.unwrap().len()
    }

    #[tokio::test(start_paused = true)]
    async fn passes_the_conformance_suite_while_it_is_friendly() {
        let broken = turnpike_store::conformance::check(async || {
            let (kv, ..) = store(1);
            (kv.port() as Arc<dyn Kv>, kv)
        });
        assert_eq!(broken.await, Vec::<String>::new());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_answered_is_true_and_every_fault_of_a_store_comes() {
        let (kv, tally, clock) = store(2);
        kv.set_hostile(true);
        let port = kv.port();
        let (mut sure, mut unsure) = (0, 0);
        for _ in 0..3_000 {
            let Ok(snapshot) = port.snapshot().await else { continue };
            match port.commit(add(snapshot.version(), true)).await {
                Ok(_) => sure += 1,
                Err(CommitError::Unknown(_)) => unsure += 1,
                Err(CommitError::Conflict) => {}
                Err(error) => panic!("{error}"),
            }
        }
        kv.set_hostile(false);
        clock.sleep(LATE_MS).await;
        let stands = appended(&*port).await;
        assert!(sure <= stands && stands <= sure + unsure, "{sure} {stands} {unsure}");
        assert_eq!(kv.on_their_way(), 0);
        let faults = tally.counts();
        let of_store = faults.iter().filter(|(fault, _)| fault.name().starts_with("store: "));
        for (fault, count) in of_store.filter(|(fault, _)| *fault != Fault::StoreDown) {
            assert!(*count > 5, "{fault}: {count}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_late_commit_lands_without_its_caller_unless_something_came_first() {
        let (kv, _, clock) = store(3);
        let port = kv.port();
        let before = port.snapshot().await.unwrap().version();
        kv.shared.send_late(add(before, true), 100, None);
        clock.sleep(99).await;
        assert_eq!(appended(&*port).await, 0);
        clock.sleep(1).await;
        assert_eq!(appended(&*port).await, 1);
        kv.shared.send_late(add(before, true), 100, None);
        clock.sleep(200).await;
        assert_eq!(appended(&*port).await, 1, "its guard had moved");
    }

    #[tokio::test(start_paused = true)]
    async fn one_process_loses_the_store_and_its_neighbour_does_not() {
        let (kv, tally, clock) = store(4);
        let (one, other) = (kv.port(), kv.port());
        let early = one.snapshot().await.unwrap();
        one.take_down(1_000);
        assert!(matches!(early.get(b"a").await, Err(ReadError::Unavailable(_))));
        assert!(matches!(one.snapshot().await, Err(ReadError::Unavailable(_))));
        let refused = one.commit(add(Version(0), false)).await;
        assert!(matches!(refused, Err(CommitError::Unavailable(_))));
        let stamp = other.commit(add(Version(0), false)).await.unwrap();
        clock.sleep(1_000).await;
        assert_eq!(appended(&*one).await, 1);
        let position = Position(u128::from(stamp.version.0) << 32);
        assert!(kv.landed_ms(position).is_some());
        assert_eq!(tally.total(), 1);
    }
}
