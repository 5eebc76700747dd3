//! The store on FoundationDB: the seam mapped onto one transaction, call by call.
//!
//! | seam | FoundationDB |
//! |---|---|
//! | `read_at` | the read version of the committing transaction |
//! | a key in `unchanged` | a read conflict on that key alone |
//! | `Append` | a versionstamped key, with the number in the batch behind the stamp |
//! | [`Committed::stamp`] | the versionstamp |
//!
//! A commit runs in a task of its own that always finishes: one whose future is dropped may still
//! land. What it answered is taken from the error's number only, see [`errors`]; after
//! [`CommitError::Unknown`] the caller reads a row that the commit would have written. Without an
//! answer for [`TIMEOUT_MS`] it is unknown too, or whoever waits would wait for as long as the
//! cluster is away.

mod errors;
mod moment;
mod network;
mod silence;
#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use foundationdb::options::{ConflictRangeType, MutationType, TransactionOption};
use foundationdb::{Database, FdbResult, Transaction};
use tokio::sync::oneshot;

use self::silence::Silence;
use crate::kv::{
    Batch, BoxFuture, CommitError, Committed, Kv, MAX_KEY_BYTES, ReadError, Snapshot, Stamp,
    Version, Write,
};
use crate::room::Room;
use crate::writes;

/// The longest root: it is taken from the bytes of every key.
pub const MAX_ROOT_BYTES: usize = 100;
/// How long a transaction may take: as long as FoundationDB keeps a version. What is read later is
/// too old, and a guarded commit that comes later is refused. The client library counts it; without
/// it a call waits for ever while no server can be reached.
const TIMEOUT_MS: i32 = 5_000;

/// Why a FoundationDB store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The client library refuses to start: most often it is older than API version 730.
    #[error("the FoundationDB client (libfdb_c) does not start: {text}")]
    Client {
        /// What the library says.
        text: String,
    },
    /// The root is empty, too long, or in the keys that FoundationDB keeps for itself.
    #[error(
        "a root of {bytes} bytes cannot be used: 1 to {MAX_ROOT_BYTES} bytes, the first not 0xff"
    )]
    Root {
        /// The length of the root.
        bytes: usize,
    },
    /// The path of the cluster file is not text that the client library takes.
    #[error("{} is not a path that the FoundationDB client takes", path.display())]
    Path {
        /// The path of the cluster file.
        path: PathBuf,
    },
    /// The cluster file cannot be read. The library would say so only when it is first used.
    #[error("the cluster file {} cannot be read", path.display())]
    Unreadable {
        /// The path of the cluster file.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// The library refuses the cluster file.
    #[error("{} is not a cluster file: {text}", path.display())]
    Cluster {
        /// The path of the cluster file.
        path: PathBuf,
        /// What the library says.
        text: String,
    },
}

/// A store under one root in a FoundationDB cluster.
pub struct Fdb {
    cluster: Arc<Cluster>,
    room: Room,
}

struct Cluster {
    database: Database,
    root: Bytes,
    silence: Silence,
}

impl Fdb {
    /// The store under `root` in the cluster of the file. `root` stands before every key and keeps
    /// several stores of one cluster apart: none may be the beginning of another. Connects when it
    /// is first used.
    ///
    /// # Errors
    /// [`OpenError`] if the root is empty, too long or reserved, the client does not start, or the
    /// cluster file is not one.
    pub fn open(cluster_file: &Path, root: Bytes) -> Result<Self, OpenError> {
        // Keys that begin with 0xff are FoundationDB's own.
        if root.len() > MAX_ROOT_BYTES || root.first().is_none_or(|first| *first == 0xff) {
            return Err(OpenError::Root { bytes: root.len() });
        }
        let path = cluster_file.to_str().filter(|path| !path.contains('\0'));
        let path = path.ok_or_else(|| OpenError::Path { path: cluster_file.to_owned() })?;
        let unreadable = |source| OpenError::Unreadable { path: cluster_file.to_owned(), source };
        std::fs::File::open(cluster_file).map_err(unreadable)?;
        network::start().map_err(|error| OpenError::Client { text: errors::text(error) })?;
        let database = Database::from_path(path).map_err(|error| OpenError::Cluster {
            path: cluster_file.to_owned(),
            text: errors::text(error),
        })?;
        let cluster = Arc::new(Cluster { database, root, silence: Silence::default() });
        Ok(Self { cluster, room: Room::default() })
    }

    async fn submit(&self, batch: Batch) -> Result<Committed, CommitError> {
        self.cluster.check(&batch)?;
        let room = self.room.take(&batch).await;
        let cluster = Arc::clone(&self.cluster);
        let (answer, answered) = oneshot::channel();
        turnpike_runtime::tasks::detach("store-commit", async move {
            let outcome = cluster.commit(batch).await;
            drop((cluster, room));
            // Whoever dropped its future does not want to know.
            let _ = answer.send(outcome);
        });
        let lost = |_| CommitError::Unknown("the task of the commit ended".to_owned());
        answered.await.map_err(lost)?
    }
}

impl Kv for Fdb {
    fn snapshot(&self) -> BoxFuture<'_, Result<Arc<dyn Snapshot>, ReadError>> {
        Box::pin(moment::take(&self.cluster))
    }

    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<Committed, CommitError>> {
        Box::pin(self.submit(batch))
    }

    fn watch(&self, key: Bytes) -> BoxFuture<'static, ()> {
        let transaction = self.cluster.database.create_trx();
        // The calls are made now and not when the future is first polled, so that writes from now
        // on count; the watch begins with the commit, which writes nothing. It has no timeout: that
        // would end it while it waits for its key.
        let begun = transaction.map(|transaction| {
            let woken = transaction.watch(&self.cluster.key(&key));
            (woken, transaction.commit())
        });
        Box::pin(async move {
            let wait = async {
                let (woken, commit) = begun?;
                commit.await?;
                woken.await
            };
            if let Err(error) = wait.await {
                tracing::debug!(code = error.code(), "a watch is lost");
                std::future::pending::<()>().await;
            }
        })
    }
}

impl Cluster {
    fn key(&self, key: &[u8]) -> Vec<u8> {
        [&self.root[..], key].concat()
    }

    /// The limits of the seam, and that each key has room for the root.
    fn check(&self, batch: &Batch) -> Result<(), CommitError> {
        writes::check(batch)?;
        let longest = MAX_KEY_BYTES.saturating_sub(self.root.len());
        for write in &batch.writes {
            let length = match write {
                Write::Put { key, .. } | Write::Delete { key } => key.len(),
                Write::Append { prefix, .. } => {
                    prefix.len().saturating_add(crate::kv::APPEND_SUFFIX_BYTES)
                }
            };
            if length > longest {
                let text = format!("a key of {length} bytes, {longest} are left by the root");
                return Err(CommitError::TooLarge(text));
            }
        }
        Ok(())
    }

    async fn commit(&self, batch: Batch) -> Result<Committed, CommitError> {
        let transaction = self.transaction(TIMEOUT_MS).map_err(errors::before_commit)?;
        // Guards first: the client leaves out a read conflict on what the transaction has written.
        self.guard(&transaction, &batch)?;
        self.write(&transaction, batch.writes).map_err(errors::before_commit)?;
        let stamp = transaction.get_versionstamp();
        let committed = transaction.commit().await.map_err(|error| errors::commit(*error))?;
        // It has happened; only its place is still to be asked for, from the client's own memory.
        let place = |error| CommitError::Unknown(errors::text(error));
        let version = committed.committed_version().map_err(place)?;
        let stamp = stamp.await.map_err(place)?;
        let (Ok(version), Ok(stamp)) = (u64::try_from(version), <[u8; 10]>::try_from(&*stamp))
        else {
            return Err(CommitError::Unknown("the client gave no versionstamp".to_owned()));
        };
        Ok(Committed { stamp: Stamp(stamp), version: Version(version) })
    }

    /// Without guards FoundationDB judges no version, so none is set: it would have to be a recent
    /// one.
    fn guard(&self, transaction: &Transaction, batch: &Batch) -> Result<(), CommitError> {
        if batch.unchanged.is_empty() {
            return Ok(());
        }
        // No snapshot has version 0 here, and the client takes it for a mistake.
        let read_at = i64::try_from(batch.read_at.0).ok().filter(|version| *version > 0);
        transaction.set_read_version(read_at.ok_or(CommitError::Conflict)?);
        for key in &batch.unchanged {
            self.conflict(transaction, key, ConflictRangeType::Read)
                .map_err(errors::before_commit)?;
        }
        Ok(())
    }

    fn write(&self, transaction: &Transaction, writes: Vec<Write>) -> FdbResult<()> {
        if writes.is_empty() {
            // A transaction that writes nothing is not sent, and its guards would not be checked.
            // No key of the seam is read or written here.
            self.conflict(transaction, &[0xff], ConflictRangeType::Write)?;
        }
        let mut number = 0_u16;
        for write in writes {
            match write {
                Write::Put { key, value } => transaction.set(&self.key(&key), &value),
                Write::Delete { key } => transaction.clear(&self.key(&key)),
                Write::Append { prefix, value } => {
                    let template = append_template(self.key(&prefix), number);
                    let set = MutationType::SetVersionstampedKey;
                    transaction.atomic_op(&template, &value, set);
                    number = number.wrapping_add(1);
                }
            }
        }
        Ok(())
    }

    fn conflict(
        &self,
        transaction: &Transaction,
        key: &[u8],
        kind: ConflictRangeType,
    ) -> FdbResult<()> {
        let begin = self.key(key);
        // The first key behind another one is that key with a zero byte.
        let end = [&begin[..], &[0]].concat();
        transaction.add_conflict_range(&begin, &end, kind)
    }

    fn transaction(&self, timeout_ms: i32) -> FdbResult<Transaction> {
        let transaction = self.database.create_trx()?;
        transaction.set_option(TransactionOption::Timeout(timeout_ms))?;
        Ok(transaction)
    }
}

/// The parameter of `SET_VERSIONSTAMPED_KEY`: the key with ten bytes in place of the stamp, and
/// where they are as four bytes, little endian (FoundationDB, "Developer Guide", atomic
/// operations).
fn append_template(mut key: Vec<u8>, number: u16) -> Vec<u8> {
    // At most [`MAX_KEY_BYTES`], which was checked.
    let stamp_at = u32::try_from(key.len()).unwrap_or(u32::MAX);
    key.extend_from_slice(&Stamp::default().0);
    key.extend_from_slice(&number.to_be_bytes());
    key.extend_from_slice(&stamp_at.to_le_bytes());
    key
}
