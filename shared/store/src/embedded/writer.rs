//! The one thread that writes: it makes one durable commit of all batches that wait.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use redb::{Database, WriteTransaction};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use super::disk::{Disk, META, NEWEST, ROWS};
use super::recent::Recent;
use crate::kv::{Batch, CommitError, Committed, Stamp, Version};
use crate::writes;

/// The most batches of one group: more do not make a commit cheaper (the flush is already shared by
/// a hundred), but make the first of them wait.
const GROUP_BATCHES: usize = 512;
/// Bytes at which a group is closed, for the same reason; one batch may go over it.
const GROUP_BYTES: usize = 4 << 20;

type Answer = Result<Committed, CommitError>;

/// A batch that waits, and who waits for it.
pub(super) struct Job {
    pub(super) batch: Batch,
    pub(super) answer: oneshot::Sender<Answer>,
    /// Room in the queue, given back when the job is done.
    pub(super) room: OwnedSemaphorePermit,
}

/// Who waits for an answer, what it will be if the group is stored, and the room it holds.
struct Decided {
    answer: oneshot::Sender<Answer>,
    outcome: Answer,
    _room: OwnedSemaphorePermit,
}

pub(super) struct Writer {
    database: Arc<Database>,
    disk: Arc<Disk>,
    recent: Recent,
}

impl Writer {
    pub(super) fn new(database: Arc<Database>, disk: Arc<Disk>, recent: Recent) -> Self {
        Self { database, disk, recent }
    }

    /// Commits until nobody can send any more.
    pub(super) fn run(mut self, mut jobs: mpsc::UnboundedReceiver<Job>) {
        while let Some(first) = jobs.blocking_recv() {
            let mut bytes = first.batch.bytes();
            let mut group = vec![first];
            while group.len() < GROUP_BATCHES && bytes < GROUP_BYTES {
                let Ok(job) = jobs.try_recv() else { break };
                bytes = bytes.saturating_add(job.batch.bytes());
                group.push(job);
            }
            self.commit(group);
        }
    }

    fn commit(&mut self, group: Vec<Job>) {
        if let Some(refusal) = self.disk.refusal.get() {
            let refused = CommitError::Unavailable(refusal.clone());
            for job in group {
                // Whoever dropped its future does not want to know; so below.
                let _ = job.answer.send(Err(refused.clone()));
            }
            return;
        }
        let (decided, rows) = self.decide(group);
        let failure = self.store(&rows).err();
        if failure.is_none() {
            self.disk.horizon.store(self.recent.horizon(), Ordering::Release);
            self.disk.watches.wake(rows.iter().map(|(key, _)| key));
        }
        // Only now, conflicts included: who reads again must see what came first.
        for Decided { answer, outcome, _room } in decided {
            let outcome = outcome.and_then(|committed| failure.clone().map_or(Ok(committed), Err));
            let _ = answer.send(outcome);
        }
    }

    /// Checks each batch in turn against all before it, those of this group included.
    fn decide(&mut self, group: Vec<Job>) -> (Vec<Decided>, Vec<(Bytes, Option<Bytes>)>) {
        let mut rows = Vec::new();
        let mut decided = Vec::with_capacity(group.len());
        for Job { batch, answer, room } in group {
            let outcome = if self.recent.conflicts(&batch) {
                Err(CommitError::Conflict)
            } else {
                let version = self.recent.begin();
                let stamp = Stamp::from_counter(version);
                for (key, value) in writes::resolve(batch.writes, stamp) {
                    self.recent.record(&key);
                    rows.push((key, value));
                }
                Ok(Committed { stamp, version: Version(version) })
            };
            decided.push(Decided { answer, outcome, _room: room });
        }
        self.recent.trim();
        (decided, rows)
    }

    /// Makes the group durable. A failure before the transaction is handed over leaves nothing in
    /// the file; a failure behind it may have left everything.
    fn store(&self, rows: &[(Bytes, Option<Bytes>)]) -> Result<(), CommitError> {
        let transaction = match self.stage(rows) {
            Ok(transaction) => transaction,
            Err(error) => return Err(CommitError::Unavailable(self.refuse(&error))),
        };
        let Err(error) = transaction.commit() else { return Ok(()) };
        Err(CommitError::Unknown(self.refuse(&error.into())))
    }

    fn stage(&self, rows: &[(Bytes, Option<Bytes>)]) -> Result<WriteTransaction, redb::Error> {
        let mut transaction = self.database.begin_write()?;
        // So that a crash costs no walk over the whole file; the figures stand in `embedded`.
        transaction.set_quick_repair(true);
        {
            let mut table = transaction.open_table(ROWS)?;
            for (key, value) in rows {
                match value {
                    Some(value) => drop(table.insert(&key[..], &value[..])?),
                    None => drop(table.remove(&key[..])?),
                }
            }
            transaction.open_table(META)?.insert(NEWEST, self.recent.newest())?;
        }
        Ok(transaction)
    }

    /// Makes the store read-only, and says why. After a failed flush nobody can know what the disk
    /// holds until the file is read afresh, so nothing more is written on top of it.
    fn refuse(&self, error: &redb::Error) -> String {
        let path = &self.disk.path;
        let cause = format!("{path}: {error}; read-only until the store is opened again");
        tracing::error!(path, %error, "the disk refused a commit: the store is read-only now");
        let cause = self.disk.refusal.get_or_init(|| cause).clone();
        self.disk.refused.send_replace(true);
        cause
    }
}
