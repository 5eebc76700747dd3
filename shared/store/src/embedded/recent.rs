//! Who wrote which key last: what a batch's guards are checked against.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;

use crate::kv::Batch;

/// Bytes of recent writes that are kept. At the fastest booking planned (100,000 rows a second)
/// this is about four seconds, as FoundationDB keeps five.
pub(super) const HISTORY_BYTES: usize = 64 << 20;
/// What a write costs beyond its key: two map slots, two handles and the allocation.
const ENTRY_BYTES: usize = 128;

/// The writes since the horizon.
pub(super) struct Recent {
    newest: u64,
    /// Every write after this version is known.
    horizon: u64,
    last: HashMap<Bytes, u64>,
    /// The same, oldest first; a key that was written again stands in it twice.
    order: VecDeque<(u64, Bytes)>,
    bytes: usize,
    limit_bytes: usize,
}

impl Recent {
    /// Nothing is known about what was written up to `newest`.
    pub(super) fn new(newest: u64, limit_bytes: usize) -> Self {
        Self {
            newest,
            horizon: newest,
            last: HashMap::new(),
            order: VecDeque::new(),
            bytes: 0,
            limit_bytes,
        }
    }

    pub(super) fn newest(&self) -> u64 {
        self.newest
    }

    pub(super) fn horizon(&self) -> u64 {
        self.horizon
    }

    /// Whether a guarded key was written after the batch's snapshot, or nobody can tell. A version
    /// from the future belongs to another store and cannot be judged either.
    pub(super) fn conflicts(&self, batch: &Batch) -> bool {
        if batch.unchanged.is_empty() {
            return false;
        }
        let read_at = batch.read_at.0;
        if read_at < self.horizon || read_at > self.newest {
            return true;
        }
        batch.unchanged.iter().any(|key| self.last.get(key).is_some_and(|last| *last > read_at))
    }

    /// Begins the next commit and returns its number.
    pub(super) fn begin(&mut self) -> u64 {
        self.newest = self.newest.saturating_add(1);
        self.newest
    }

    /// Notes that the newest commit wrote `key`.
    pub(super) fn record(&mut self, key: &[u8]) {
        // A copy, because the caller's key may be a slice that keeps a whole request alive.
        let key = Bytes::copy_from_slice(key);
        self.bytes = self.bytes.saturating_add(cost(&key));
        self.last.insert(key.clone(), self.newest);
        self.order.push_back((self.newest, key));
    }

    /// Forgets the oldest writes beyond the limit and moves the horizon behind them.
    pub(super) fn trim(&mut self) {
        while self.bytes > self.limit_bytes {
            let Some((version, key)) = self.order.pop_front() else { return };
            self.bytes = self.bytes.saturating_sub(cost(&key));
            self.horizon = version;
            if self.last.get(&key) == Some(&version) {
                self.last.remove(&key);
            }
        }
    }
}

fn cost(key: &Bytes) -> usize {
    key.len().saturating_add(ENTRY_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kv::Version;

    fn guard(read_at: u64, key: &'static [u8]) -> Batch {
        let unchanged = vec![Bytes::from_static(key)];
        Batch { read_at: Version(read_at), unchanged, writes: vec![] }
    }

    #[test]
    fn what_was_written_before_the_start_is_too_old_to_tell() {
        let recent = Recent::new(7, 10_000);
        assert!(recent.conflicts(&guard(6, b"a")));
        assert!(!recent.conflicts(&guard(7, b"a")));
        assert!(recent.conflicts(&guard(8, b"a")));
    }

    #[test]
    fn the_horizon_follows_what_is_forgotten() {
        let mut recent = Recent::new(0, 2 * (ENTRY_BYTES + 1));
        for key in [b"a", b"b", b"a", b"c"] {
            recent.begin();
            recent.record(key);
            recent.trim();
        }
        // Forgotten: a at 1, b at 2. Known: a at 3, c at 4.
        assert_eq!(recent.horizon(), 2);
        assert!(recent.conflicts(&guard(1, b"never")));
        assert!(!recent.conflicts(&guard(2, b"b")));
        assert!(recent.conflicts(&guard(2, b"a")));
        assert!(!recent.conflicts(&guard(3, b"a")));
        assert!(recent.conflicts(&guard(3, b"c")));
        assert_eq!(recent.last.len(), 2);
    }
}
