//! The files that keep one epoch's requests until the projector has booked them.
//!
//! An epoch's lines stand in segments `<epoch>-<number>.spool`. Each is written at once (see
//! [`tail`]); one that cannot be is kept and written again at the same place, so that a torn line
//! is only ever the last one of a file. Nothing is synced: the files outlive the process, and what
//! a lost machine takes with it is answered for by its leases.

pub(crate) mod line;
mod segment;
mod tail;

use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasherDefault;
use std::io;
use std::path::{Path, PathBuf};

use turnpike_domain::id::{EpochId, OrgId, RequestId};
use turnpike_domain::time::Timestamp;

pub(crate) use segment::{SegmentFile, segments};

use crate::table::IdHasher;
use line::Line;
use tail::Tail;

/// Bytes after which a new segment is begun: large enough that few files stand, small enough that
/// what was booked is deleted soon.
const SEGMENT_BYTES: u64 = 4 << 20;
/// Segments into which a small spool is divided, so that booking frees room before it is full.
const SMALLEST_SHARE: u64 = 16;
/// Room that is taken from the disk at a time: some 800 requests share the cost of taking it, and
/// no more of them are served on a disk that is full.
const STEP_BYTES: u64 = 256 << 10;
/// Room that is kept for the closing line of every open request: a name of 100 characters and every
/// number at its largest stay under it.
pub(crate) const CLOSE_ROOM_BYTES: u64 = 640;
/// The longest record: a line holds it with its ids and to spare.
const MAX_RECORD_BYTES: usize = line::MAX_CONTENT_BYTES / 2;

/// The line does not fit, or the disk refused the last one: no new request may be admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the spool is full or cannot be written")]
pub(crate) struct SpoolFull;

/// The files of one epoch.
pub(crate) struct Spool {
    folder: PathBuf,
    epoch: EpochId,
    /// Oldest first.
    older: VecDeque<Segment>,
    /// The segment that is written to, and its file.
    current: Segment,
    tail: Tail,
    /// Lines that are not in the file: none but what a disk has refused.
    pending: Vec<u8>,
    /// Lines ever queued, and how many of them are in a file.
    queued: u64,
    written: u64,
    opens: HashMap<RequestId, OpenLine, BuildHasherDefault<IdHasher>>,
    /// The last write failed: it is tried again before anything new is taken.
    failed: bool,
    segment_bytes: u64,
    step_bytes: u64,
}

#[derive(Default)]
struct Segment {
    number: u32,
    /// Bytes that its file takes, once it is no longer written to.
    bytes: u64,
    opens: usize,
    /// Its open lines were copied forward.
    copied: bool,
    /// Closing lines that the projector has not booked.
    unbooked: usize,
}

/// The line of a request that runs: it is copied forward when its segment is deleted.
struct OpenLine {
    segment: u32,
    org: OrgId,
    /// When the request was admitted.
    at: Timestamp,
    record: Box<[u8]>,
}

impl Spool {
    /// Begins at segment `first` of `epoch`; `limit` bounds all of its files together.
    pub(crate) fn create(
        folder: &Path,
        epoch: EpochId,
        first: u32,
        limit: u64,
    ) -> io::Result<Self> {
        let segment_bytes = SEGMENT_BYTES.min(limit / SMALLEST_SHARE).max(1);
        let step_bytes = STEP_BYTES.min(segment_bytes);
        let file = SegmentFile { epoch, number: first }.create(folder)?;
        Ok(Self {
            folder: folder.to_owned(),
            epoch,
            older: VecDeque::new(),
            current: Segment { number: first, ..Segment::default() },
            tail: Tail::new(file, step_bytes),
            pending: Vec::new(),
            queued: 0,
            written: 0,
            opens: HashMap::default(),
            failed: false,
            segment_bytes,
            step_bytes,
        })
    }

    /// Adds a segment that stands already and is newer than those added before it; `unbooked` of
    /// its closing lines will be reported to [`Self::booked`].
    pub(crate) fn adopt(&mut self, number: u32, bytes: u64, unbooked: usize) {
        self.older.push_back(Segment { number, bytes, unbooked, ..Segment::default() });
    }

    /// Bytes that files, lines that are not in one and the room of open requests take.
    pub(crate) fn used_bytes(&self) -> u64 {
        let older: u64 = self.older.iter().map(|segment| segment.bytes).sum();
        let files = older.saturating_add(self.tail.bytes());
        let room = CLOSE_ROOM_BYTES.saturating_mul(long(self.opens.len()));
        files.saturating_add(long(self.pending.len())).saturating_add(room)
    }

    /// Whether a record of `length` bytes and `more` that is to be kept for it fit into `limit`,
    /// and the disk took the last one.
    pub(crate) fn has_room(&self, length: usize, more: u64, limit: u64) -> bool {
        let line = long(length.saturating_add(line::HEAD_BYTES + line::IDS_BYTES));
        // With the room that the last file takes and has not used.
        let needed =
            [line, more, self.step_bytes].into_iter().fold(self.used_bytes(), u64::saturating_add);
        !self.failed && needed <= limit && length <= MAX_RECORD_BYTES
    }

    /// Queues an opening line, if it and its closing line fit into `limit`.
    pub(crate) fn open(
        &mut self,
        (org, request, at): (OrgId, RequestId, Timestamp),
        record: Box<[u8]>,
        limit: u64,
    ) -> Result<(), SpoolFull> {
        if !self.has_room(record.len(), CLOSE_ROOM_BYTES, limit) {
            return Err(SpoolFull);
        }
        self.push(&Line::Open { org, request, record: &record });
        self.current.opens += 1;
        let segment = self.current.number;
        self.opens.insert(request, OpenLine { segment, org, at, record });
        Ok(())
    }

    /// Queues another opening line for a request that is open: the latest counts.
    pub(crate) fn reopen(
        &mut self,
        (org, request): (OrgId, RequestId),
        record: Box<[u8]>,
        limit: u64,
    ) -> Result<(), SpoolFull> {
        let Some(open) = self.opens.remove(&request) else { return Err(SpoolFull) };
        let queued = self.open((org, request, open.at), record, limit);
        match queued {
            Ok(()) => {
                if let Some(segment) = self.segment(open.segment) {
                    segment.opens = segment.opens.saturating_sub(1);
                }
            }
            Err(SpoolFull) => drop(self.opens.insert(request, open)),
        }
        queued
    }

    /// Queues a closing line; answers with its segment. Never refused: its room was kept.
    pub(crate) fn close(
        &mut self,
        org: OrgId,
        request: RequestId,
        number: u64,
        record: &[u8],
    ) -> u32 {
        self.push(&Line::Close { org, request, number, record });
        if let Some(open) = self.opens.remove(&request)
            && let Some(segment) = self.segment(open.segment)
        {
            segment.opens = segment.opens.saturating_sub(1);
        }
        self.current.unbooked += 1;
        self.current.number
    }

    /// Queues the line that ends the organisation's numbers in this epoch.
    pub(crate) fn end(&mut self, org: OrgId, last: u64) {
        self.push(&Line::End { org, last });
    }

    /// The projector has booked a closing line of `segment`.
    pub(crate) fn booked(&mut self, segment: u32) {
        if let Some(segment) = self.segment(segment) {
            segment.unbooked = segment.unbooked.saturating_sub(1);
        }
    }

    /// Requests that are open.
    pub(crate) fn open_requests(&self) -> usize {
        self.opens.len()
    }

    /// The requests that are open, by organisation and time of admission, in no order.
    pub(crate) fn opens(&self) -> impl Iterator<Item = (OrgId, Timestamp)> {
        self.opens.values().map(|open| (open.org, open.at))
    }

    /// Lines queued so far.
    pub(crate) const fn queued(&self) -> u64 {
        self.queued
    }

    /// Lines that are in a file.
    pub(crate) const fn written(&self) -> u64 {
        self.written
    }

    /// Writes the lines that the disk refused, if there are any. What it refuses again stays.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let result = self.tail.append(&self.pending);
        self.failed = result.is_err();
        result?;
        self.pending.clear();
        self.written = self.queued;
        Ok(())
    }

    /// Begins a new segment once the present one is large, with `base` (see [`Self::base`]) at its
    /// head, so that the older segments can go.
    pub(crate) fn rotate(
        &mut self,
        base: impl Iterator<Item = (OrgId, u64, u64)>,
    ) -> io::Result<()> {
        if self.tail.bytes() < self.segment_bytes {
            return Ok(());
        }
        self.flush()?;
        let number = self.current.number.saturating_add(1);
        let file = SegmentFile { epoch: self.epoch, number }.create(&self.folder)?;
        self.tail.finish()?;
        let full = std::mem::replace(&mut self.current, Segment { number, ..Segment::default() });
        self.older.push_back(Segment { bytes: self.tail.bytes(), ..full });
        self.tail = Tail::new(file, self.step_bytes);
        self.base(base);
        self.flush()
    }

    /// Queues what is known of each organisation: (organisation, last number, last booked number).
    pub(crate) fn base(&mut self, base: impl Iterator<Item = (OrgId, u64, u64)>) {
        for (org, last, booked) in base {
            self.push(&Line::Base { org, last, booked });
        }
    }

    /// Deletes the oldest segments whose closing lines are all booked. Lines of requests that are
    /// still open are copied forward first, so that one long stream does not hold everything.
    pub(crate) fn trim(&mut self) -> io::Result<()> {
        if self.tail.bytes() == 0 {
            // Its head says what the deleted ones held.
            self.flush()?;
        }
        while let Some(old) = self.older.front().filter(|old| old.unbooked == 0) {
            let number = old.number;
            if old.opens > 0 {
                self.copy_forward(number);
            }
            // What was copied must stand before its first home is gone. Nothing else is waited for:
            // on a full disk this is what makes room.
            if self.older.front().is_some_and(|old| old.copied) {
                self.flush()?;
            }
            SegmentFile { epoch: self.epoch, number }.remove(&self.folder)?;
            self.older.pop_front();
        }
        Ok(())
    }

    /// Deletes every file: the epoch is over and booked.
    pub(crate) fn remove(&mut self) -> io::Result<()> {
        let segments = self.older.iter().chain([&self.current]);
        // Oldest first: what is left after a failure is still the end of the epoch.
        segments
            .map(|segment| segment.number)
            .try_for_each(|number| SegmentFile { epoch: self.epoch, number }.remove(&self.folder))
    }

    /// Puts another file in the place of the present one: a disk that fails, or works again.
    #[cfg(test)]
    pub(crate) fn swap_file(&mut self, file: std::fs::File) -> std::fs::File {
        self.tail.swap_file(file)
    }

    fn copy_forward(&mut self, from: u32) {
        for (request, open) in self.opens.iter_mut().filter(|(_, open)| open.segment == from) {
            let line = Line::Open { org: open.org, request: *request, record: &open.record };
            line.write(&mut self.pending);
            self.queued += 1;
            open.segment = self.current.number;
            self.current.opens += 1;
        }
        if let Some(old) = self.segment(from) {
            (old.opens, old.copied) = (0, true);
        }
    }

    /// Writes the line, or keeps it: who needs to know asks [`Self::flush`].
    fn push(&mut self, line: &Line<'_>) {
        line.write(&mut self.pending);
        self.queued += 1;
        // A disk that has failed is asked again when the outbox tidies, not by each request.
        if !self.failed {
            let _refused_and_kept = self.flush();
        }
    }

    fn segment(&mut self, number: u32) -> Option<&mut Segment> {
        if number == self.current.number {
            return Some(&mut self.current);
        }
        let place = self.older.binary_search_by_key(&number, |segment| segment.number).ok()?;
        self.older.get_mut(place)
    }
}

fn long(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}
