//! The right to send one request to a provider whose circuit lets it pass.

use std::cell::Cell;
use std::rc::Rc;

use super::Remote;
use super::circuit::{Entry, Failing};

/// One request's way past a circuit. Dropped without an end it says nothing, and gives a probe's
/// place to the next one.
pub struct Pass {
    remote: Rc<Remote>,
    probe: bool,
    ended: Cell<bool>,
}

impl Pass {
    /// Asks the circuit of `remote`.
    ///
    /// # Errors
    /// The milliseconds after which it is worth asking again.
    pub(super) fn ask(remote: &Rc<Remote>) -> Result<Self, u64> {
        let now_ms = || remote.shared.clock.boot_ms();
        let entry = if remote.max_failures() == 0 {
            Entry::Free
        } else {
            remote.health.circuit.enter(now_ms)
        };
        let probe = match entry {
            Entry::Free => false,
            Entry::Probe => true,
            Entry::Refused(wait_ms) => return Err(wait_ms),
        };
        Ok(Self { remote: Rc::clone(remote), probe, ended: Cell::new(false) })
    }

    /// The provider.
    #[must_use]
    pub const fn remote(&self) -> &Rc<Remote> {
        &self.remote
    }

    /// The head of the answer to a request of the steady `begun_us` has come, and the provider is
    /// well.
    pub fn succeeded(&self, begun_us: u64) {
        let Remote { health, counts_on, window, shared, .. } = &*self.remote;
        self.ended.set(true);
        let now_us = shared.clock.boot_us();
        if let Some(counts) = health.counts(*counts_on) {
            counts.answered(now_us.saturating_sub(begun_us));
        }
        if self.remote.max_failures() == 0 {
            return;
        }
        let now_ms = now_us / 1_000;
        window.set(window.get().with(false, now_ms));
        health.circuit.succeeded(self.probe, || now_ms);
    }

    /// The provider could not be reached, kept silent, or is out of order; it may have said for how
    /// many milliseconds it wants to be left alone.
    pub fn failed(&self, asked_ms: Option<u64>) {
        let Remote { health, counts_on, window, shared, .. } = &*self.remote;
        self.ended.set(true);
        if let Some(counts) = health.counts(*counts_on) {
            counts.failed();
        }
        let most = self.remote.max_failures();
        if most == 0 {
            return;
        }
        let now_ms = shared.clock.boot_ms();
        window.set(window.get().with(true, now_ms));
        let too_many = window.get().is_bad(most);
        let failing = Failing { probe: self.probe, asked_ms, too_many };
        health.circuit.failed(most, failing, now_ms);
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        if self.probe && !self.ended.get() {
            self.remote.health.circuit.gave_up(self.remote.shared.clock.boot_ms());
        }
    }
}
