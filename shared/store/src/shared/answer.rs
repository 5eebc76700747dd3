//! What the holder answers to a guest.

use bytes::{BufMut, Bytes, BytesMut};

use super::fields::{self, Fields, Malformed, Oversize, put_bytes, put_count};
use crate::kv::{CommitError, Committed, Entry, ReadError, Stamp, Version};

/// The most rows of one answer: with the largest keys and values they stay within a frame. A guest
/// pages over longer ranges.
pub(super) const SCAN_ROWS: usize = 100;

/// One answer; it has the number of its question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Snapshot(Result<Version, ReadError>),
    Get(Result<Option<Bytes>, ReadError>),
    /// At most [`SCAN_ROWS`]; fewer than that, and than were asked for, are the end of the range.
    Scan(Result<Vec<Entry>, ReadError>),
    Commit(Result<Committed, CommitError>),
    Woken,
}

const SNAPSHOT: u8 = 1;
const GET: u8 = 2;
const SCAN: u8 = 3;
const COMMIT: u8 = 4;
const WOKEN: u8 = 5;

const DONE: u8 = 0;
const TOO_OLD: u8 = 1;
const UNAVAILABLE: u8 = 2;
const CONFLICT: u8 = 3;
const UNKNOWN: u8 = 4;
const TOO_LARGE: u8 = 5;

impl Answer {
    pub(super) fn frame(&self, number: u64) -> Result<Bytes, Oversize> {
        fields::frame(|out| {
            out.put_u64(number);
            self.fill(out);
        })
    }

    fn fill(&self, out: &mut BytesMut) {
        match self {
            Self::Snapshot(outcome) => {
                out.put_u8(SNAPSHOT);
                put_read(out, outcome, |out, version| out.put_u64(version.0));
            }
            Self::Get(outcome) => {
                out.put_u8(GET);
                put_read(out, outcome, |out, value| {
                    out.put_u8(u8::from(value.is_some()));
                    put_bytes(out, value.as_deref().unwrap_or_default());
                });
            }
            Self::Scan(outcome) => {
                out.put_u8(SCAN);
                put_read(out, outcome, |out, rows| {
                    put_count(out, rows.len());
                    for (key, value) in rows {
                        put_bytes(out, key);
                        put_bytes(out, value);
                    }
                });
            }
            Self::Commit(outcome) => {
                out.put_u8(COMMIT);
                put_commit(out, outcome);
            }
            Self::Woken => out.put_u8(WOKEN),
        }
    }

    /// The number and the answer of a frame.
    pub(super) fn read(frame: Bytes) -> Result<(u64, Self), Malformed> {
        let mut fields = Fields::new(frame);
        let number = fields.u64()?;
        let answer = match fields.u8()? {
            SNAPSHOT => Self::Snapshot(read(&mut fields, |fields| Ok(Version(fields.u64()?)))?),
            GET => Self::Get(read(&mut fields, |fields| {
                let there = fields.u8()? != 0;
                let value = fields.bytes()?;
                Ok(there.then_some(value))
            })?),
            SCAN => Self::Scan(read(&mut fields, |fields| {
                fields.list(|fields| Ok((fields.bytes()?, fields.bytes()?)))
            })?),
            COMMIT => Self::Commit(commit(&mut fields)?),
            WOKEN => Self::Woken,
            _ => return Err(Malformed),
        };
        fields.end()?;
        Ok((number, answer))
    }
}

fn put_read<T>(
    out: &mut BytesMut,
    outcome: &Result<T, ReadError>,
    fill: impl FnOnce(&mut BytesMut, &T),
) {
    match outcome {
        Ok(found) => {
            out.put_u8(DONE);
            fill(out, found);
        }
        Err(ReadError::TooOld) => out.put_u8(TOO_OLD),
        Err(ReadError::Unavailable(text)) => put_text(out, UNAVAILABLE, text),
    }
}

fn put_commit(out: &mut BytesMut, outcome: &Result<Committed, CommitError>) {
    match outcome {
        Ok(Committed { stamp, version }) => {
            out.put_u8(DONE);
            out.put_slice(&stamp.0);
            out.put_u64(version.0);
        }
        Err(CommitError::Conflict) => out.put_u8(CONFLICT),
        Err(CommitError::Unknown(text)) => put_text(out, UNKNOWN, text),
        Err(CommitError::TooLarge(text)) => put_text(out, TOO_LARGE, text),
        Err(CommitError::Unavailable(text)) => put_text(out, UNAVAILABLE, text),
    }
}

fn put_text(out: &mut BytesMut, kind: u8, text: &str) {
    out.put_u8(kind);
    put_bytes(out, text.as_bytes());
}

fn read<T>(
    fields: &mut Fields,
    found: impl FnOnce(&mut Fields) -> Result<T, Malformed>,
) -> Result<Result<T, ReadError>, Malformed> {
    match fields.u8()? {
        DONE => found(fields).map(Ok),
        TOO_OLD => Ok(Err(ReadError::TooOld)),
        UNAVAILABLE => Ok(Err(ReadError::Unavailable(fields.text()?))),
        _ => Err(Malformed),
    }
}

fn commit(fields: &mut Fields) -> Result<Result<Committed, CommitError>, Malformed> {
    Ok(match fields.u8()? {
        DONE => Ok(Committed { stamp: Stamp(fields.array()?), version: Version(fields.u64()?) }),
        CONFLICT => Err(CommitError::Conflict),
        UNKNOWN => Err(CommitError::Unknown(fields.text()?)),
        TOO_LARGE => Err(CommitError::TooLarge(fields.text()?)),
        UNAVAILABLE => Err(CommitError::Unavailable(fields.text()?)),
        _ => return Err(Malformed),
    })
}
