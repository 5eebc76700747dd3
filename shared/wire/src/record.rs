//! The envelope of events: what is stored, what is sent, and the chain of hashes between them.
//!
//! # The form
//! A stored body is a map: 1 id, 2 organisation, 3 seq, 5 time, 6 actor, 7 command, 8 name, 9
//! version, 10 data (a byte string that holds the event's own map), 11 the hash of the record
//! before. Its hash is the SHA-256 of these bytes. What is sent is the same map with 4, the
//! position, and 12, the hash: a reader finds the body again by taking two fields out, and checks
//! the chain over bytes that it may not understand.

mod shown;

use std::ops::Range;

use sha2::{Digest as _, Sha256};
use thiserror::Error;
use turnpike_domain::event::{Actor, Event, Record};
use turnpike_domain::id::{CommandId, EventId, KeyId, OrgId, Position};
use turnpike_domain::time::Timestamp;

use crate::cbor::{Malformed, Reader, Writer};
use crate::event::{self, Unknown};
use crate::form::{self, Form};

/// SHA-256 of a stored body.
pub type Hash = [u8; 32];

/// The hash before the first record of a stream.
pub const FIRST_HASH: Hash = [0; 32];
/// The largest stored body, in bytes: a value of the store has at most 100 kB.
pub const MAX_BODY_BYTES: usize = 95_000;

const ENVELOPE: &str = "the envelope";
const POSITION: u64 = 4;
const HASH: u64 = 12;
/// Fields of the sent form that the body lacks.
const SENT_FIELDS: usize = 2;
/// Their most bytes: two numbers, sixteen and thirty-two bytes with their heads, a longer map.
const SENT_BYTES: usize = 64;

/// A record as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The body.
    pub bytes: Vec<u8>,
    /// Its hash.
    pub hash: Hash,
}

/// A record as it was read. The envelope holds, whatever became of the event in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// Whose stream it stands in.
    pub org: OrgId,
    /// Its place in that stream.
    pub seq: u64,
    /// Its place among all commits.
    pub position: Position,
    /// The hash that the record before must have.
    pub prev_hash: Hash,
    /// The hash of this record, computed from the bytes that were read.
    pub hash: Hash,
    /// The record, or why it must be held back.
    pub record: Result<Record, Unreadable>,
}

/// An event that this version cannot read, in an envelope that it can.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("event {name} version {version}: {why}")]
pub struct Unreadable {
    /// The event's name.
    pub name: Box<str>,
    /// The version of its form.
    pub version: u16,
    /// The key that it is about, if its name says that it is about one: nothing but this key needs
    /// to be held back.
    pub key: Option<KeyId>,
    /// Why.
    pub why: Unknown,
}

/// Bytes that are no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NotARecord {
    /// The envelope cannot be read.
    #[error("the envelope cannot be read: {0}")]
    Envelope(#[from] Malformed),
    /// There are more of them than are ever stored.
    #[error("it is larger than any event")]
    Size,
    /// The bytes are not those that the hash was made of.
    #[error("the hash is not that of the bytes")]
    Hash,
}

/// An event is larger than the store takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the event has {0} bytes; at most 95,000 are stored")]
pub struct TooLarge(pub usize);

/// The stored form of a record that follows the one with `prev_hash`.
///
/// # Errors
/// [`TooLarge`].
pub fn encode(record: &Record, prev_hash: Hash) -> Result<Stored, TooLarge> {
    let mut data = Writer::default();
    event::write(&record.event, &mut data);
    let data = Bytes(data.into_bytes());
    let name: Box<str> = record.event.name().into();
    let version = event::version(&record.event);
    let mut out = Writer::default();
    let to = &mut out;
    crate::write_fields!(
        to,
        1(&record.id),
        2(&record.org),
        3(&record.seq),
        5(&record.at),
        6(&record.actor),
        7(&record.command),
        8(&name),
        9(&version),
        10(&data),
        11(&prev_hash)
    );
    let bytes = out.into_bytes();
    if bytes.len() > MAX_BODY_BYTES {
        return Err(TooLarge(bytes.len()));
    }
    let hash = Sha256::digest(&bytes).into();
    Ok(Stored { bytes, hash })
}

/// The sent form of a stored body.
///
/// # Errors
/// [`NotARecord::Envelope`], if the body is none.
pub fn send(body: &[u8], position: Position, hash: &Hash) -> Result<Vec<u8>, NotARecord> {
    let places = Envelope::read(body)?.places;
    let [low, middle, high] = places.pieces(body);
    let mut out = Writer::default();
    out.map(places.body_fields.saturating_add(SENT_FIELDS));
    out.raw(low);
    out.uint(POSITION);
    position.write(&mut out);
    out.raw(middle);
    out.uint(HASH);
    hash.write(&mut out);
    out.raw(high);
    Ok(out.into_bytes())
}

/// Reads the sent form and checks that its hash is that of the body in it. Whether `prev_hash` is
/// the hash of the record before is the reader's to check.
///
/// # Errors
/// [`NotARecord`].
pub fn receive(sent: &[u8]) -> Result<Received, NotARecord> {
    if sent.len() > MAX_BODY_BYTES + SENT_BYTES {
        return Err(NotARecord::Size);
    }
    let mut envelope = Envelope::read(sent)?;
    let missing = |field| Malformed::Missing { form: ENVELOPE, field };
    let position = envelope.position.take().ok_or(missing(POSITION))?;
    let claimed = envelope.hash.take().ok_or(missing(HASH))?;
    let received = envelope.open(sent, position);
    if received.hash == claimed { Ok(received) } else { Err(NotARecord::Hash) }
}

/// Reads a stored body, which stands at `position`.
///
/// # Errors
/// [`NotARecord::Envelope`].
pub fn decode(body: &[u8], position: Position) -> Result<Received, NotARecord> {
    Ok(Envelope::read(body)?.open(body, position))
}

/// The fields of an envelope; what may be of a later version is kept as bytes.
struct Envelope<'a> {
    id: EventId,
    org: OrgId,
    seq: u64,
    position: Option<Position>,
    at: Timestamp,
    actor: &'a [u8],
    command: CommandId,
    name: Box<str>,
    version: u16,
    data: &'a [u8],
    prev_hash: Hash,
    hash: Option<Hash>,
    places: Places,
}

/// Where the fields that only the sent form has stand, or would.
#[derive(Clone, Default)]
struct Places {
    /// Fields of the body.
    body_fields: usize,
    /// After the head of the map.
    start: usize,
    position: Range<usize>,
    hash: Range<usize>,
}

impl Places {
    /// Notes that field `number` stands at `place`.
    fn note(&mut self, number: u64, place: Range<usize>) {
        let end = place.end..place.end;
        match number {
            POSITION => (self.position, self.hash) = (place, end),
            HASH => self.hash = place,
            _ if number < POSITION => (self.position, self.hash) = (end.clone(), end),
            _ if number < HASH => self.hash = end,
            _ => {}
        }
        if number != POSITION && number != HASH {
            self.body_fields += 1;
        }
    }

    /// The fields of the body: before the position, between position and hash, after the hash.
    fn pieces<'a>(&self, bytes: &'a [u8]) -> [&'a [u8]; 3] {
        let middle = self.position.end..self.hash.start;
        [self.start..self.position.start, middle, self.hash.end..bytes.len()]
            .map(|range| bytes.get(range).unwrap_or_default())
    }
}

impl<'a> Envelope<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let (mut id, mut org, mut seq, mut position, mut at) = (None, None, None, None, None);
        let (mut actor, mut command, mut name, mut version) = (None, None, None, None);
        let (mut data, mut prev_hash, mut hash) = (None, None, None);
        let mut from = Reader::new(bytes)?;
        let mut head = from.clone();
        head.map()?;
        let mut end = bytes.len() - head.rest().len();
        let mut places =
            Places { start: end, position: end..end, hash: end..end, ..Places::default() };
        from.fields(|number, from| {
            let before = from.rest();
            match number {
                1 => id = Some(Form::read(from)?),
                2 => org = Some(Form::read(from)?),
                3 => seq = Some(from.uint()?),
                POSITION => position = Some(Form::read(from)?),
                5 => at = Some(Form::read(from)?),
                6 => {
                    from.skip()?;
                    actor = before.get(..before.len() - from.rest().len());
                }
                7 => command = Some(Form::read(from)?),
                8 => name = Some(Form::read(from)?),
                9 => version = Some(Form::read(from)?),
                10 => data = Some(from.bytes()?),
                11 => prev_hash = Some(Form::read(from)?),
                HASH => hash = Some(Form::read(from)?),
                _ => from.skip()?,
            }
            let start = std::mem::replace(&mut end, bytes.len() - from.rest().len());
            places.note(number, start..end);
            Ok(())
        })?;
        from.end()?;
        let missing = |field| Malformed::Missing { form: ENVELOPE, field };
        Ok(Self {
            id: form::field(id, ENVELOPE, 1)?,
            org: form::field(org, ENVELOPE, 2)?,
            seq: form::field(seq, ENVELOPE, 3)?,
            position,
            at: form::field(at, ENVELOPE, 5)?,
            actor: actor.ok_or(missing(6))?,
            command: form::field(command, ENVELOPE, 7)?,
            name: form::field(name, ENVELOPE, 8)?,
            version: form::field(version, ENVELOPE, 9)?,
            data: data.ok_or(missing(10))?,
            prev_hash: form::field(prev_hash, ENVELOPE, 11)?,
            hash,
            places,
        })
    }

    /// Hashes the body and reads the event in it.
    fn open(self, bytes: &[u8], position: Position) -> Received {
        let mut head = Writer::default();
        head.map(self.places.body_fields);
        let mut hash = Sha256::new_with_prefix(head.into_bytes());
        for piece in self.places.pieces(bytes) {
            hash.update(piece);
        }
        let (org, seq, prev_hash) = (self.org, self.seq, self.prev_hash);
        let record = match self.event() {
            Ok((actor, event)) => {
                let Self { id, at, command, .. } = self;
                Ok(Record { id, org, seq, at, actor, command, event })
            }
            Err(why) => {
                let Self { name, version, .. } = self;
                let key = key_of(&name, self.data);
                Err(Unreadable { name, version, key, why })
            }
        };
        Received { org, seq, position, prev_hash, hash: hash.finalize().into(), record }
    }

    fn event(&self) -> Result<(Actor, Event), Unknown> {
        let actor = form::decode(self.actor)?;
        let mut data = Reader::new(self.data)?;
        let event = event::read(&self.name, self.version, &mut data)?;
        data.end()?;
        Ok((actor, event))
    }
}

/// The key that an event is about, by the rule that field 1 of every event about a key is the key.
fn key_of(name: &str, data: &[u8]) -> Option<KeyId> {
    let about_a_key =
        ["Key", "Ephemeral"].iter().any(|noun| name.starts_with(noun)) || name == "SecretRevealed";
    let mut from = Reader::new(data).ok().filter(|_| about_a_key)?;
    from.map().ok()?;
    (from.uint().ok()? == 1).then(|| Form::read(&mut from).ok())?
}

/// A byte string.
struct Bytes(Vec<u8>);

impl Form for Bytes {
    fn write(&self, out: &mut Writer) {
        out.bytes(&self.0);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self(from.bytes()?.to_vec()))
    }
}

#[cfg(test)]
mod tests;
