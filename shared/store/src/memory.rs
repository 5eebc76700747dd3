//! The store as a map in memory: the model that the other engines are compared with.

use std::collections::{BTreeMap, VecDeque};
use std::future::ready;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use crate::kv::{
    Batch, BoxFuture, CommitError, Committed, Entry, Kv, ReadError, Scan, Snapshot, Stamp, Version,
};
use crate::watches::Watches;
use crate::writes;

/// Commits that a snapshot may lie behind: five seconds of the fastest FoundationDB measured, which
/// keeps five seconds.
const HISTORY_COMMITS: u64 = 100_000;

/// A store that forgets everything when it is dropped. Every commit is done when the call returns.
#[derive(Default)]
pub struct Memory {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    watches: Watches,
}

struct State {
    newest: u64,
    /// The oldest version that can still be read and judged.
    horizon: u64,
    history_commits: u64,
    /// For each key what was written at which version, oldest first; `None` is a removal, which
    /// stays until the horizon has passed it, because it conflicts like any other write.
    rows: BTreeMap<Bytes, Vec<(u64, Option<Bytes>)>>,
    /// What was written at which version, for the pruning of `rows`.
    history: VecDeque<(u64, Bytes)>,
}

struct Moment {
    shared: Arc<Shared>,
    version: u64,
}

impl Memory {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty store whose snapshots are too old once `history_commits` commits came after them.
    #[must_use]
    pub fn with_history(history_commits: u64) -> Self {
        let memory = Self::default();
        memory.shared.lock().history_commits = history_commits;
        memory
    }
}

impl Kv for Memory {
    fn snapshot(&self) -> BoxFuture<'_, Result<Arc<dyn Snapshot>, ReadError>> {
        let version = self.shared.lock().newest;
        let moment: Arc<dyn Snapshot> =
            Arc::new(Moment { shared: Arc::clone(&self.shared), version });
        Box::pin(ready(Ok(moment)))
    }

    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<Committed, CommitError>> {
        Box::pin(ready(self.shared.commit(batch)))
    }

    fn watch(&self, key: Bytes) -> BoxFuture<'static, ()> {
        self.shared.watches.watch(key)
    }
}

impl Snapshot for Moment {
    fn version(&self) -> Version {
        Version(self.version)
    }

    fn get<'a>(&'a self, key: &'a [u8]) -> BoxFuture<'a, Result<Option<Bytes>, ReadError>> {
        let state = self.shared.lock();
        Box::pin(ready(state.check_age(self.version).map(|()| state.get(key, self.version))))
    }

    fn scan<'a>(&'a self, scan: Scan) -> BoxFuture<'a, Result<Vec<Entry>, ReadError>> {
        let state = self.shared.lock();
        Box::pin(ready(state.check_age(self.version).map(|()| state.scan(&scan, self.version))))
    }
}

impl Default for State {
    fn default() -> Self {
        Self {
            newest: 0,
            horizon: 0,
            history_commits: HISTORY_COMMITS,
            rows: BTreeMap::new(),
            history: VecDeque::new(),
        }
    }
}

impl Shared {
    fn commit(&self, batch: Batch) -> Result<Committed, CommitError> {
        writes::check(&batch)?;
        let mut state = self.lock();
        if state.conflicts(&batch) {
            return Err(CommitError::Conflict);
        }
        let version = state.newest.saturating_add(1);
        let stamp = Stamp::from_counter(version);
        let mut keys = Vec::with_capacity(batch.writes.len());
        for (key, value) in writes::resolve(batch.writes, stamp) {
            state.write(key.clone(), version, value);
            keys.push(key);
        }
        state.newest = version;
        state.prune();
        drop(state);
        self.watches.wake(keys.iter());
        Ok(Committed { stamp, version: Version(version) })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn conflicts(&self, batch: &Batch) -> bool {
        if batch.unchanged.is_empty() {
            return false;
        }
        let read_at = batch.read_at.0;
        // A version from the future belongs to another store: it cannot be judged either.
        if read_at < self.horizon || read_at > self.newest {
            return true;
        }
        batch.unchanged.iter().any(|key| {
            let last = self.rows.get(key).and_then(|written| written.last());
            last.is_some_and(|(version, _)| *version > read_at)
        })
    }

    fn write(&mut self, key: Bytes, version: u64, value: Option<Bytes>) {
        self.rows.entry(key.clone()).or_default().push((version, value));
        self.history.push_back((version, key));
    }

    /// Moves the horizon and forgets what no snapshot behind it can see.
    fn prune(&mut self) {
        self.horizon = self.newest.saturating_sub(self.history_commits);
        while let Some((version, key)) = self.history.pop_front() {
            if version > self.horizon {
                self.history.push_front((version, key));
                return;
            }
            let Some(written) = self.rows.get_mut(&key) else { continue };
            let seen = written.partition_point(|(version, _)| *version <= self.horizon);
            written.drain(..seen.saturating_sub(1));
            if let [(version, None)] = written.as_slice()
                && *version <= self.horizon
            {
                self.rows.remove(&key);
            }
        }
    }

    fn check_age(&self, version: u64) -> Result<(), ReadError> {
        if version < self.horizon { Err(ReadError::TooOld) } else { Ok(()) }
    }

    fn get(&self, key: &[u8], at: u64) -> Option<Bytes> {
        self.rows.get(key).and_then(|written| value_at(written, at))
    }

    fn scan(&self, scan: &Scan, at: u64) -> Vec<Entry> {
        if scan.begin >= scan.end {
            return Vec::new();
        }
        let visible = self
            .rows
            .range(scan.begin.clone()..scan.end.clone())
            .filter_map(|(key, written)| Some((key.clone(), value_at(written, at)?)));
        if scan.reverse {
            visible.rev().take(scan.limit).collect()
        } else {
            visible.take(scan.limit).collect()
        }
    }
}

fn value_at(written: &[(u64, Option<Bytes>)], at: u64) -> Option<Bytes> {
    written.iter().rev().find(|(version, _)| *version <= at).and_then(|(_, value)| value.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kv::Write;

    #[tokio::test]
    async fn passes_the_conformance_suite() {
        let broken = crate::conformance::check(async || (Arc::new(Memory::new()) as _, ())).await;
        assert_eq!(broken, Vec::<String>::new());
    }

    fn put(key: &'static [u8], read_at: Version) -> Batch {
        let key = Bytes::from_static(key);
        Batch {
            read_at,
            unchanged: vec![key.clone()],
            writes: vec![Write::Put { key, value: Bytes::from_static(b"v") }],
        }
    }

    #[tokio::test]
    async fn history_is_bounded_for_readers_and_writers() {
        let memory = Memory::with_history(3);
        let old = memory.snapshot().await.unwrap();
        for _ in 0..3 {
            memory.commit(put(b"a", memory.snapshot().await.unwrap().version())).await.unwrap();
        }
        assert_eq!(old.get(b"a").await, Ok(None));
        memory.commit(put(b"a", memory.snapshot().await.unwrap().version())).await.unwrap();
        assert_eq!(old.get(b"a").await, Err(ReadError::TooOld));
        assert_eq!(memory.commit(put(b"b", old.version())).await, Err(CommitError::Conflict));
    }

    #[tokio::test]
    async fn removed_keys_leave_nothing_behind_the_horizon() {
        let memory = Memory::with_history(2);
        for _ in 0..10 {
            let key = Bytes::from_static(b"k");
            let value = Bytes::from_static(b"v");
            for write in [Write::Put { key: key.clone(), value }, Write::Delete { key }] {
                let batch = Batch { writes: vec![write], ..Batch::default() };
                memory.commit(batch).await.unwrap();
            }
        }
        for _ in 0..3 {
            memory.commit(Batch::default()).await.unwrap();
        }
        let state = memory.shared.lock();
        assert!(state.rows.is_empty());
        assert!(state.history.is_empty());
    }

    #[tokio::test]
    async fn a_version_of_the_future_is_a_conflict() {
        let memory = Memory::new();
        assert_eq!(memory.commit(put(b"a", Version(7))).await, Err(CommitError::Conflict));
    }
}
