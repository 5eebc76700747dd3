//! The `Kv` seam: an ordered map of bytes whose commits are values.
//!
//! Everything above this file (log, ledgers, totals) is written once; everything below it (memory,
//! redb, FoundationDB) is chosen in `main.rs`. The contract stands here in prose and in
//! [`crate::conformance`] as a suite that every implementation passes.
//!
//! # Contract
//! * A [`Snapshot`] is one moment: all its reads see exactly the commits up to its version.
//! * [`Kv::commit`] is atomic and durable when it answers `Ok`. It succeeds only if no key in
//!   [`Batch::unchanged`] was written by a commit after [`Batch::read_at`].
//! * Commits are totally ordered. Each has a [`Stamp`]; a later commit has a greater stamp, and a
//!   snapshot that sees a commit sees every commit with a smaller stamp. A reader that tails a
//!   prefix of [`Write::Append`] keys therefore never misses one.
//! * `Unknown` means just that: the commit may have happened, or may still happen for a short time.
//!   Callers find out by reading a row that the commit would have written.
//! * Limits are FoundationDB's on every engine, so that no code works on one machine only.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;

/// The longest key, in bytes (a limit of FoundationDB).
pub const MAX_KEY_BYTES: usize = 10_000;
/// The longest value, in bytes (a limit of FoundationDB).
pub const MAX_VALUE_BYTES: usize = 100_000;
/// The most bytes of keys and values in one batch: a tenth of FoundationDB's 10 MB, because large
/// transactions make every other one wait.
pub const MAX_BATCH_BYTES: usize = 1_000_000;
/// Bytes that [`Write::Append`] adds behind its prefix: a [`Stamp`] and a two-byte index.
pub const APPEND_SUFFIX_BYTES: usize = 12;

/// A future that may be sent to another thread; the seam is object-safe because of it.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A moment of the store, comparable only with moments of the same store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Version(pub u64);

/// The place of one commit in the order of all commits: ten bytes, big endian.
///
/// On FoundationDB this is the versionstamp (8 bytes of commit version, 2 bytes of batch order).
/// The other engines write their commit counter into the first eight bytes and zero behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Stamp(pub [u8; 10]);

/// One write of a batch. Later writes of one batch win over earlier ones to the same key.
#[derive(Clone, PartialEq, Eq)]
pub enum Write {
    /// Sets `key` to `value`.
    Put {
        /// The whole key.
        key: Bytes,
        /// The new value.
        value: Bytes,
    },
    /// Removes `key`; removing what is not there is fine.
    Delete {
        /// The whole key.
        key: Bytes,
    },
    /// Adds a new key in commit order: `prefix`, the commit's [`Stamp`], and the two-byte
    /// big-endian number of this append within the batch (0, 1, 2 …).
    Append {
        /// What stands before the stamp.
        prefix: Bytes,
        /// The value.
        value: Bytes,
    },
}

/// A commit as a value: it can be joined, printed, counted, and refused by a hostile test store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// The version of the snapshot that the writer decided on.
    pub read_at: Version,
    /// Keys that must not have been written since `read_at`. A key that was absent and still is
    /// counts as unchanged.
    pub unchanged: Vec<Bytes>,
    /// What is written, in order.
    pub writes: Vec<Write>,
}

/// What a commit answers when it happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Committed {
    /// The place of this commit in the order of all commits.
    pub stamp: Stamp,
    /// A snapshot at this version or later sees the commit.
    pub version: Version,
}

/// Why a commit did not (or may not) have happened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// An `unchanged` key was written since `read_at`, or `read_at` is too old to tell. Nothing was
    /// written. Read again and decide afresh.
    #[error("another commit came first")]
    Conflict,
    /// The answer was lost: the commit may have happened or may still happen.
    #[error("the store did not say whether the commit happened: {0}")]
    Unknown(String),
    /// The batch breaks a limit of this file. Nothing was written; trying again cannot help.
    #[error("the commit is too large: {0}")]
    TooLarge(String),
    /// The store cannot be reached or refuses to write. Nothing was written.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
}

/// Why a read failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The snapshot is older than the store keeps history for: take a new one.
    #[error("the snapshot is too old")]
    TooOld,
    /// The store cannot be reached, or its file cannot be read; the text says what and where.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
}

/// A key and its value.
pub type Entry = (Bytes, Bytes);

/// What to read of a range: `begin` ≤ key < `end`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scan {
    /// The first key that may be returned.
    pub begin: Bytes,
    /// The first key behind the range.
    pub end: Bytes,
    /// The most entries to return; the caller pages on from the last key.
    pub limit: usize,
    /// From the end backwards.
    pub reverse: bool,
}

/// One moment of the store.
pub trait Snapshot: Send + Sync {
    /// The version that all reads see.
    fn version(&self) -> Version;
    /// The value of `key`, if there is one.
    fn get<'a>(&'a self, key: &'a [u8]) -> BoxFuture<'a, Result<Option<Bytes>, ReadError>>;
    /// Up to `scan.limit` entries in key order (or against it). Fewer than `limit` entries mean the
    /// range is done.
    fn scan<'a>(&'a self, scan: Scan) -> BoxFuture<'a, Result<Vec<Entry>, ReadError>>;
}

/// An ordered map of bytes; see the contract at the head of this file.
pub trait Kv: Send + Sync {
    /// A new moment, which sees at least every commit that was answered before the call.
    fn snapshot(&self) -> BoxFuture<'_, Result<Arc<dyn Snapshot>, ReadError>>;
    /// Commits the batch as one. The commit runs on even if this future is dropped.
    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<Committed, CommitError>>;
    /// Resolves after `key` has been written since the call, or earlier without reason. A caller
    /// races it with a poll: a watch may also be lost.
    fn watch(&self, key: Bytes) -> BoxFuture<'static, ()>;
}

impl Batch {
    /// The bytes that count against [`MAX_BATCH_BYTES`].
    #[must_use]
    pub fn bytes(&self) -> usize {
        let guarded: usize = self.unchanged.iter().map(Bytes::len).sum();
        let written: usize = self.writes.iter().map(Write::bytes).sum();
        guarded.saturating_add(written)
    }

    /// Checks the limits of this file.
    ///
    /// # Errors
    /// [`CommitError::TooLarge`] with a sentence that names the limit.
    pub fn check(&self) -> Result<(), CommitError> {
        if self.bytes() > MAX_BATCH_BYTES {
            let text = format!("{} bytes, {MAX_BATCH_BYTES} are allowed", self.bytes());
            return Err(CommitError::TooLarge(text));
        }
        for write in &self.writes {
            let (key, value) = match write {
                Write::Put { key, value } => (key.len(), value.len()),
                Write::Delete { key } => (key.len(), 0),
                Write::Append { prefix, value } => {
                    (prefix.len().saturating_add(APPEND_SUFFIX_BYTES), value.len())
                }
            };
            if key > MAX_KEY_BYTES || value > MAX_VALUE_BYTES {
                let text = format!("a key of {key} bytes with a value of {value} bytes");
                return Err(CommitError::TooLarge(text));
            }
        }
        Ok(())
    }
}

impl Write {
    fn bytes(&self) -> usize {
        match self {
            Self::Put { key, value } => key.len().saturating_add(value.len()),
            Self::Delete { key } => key.len(),
            Self::Append { prefix, value } => {
                prefix.len().saturating_add(value.len()).saturating_add(APPEND_SUFFIX_BYTES)
            }
        }
    }
}

impl fmt::Debug for Write {
    /// Prints keys and the lengths of values: values may be sealed credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Put { key, value } => write!(f, "Put({key:?}, {} bytes)", value.len()),
            Self::Delete { key } => write!(f, "Delete({key:?})"),
            Self::Append { prefix, value } => {
                write!(f, "Append({prefix:?}, {} bytes)", value.len())
            }
        }
    }
}

impl Stamp {
    /// The stamp of an engine that counts its commits.
    #[must_use]
    pub fn from_counter(counter: u64) -> Self {
        let mut bytes = [0_u8; 10];
        bytes[..8].copy_from_slice(&counter.to_be_bytes());
        Self(bytes)
    }
}
