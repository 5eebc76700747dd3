//! Snapshots: one stream's state as frames that can be sent and stored one by one.
//!
//! # The form
//! Each frame is a CBOR array of a number and its content: `[1, start]`, then `[2, [entity …]]`
//! as often as needed, then `[3, end]`. An entity is an array of its kind and its fields. The end
//! holds the SHA-256 of all frames before it, in their order, and the control plane's signature of
//! that; the start names stream, head and incarnation, so that the signature covers them.

mod apply;
mod entities;
mod split;

pub use split::{Splitter, framed};

use sha2::{Digest as _, Sha256};
use thiserror::Error;
use turnpike_domain::id::{IncarnationId, OrgId};
use turnpike_domain::state::{Head, Organisation, Platform};
use turnpike_domain::time::Timestamp;

use crate::cbor::{Malformed, Reader, Writer};
use crate::form;
use crate::form::Form;
use crate::sign::{NotSigned, SignatureBytes, Signed, Signers, SigningKey};

/// The form that is written.
const VERSION: u16 = 1;
/// Entities are put into one frame up to this size, in bytes: a frame must fit into a value of the
/// store (100 kB) also when its last entity is a large one.
const FULL_FRAME_BYTES: usize = 64 << 10;
/// The largest frame that is read, in bytes: one entity can be as large as the event that made it.
pub const MAX_FRAME_BYTES: usize = 100_000;

const START: u64 = 1;
const ENTITIES: u64 = 2;
const END: u64 = 3;

/// Where and when a snapshot was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// The life of the store.
    pub incarnation: IncarnationId,
    /// The time up to which the state is known to be fresh.
    pub at: Timestamp,
}

/// A snapshot that was read to its end and whose signature fits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Where and when.
    pub taken: Taken,
    /// What.
    pub state: State,
}

/// The state of one stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Of an organisation.
    Organisation(Box<Organisation>),
    /// Of the platform.
    Platform(Box<Platform>),
}

/// Why frames are no snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BadSnapshot {
    /// A frame cannot be read.
    #[error("a frame cannot be read: {0}")]
    Frame(#[from] Malformed),
    /// A frame is larger than [`MAX_FRAME_BYTES`].
    #[error("a frame is larger than 100 kB")]
    TooLarge,
    /// A later Turnpike wrote it.
    #[error("snapshots of version {0} are not known")]
    Version(u16),
    /// A frame where none of its kind may be.
    #[error("a frame is out of its order")]
    Order,
    /// Entities are missing, or there are too many.
    #[error("entities are missing or there are too many")]
    Count,
    /// A frame was changed.
    #[error("the digest is not that of the frames")]
    Digest,
    /// The control plane did not sign it.
    #[error(transparent)]
    Signature(#[from] NotSigned),
}

struct Start {
    version: u16,
    stream: OrgId,
    incarnation: IncarnationId,
    head: Head,
    at: Timestamp,
}

form!(Start { 1 version, 2 stream, 3 incarnation, 4 head, 5 at });

struct End {
    entities: u64,
    digest: [u8; 32],
    signature: SignatureBytes,
}

form!(End { 1 entities, 2 digest, 3 signature });

/// The frames of a snapshot, made one by one.
pub struct Frames<'a> {
    start: Option<Start>,
    entities: Box<dyn Iterator<Item = Vec<u8>> + Send + 'a>,
    /// An entity that did not fit into the frame before.
    waiting: Option<Vec<u8>>,
    count: u64,
    digest: Sha256,
    /// Taken with the end frame.
    key: Option<&'a SigningKey>,
}

/// The frames of an organisation's state.
#[must_use]
pub fn organisation<'a>(state: &'a Organisation, taken: Taken, key: &'a SigningKey) -> Frames<'a> {
    Frames::new(state.id, state.head, Box::new(entities::organisation(state)), taken, key)
}

/// The frames of the platform's state.
#[must_use]
pub fn platform<'a>(state: &'a Platform, taken: Taken, key: &'a SigningKey) -> Frames<'a> {
    let entities = Box::new(entities::platform(state));
    Frames::new(OrgId::PLATFORM, state.head, entities, taken, key)
}

impl<'a> Frames<'a> {
    fn new(
        stream: OrgId,
        head: Head,
        entities: Box<dyn Iterator<Item = Vec<u8>> + Send + 'a>,
        taken: Taken,
        key: &'a SigningKey,
    ) -> Self {
        let Taken { incarnation, at } = taken;
        let start = Some(Start { version: VERSION, stream, incarnation, head, at });
        Self { start, entities, waiting: None, count: 0, digest: Sha256::new(), key: Some(key) }
    }

    /// As many of the entities that are left as one frame holds; empty when none is.
    fn fill(&mut self) -> Vec<Vec<u8>> {
        let mut full = Vec::new();
        let mut bytes = 0;
        while let Some(entity) = self.waiting.take().or_else(|| self.entities.next()) {
            bytes += entity.len();
            if bytes > FULL_FRAME_BYTES && !full.is_empty() {
                self.waiting = Some(entity);
                break;
            }
            full.push(entity);
        }
        full
    }
}

impl Iterator for Frames<'_> {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        let mut out = Writer::default();
        out.array(2);
        if let Some(start) = self.start.take() {
            out.uint(START);
            start.write(&mut out);
        } else {
            let key = self.key?;
            let entities = self.fill();
            if entities.is_empty() {
                self.key = None;
                let digest: [u8; 32] = self.digest.clone().finalize().into();
                let signature = key.sign(Signed::Snapshot, &digest);
                out.uint(END);
                End { entities: self.count, digest, signature }.write(&mut out);
            } else {
                out.uint(ENTITIES);
                out.array(entities.len());
                entities.iter().for_each(|entity| out.raw(entity));
                self.count = self.count.saturating_add(count(entities.len()));
            }
        }
        let frame = out.into_bytes();
        self.digest.update(&frame);
        Some(frame)
    }
}

/// Reads a snapshot frame by frame.
pub struct Assembly {
    signers: Signers,
    digest: Sha256,
    count: u64,
    begun: Option<Snapshot>,
}

impl Assembly {
    /// Nothing was read. One of `signers` must have signed what will be.
    #[must_use]
    pub fn new(signers: impl Into<Signers>) -> Self {
        Self { signers: signers.into(), digest: Sha256::new(), count: 0, begun: None }
    }

    /// Takes the next frame. Answers with the snapshot when this was the last one and all of it
    /// fits together.
    ///
    /// # Errors
    /// [`BadSnapshot`]; then the assembly is of no more use.
    pub fn take(&mut self, frame: &[u8]) -> Result<Option<Snapshot>, BadSnapshot> {
        if frame.len() > MAX_FRAME_BYTES {
            return Err(BadSnapshot::TooLarge);
        }
        let mut from = Reader::new(frame)?;
        if from.array()? != 2 {
            return Err(BadSnapshot::Order);
        }
        let whole = match (from.uint()?, self.begun.as_mut()) {
            (START, None) => {
                self.begun = Some(begin(&Start::read(&mut from)?)?);
                None
            }
            (ENTITIES, Some(begun)) => {
                let entities = from.array()?;
                for _ in 0..entities {
                    begun.state.take(&mut from)?;
                }
                self.count = self.count.saturating_add(count(entities));
                None
            }
            (END, Some(_)) => {
                self.check(&End::read(&mut from)?)?;
                self.begun.take()
            }
            _ => return Err(BadSnapshot::Order),
        };
        from.end()?;
        self.digest.update(frame);
        Ok(whole)
    }

    fn check(&self, end: &End) -> Result<(), BadSnapshot> {
        let digest: [u8; 32] = self.digest.clone().finalize().into();
        if digest != end.digest {
            return Err(BadSnapshot::Digest);
        }
        if self.count != end.entities {
            return Err(BadSnapshot::Count);
        }
        Ok(self.signers.verify(Signed::Snapshot, &digest, &end.signature)?)
    }
}

fn begin(start: &Start) -> Result<Snapshot, BadSnapshot> {
    if start.version != VERSION {
        return Err(BadSnapshot::Version(start.version));
    }
    let taken = Taken { incarnation: start.incarnation, at: start.at };
    let state = if start.stream == OrgId::PLATFORM {
        State::Platform(Box::new(Platform { head: start.head, ..Platform::default() }))
    } else {
        let mut organisation = Organisation::new(start.stream);
        organisation.head = start.head;
        State::Organisation(Box::new(organisation))
    };
    Ok(Snapshot { taken, state })
}

fn count(entities: usize) -> u64 {
    u64::try_from(entities).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
