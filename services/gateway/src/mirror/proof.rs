//! Events that are applied and that no signed word of the control plane has named yet.
//!
//! Who can write to the bus can continue a chain: a hash proves what came before an event, not who
//! made it. An event is applied at once all the same, for a revocation must not wait; but each must
//! be named by a heartbeat soon after, or by the heads that the control plane is asked for then.

use std::collections::{BTreeMap, VecDeque};

use turnpike_domain::id::OrgId;
use turnpike_domain::state::Head;
use turnpike_wire::heartbeat::MovedHead;
use turnpike_wire::record::Hash;

/// How long an event may go unnamed before the heads are asked for: twice the time between
/// heartbeats.
pub(super) const UNNAMED_MS: u64 = 2_000;
/// Unnamed events of one stream that are kept: those of a bulk command and of some seconds. Of
/// those before them nothing is known but that they were applied.
const MAX_UNNAMED: usize = 20_000;

/// The events of all streams that nobody has vouched for.
#[derive(Default)]
pub(super) struct Unnamed {
    streams: BTreeMap<OrgId, VecDeque<Applied>>,
}

struct Applied {
    seq: u64,
    hash: Hash,
    /// Steady time when it was applied.
    at_ms: u64,
    /// How often the heads had been asked for then.
    asked: u64,
}

/// What a signed head says of a stream as it is mirrored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// Nothing against it.
    Good,
    /// Events were applied that the control plane has not decided.
    Forged,
    /// What it had named before is gone, or is something else: its store went back.
    WentBack,
}

impl Unnamed {
    /// An event was applied.
    pub(super) fn applied(&mut self, org: OrgId, head: Head, at_ms: u64, asked: u64) {
        let events = self.streams.entry(org).or_default();
        if events.len() >= MAX_UNNAMED {
            events.pop_front();
        }
        events.push_back(Applied { seq: head.seq, hash: head.hash, at_ms, asked });
    }

    /// The stream was taken as a whole, from the control plane itself.
    pub(super) fn forget(&mut self, org: OrgId) {
        self.streams.remove(&org);
    }

    /// Whether an event has gone unnamed for too long.
    pub(super) fn waits(&self, now_ms: u64) -> bool {
        let oldest = self.streams.values().filter_map(VecDeque::front);
        oldest.map(|event| event.at_ms).any(|at_ms| now_ms.saturating_sub(at_ms) >= UNNAMED_MS)
    }

    /// A heartbeat names a head: all up to it is vouched for, or what stands in its place is not
    /// the control plane's. What is behind it may be named by the next one.
    pub(super) fn named(&mut self, head: &MovedHead) -> Word {
        let Some(events) = self.streams.get_mut(&head.org) else { return Word::Good };
        let other = |event: &Applied| event.seq == head.seq && event.hash != head.hash;
        if events.iter().any(other) {
            return Word::Forged;
        }
        while events.pop_front_if(|event| event.seq <= head.seq).is_some() {}
        if events.is_empty() {
            self.streams.remove(&head.org);
        }
        Word::Good
    }

    /// Up to which seq a stream that is mirrored up to `seq` was vouched for.
    pub(super) fn proven(&self, org: OrgId, seq: u64) -> u64 {
        let first = self.streams.get(&org).and_then(VecDeque::front);
        first.map_or(seq, |first| first.seq.saturating_sub(1))
    }

    /// The control plane's answer to the question `asked`, of a stream that is mirrored up to
    /// `ours` and was `proven` when it was asked: it knows every event that was applied by then.
    pub(super) fn answered(
        &mut self,
        (ours, theirs): (Head, &MovedHead),
        (asked, proven): (u64, u64),
        now_ms: u64,
    ) -> Word {
        let contradicts = ours.seq == theirs.seq && ours.hash != theirs.hash;
        if theirs.seq < proven || (contradicts && proven == ours.seq) {
            return Word::WentBack;
        }
        // A replica that answers may be some milliseconds behind the one whose event it was.
        let is_due = |event: &&Applied| {
            event.asked < asked && now_ms.saturating_sub(event.at_ms) >= UNNAMED_MS
        };
        let events = self.streams.get(&theirs.org);
        let due = events.and_then(|events| events.iter().rev().find(is_due));
        if due.is_some_and(|event| event.seq > theirs.seq) {
            return Word::Forged;
        }
        self.named(theirs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORG: OrgId = OrgId(1);

    fn head(seq: u64, hash: u8) -> Head {
        Head { seq, hash: [hash; 32], ..Head::default() }
    }

    fn told(seq: u64, hash: u8) -> MovedHead {
        MovedHead { org: ORG, seq, hash: [hash; 32] }
    }

    /// Events 4, 5 and 6 are applied, the last of them after the first question.
    fn three() -> Unnamed {
        let mut unnamed = Unnamed::default();
        unnamed.applied(ORG, head(4, 4), 100, 0);
        unnamed.applied(ORG, head(5, 5), 200, 0);
        unnamed.applied(ORG, head(6, 6), 300, 1);
        unnamed
    }

    #[test]
    fn a_heartbeat_vouches_for_what_it_names_and_all_before_it() {
        let mut unnamed = three();
        assert!(!unnamed.waits(99 + UNNAMED_MS) && unnamed.waits(100 + UNNAMED_MS));
        assert_eq!(unnamed.named(&told(3, 3)), Word::Good);
        assert_eq!(unnamed.named(&told(5, 5)), Word::Good);
        assert!(!unnamed.waits(299 + UNNAMED_MS) && unnamed.waits(300 + UNNAMED_MS));
        assert_eq!(unnamed.named(&told(9, 9)), Word::Good);
        assert!(!unnamed.waits(u64::MAX));
        assert_eq!(three().named(&told(5, 9)), Word::Forged);
    }

    #[test]
    fn the_heads_tell_what_was_forged_and_what_is_gone() {
        let late_ms = 300 + UNNAMED_MS;
        for (theirs, asked, now_ms, expected) in [
            (told(6, 6), 2, late_ms, Word::Good),
            (told(7, 7), 2, late_ms, Word::Good),
            // Applied after the question, or too lately.
            (told(5, 5), 1, late_ms, Word::Good),
            (told(3, 3), 2, 99 + UNNAMED_MS, Word::Good),
            (told(5, 5), 2, late_ms, Word::Forged),
            (told(3, 3), 1, late_ms, Word::Forged),
            (told(6, 9), 2, late_ms, Word::Forged),
            (told(2, 2), 2, 0, Word::WentBack),
        ] {
            let word = three().answered((head(6, 6), &theirs), (asked, 3), now_ms);
            assert_eq!(word, expected, "{theirs:?} {asked} {now_ms}");
        }
        let mut proven = Unnamed::default();
        for (theirs, expected) in [
            (told(6, 6), Word::Good),
            (told(8, 8), Word::Good),
            (told(6, 9), Word::WentBack),
            (told(5, 5), Word::WentBack),
        ] {
            let word = proven.answered((head(6, 6), &theirs), (1, 6), 0);
            assert_eq!(word, expected, "{theirs:?}");
        }
        // What was named since the question is not gone because the answer does not know it yet.
        assert_eq!(proven.answered((head(6, 6), &told(5, 5)), (1, 5), 0), Word::Good);
        assert_eq!((three().proven(ORG, 6), proven.proven(ORG, 6)), (3, 6));
    }
}
