//! Heartbeats: up to when the mirror is known to be complete, and which streams have lost events.
//!
//! The mirror is fresh up to a heartbeat with none before it missing, but for the streams whose
//! heads it does not match. After a missing one the heads of all streams are asked for; so are they
//! at the beginning, and when an event was applied that no heartbeat names.

use std::collections::{BTreeMap, BTreeSet};

use turnpike_domain::id::{OrgId, Position};
use turnpike_domain::time::Timestamp;
use turnpike_wire::heartbeat::{Heartbeat, MovedHead};
use turnpike_wire::record::FIRST_HASH;

use super::proof::{Unnamed, Word};
use super::world::World;

/// How long events may come after the heartbeat that speaks of them, before they count as lost.
const PATIENCE_MS: u64 = 500;

/// A heartbeat that is later than others were by so much may have waited in a queue: a process that
/// was stopped finds all that it missed there, and none of it is news.
const LATE_MS: u64 = 500;

/// How often heartbeats that are later than this make a mirror ask: below what makes it stale, so
/// that one whose heartbeats all are, or whose control plane's day was set back, stays fresh by the
/// answers.
const DOUBT_MS: u64 = 3_000;

/// How often those make it ask that are less late: they keep it fresh, but its time may be ahead.
const SLIGHT_DOUBT_MS: u64 = 30_000;

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
    /// How often the heads were asked for, and the steady time of the last question.
    asked: u64,
    asked_ms: u64,
    /// The question whose answer the mirror will be as fresh as, once it matches it.
    answered_ms: Option<u64>,
    /// Heartbeats come late: the heads are asked for, but nothing is known to be missing.
    doubted: bool,
    /// When that was last so.
    doubted_ms: u64,
    /// Up to where each stream was vouched for when they were asked for last.
    proven: BTreeMap<OrgId, u64>,
    /// Applied, and not vouched for.
    unnamed: Unnamed,
    /// Streams in which events stand that the control plane has not decided; and organisations
    /// that it does not have.
    forged: BTreeSet<OrgId>,
    ghosts: BTreeSet<OrgId>,
    /// What the control plane had vouched for is gone.
    went_back: bool,
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
    /// Also up to this steady time.
    pub(super) asked_ms: Option<u64>,
}

impl Beats {
    /// Whether a heartbeat was heard in this life of the store.
    pub(super) const fn have_begun(&self) -> bool {
        self.last > 0
    }

    /// Takes a heartbeat. False if it is a repetition.
    pub(super) fn hear(&mut self, world: &World, beat: &Heartbeat, now_ms: u64) -> bool {
        if beat.number <= self.last {
            return false;
        }
        if self.last == 0 || beat.previous != self.last {
            self.mistrust();
        }
        self.last = beat.number;
        self.waiting = Some(Fresh { at: beat.at, position: beat.position, asked_ms: None });
        for head in &beat.heads {
            let word = self.unnamed.named(head);
            self.judge(head.org, word);
            self.expect(world, *head, now_ms);
        }
        true
    }

    /// An event was applied to a stream.
    pub(super) fn applied(&mut self, world: &World, org: OrgId, now_ms: u64) {
        self.unnamed.applied(org, world.head(org), now_ms, self.asked);
    }

    /// A stream was taken as a whole, from the control plane itself.
    pub(super) fn fetched(&mut self, org: OrgId) {
        self.unnamed.forget(org);
        self.forged.remove(&org);
    }

    /// Whether the control plane has named the stream's event at `seq`, the mirror's last.
    pub(super) fn has_named(&self, org: OrgId, seq: u64) -> bool {
        self.unnamed.proven(org, seq) == seq
    }

    /// Streams that were found to be forged since this was last asked.
    pub(super) fn take_forged(&mut self) -> BTreeSet<OrgId> {
        std::mem::take(&mut self.forged)
    }

    /// Organisations that the control plane does not have, found since this was last asked.
    pub(super) fn take_ghosts(&mut self) -> BTreeSet<OrgId> {
        std::mem::take(&mut self.ghosts)
    }

    /// Whether the control plane no longer knows what it had vouched for.
    pub(super) const fn went_back(&self) -> bool {
        self.went_back
    }

    /// Heartbeats may have been missed, and events with them.
    pub(super) fn mistrust(&mut self) {
        self.missing = Some(self.asked);
    }

    /// A heartbeat came so late: who is asked now tells how fresh the mirror is, and the time.
    pub(super) fn doubt(&mut self, late_ms: u64, now_ms: u64) {
        let pause_ms = if late_ms < DOUBT_MS { SLIGHT_DOUBT_MS } else { DOUBT_MS };
        if late_ms > LATE_MS && now_ms.saturating_sub(self.doubted_ms) >= pause_ms {
            (self.doubted, self.doubted_ms) = (true, now_ms);
        }
    }

    /// Whether the heads must be asked for: heartbeats are missing or late, or none names an event.
    pub(super) fn needs_heads(&self, now_ms: u64) -> bool {
        self.missing.is_some() || self.doubted || self.unnamed.waits(now_ms)
    }

    /// The heads are asked for now; the answer is for [`Self::heads`] with this number.
    pub(super) fn ask(&mut self, world: &World, now_ms: u64) -> u64 {
        self.asked += 1;
        self.asked_ms = now_ms;
        let streams = world.orgs().chain([OrgId::PLATFORM]);
        let proven = |org| (org, self.unnamed.proven(org, world.head(org).seq));
        self.proven = streams.map(proven).collect();
        self.asked
    }

    /// Takes the heads of all streams, in answer to the question `asked`. It speaks for every
    /// heartbeat that was heard before the question. Answers when that was asked, if the time that
    /// heartbeats tell was doubted.
    pub(super) fn heads(
        &mut self,
        world: &World,
        heads: &[MovedHead],
        asked: u64,
        now_ms: u64,
    ) -> Option<u64> {
        let named = heads.iter().map(|head| (head.org, *head)).collect::<BTreeMap<_, _>>();
        for (org, proven) in std::mem::take(&mut self.proven) {
            let nothing = MovedHead { org, seq: 0, hash: FIRST_HASH };
            let (ours, theirs) = (world.head(org), named.get(&org).unwrap_or(&nothing));
            match self.unnamed.answered((ours, theirs), (asked, proven), now_ms) {
                Word::Forged if theirs.seq == 0 && org != OrgId::PLATFORM => {
                    self.unnamed.forget(org);
                    self.ghosts.insert(org);
                }
                word @ (Word::Good | Word::Forged | Word::WentBack) => self.judge(org, word),
            }
        }
        for head in heads {
            self.expect(world, *head, now_ms);
        }
        self.missing.take_if(|before| *before < asked);
        self.answered_ms = Some(self.asked_ms);
        std::mem::take(&mut self.doubted).then_some(self.asked_ms)
    }

    fn judge(&mut self, org: OrgId, word: Word) {
        match word {
            Word::Good => {}
            Word::Forged => {
                self.unnamed.forget(org);
                self.forged.insert(org);
            }
            Word::WentBack => self.went_back = true,
        }
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
        let fresh = self.waiting.take()?;
        Some(Fresh { asked_ms: self.answered_ms.take(), ..fresh })
    }

    /// Whether events of the stream are on their way, or lost.
    pub(super) fn is_behind(&self, org: OrgId) -> bool {
        self.behind.contains_key(&org)
    }

    /// Whether events of any stream are on their way, or lost, or may be: a heartbeat is missing.
    pub(super) fn lacks_something(&self) -> bool {
        self.missing.is_some() || !self.behind.is_empty()
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
