//! What ended requests had reserved, until their end is in the file.
//!
//! After a crash a request whose end is not in the file is booked at its reservation. So what it
//! did not use may be reserved again, or given back, only once it is: else more would be booked
//! than a budget has.

use std::collections::VecDeque;

use turnpike_domain::settle::Settlement;

use crate::lease::Grip;

/// What waits to be settled on its lease, in the order of the lines.
#[derive(Default)]
pub(super) struct Released(VecDeque<Ended>);

struct Ended {
    /// The line that ends the request.
    line: u64,
    grip: Grip,
    settlement: Settlement,
}

impl Released {
    /// Keeps what was reserved until `line` is in the file.
    pub(super) fn keep(&mut self, line: u64, grip: Grip, settlement: Settlement) {
        self.0.push_back(Ended { line, grip, settlement });
    }

    /// Settles what ended up to the line `written`.
    pub(super) fn settle(&mut self, written: u64) {
        while let Some(Ended { grip, settlement, .. }) =
            self.0.pop_front_if(|ended| ended.line <= written)
        {
            grip.settle(&settlement);
        }
    }
}

/// What never gets into the file has cost what it has all the same.
impl Drop for Released {
    fn drop(&mut self) {
        self.settle(u64::MAX);
    }
}
