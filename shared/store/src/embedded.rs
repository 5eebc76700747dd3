//! The store in one file of this machine: redb, with one writer that commits in groups.
//!
//! A durable commit costs one flush of the disk, whatever its size, so the writer takes all batches
//! that wait, checks each in turn, and makes one redb transaction of those that do not conflict.
//!
//! When the disk refuses a write, what the file holds of that group is not known: its callers are
//! told [`CommitError::Unknown`]. From then on the store is read-only until it is opened again,
//! which finds every commit that was ever answered with `Ok`.
//!
//! Every commit keeps what redb needs to open the file at once after a crash (`set_quick_repair`).
//! Measured with redb 4.4 on a 2-core machine: without it a file with 200 MB of rows, 1 GB in all,
//! took 2.5 s to open after a crash and one with 800 MB of rows 5 to 8 s, with it 1 ms each. It
//! costs a second flush: commits of 5 rows one after the other fell from 3,200/s to 2,000/s; groups
//! of 300 rows (126 and 135/s) and of 2,500 (20 and 24/s) showed no difference.

mod disk;
#[cfg(test)]
mod faulty;
mod moment;
mod open;
mod recent;
#[cfg(test)]
mod tests;
mod writer;

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use bytes::Bytes;
use redb::{Database, StorageBackend};
use tokio::sync::{mpsc, oneshot};

pub use self::open::OpenError;

use self::disk::Disk;
use self::recent::Recent;
use self::writer::{Job, Writer};
use crate::kv::{Batch, BoxFuture, CommitError, Committed, Kv, ReadError, Snapshot};
use crate::room::Room;
use crate::writes;

/// The name of the file in the directory of the store.
pub const FILE_NAME: &str = "turnpike.redb";

/// A store in one file. Dropping it finishes what is queued and closes the file; that may take as
/// long as one commit.
pub struct Embedded {
    database: Arc<Database>,
    disk: Arc<Disk>,
    room: Room,
    /// `None` only while it is dropped: the writer ends when nobody can send.
    queue: Option<mpsc::UnboundedSender<Job>>,
    writer: Option<JoinHandle<()>>,
}

impl Embedded {
    /// Opens the store in `directory`, which is made if it is not there. Reads the disk on the
    /// caller's thread.
    ///
    /// # Errors
    /// [`OpenError`] says what is wrong with the directory or the file, and what to do.
    pub fn open(directory: &Path) -> Result<Self, OpenError> {
        let path = directory.join(FILE_NAME);
        let backend = open::backend(directory, &path)?;
        Self::start(&path, backend, recent::HISTORY_BYTES)
    }

    fn start(
        path: &Path,
        backend: impl StorageBackend,
        history_bytes: usize,
    ) -> Result<Self, OpenError> {
        let (database, newest) = open::database(path, backend)?;
        let database = Arc::new(database);
        let disk = Arc::new(Disk::new(path.display().to_string(), newest));
        let (queue, jobs) = mpsc::unbounded_channel();
        let recent = Recent::new(newest, history_bytes);
        let writer = Writer::new(Arc::clone(&database), Arc::clone(&disk), recent);
        let writer = turnpike_runtime::tasks::thread("store-writer", move || writer.run(jobs))
            .map_err(|source| OpenError::Thread { source })?;
        Ok(Self { database, disk, room: Room::default(), queue: Some(queue), writer: Some(writer) })
    }

    /// Completes when the disk has refused a commit: nothing more is written until the store is
    /// opened again.
    pub(crate) async fn refused(&self) {
        // The sender lives as long as `self`: the only error cannot be.
        let _ = self.disk.refused.subscribe().wait_for(|refused| *refused).await;
    }

    async fn enqueue(&self, batch: Batch) -> Result<Committed, CommitError> {
        writes::check(&batch)?;
        let stopped = || CommitError::Unavailable(format!("{}: the writer ended", self.disk.path));
        let room = self.room.take(&batch).await.ok_or_else(stopped)?;
        let (answer, answered) = oneshot::channel();
        let queue = self.queue.as_ref().ok_or_else(stopped)?;
        queue.send(Job { batch, answer, room }).map_err(|_| stopped())?;
        // The writer answers every job, so it panicked, at a moment that nobody knows.
        let lost = |_| CommitError::Unknown(format!("{}: the writer died", self.disk.path));
        answered.await.map_err(lost)?
    }
}

impl Kv for Embedded {
    /// Reads run on the caller's thread: a hit in the cache takes microseconds, a miss one read.
    fn snapshot(&self) -> BoxFuture<'_, Result<Arc<dyn Snapshot>, ReadError>> {
        Box::pin(async move { moment::take(&self.database, &self.disk) })
    }

    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<Committed, CommitError>> {
        Box::pin(self.enqueue(batch))
    }

    fn watch(&self, key: Bytes) -> BoxFuture<'static, ()> {
        self.disk.watches.watch(key)
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(writer) = self.writer.take() {
            // A panic of the writer was counted where it was caught.
            let _ = writer.join();
        }
    }
}

impl fmt::Debug for Embedded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Embedded").field("path", &self.disk.path).finish_non_exhaustive()
    }
}
