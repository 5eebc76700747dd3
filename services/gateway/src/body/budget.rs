//! The memory that the request bodies of one core may take together.

use std::cell::Cell;
use std::rc::Rc;

/// Bytes that are left to request bodies. Clones share them.
#[derive(Clone, Debug)]
pub struct Budget(Rc<Cell<usize>>);

/// Bytes taken from a budget, given back when this is dropped.
#[derive(Debug)]
pub struct Hold {
    budget: Budget,
    bytes: usize,
}

impl Budget {
    /// A budget of so many bytes.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        Self(Rc::new(Cell::new(bytes)))
    }

    /// Holds nothing yet.
    #[must_use]
    pub fn hold(&self) -> Hold {
        Hold { budget: self.clone(), bytes: 0 }
    }
}

impl Hold {
    /// Takes `bytes` more; false if they are not there.
    #[must_use]
    pub fn take(&mut self, bytes: usize) -> bool {
        let Some(left) = self.budget.0.get().checked_sub(bytes) else { return false };
        self.budget.0.set(left);
        self.bytes += bytes;
        true
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.budget.0.set(self.budget.0.get().saturating_add(self.bytes));
    }
}
