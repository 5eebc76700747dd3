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
/// are closed as estimates, and each epoch is ended. Files that cannot be understood are left for
/// the operator; `limit` divides the files that are added.
pub(crate) fn take_over_all(folder: &Path, limit: u64) -> io::Result<Vec<Epoch>> {
    let mut files: BTreeMap<EpochId, Vec<SegmentFile>> = BTreeMap::new();
    for file in segments(folder)? {
        files.entry(file.epoch).or_default().push(file);
    }
    let mut epochs = Vec::new();
    for (id, files) in files {
        match take_over(folder, id, &files, limit) {
            Ok(epoch) => epochs.push(epoch),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                tracing::error!(epoch = %id, %error, "a spool is damaged and left as it is");
            }
            Err(error) => return Err(error),
        }
    }
    Ok(epochs)
}

/// What the files of one epoch say.
#[derive(Default)]
struct Found {
    queues: BTreeMap<OrgId, Queue>,
    /// By request id, which is by time: the estimates are numbered the same way every time.
    opens: BTreeMap<RequestId, (OrgId, Bytes)>,
    ended: bool,
}

fn take_over(folder: &Path, id: EpochId, files: &[SegmentFile], limit: u64) -> io::Result<Epoch> {
    let mut found = Found::default();
    let mut sizes = Vec::new();
    for file in files {
        let bytes = Bytes::from(file.read(folder)?);
        sizes.push((file.number, bytes.len()));
        found.read(file.number, &bytes)?;
    }
    let next = files.last().map_or(0, |file| file.number.saturating_add(1));
    let mut spool = Spool::create(folder, id, next, limit)?;
    for (number, bytes) in sizes {
        let held = |queue: &Queue| queue.records.iter().filter(|(at, _)| *at == number).count();
        let unbooked = found.queues.values().map(held).sum();
        spool.adopt(number, u64::try_from(bytes).unwrap_or(u64::MAX), unbooked);
    }
    let known = found.queues.iter().map(|(org, queue)| (*org, queue.last, queue.booked));
    spool.base(known);
    let mut epoch = Epoch { id, spool, queues: found.queues, ended: found.ended };
    for (request, (org, estimate)) in found.opens {
        epoch.close(org, request, estimate);
    }
    epoch.end()?;
    Ok(epoch)
}

impl Found {
    /// Reads one file up to its end or its torn line.
    fn read(&mut self, segment: u32, file: &Bytes) -> io::Result<()> {
        let mut rest: &[u8] = file;
        while let Some((line, after)) = Line::read(rest) {
            self.line(segment, line, file)?;
            rest = after;
        }
        Ok(())
    }

    fn line(&mut self, segment: u32, line: Line<'_>, file: &Bytes) -> io::Result<()> {
        match line {
            Line::Open { org, request, record } => {
                self.opens.insert(request, (org, file.slice_ref(record)));
                self.queues.entry(org).or_default();
            }
            Line::Close { org, request, number, record } => {
                self.opens.remove(&request);
                let queue = self.queues.entry(org).or_default();
                if number != queue.last + 1 {
                    return Err(missing(org, queue.last, number));
                }
                queue.last = number;
                queue.records.push_back((segment, file.slice_ref(record)));
            }
            Line::Base { org, last, booked } => {
                let queue = self.queues.entry(org).or_default();
                if queue.last == 0 {
                    // The files before this one were deleted: all that they held is booked.
                    (queue.last, queue.booked) = (last, last);
                } else if queue.last != last {
                    return Err(missing(org, queue.last, last));
                }
                while queue.booked < booked && queue.records.pop_front().is_some() {
                    queue.booked += 1;
                }
                queue.sent = queue.booked;
            }
            Line::End { .. } => self.ended = true,
        }
        Ok(())
    }
}

fn missing(org: OrgId, last: u64, next: u64) -> io::Error {
    let what = format!("{org}: number {next} follows {last}");
    io::Error::new(io::ErrorKind::InvalidData, what)
}
