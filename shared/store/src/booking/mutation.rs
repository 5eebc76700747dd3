//! Mistakes on purpose, for the simulation to find: a booking in two commits instead of one, and
//! what an authority of budgets must never do.
//!
//! Behind the feature `mutations`, which only test crates enable.

use std::cell::Cell;

use turnpike_domain::ledger::{Lease, Level, Word};

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

/// What the authority does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mistake {
    /// Nothing.
    None,
    /// A word that is repeated because its answer was lost is granted once more, beside the rows.
    GrantTwice,
    /// What a silent gateway holds is freed instead of lost.
    FreeWhenSilent,
    /// Settlement leaves out the last level of the path.
    SkipAncestor,
    /// A booking that crosses a threshold leaves no due row.
    ForgetDue,
    /// A lease is granted more on a path that is past.
    OutlivePath,
}

thread_local! {
    static COMMIT: Cell<Commit> = const { Cell::new(Commit::One) };
    static MISTAKE: Cell<Mistake> = const { Cell::new(Mistake::None) };
}

/// What the authority does wrong on this thread from now on.
pub fn plant(mistake: Mistake) {
    MISTAKE.set(mistake);
}

pub(super) fn is_planted(mistake: Mistake) -> bool {
    MISTAKE.get() == mistake
}

/// Grants a repeated word again, if that is planted.
pub(super) fn grant_twice(lease: &mut Lease, before: Lease, word: &Word) {
    if is_planted(Mistake::GrantTwice) && word.n == before.n && word.total > before.settled {
        lease.total = lease.total.saturating_add(word.total);
    }
}

/// The levels that settlement moves: all of them, unless it is planted that one is left out.
pub(super) fn settled(levels: &mut [Level]) -> &mut [Level] {
    let len = levels.len().saturating_sub(usize::from(is_planted(Mistake::SkipAncestor)));
    levels.split_at_mut(len).0
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
