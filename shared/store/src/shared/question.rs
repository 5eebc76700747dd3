//! What a guest asks of the holder.

use bytes::{BufMut, Bytes, BytesMut};

use super::fields::{self, Fields, Malformed, Oversize, put_bytes, put_count};
use crate::kv::{Batch, Scan, Version, Write};

/// One question. Each has a number; the answer has the same one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Question {
    /// A snapshot, which is known by the number of this question from then on.
    Snapshot,
    /// The value of a key in the snapshot `of`.
    Get {
        of: u64,
        key: Bytes,
    },
    /// A range of the snapshot `of`.
    Scan {
        of: u64,
        scan: Scan,
    },
    Commit(Batch),
    /// To be woken when the key is written.
    Watch(Bytes),
    /// No question: the snapshot or watch of this number is not needed any more.
    Forget,
}

const SNAPSHOT: u8 = 1;
const GET: u8 = 2;
const SCAN: u8 = 3;
const COMMIT: u8 = 4;
const WATCH: u8 = 5;
const FORGET: u8 = 6;

const PUT: u8 = 1;
const DELETE: u8 = 2;
const APPEND: u8 = 3;

impl Question {
    pub(super) fn frame(&self, number: u64) -> Result<Bytes, Oversize> {
        fields::frame(|out| {
            out.put_u64(number);
            self.fill(out);
        })
    }

    fn fill(&self, out: &mut BytesMut) {
        match self {
            Self::Snapshot => out.put_u8(SNAPSHOT),
            Self::Get { of, key } => {
                out.put_u8(GET);
                out.put_u64(*of);
                put_bytes(out, key);
            }
            Self::Scan { of, scan } => {
                out.put_u8(SCAN);
                out.put_u64(*of);
                put_bytes(out, &scan.begin);
                put_bytes(out, &scan.end);
                out.put_u64(u64::try_from(scan.limit).unwrap_or(u64::MAX));
                out.put_u8(u8::from(scan.reverse));
            }
            Self::Commit(batch) => {
                out.put_u8(COMMIT);
                put_batch(out, batch);
            }
            Self::Watch(key) => {
                out.put_u8(WATCH);
                put_bytes(out, key);
            }
            Self::Forget => out.put_u8(FORGET),
        }
    }

    /// The number and the question of a frame.
    pub(super) fn read(frame: Bytes) -> Result<(u64, Self), Malformed> {
        let mut fields = Fields::new(frame);
        let number = fields.u64()?;
        let question = match fields.u8()? {
            SNAPSHOT => Self::Snapshot,
            GET => Self::Get { of: fields.u64()?, key: fields.bytes()? },
            SCAN => Self::Scan { of: fields.u64()?, scan: scan(&mut fields)? },
            COMMIT => Self::Commit(batch(&mut fields)?),
            WATCH => Self::Watch(fields.bytes()?),
            FORGET => Self::Forget,
            _ => return Err(Malformed),
        };
        fields.end()?;
        Ok((number, question))
    }
}

fn put_batch(out: &mut BytesMut, batch: &Batch) {
    out.put_u64(batch.read_at.0);
    put_count(out, batch.unchanged.len());
    for key in &batch.unchanged {
        put_bytes(out, key);
    }
    put_count(out, batch.writes.len());
    for write in &batch.writes {
        let (kind, key, value) = match write {
            Write::Put { key, value } => (PUT, key, Some(value)),
            Write::Delete { key } => (DELETE, key, None),
            Write::Append { prefix, value } => (APPEND, prefix, Some(value)),
        };
        out.put_u8(kind);
        put_bytes(out, key);
        if let Some(value) = value {
            put_bytes(out, value);
        }
    }
}

fn scan(fields: &mut Fields) -> Result<Scan, Malformed> {
    Ok(Scan {
        begin: fields.bytes()?,
        end: fields.bytes()?,
        limit: usize::try_from(fields.u64()?).unwrap_or(usize::MAX),
        reverse: fields.u8()? != 0,
    })
}

fn batch(fields: &mut Fields) -> Result<Batch, Malformed> {
    let read_at = Version(fields.u64()?);
    let unchanged = fields.list(Fields::bytes)?;
    let writes = fields.list(|fields| match fields.u8()? {
        PUT => Ok(Write::Put { key: fields.bytes()?, value: fields.bytes()? }),
        DELETE => Ok(Write::Delete { key: fields.bytes()? }),
        APPEND => Ok(Write::Append { prefix: fields.bytes()?, value: fields.bytes()? }),
        _ => Err(Malformed),
    })?;
    Ok(Batch { read_at, unchanged, writes })
}
