//! Words that nobody has heard yet, and which of them are heard next.
//!
//! As long as all of them fit into one commit they are heard in the order in which they came. When
//! there are more, those that give back go first, then asks in their order, and last the asks that
//! have waited so long that their callers are giving up: what nobody waits for any more would be
//! granted in vain, while everybody else grows old too.

use std::collections::BTreeMap;

use bytes::Bytes;
use turnpike_domain::id::{GatewayId, LeaseId, OrgId};
use turnpike_domain::limit::Unit;
use turnpike_wire::authority::ANSWER_MS;

use super::Asking;

/// Asks that have waited for longer go behind those that have not: a request waits for two seconds,
/// and the commit that grants may take one of them.
const YOUNG_MS: u64 = 500;

/// Whose word it is.
type Speaker = (OrgId, GatewayId, LeaseId, Unit);

/// See the head of this file.
#[derive(Default)]
pub(super) struct Line {
    /// By the order in which they came.
    asks: BTreeMap<u64, Asking>,
    backs: BTreeMap<u64, Asking>,
    places: BTreeMap<Speaker, u64>,
    next: u64,
}

impl Line {
    /// Takes a word. It replaces an older one of the same lease: whoever said both waits only for
    /// the answer to the newest.
    pub(super) fn push(&mut self, asking: Asking) {
        let (speaker, place) = (speaker(&asking), self.next);
        self.next = self.next.saturating_add(1);
        let older = self.places.get(&speaker).copied().and_then(|place| self.remove(place));
        let (place, asking) = match older {
            Some((place, other)) if other.call.word.n == asking.call.word.n => {
                (place, repeated(other, asking))
            }
            Some((place, other)) if other.call.word.n > asking.call.word.n => (place, other),
            Some(_) | None => (place, asking),
        };
        // So does an ask that wants nothing ahead: it may as well be heard early.
        let gives_back = asking.call.word.total <= asking.call.word.least;
        let words = if gives_back { &mut self.backs } else { &mut self.asks };
        words.insert(place, asking);
        self.places.insert(speaker, place);
    }

    /// Takes out the words to be heard next, at most `room`; at `now_ms` of steady time.
    pub(super) fn take(&mut self, room: usize, now_ms: u64) -> Vec<Asking> {
        let age_ms = |ask: &Asking| now_ms.saturating_sub(ask.since_ms);
        let young = self.asks.iter().find(|(_, ask)| age_ms(ask) < YOUNG_MS);
        let mut young = match young.map(|(place, _)| *place) {
            Some(place) => self.asks.split_off(&place),
            None => BTreeMap::new(),
        };
        let is_over = |ask: &Asking| age_ms(ask) >= ANSWER_MS;
        while let Some(first) = self.asks.first_entry().filter(|first| is_over(first.get())) {
            // Nobody listens to its answer any more.
            self.places.remove(&speaker(&first.remove()));
        }
        let mut taken = BTreeMap::new();
        while taken.len() < room {
            let next = self.backs.pop_first().or_else(|| young.pop_first());
            let Some((place, word)) = next.or_else(|| self.asks.pop_last()) else { break };
            self.places.remove(&speaker(&word));
            taken.insert(place, word);
        }
        self.asks.append(&mut young);
        taken.into_values().collect()
    }

    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    fn remove(&mut self, place: u64) -> Option<(u64, Asking)> {
        let word = self.asks.remove(&place).or_else(|| self.backs.remove(&place))?;
        Some((place, word))
    }
}

/// A word that came twice is heard once; nobody knows for which of them its speaker waits.
fn repeated(one: Asking, Asking { reply: other, .. }: Asking) -> Asking {
    let first = one.reply;
    let reply = Box::new(move |answer: Bytes| {
        first(answer.clone());
        other(answer);
    });
    Asking { reply, ..one }
}

const fn speaker(asking: &Asking) -> Speaker {
    let Asking { org, gateway, ref call, .. } = *asking;
    (org, gateway, call.lease, call.unit)
}
