//! One line of a spool file: length, checksum, kind, body.
//!
//! A line is `length: u32`, `crc: u32`, then `length` bytes of content, all integers little endian.
//! The checksum (CRC-32/ISO-HDLC) covers the content. A process that is killed leaves whole lines
//! and at most one torn one, at the end.

use turnpike_domain::id::{OrgId, RequestId};

/// Bytes before the content.
pub(crate) const HEAD_BYTES: usize = 8;
/// The most bytes of a content before its record: kind, organisation, request and number.
pub(crate) const IDS_BYTES: usize = 41;
/// The most content of a line. A record holds one name of at most 100 characters and numbers; a
/// length above this is damage.
pub(crate) const MAX_CONTENT_BYTES: usize = 4_096;

const OPEN: u8 = 1;
const CLOSE: u8 = 2;
const BASE: u8 = 3;
const END: u8 = 4;

/// What a line says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Line<'a> {
    /// A request was admitted; `record` is what it will be booked as if nothing more is heard.
    Open { org: OrgId, request: RequestId, record: &'a [u8] },
    /// A request has ended; `record` is what is booked, under `number`.
    Close { org: OrgId, request: RequestId, number: u64, record: &'a [u8] },
    /// What earlier, deleted files held: records up to `last` were numbered, up to `booked` booked.
    Base { org: OrgId, last: u64, booked: u64 },
    /// No record of the organisation follows `last` in this epoch.
    End { org: OrgId, last: u64 },
}

impl<'a> Line<'a> {
    /// Appends the line to `out`; answers with the bytes that it takes.
    pub(crate) fn write(&self, out: &mut Vec<u8>) -> usize {
        let start = out.len();
        out.extend_from_slice(&[0; HEAD_BYTES]);
        let (kind, org) = self.kind();
        out.push(kind);
        out.extend_from_slice(&org.bytes());
        match self {
            Self::Open { request, record, .. } => {
                out.extend_from_slice(&request.bytes());
                out.extend_from_slice(record);
            }
            Self::Close { request, number, record, .. } => {
                out.extend_from_slice(&request.bytes());
                out.extend_from_slice(&number.to_le_bytes());
                out.extend_from_slice(record);
            }
            Self::Base { last, booked, .. } => {
                out.extend_from_slice(&last.to_le_bytes());
                out.extend_from_slice(&booked.to_le_bytes());
            }
            Self::End { last, .. } => out.extend_from_slice(&last.to_le_bytes()),
        }
        let content = &out[start + HEAD_BYTES..];
        let checksum = crc32fast::hash(content).to_le_bytes();
        // A longer content cannot be written by us, and would be read as damage.
        let length = u32::try_from(content.len()).unwrap_or(u32::MAX).to_le_bytes();
        out[start..start + 4].copy_from_slice(&length);
        out[start + 4..start + HEAD_BYTES].copy_from_slice(&checksum);
        out.len() - start
    }

    /// The first line of `bytes` and what follows it; `None` at the end, at a torn line and at a
    /// damaged one.
    pub(crate) fn read(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (length, rest) = bytes.split_first_chunk::<4>()?;
        let (checksum, rest) = rest.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
        if length > MAX_CONTENT_BYTES {
            return None;
        }
        let (content, rest) = rest.split_at_checked(length)?;
        if crc32fast::hash(content) != u32::from_le_bytes(*checksum) {
            return None;
        }
        Some((Self::parse(content)?, rest))
    }

    const fn kind(&self) -> (u8, OrgId) {
        match self {
            Self::Open { org, .. } => (OPEN, *org),
            Self::Close { org, .. } => (CLOSE, *org),
            Self::Base { org, .. } => (BASE, *org),
            Self::End { org, .. } => (END, *org),
        }
    }

    fn parse(content: &'a [u8]) -> Option<Self> {
        let (kind, rest) = content.split_first()?;
        let (org, rest) = rest.split_first_chunk()?;
        let org = OrgId::from_bytes(*org);
        let number = |bytes: &'a [u8]| {
            let (number, rest) = bytes.split_first_chunk()?;
            Some((u64::from_le_bytes(*number), rest))
        };
        match *kind {
            OPEN => {
                let (request, record) = rest.split_first_chunk()?;
                Some(Self::Open { org, request: RequestId::from_bytes(*request), record })
            }
            CLOSE => {
                let (request, rest) = rest.split_first_chunk()?;
                let (number, record) = number(rest)?;
                Some(Self::Close { org, request: RequestId::from_bytes(*request), number, record })
            }
            BASE => {
                let (last, rest) = number(rest)?;
                let (booked, _) = number(rest)?;
                Some(Self::Base { org, last, booked })
            }
            END => number(rest).map(|(last, _)| Self::End { org, last }),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINES: [Line<'static>; 4] = [
        Line::Open { org: OrgId(1), request: RequestId(2), record: b"estimate" },
        Line::Close { org: OrgId(1), request: RequestId(2), number: 3, record: b"cost" },
        Line::Base { org: OrgId(u128::MAX), last: 5, booked: 4 },
        Line::End { org: OrgId(1), last: 3 },
    ];

    fn written() -> Vec<u8> {
        let mut bytes = Vec::new();
        for line in LINES {
            line.write(&mut bytes);
        }
        bytes
    }

    fn read(mut bytes: &[u8]) -> usize {
        let mut lines = 0;
        while let Some((line, rest)) = Line::read(bytes) {
            assert_eq!(line, LINES[lines]);
            (lines, bytes) = (lines + 1, rest);
        }
        lines
    }

    #[test]
    fn lines_come_back_and_a_torn_tail_is_found_at_every_byte() {
        let bytes = written();
        let mut ends = Vec::new();
        let mut so_far = Vec::new();
        for line in LINES {
            line.write(&mut so_far);
            ends.push(so_far.len());
        }
        for cut in 0..=bytes.len() {
            let whole = ends.iter().filter(|end| **end <= cut).count();
            assert_eq!(read(&bytes[..cut]), whole, "cut at {cut}");
        }
    }

    #[test]
    fn a_flipped_bit_ends_the_reading_there() {
        let bytes = written();
        for place in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[place] ^= 0x10;
            assert!(read(&damaged) < LINES.len(), "byte {place}");
        }
    }

    #[test]
    fn an_unknown_kind_and_an_absurd_length_are_damage() {
        let content = [9_u8; 40];
        let mut bytes = 40_u32.to_le_bytes().to_vec();
        bytes.extend_from_slice(&crc32fast::hash(&content).to_le_bytes());
        bytes.extend_from_slice(&content);
        assert_eq!(Line::read(&bytes), None);
        assert_eq!(Line::read(&[0xff; 64]), None);
    }
}
