//! One core's way from admission to the spool: no other thread touches it, so that it has no lock.

mod epoch;
mod released;
mod tally;
mod ticket;
mod tools;
mod unmetered;

use std::cell::{Cell, RefCell};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Bytes, BytesMut};
use tokio::sync::Notify;
use turnpike_domain::admit::Denial;
use turnpike_domain::id::{EpochId, OrgId};
use turnpike_domain::settle::Settlement;
use turnpike_domain::spend::Spend;
use turnpike_domain::time::Timestamp;
use turnpike_runtime::clock::SharedClock;
use turnpike_wire::spend;

use crate::board::Summary;

pub(crate) use epoch::{Epoch, Waiting, take_over_all};
pub(crate) use tally::{OpenAnswer, TallyMetrics};
pub use ticket::{Holds, Opening, Outcome, Tariff, Ticket};
pub(crate) use tools::CallEnd;

use crate::lease::Grip;
use released::Released;
use unmetered::{Fate, Unmetered};

/// Memory for records that is taken at a time, in bytes: that of a message.
const KEPT_BYTES: usize = 16 * 1024;

/// Numbers and keeps the requests of one core.
pub struct Lane {
    clock: SharedClock,
    room: Room,
    epoch: RefCell<Epoch>,
    /// When the last summary was taken, by the mirror's time: a promise was made up to there.
    told_at: Cell<Timestamp>,
    pub(crate) tally: tally::Tally,
    /// Wakes the outbox: there are records to send.
    records: Notify,
    /// Wakes it while it lets more come: an organisation has enough for a message.
    full: Notify,
    /// Where records are written before they are kept in memory of their own size.
    paper: RefCell<Vec<u8>>,
    /// Memory for the records that wait to be booked, in their order: a piece of it is free again
    /// when the last of its records is booked.
    kept: RefCell<BytesMut>,
    released: RefCell<Released>,
    unmetered: RefCell<Unmetered>,
}

/// What one lane may keep on disk: its share of what older epochs have left.
#[derive(Clone, Debug)]
pub struct Room {
    max_bytes: u64,
    lanes: u64,
    older_bytes: Arc<AtomicU64>,
}

impl Room {
    /// `max_bytes` for all `lanes` together.
    #[must_use]
    pub fn new(max_bytes: u64, lanes: u64) -> Self {
        Self { max_bytes, lanes: lanes.max(1), older_bytes: Arc::default() }
    }

    /// What one lane may use at the moment.
    #[must_use]
    pub fn lane_bytes(&self) -> u64 {
        let older = self.older_bytes.load(Ordering::Relaxed);
        self.max_bytes.saturating_sub(older) / self.lanes
    }

    /// Says what the files of older epochs take.
    pub(crate) fn set_older_bytes(&self, bytes: u64) {
        self.older_bytes.store(bytes, Ordering::Relaxed);
    }
}

impl Lane {
    /// A lane with an epoch of its own, whose files stand in `folder`.
    ///
    /// # Errors
    /// The file system's.
    pub fn create(
        clock: SharedClock,
        folder: &Path,
        epoch: EpochId,
        room: Room,
    ) -> std::io::Result<Self> {
        let epoch = RefCell::new(Epoch::create(folder, epoch, room.lane_bytes())?);
        let (told_at, tally) = (Cell::default(), tally::Tally::default());
        let (records, full) = (Notify::new(), Notify::new());
        let (paper, released) = (RefCell::default(), RefCell::default());
        let kept = RefCell::new(BytesMut::with_capacity(KEPT_BYTES));
        let unmetered = RefCell::default();
        Ok(Self {
            clock,
            room,
            epoch,
            told_at,
            tally,
            records,
            full,
            paper,
            kept,
            released,
            unmetered,
        })
    }

    /// This lane's epoch.
    #[must_use]
    pub fn epoch_id(&self) -> EpochId {
        self.epoch.borrow().id()
    }

    /// Requests that were admitted and are not settled.
    #[must_use]
    pub fn open_requests(&self) -> usize {
        self.epoch.borrow().open_requests()
    }

    /// Keeps room for the request's record and writes its opening line. Its ticket lets go of
    /// `holds` when it ends.
    ///
    /// # Errors
    /// [`Denial::Overloaded`] if the spool is full or cannot be written.
    pub fn open(
        self: &Rc<Self>,
        mut opening: Opening,
        holds: Holds,
    ) -> Result<Box<Ticket>, Denial> {
        // A heartbeat may set the mirror's time back a little; what was said to be complete stays.
        opening.at = opening.at.max(self.told_at.get());
        opening.lease = holds.budget.as_ref().map(Grip::lease);
        let estimate =
            opening.with_estimate(|record| self.encoded(record, |bytes| Box::from(bytes)));
        let (of, limit) = ((opening.org, opening.request, opening.at), self.room.lane_bytes());
        let opened = self.epoch.borrow_mut().open(of, estimate, limit);
        opened.map_err(|_| Denial::Overloaded)?;
        // In one place from here on: it is handed from phase to phase.
        Ok(Box::new(Ticket::new(Rc::clone(self), opening, holds)))
    }

    /// Puts a request into the request log that was never admitted, if there is room for it: what
    /// is metered never waits for those, and their bounds are those of [`unmetered`].
    pub(crate) fn note(&self, org: OrgId, record: Spend) {
        self.turn_second();
        let fate = self.unmetered.borrow_mut().take(org, record);
        match fate {
            Fate::Own(record) => self.number(org, *record),
            Fate::Shared => {}
            Fate::Counted => self.tally.unlogged(1),
        }
    }

    /// Writes what requests of the second before this one share.
    pub(crate) fn turn_second(&self) {
        let over = self.unmetered.borrow_mut().turn(self.clock.boot_ms());
        over.into_iter().for_each(|(org, record)| self.number(org, record));
    }

    /// Writes what requests of this second share: the lane is about to end.
    pub(crate) fn end_second(&self) {
        let over = self.unmetered.borrow_mut().end();
        over.into_iter().for_each(|(org, record)| self.number(org, record));
    }

    /// Numbers the record of requests that were not admitted. It has no opening line: the room
    /// that those leave is for what costs, so half of the spool stays free of it.
    fn number(&self, org: OrgId, mut record: Spend) {
        record.at = record.at.max(self.told_at.get());
        let bytes = self.encoded(&record, |bytes| self.kept(bytes));
        let mut epoch = self.epoch.borrow_mut();
        if epoch.may_note(bytes.len(), self.room.lane_bytes() / 2) {
            let unsent = epoch.close(org, record.request, bytes);
            self.tell(unsent);
        } else {
            self.tally.unlogged(u64::from(record.repeats).saturating_add(1));
        }
    }

    /// Writes another opening line for a request whose price has changed.
    fn reopen(&self, opening: &mut Opening) -> Result<(), Denial> {
        let estimate =
            opening.with_estimate(|record| self.encoded(record, |bytes| Box::from(bytes)));
        let (of, limit) = ((opening.org, opening.request), self.room.lane_bytes());
        let reopened = self.epoch.borrow_mut().reopen(of, estimate, limit);
        reopened.map_err(|_| Denial::Overloaded)
    }

    /// Whether every line so far is in the file; what the disk refused is tried again. Ask it
    /// before the upstream call.
    ///
    /// # Errors
    /// [`Denial::Overloaded`] if the spool cannot be written.
    pub fn written(&self) -> Result<(), Denial> {
        self.with_epoch(Epoch::flush).map_err(|error| {
            tracing::error!(%error, "the spool cannot be written");
            Denial::Overloaded
        })
    }

    /// The lane with the earlier epochs that its outbox sends, at `now` of the mirror. `None` while
    /// the file is behind: after a crash a number must mean the same record.
    pub(crate) fn summary(&self, now: Timestamp, older: &[Epoch]) -> Option<Summary> {
        let epoch = self.epoch.borrow();
        if !epoch.is_written() {
            return None;
        }
        let taken_at = now.max(self.told_at.get());
        self.told_at.set(taken_at);
        let mut summary =
            Summary { taken_at, open_answers: self.tally.open_answers(), ..Summary::default() };
        older.iter().chain([&*epoch]).for_each(|epoch| epoch.summarise(&mut summary));
        Some(summary)
    }

    /// Counts an answer as open until what this gives is dropped.
    pub(crate) fn open_answer(self: &Rc<Self>) -> OpenAnswer {
        OpenAnswer::new(Rc::clone(self))
    }

    /// Runs `work` on the epoch. For the outbox, which shares this thread.
    pub(crate) fn with_epoch<T>(&self, work: impl FnOnce(&mut Epoch) -> T) -> T {
        let mut epoch = self.epoch.borrow_mut();
        let result = work(&mut epoch);
        self.released.borrow_mut().settle(epoch.written());
        result
    }

    /// Completes when a record was numbered since the last call.
    pub(crate) async fn records(&self) {
        self.records.notified().await;
    }

    /// Completes when a record was numbered with which its organisation has a message's worth of
    /// them.
    pub(crate) async fn full_message(&self) {
        self.full.notified().await;
    }

    /// A record was numbered, and so many of its organisation are to be sent.
    fn tell(&self, unsent: usize) {
        self.records.notify_one();
        if unsent >= spend::MAX_RECORDS {
            self.full.notify_one();
        }
    }

    const fn clock(&self) -> &SharedClock {
        &self.clock
    }

    fn book(&self, opening: &Opening, record: &Spend, reserved: Option<(Grip, Settlement)>) {
        let bytes = self.encoded(record, |bytes| self.kept(bytes));
        let mut epoch = self.epoch.borrow_mut();
        let unsent = epoch.close(opening.org, opening.request, bytes);
        if let Some((grip, settlement)) = reserved {
            let mut released = self.released.borrow_mut();
            released.keep(epoch.queued(), grip, settlement);
            released.settle(epoch.written());
        }
        self.tell(unsent);
    }

    fn kept(&self, record: &[u8]) -> Bytes {
        let mut kept = self.kept.borrow_mut();
        kept.extend_from_slice(record);
        kept.split().freeze()
    }

    fn encoded<T>(&self, record: &Spend, keep: impl FnOnce(&[u8]) -> T) -> T {
        let written = spend::encode_over(record, self.paper.take());
        let kept = keep(&written);
        self.paper.replace(written);
        kept
    }
}
