//! Checking the chain of a stream, as anybody can who has a copy of its bytes.

use turnpike_domain::id::{OrgId, Position};

use crate::api::audit::Verification;
use crate::api::text::TextForm;
use crate::cbor::{MAX_BYTES, Reader};
use crate::hex;
use crate::record::{self, FIRST_HASH, Hash, Received};

/// A place in a stream and the hash there, as somebody has written them down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The event's place.
    pub seq: u64,
    /// Its hash.
    pub hash: Hash,
}

/// How far a chain holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chain {
    checked: u64,
    hash: Hash,
    /// The hash before the last good event.
    prior: Hash,
    org: Option<OrgId>,
    /// The hash of an event whose predecessor is not the one that it names: one of the two was
    /// changed.
    doubted: Option<Hash>,
    first_bad: Option<u64>,
    checkpoint: Option<Checkpoint>,
}

impl Chain {
    /// A chain of which nothing was seen yet. It must have the checkpoint, if there is one: a
    /// stream that was cut short or written anew is sound in itself.
    #[must_use]
    pub fn new(checkpoint: Option<Checkpoint>) -> Self {
        Self { hash: FIRST_HASH, checkpoint, ..Self::default() }
    }

    /// Takes the next event, whatever it says. What follows a bad one is not looked at.
    pub fn take(&mut self, event: &Received) {
        if self.doubted.is_some() {
            return self.decide(event.prev_hash);
        }
        let noted = self.checkpoint.filter(|noted| noted.seq == event.seq);
        let follows = self.checked.checked_add(1) == Some(event.seq);
        if !follows || noted.is_some_and(|noted| noted.hash != event.hash) {
            return self.breaks();
        }
        if event.prev_hash != self.hash {
            return self.doubt(event.hash);
        }
        if self.org.is_some_and(|org| org != event.org) {
            return self.breaks();
        }
        if self.first_bad.is_none() {
            self.prior = self.hash;
            (self.checked, self.hash, self.org) = (event.seq, event.hash, Some(event.org));
        }
    }

    /// The next event is missing or cannot be read.
    pub fn breaks(&mut self) {
        self.first_bad.get_or_insert(self.checked.saturating_add(1));
    }

    /// The stream ends here, and its last event has this hash, as somebody else says who keeps it.
    pub fn ends(&mut self, hash: Hash) {
        if self.doubted.is_some() {
            self.decide(hash);
        } else if self.first_bad.is_none() && self.hash != hash {
            self.take_back();
        }
    }

    /// The next event does not name the last one: the event behind it will tell which was changed.
    fn doubt(&mut self, hash: Hash) {
        if self.checked == 0 || self.first_bad.is_some() {
            self.breaks();
        } else {
            self.doubted = Some(hash);
        }
    }

    /// What follows the doubted event names `hash`: if that is its own, it is as it was, and the
    /// one before it was changed.
    fn decide(&mut self, hash: Hash) {
        if self.doubted.take() == Some(hash) {
            self.take_back();
        } else {
            self.breaks();
        }
    }

    /// The last event was not good after all.
    fn take_back(&mut self) {
        self.checked = self.checked.saturating_sub(1);
        self.hash = self.prior;
        self.breaks();
    }

    /// Takes all events of a copy: their stored bodies, one behind the other (RFC 8742).
    pub fn take_all(&mut self, mut bodies: &[u8]) {
        while !bodies.is_empty() && self.holds() {
            let split = first(bodies);
            let event = split.and_then(|(body, _)| record::decode(body, Position::default()).ok());
            match (event, split) {
                (Some(event), Some((_, rest))) => {
                    self.take(&event);
                    bodies = rest;
                }
                (None, _) | (_, None) => self.breaks(),
            }
        }
    }

    /// Whether nothing bad was seen.
    #[must_use]
    pub const fn holds(&self) -> bool {
        self.first_bad.is_none()
    }

    /// The seq of the last good event.
    #[must_use]
    pub const fn checked(&self) -> u64 {
        self.checked
    }

    /// The hash of the last good event.
    #[must_use]
    pub const fn hash(&self) -> Hash {
        self.hash
    }

    /// What was found. A chain that ends before its checkpoint has lost what stood there.
    #[must_use]
    pub fn verification(mut self) -> Verification {
        if self.doubted.is_some() || self.checkpoint.is_some_and(|noted| noted.seq > self.checked) {
            self.breaks();
        }
        Verification {
            ok: self.holds(),
            checked: self.checked,
            head_hash: hex::write(&self.hash),
            first_bad: self.first_bad,
        }
    }
}

/// The first value of a sequence, and what follows it.
fn first(bodies: &[u8]) -> Option<(&[u8], &[u8])> {
    let ahead = bodies.get(..bodies.len().min(MAX_BYTES))?;
    let mut reader = Reader::new(ahead).ok()?;
    reader.skip().ok()?;
    bodies.split_at_checked(ahead.len().checked_sub(reader.rest().len())?)
}

impl TextForm for Checkpoint {
    const NAME: &'static str = "Checkpoint";
    const PATTERN: &'static str = "^[0-9]{1,20}:[0-9a-fA-F]{64}$";
    const WHAT: &'static str = "a seq and the hash there, such as 14:34294b… with 64 digits";

    fn write(&self) -> String {
        format!("{}:{}", self.seq, hex::write(&self.hash))
    }

    fn read(text: &str) -> Result<Self, String> {
        let wrong = || format!("must be {}", Self::WHAT);
        let (seq, hash) = text.split_once(':').ok_or_else(wrong)?;
        let seq = seq.parse().ok().filter(|seq| *seq > 0).ok_or_else(wrong)?;
        Ok(Self { seq, hash: hex::read(hash).ok_or_else(wrong)? })
    }
}

#[cfg(test)]
mod tests {
    use turnpike_domain::event::{Actor, Event, Record, Who};
    use turnpike_domain::id::{CommandId, EventId, GatewayId};
    use turnpike_domain::time::Timestamp;

    use super::*;

    /// Bodies that follow each other.
    fn stream(org: u128, events: u64) -> Vec<Vec<u8>> {
        let mut last = FIRST_HASH;
        let body = |seq: u64| {
            let record = Record {
                id: EventId(seq.into()),
                org: OrgId(org),
                seq,
                at: Timestamp(seq),
                actor: Actor { who: Who::System, address: None },
                command: CommandId(5),
                event: Event::GatewayLeft { gateway: GatewayId(6) },
            };
            let stored = record::encode(&record, last).unwrap();
            last = stored.hash;
            stored.bytes
        };
        (1..=events).map(body).collect()
    }

    fn found(bodies: &[Vec<u8>], checkpoint: Option<Checkpoint>) -> (u64, Option<u64>) {
        let mut chain = Chain::new(checkpoint);
        chain.take_all(&bodies.concat());
        let found = chain.verification();
        assert_eq!(found.ok, found.first_bad.is_none());
        (found.checked, found.first_bad)
    }

    #[test]
    fn a_copy_is_checked_by_its_bytes_alone() {
        let whole = stream(1, 5);
        assert_eq!(found(&whole, None), (5, None));
        assert_eq!(found(&[], None), (0, None));
        let mut dropped = whole.clone();
        dropped.remove(2);
        let mut swapped = whole.clone();
        swapped.swap(1, 2);
        let mut cut = whole.clone();
        cut[4].pop();
        let mut foreign = whole.clone();
        foreign[3] = stream(2, 5)[3].clone();
        let cases = [(dropped, 2, 3), (swapped, 1, 2), (cut, 4, 5), (foreign, 3, 4)];
        for (bodies, checked, first_bad) in cases {
            assert_eq!(found(&bodies, None), (checked, Some(first_bad)));
        }
    }

    #[test]
    fn every_flipped_bit_is_found_where_it_is() {
        let whole = stream(1, 5);
        // Two events behind it tell which one was changed.
        for changed in 1..=3 {
            let bits = whole[changed - 1].len() * 8;
            for place in 0..bits {
                let mut flipped = whole.clone();
                flipped[changed - 1][place / 8] ^= 1 << (place % 8);
                let seq = u64::try_from(changed).unwrap();
                assert_eq!(found(&flipped, None), (seq - 1, Some(seq)), "bit {place} of {seq}");
            }
        }
        // Of the last one nobody knows, but who has noted its hash.
        let mut chain = Chain::new(None);
        chain.take_all(&whole.concat());
        let last = Checkpoint { seq: 5, hash: chain.hash() };
        for place in 0..whole[4].len() * 8 {
            let mut flipped = whole.clone();
            flipped[4][place / 8] ^= 1 << (place % 8);
            assert_eq!(found(&flipped, Some(last)), (4, Some(5)), "bit {place}");
            let mut chain = Chain::new(None);
            chain.take_all(&flipped.concat());
            chain.ends(last.hash);
            assert_eq!(chain.verification().first_bad, Some(5), "bit {place}");
        }
    }

    #[test]
    fn a_stream_that_was_rolled_back_or_written_anew_is_not_the_one_of_the_checkpoint() {
        let whole = stream(1, 5);
        let mut chain = Chain::new(None);
        chain.take_all(&whole.concat());
        let last = Checkpoint { seq: 5, hash: chain.hash() };
        assert_eq!(found(&whole, Some(last)), (5, None));
        assert_eq!(found(&whole[..4], Some(last)), (4, Some(5)));
        assert_eq!(found(&stream(2, 5), Some(last)), (4, Some(5)));
        assert_eq!(Checkpoint::read(&last.write()), Ok(last));
        for text in ["", "5", ":", "0:00", "5:00", "x:00"] {
            assert!(Checkpoint::read(text).is_err(), "{text}");
        }
    }
}
