//! A mistake on purpose, for the simulation to find: a lease that outlives its path.
//!
//! Behind the feature `mutations`, which only test crates enable.

use std::cell::Cell;

thread_local! {
    static OUTLIVES_ITS_PATH: Cell<bool> = const { Cell::new(false) };
}

/// Whether leases on this thread are kept when their path is over, from now on.
pub fn mutate(outlives_its_path: bool) {
    OUTLIVES_ITS_PATH.set(outlives_its_path);
}

pub(super) fn outlives_its_path() -> bool {
    OUTLIVES_ITS_PATH.get()
}
