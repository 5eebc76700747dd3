//! Taking over the epochs that an earlier run left: what it admitted is booked, and it is ended.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use bytes::Bytes;
use turnpike_domain::id::{EpochId, OrgId, RequestId};

use super::{Epoch, Queue};
use crate::spool::line::Line;
use crate::spool::{SegmentFile, Spool, segments};

/// Takes over every epoch whose files stand in `folder`, oldest first. The requests that were open
/// are closed as estimates, and each epoch is ended. Damage costs what stood there and no more;
/// `limit` divides the files that are added.
pub(crate) fn take_over_all(folder: &Path, limit: u64) -> io::Result<Vec<Epoch>> {
    let mut files: BTreeMap<EpochId, Vec<SegmentFile>> = BTreeMap::new();
    for file in segments(folder)? {
        files.entry(file.epoch).or_default().push(file);
    }
    files.into_iter().map(|(id, files)| take_over(folder, id, &files, limit)).collect()
}

/// What the files of one epoch say.
#[derive(Default)]
struct Found {
    orgs: BTreeMap<OrgId, Numbers>,
    /// By request id, which is by time: the estimates are numbered the same way every time.
    opens: BTreeMap<RequestId, (OrgId, Bytes)>,
    ended: bool,
    /// Stretches of bytes that are no line and have a line behind them.
    damaged: u64,
}

/// The numbers of one organisation.
#[derive(Default)]
struct Numbers {
    /// What files held that were deleted: it is booked.
    deleted: u64,
    booked: u64,
    last: u64,
    /// By number, each with the segment that holds it.
    records: BTreeMap<u64, (u32, Bytes)>,
}

fn take_over(folder: &Path, id: EpochId, files: &[SegmentFile], limit: u64) -> io::Result<Epoch> {
    let mut found = Found::default();
    let mut sizes = Vec::new();
    for (place, file) in files.iter().enumerate() {
        let bytes = Bytes::from(file.read(folder)?);
        sizes.push((file.number, bytes.len()));
        found.read(file.number, place == 0, &bytes);
    }
    if found.damaged > 0 {
        tracing::error!(epoch = %id, stretches = found.damaged, "a spool is damaged");
    }
    let next = files.last().map_or(0, |file| file.number.saturating_add(1));
    let mut spool = Spool::create(folder, id, next, limit)?;
    for (number, bytes) in sizes {
        let unbooked = found.orgs.values().map(|numbers| numbers.unbooked_in(number)).sum();
        spool.adopt(number, u64::try_from(bytes).unwrap_or(u64::MAX), unbooked);
    }
    spool.base(found.orgs.iter().map(|(org, numbers)| (*org, numbers.last, numbers.booked)));
    let Found { orgs, mut opens, ended, damaged } = found;
    let mut queues = BTreeMap::new();
    for (org, numbers) in orgs {
        queues.insert(org, numbers.queue(org, &mut opens, &mut spool));
    }
    let mut epoch = Epoch { id, spool, queues, ended, taken_over: Some(damaged) };
    // Behind an end nothing was admitted.
    for (request, (org, estimate)) in opens.into_iter().filter(|_| !ended) {
        epoch.close(org, request, estimate);
    }
    epoch.end()?;
    Ok(epoch)
}

impl Numbers {
    /// Records of one file that are not booked.
    fn unbooked_in(&self, segment: u32) -> usize {
        let waiting = self.records.range(self.booked.saturating_add(1)..);
        waiting.filter(|(_, (held_by, _))| *held_by == segment).count()
    }

    /// All that is not booked, without a hole. A lost number whose request still has its opening
    /// line means that request's estimate: if it was booked before, it is not booked twice. Another
    /// gets a record that nobody can read, which the projector puts aside with an alarm.
    fn queue(
        mut self,
        org: OrgId,
        opens: &mut BTreeMap<RequestId, (OrgId, Bytes)>,
        spool: &mut Spool,
    ) -> Queue {
        let mut queue = Queue { last: self.last, booked: self.booked, ..Queue::default() };
        queue.sent = queue.booked;
        for number in self.deleted.saturating_add(1)..=self.last {
            let record = self.records.remove(&number).or_else(|| {
                let oldest = opens.iter().find(|(_, (of, _))| *of == org).map(|(id, _)| *id);
                let (request, (_, record)) =
                    oldest.and_then(|id| opens.remove_entry(&id)).unwrap_or_default();
                if number <= self.booked {
                    return None;
                }
                tracing::error!(%org, number, %request, "a record is lost");
                Some((spool.close(org, request, number, &record), record))
            });
            queue.records.extend(record.filter(|_| number > self.booked));
        }
        queue
    }
}

impl Found {
    /// Reads all lines of one file. What is no line is the torn end, or damage if a line follows.
    fn read(&mut self, segment: u32, is_first: bool, file: &Bytes) {
        let mut rest: &[u8] = file;
        while !rest.is_empty() {
            if let Some((line, after)) = Line::read(rest) {
                self.line(segment, is_first, line, file);
                rest = after;
                continue;
            }
            // Behind the last line of a file stands room that was taken and not used: zeros.
            let written = rest.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
            let mut lines = (1..written).map(|from| &rest[from..]);
            let Some(next) = lines.find(|from| Line::read(from).is_some()) else { return };
            self.damaged += 1;
            rest = next;
        }
    }

    fn line(&mut self, segment: u32, is_first: bool, line: Line<'_>, file: &Bytes) {
        match line {
            Line::Open { org, request, record } => {
                self.opens.insert(request, (org, file.slice_ref(record)));
                self.orgs.entry(org).or_default();
            }
            Line::Close { org, request, number, record } => {
                self.opens.remove(&request);
                let numbers = self.orgs.entry(org).or_default();
                numbers.last = numbers.last.max(number);
                numbers.records.insert(number, (segment, file.slice_ref(record)));
            }
            Line::Base { org, last, booked } => {
                let numbers = self.orgs.entry(org).or_default();
                // Files before the first that stands were deleted: all that they held is booked.
                let deleted = is_first && segment > 0 && numbers.records.is_empty();
                if deleted {
                    numbers.deleted = numbers.deleted.max(last);
                }
                numbers.last = numbers.last.max(last);
                numbers.booked = numbers.booked.max(booked).max(numbers.deleted);
            }
            Line::End { org, last } => {
                let numbers = self.orgs.entry(org).or_default();
                numbers.last = numbers.last.max(last);
                self.ended = true;
            }
        }
    }
}
