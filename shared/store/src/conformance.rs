//! The contract of [`Kv`] as a suite: every engine passes every rule.
//!
//! A rule is a function that gets an empty store of its own and says what it found broken. Nothing
//! here panics, so the suite also runs where no test harness is.

mod commits;
mod limits;
mod order;
mod program;
mod reads;
mod watching;

use std::fmt::Debug;
use std::sync::Arc;

use bytes::Bytes;

use crate::kv::{
    Batch, BoxFuture, CommitError, Committed, Entry, Kv, ReadError, Scan, Version, Write,
};

/// What a rule found.
pub type Outcome = Result<(), Broken>;

/// What was expected, and what the store did instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Broken(String);

/// One rule of the contract.
pub struct Rule {
    /// The rule in words.
    pub name: &'static str,
    /// Tries it on an empty store.
    pub check: fn(Arc<dyn Kv>) -> BoxFuture<'static, Outcome>,
}

macro_rules! rules {
    ($($module:ident::$name:ident,)*) => {
        &[$(Rule { name: stringify!($name), check: |kv| Box::pin($module::$name(kv)) }),*]
    };
}

/// All rules.
pub const RULES: &[Rule] = rules![
    reads::an_empty_store_reads_nothing,
    reads::a_put_is_read_and_a_delete_is_not,
    reads::a_snapshot_is_one_moment,
    reads::a_snapshot_sees_every_answered_commit,
    reads::keys_and_values_are_any_bytes,
    reads::a_scan_is_in_order_and_half_open,
    reads::a_scan_pages_without_gap_or_repeat,
    reads::a_scan_of_nothing_is_empty,
    commits::later_writes_of_a_batch_win,
    commits::a_batch_is_all_or_nothing,
    commits::a_changed_key_is_a_conflict,
    commits::an_unchanged_key_is_none,
    commits::an_absent_key_counts_as_unchanged,
    commits::a_deleted_key_is_a_conflict,
    commits::a_delete_of_nothing_is_a_write,
    commits::the_same_value_is_a_write,
    commits::a_writer_may_write_what_it_guards,
    commits::a_guard_without_writes_is_checked,
    commits::a_blind_write_never_conflicts,
    commits::no_update_is_lost,
    commits::a_dropped_commit_runs_on,
    order::stamps_grow_with_commits,
    order::appends_are_keyed_by_stamp_and_number,
    order::appends_do_not_conflict,
    order::a_tail_misses_nothing,
    limits::what_is_just_small_enough_is_stored,
    limits::what_is_too_large_is_refused,
    watching::a_watch_wakes_on_a_put,
    watching::a_watch_wakes_on_a_delete,
    watching::every_watcher_wakes,
    program::random_programs_match_the_model,
];

/// Tries every rule on a store of its own. `make` gives an empty one and what must outlive it, such
/// as its directory. Returns a line for each broken rule.
pub async fn check<G>(make: impl AsyncFn() -> (Arc<dyn Kv>, G)) -> Vec<String> {
    let mut broken = Vec::new();
    for rule in RULES {
        let (kv, _ground) = make().await;
        if let Err(found) = (rule.check)(kv).await {
            broken.push(format!("{}: {found}", rule.name));
        }
    }
    broken
}

impl From<ReadError> for Broken {
    fn from(error: ReadError) -> Self {
        Self(format!("a read failed: {error}"))
    }
}

impl From<CommitError> for Broken {
    fn from(error: CommitError) -> Self {
        Self(format!("a commit failed: {error}"))
    }
}

fn same<T: Debug + PartialEq>(what: &str, found: T, expected: T) -> Outcome {
    if found == expected {
        return Ok(());
    }
    Err(Broken(format!("{what}: {found:?} instead of {expected:?}")))
}

fn ensure(what: &str, holds: bool) -> Outcome {
    if holds { Ok(()) } else { Err(Broken(format!("not so: {what}"))) }
}

fn bytes(text: impl AsRef<[u8]>) -> Bytes {
    Bytes::copy_from_slice(text.as_ref())
}

fn put(key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Write {
    Write::Put { key: bytes(key), value: bytes(value) }
}

fn delete(key: impl AsRef<[u8]>) -> Write {
    Write::Delete { key: bytes(key) }
}

fn append(prefix: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Write {
    Write::Append { prefix: bytes(prefix), value: bytes(value) }
}

fn range(begin: impl AsRef<[u8]>, end: impl AsRef<[u8]>, limit: usize) -> Scan {
    Scan { begin: bytes(begin), end: bytes(end), limit, reverse: false }
}

/// Commits without guards.
async fn write(
    kv: &dyn Kv,
    writes: impl IntoIterator<Item = Write> + Send,
) -> Result<Committed, CommitError> {
    kv.commit(Batch { writes: writes.into_iter().collect(), ..Batch::default() }).await
}

/// Commits if `key` is unchanged since `read_at`.
async fn guarded(
    kv: &dyn Kv,
    read_at: Version,
    key: &str,
    writes: impl IntoIterator<Item = Write> + Send,
) -> Result<Committed, CommitError> {
    let writes = writes.into_iter().collect();
    kv.commit(Batch { read_at, unchanged: vec![bytes(key)], writes }).await
}

async fn read(kv: &dyn Kv, key: impl AsRef<[u8]>) -> Result<Option<Bytes>, ReadError> {
    kv.snapshot().await?.get(key.as_ref()).await
}

async fn scan(kv: &dyn Kv, scan: Scan) -> Result<Vec<Entry>, ReadError> {
    kv.snapshot().await?.scan(scan).await
}

async fn now(kv: &dyn Kv) -> Result<Version, ReadError> {
    Ok(kv.snapshot().await?.version())
}
