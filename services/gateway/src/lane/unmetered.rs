//! Requests that were never admitted: which of them get a record of their own in the request log.
//!
//! Whoever is refused asks again at no cost, so their records are bounded: what is metered must not
//! wait for them, on disk, on the bus or in the projector. Beyond the bound, requests of one key
//! that ended in the same way share a record, which is written when the second ends and says how
//! many it stands for.

use std::collections::{BTreeMap, HashMap};

use turnpike_domain::admit::Denial;
use turnpike_domain::id::{KeyId, OrgId};
use turnpike_domain::spend::Spend;
use turnpike_domain::time::SECOND_MS;

/// Records of one key in one second: somebody who tries by hand finds every request, and a program
/// that asks in a loop fills no disk.
pub(super) const KEY_RECORDS: u32 = 10;
/// Records of all keys in one second: a hundredth of what a projector books.
pub(super) const ALL_RECORDS: u32 = 500;
/// Shared records of one second: as many again. What ends in yet another way is only counted.
pub(super) const SHARED_RECORDS: usize = 500;

/// What one second of a core has seen.
#[derive(Default)]
pub(super) struct Unmetered {
    second: u64,
    all: u32,
    by_key: HashMap<KeyId, u32>,
    shared: BTreeMap<End, (OrgId, Spend)>,
}

/// What becomes of a request's record.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is written.
    Own(Box<Spend>),
    /// It is part of another, which is written when the second ends.
    Shared,
    /// It is only counted.
    Counted,
}

/// What requests that share a record have in common.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct End {
    key: KeyId,
    status: u16,
    denial: Option<Denial>,
}

impl Unmetered {
    /// Decides about one record. The second must have been turned.
    pub(super) fn take(&mut self, org: OrgId, record: Spend) -> Fate {
        let of_key = self.by_key.get(&record.key).copied().unwrap_or(0);
        if self.all < ALL_RECORDS && of_key < KEY_RECORDS {
            self.all += 1;
            self.by_key.insert(record.key, of_key + 1);
            return Fate::Own(Box::new(record));
        }
        let end = End { key: record.key, status: record.status, denial: record.denial };
        if let Some((_, shared)) = self.shared.get_mut(&end) {
            shared.repeats = shared.repeats.saturating_add(1);
            return Fate::Shared;
        }
        if self.shared.len() >= SHARED_RECORDS {
            return Fate::Counted;
        }
        self.shared.insert(end, (org, record));
        Fate::Shared
    }

    /// The shared records of the second that is over, if another has begun by the steady `now_ms`.
    pub(super) fn turn(&mut self, now_ms: u64) -> Vec<(OrgId, Spend)> {
        let second = now_ms / SECOND_MS;
        if second == self.second {
            return Vec::new();
        }
        self.second = second;
        self.end()
    }

    /// The shared records of a second that is ended early.
    pub(super) fn end(&mut self) -> Vec<(OrgId, Spend)> {
        self.all = 0;
        self.by_key.clear();
        std::mem::take(&mut self.shared).into_values().collect()
    }
}
