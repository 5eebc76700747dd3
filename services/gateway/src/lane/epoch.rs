//! One epoch: dense numbers per organisation, and the records that wait to be booked.

mod recover;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::Path;

use bytes::Bytes;
use turnpike_domain::id::{EpochId, OrgId, RequestId};
use turnpike_domain::time::Timestamp;
use turnpike_wire::spend;

use crate::board::Summary;
use crate::spool::{Spool, SpoolFull};

pub(crate) use recover::take_over_all;

/// Records of one organisation that are on their way at a time: more would only be repeated when
/// nobody books them, and a projector far away still has work for a second.
const WINDOW_RECORDS: u64 = 5_000;
/// Gaps of one organisation are closed at most so often: until what was sent again is booked, the
/// projector says of more messages that they stand behind the gap.
pub(crate) const GAP_PAUSE_MS: u64 = 200;

/// The requests of one epoch, in files and in numbers.
pub(crate) struct Epoch {
    id: EpochId,
    spool: Spool,
    queues: BTreeMap<OrgId, Queue>,
    /// Every queue ends at its last number: nothing more is admitted.
    ended: bool,
    /// Damaged stretches in the files that an earlier run has left; `None`: it is this run's.
    taken_over: Option<u64>,
}

/// The records of one organisation that the projector has not booked.
#[derive(Default)]
struct Queue {
    /// The last number given.
    last: u64,
    /// The last number that is known to be in a file.
    written: u64,
    /// The last number known to be booked; the first waiting record is the one after it.
    booked: u64,
    /// The last number that was sent since the last rewind.
    sent: u64,
    /// The end marker was sent since the last rewind; the projector has confirmed it.
    end_sent: bool,
    end_booked: bool,
    /// Steady time of the last progress, or of the sending that began the present wait.
    progress_ms: u64,
    /// The projector lacks what follows `booked`, and nothing was sent again since it said so.
    gap: bool,
    /// Steady time when a gap was last closed.
    closed_gap_ms: Option<u64>,
    /// Each with the segment that holds it.
    records: VecDeque<(u32, Bytes)>,
}

/// What an outbox sends in one message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Waiting {
    pub(crate) org: OrgId,
    /// The number of the first record, or the next number if there is none.
    pub(crate) first: u64,
    pub(crate) records: Vec<Bytes>,
    /// These are the last of the epoch.
    pub(crate) end: bool,
}

impl Epoch {
    /// A new epoch, whose files may take `limit` bytes.
    pub(crate) fn create(folder: &Path, id: EpochId, limit: u64) -> io::Result<Self> {
        let spool = Spool::create(folder, id, 0, limit)?;
        Ok(Self { id, spool, queues: BTreeMap::new(), ended: false, taken_over: None })
    }

    pub(crate) const fn id(&self) -> EpochId {
        self.id
    }

    /// Damaged stretches that were found in the files of an earlier run.
    pub(crate) fn damaged_lines(&self) -> u64 {
        self.taken_over.unwrap_or(0)
    }

    /// See [`Spool::open`].
    pub(crate) fn open(
        &mut self,
        of: (OrgId, RequestId, Timestamp),
        estimate: Box<[u8]>,
        limit: u64,
    ) -> Result<(), SpoolFull> {
        if self.ended { Err(SpoolFull) } else { self.spool.open(of, estimate, limit) }
    }

    /// Whether a record of `length` bytes may be numbered that has no opening line.
    pub(crate) fn may_note(&self, length: usize, limit: u64) -> bool {
        !self.ended && self.spool.has_room(length, 0, limit)
    }

    /// See [`Spool::reopen`].
    pub(crate) fn reopen(
        &mut self,
        of: (OrgId, RequestId),
        estimate: Box<[u8]>,
        limit: u64,
    ) -> Result<(), SpoolFull> {
        self.spool.reopen(of, estimate, limit)
    }

    /// Numbers a record and queues its closing line; answers how many records of the organisation
    /// are to be sent now.
    pub(crate) fn close(&mut self, org: OrgId, request: RequestId, record: Bytes) -> usize {
        let queue = self.queues.entry(org).or_default();
        queue.last += 1;
        let segment = self.spool.close(org, request, queue.last, &record);
        queue.records.push_back((segment, record));
        queue.unsent(queue.last)
    }

    /// Ends the epoch: each organisation's last number is final. Open requests must be closed.
    pub(crate) fn end(&mut self) -> io::Result<()> {
        for (org, queue) in &self.queues {
            self.spool.end(*org, queue.last);
        }
        self.ended = true;
        self.spool.flush()
    }

    /// Whether everything, the end included, is booked.
    pub(crate) fn is_over(&self) -> bool {
        self.ended && self.queues.values().all(|queue| queue.end_booked)
    }

    /// Whether an organisation has a message's worth of records to send.
    pub(crate) fn has_full_message(&self, records: usize) -> bool {
        self.queues.values().any(|queue| queue.unsent(queue.last) >= records)
    }

    /// All that may be on its way and is not, in messages of at most `most` records. Marks it as
    /// sent. Nothing that is not in a file: after a crash a number must mean the same record.
    pub(crate) fn take_waiting(&mut self, most: usize, now_ms: u64) -> Vec<Waiting> {
        let mut waiting = Vec::new();
        let is_written = self.is_written();
        for (org, queue) in &mut self.queues {
            if is_written {
                queue.written = queue.last;
            }
            while let Some(message) = queue.take(*org, most, self.ended && is_written, now_ms) {
                waiting.push(message);
            }
        }
        waiting
    }

    /// The projector has booked up to `number`. Answers whether anything was new.
    pub(crate) fn booked(&mut self, org: OrgId, number: u64, end: bool, now_ms: u64) -> bool {
        let Some(queue) = self.queues.get_mut(&org) else { return false };
        // More than was ever numbered is no booking of ours; but damage may have taken the end of
        // what an earlier run has numbered and sent.
        if number > queue.last {
            if self.taken_over.is_none() {
                return false;
            }
            tracing::error!(%org, epoch = %self.id, number, "the spool's end was lost");
            (queue.last, queue.end_sent) = (number, false);
        }
        let new = queue.booked < number;
        while queue.booked < number
            && let Some((segment, _)) = queue.records.pop_front()
        {
            self.spool.booked(segment);
            queue.booked += 1;
        }
        // Of what was lost at the end there is no record to let go.
        queue.booked = queue.booked.max(number);
        queue.sent = queue.sent.max(queue.booked);
        let ends = end && self.ended && queue.booked == queue.last && !queue.end_booked;
        queue.end_booked |= ends;
        if new || ends {
            queue.progress_ms = now_ms;
            queue.gap = false;
        }
        new || ends
    }

    /// Sends again what nobody has booked for `patience_ms`, or what is known to be lacking.
    /// Answers with the records rewound.
    pub(crate) fn rewind(&mut self, now_ms: u64, patience_ms: u64) -> u64 {
        let mut rewound = 0;
        for queue in self.queues.values_mut() {
            let lacking = queue.gap && queue.may_close_gap(now_ms);
            let waits = queue.sent > queue.booked || (queue.end_sent && !queue.end_booked);
            if lacking || waits && now_ms.saturating_sub(queue.progress_ms) >= patience_ms {
                if lacking {
                    (queue.gap, queue.closed_gap_ms) = (false, Some(now_ms));
                }
                rewound += queue.sent - queue.booked;
                queue.sent = queue.booked;
                queue.end_sent = false;
            }
        }
        rewound
    }

    /// The projector lacks what follows the last booked record of `org`: the next
    /// [`Self::rewind`] outside of [`GAP_PAUSE_MS`] sends it again.
    pub(crate) fn gap(&mut self, org: OrgId) {
        if let Some(queue) = self.queues.get_mut(&org) {
            queue.gap = true;
        }
    }

    /// Adds what the epoch has of each organisation.
    pub(crate) fn summarise(&self, summary: &mut Summary) {
        for (org, queue) in self.queues.iter().filter(|(_, queue)| queue.last > 0) {
            summary.served.entry(*org).or_default().spent.push((self.id, queue.last));
            let oldest = queue.records.front();
            // A record that cannot be read is put aside by the projector.
            let oldest = oldest.and_then(|(_, record)| spend::decode(record).ok());
            summary.oldest_unbooked = earlier(summary.oldest_unbooked, oldest.map(|it| it.at));
        }
        for (org, at) in self.spool.opens() {
            let served = summary.served.entry(org).or_default();
            served.oldest_open = earlier(served.oldest_open, Some(at));
        }
        summary.spool_bytes = summary.spool_bytes.saturating_add(self.spool.used_bytes());
        let open = u64::try_from(self.spool.open_requests()).unwrap_or(u64::MAX);
        summary.open_requests = summary.open_requests.saturating_add(open);
    }

    /// Records that wait to be booked.
    pub(crate) fn unbooked(&self) -> u64 {
        self.queues.values().map(|queue| queue.last - queue.booked).sum()
    }

    /// Writes what is queued, begins a new file when the present one is large, and deletes the
    /// oldest ones that are booked.
    pub(crate) fn tidy(&mut self) -> io::Result<()> {
        let queues = self.queues.iter();
        let written = self.spool.flush().and_then(|()| {
            self.spool.rotate(queues.map(|(org, queue)| (*org, queue.last, queue.booked)))
        });
        self.spool.trim().and(written)
    }

    /// Writes what is queued.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.spool.flush()
    }

    /// Deletes the files of an epoch that is over.
    pub(crate) fn remove(&mut self) -> io::Result<()> {
        self.spool.remove()
    }

    /// See [`Spool::swap_file`].
    #[cfg(test)]
    pub(crate) fn swap_file(&mut self, file: std::fs::File) -> std::fs::File {
        self.spool.swap_file(file)
    }

    pub(crate) fn open_requests(&self) -> usize {
        self.spool.open_requests()
    }

    /// Everything queued is in a file.
    pub(crate) fn is_written(&self) -> bool {
        self.spool.written() == self.spool.queued()
    }

    pub(crate) fn queued(&self) -> u64 {
        self.spool.queued()
    }

    pub(crate) fn written(&self) -> u64 {
        self.spool.written()
    }

    pub(crate) fn used_bytes(&self) -> u64 {
        self.spool.used_bytes()
    }
}

fn earlier(one: Option<Timestamp>, other: Option<Timestamp>) -> Option<Timestamp> {
    one.into_iter().chain(other).min()
}

impl Queue {
    fn may_close_gap(&self, now_ms: u64) -> bool {
        self.closed_gap_ms.is_none_or(|closed_ms| now_ms.saturating_sub(closed_ms) >= GAP_PAUSE_MS)
    }

    fn unsent(&self, last: u64) -> usize {
        let may_go = last.min(self.booked.saturating_add(WINDOW_RECORDS));
        usize::try_from(may_go.saturating_sub(self.sent)).unwrap_or(usize::MAX)
    }

    fn take(&mut self, org: OrgId, most: usize, ended: bool, now_ms: u64) -> Option<Waiting> {
        let count = self.unsent(self.written).min(most);
        let end_waits = ended && !self.end_sent && !self.end_booked;
        if count == 0 && !(end_waits && self.sent == self.last) {
            return None;
        }
        if self.sent == self.booked {
            self.progress_ms = now_ms;
        }
        let skipped = usize::try_from(self.sent - self.booked).ok()?;
        let records = self.records.iter().skip(skipped).take(count);
        let records: Vec<Bytes> = records.map(|(_, record)| record.clone()).collect();
        let first = self.sent + 1;
        self.sent += u64::try_from(records.len()).unwrap_or(0);
        let end = ended && self.sent == self.last;
        self.end_sent |= end;
        Some(Waiting { org, first, records, end })
    }
}
