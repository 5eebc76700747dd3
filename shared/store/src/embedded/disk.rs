//! What the writer and the snapshots of one file share, and the tables in it.

use std::sync::OnceLock;
use std::sync::atomic::AtomicU64;

use redb::TableDefinition;
use tokio::sync::watch;

use crate::kv::ReadError;
use crate::watches::Watches;

/// The rows of the seam.
pub(super) const ROWS: TableDefinition<'static, &[u8], &[u8]> = TableDefinition::new("rows");
/// Numbers about the file itself, by name.
pub(super) const META: TableDefinition<'static, &str, u64> = TableDefinition::new("meta");
/// The row of [`META`] with the form of this file.
pub(super) const FORMAT: &str = "format";
/// The row of [`META`] with the number of the newest commit.
pub(super) const NEWEST: &str = "newest";

/// Without the database itself, so that a snapshot that somebody still holds does not keep a store
/// open that was dropped.
pub(super) struct Disk {
    /// For error texts.
    pub(super) path: String,
    /// The oldest version that can still be read and judged.
    pub(super) horizon: AtomicU64,
    /// Why no commit is possible any more; set once.
    pub(super) refusal: OnceLock<String>,
    /// Whether there is a refusal, for those who wait for it.
    pub(super) refused: watch::Sender<bool>,
    pub(super) watches: Watches,
}

impl Disk {
    pub(super) fn new(path: String, newest: u64) -> Self {
        Self {
            path,
            horizon: AtomicU64::new(newest),
            refusal: OnceLock::new(),
            refused: watch::Sender::new(false),
            watches: Watches::default(),
        }
    }

    /// The answer to a read that redb refused. After a failed write redb serves only the pages that
    /// it has in memory, so the first cause is what the reader needs to know.
    pub(super) fn read_error(&self, error: impl Into<redb::Error>) -> ReadError {
        let error = error.into();
        ReadError::Unavailable(match self.refusal.get() {
            Some(cause) => format!("{}: {error}; the first cause: {cause}", self.path),
            None => format!("{}: {error}", self.path),
        })
    }
}
