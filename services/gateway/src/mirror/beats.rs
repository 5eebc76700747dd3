//! Heartbeats: up to when the mirror is known to be complete, and which streams have lost events.
//!
//! The mirror is fresh up to a heartbeat with none before it missing, but for the streams whose
//! heads it does not match. After a missing one the heads of all streams are asked for; so are they
//! at the beginning.

use std::collections::BTreeMap;

use turnpike_domain::id::{OrgId, Position};
use turnpike_domain::time::Timestamp;
use turnpike_wire::heartbeat::{Heartbeat, MovedHead};

use super::world::World;

/// How long events may come after the heartbeat that speaks of them, before they count as lost.
const PATIENCE_MS: u64 = 500;

/// What heartbeats have said.
#[derive(Default)]
pub(super) struct Beats {
    last: u64,
    /// A heartbeat before the last one is missing; so often the heads had been asked for then.
    missing: Option<u64>,
    /// The last heartbeat, until it is known that none before it is missing.
    waiting: Option<Fresh>,
    /// Streams whose events have not come.
    behind: BTreeMap<OrgId, Behind>,
    /// How often the heads were asked for.
    asked: u64,
}

struct Behind {
    head: MovedHead,
    /// Steady time since when that is known.
    since_ms: u64,
}

/// Everything is known up to here, but for the streams that are behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fresh {
    pub(super) at: Timestamp,
    pub(super) position: Position,
}

impl Beats {
    /// Takes a heartbeat. False if it is a repetition.
    pub(super) fn hear(&mut self, world: &World, beat: &Heartbeat, now_ms: u64) -> bool {
        if beat.number <= self.last {
            return false;
        }
        if self.last == 0 || beat.previous != self.last {
            self.mistrust();
        }
        self.last = beat.number;
        self.waiting = Some(Fresh { at: beat.at, position: beat.position });
        for head in &beat.heads {
            self.expect(world, *head, now_ms);
        }
        true
    }

    /// Heartbeats may have been missed, and events with them.
    pub(super) fn mistrust(&mut self) {
        self.missing = Some(self.asked);
    }

    /// Whether the heads must be asked for.
    pub(super) const fn needs_heads(&self) -> bool {
        self.missing.is_some()
    }

    /// The heads are asked for now; the answer is for [`Self::heads`] with this number.
    pub(super) fn ask(&mut self) -> u64 {
        self.asked += 1;
        self.asked
    }

    /// Takes the heads of all streams, in answer to the question `asked`. It speaks for every
    /// heartbeat that was heard before the question.
    pub(super) fn heads(&mut self, world: &World, heads: &[MovedHead], asked: u64, now_ms: u64) {
        for head in heads {
            self.expect(world, *head, now_ms);
        }
        self.missing.take_if(|before| *before < asked);
    }

    /// Forgets everything: the store began another life.
    pub(super) fn start_again(&mut self) {
        *self = Self { asked: self.asked, ..Self::default() };
    }

    /// Up to when the mirror has become fresh since the last call. The platform's stream binds all:
    /// without it nothing is fresh.
    pub(super) fn settle(&mut self, world: &World) -> Option<Fresh> {
        let (reached, behind) = std::mem::take(&mut self.behind)
            .into_iter()
            .partition(|(_, behind): &(OrgId, Behind)| has_reached(world, &behind.head));
        self.behind = behind;
        for org in BTreeMap::into_keys(reached) {
            world.set_behind(org, false);
        }
        if self.missing.is_some() || self.behind.contains_key(&OrgId::PLATFORM) {
            return None;
        }
        self.waiting.take()
    }

    /// Whether events of the stream are on their way, or lost.
    pub(super) fn is_behind(&self, org: OrgId) -> bool {
        self.behind.contains_key(&org)
    }

    /// Whether events of any stream are on their way, or lost.
    pub(super) fn lacks_something(&self) -> bool {
        !self.behind.is_empty()
    }

    /// Streams whose events are lost: they must be fetched.
    pub(super) fn lost(&self, now_ms: u64) -> Vec<OrgId> {
        let late = |behind: &&Behind| now_ms.saturating_sub(behind.since_ms) >= PATIENCE_MS;
        self.behind.values().filter(late).map(|behind| behind.head.org).collect()
    }

    fn expect(&mut self, world: &World, head: MovedHead, now_ms: u64) {
        if has_reached(world, &head) {
            return;
        }
        world.set_behind(head.org, true);
        let behind = self.behind.entry(head.org).or_insert(Behind { head, since_ms: now_ms });
        if behind.head.seq < head.seq {
            behind.head = head;
        }
        // Another event at this place will not become the right one by waiting.
        if world.head(head.org).seq == head.seq {
            behind.since_ms = 0;
        }
    }
}

/// Whether the mirror is at this head or past it.
fn has_reached(world: &World, head: &MovedHead) -> bool {
    let ours = world.head(head.org);
    ours.seq > head.seq || (ours.seq == head.seq && ours.hash == head.hash)
}
