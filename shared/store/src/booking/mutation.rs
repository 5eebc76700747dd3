//! A mistake on purpose, for the simulation to find: a booking in two commits instead of one.
//!
//! Behind the feature `mutations`, which only test crates enable.

use std::cell::Cell;

use super::Booker;
use crate::kv::{Batch, CommitError, Snapshot, Write};

/// In how many commits a booking is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Commit {
    /// In one, as it must be.
    One,
    /// Totals and request log first, the place after them.
    Split,
}

thread_local! {
    static COMMIT: Cell<Commit> = const { Cell::new(Commit::One) };
}

/// How bookings on this thread are made from now on.
pub fn mutate(commit: Commit) {
    COMMIT.set(commit);
}

pub(super) fn commit() -> Commit {
    COMMIT.get()
}

impl Booker {
    /// Commits totals and rows, then the `places` last writes.
    pub(super) async fn commit_split(
        &self,
        snapshot: &dyn Snapshot,
        mut writes: Vec<Write>,
        places: usize,
    ) -> Result<(), CommitError> {
        let second = writes.split_off(writes.len().saturating_sub(places));
        for writes in [writes, second] {
            let unchanged = vec![self.term.guard()];
            self.kv.commit(Batch { read_at: snapshot.version(), unchanged, writes }).await?;
        }
        Ok(())
    }
}
