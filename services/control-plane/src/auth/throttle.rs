//! The throttle of logins: guesses are counted by address and by account, in memory of fixed size.

use std::sync::{Mutex, PoisonError};

use sha2::{Digest as _, Sha256};
use turnpike_domain::time::MINUTE_MS;
use turnpike_runtime::entropy;

/// Counters. Two that share one are counted together, which errs towards refusing.
const SLOTS: usize = 1 << 14;
/// How long guesses are counted together.
const WINDOW_MS: u64 = 15 * MINUTE_MS;
/// Failed guesses at one account in that time.
pub(crate) const PER_ACCOUNT: u32 = 10;
/// Failed guesses from one address in that time: an office shares one.
pub(crate) const PER_ADDRESS: u32 = 100;

/// Counts guesses.
pub(crate) struct Throttle {
    salt: [u8; 16],
    slots: Mutex<Vec<Slot>>,
}

#[derive(Clone, Copy, Default)]
struct Slot {
    window: u64,
    guesses: u32,
}

impl Throttle {
    pub(crate) fn new() -> Self {
        let mut salt = [0; 16];
        // Nobody is to know whose guesses are counted together with whose.
        entropy::fill(&mut salt);
        Self { salt, slots: Mutex::new(vec![Slot::default(); SLOTS]) }
    }

    /// Counts a guess before it is checked, so that guesses at the same time are counted too. If
    /// there were too many, the answer is after how many seconds to come back.
    pub(crate) fn guess(&self, what: &[u8], most: u32, boot_ms: u64) -> Result<(), u64> {
        let window = boot_ms / WINDOW_MS;
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(slot) = slots.get_mut(self.place(what)) else { return Ok(()) };
        if slot.window != window {
            *slot = Slot { window, guesses: 0 };
        }
        if slot.guesses >= most {
            return Err((WINDOW_MS - boot_ms % WINDOW_MS).div_ceil(1_000));
        }
        slot.guesses += 1;
        Ok(())
    }

    /// Takes back a guess that was right.
    pub(crate) fn right(&self, what: &[u8]) {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = slots.get_mut(self.place(what)) {
            slot.guesses = slot.guesses.saturating_sub(1);
        }
    }

    fn place(&self, what: &[u8]) -> usize {
        let mut hash = Sha256::new_with_prefix(self.salt);
        hash.update(what);
        let bytes: [u8; 32] = hash.finalize().into();
        usize::from(u16::from_be_bytes([bytes[0], bytes[1]])) % SLOTS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guesses_are_counted_and_forgotten() {
        let throttle = Throttle::new();
        for _ in 0..3 {
            assert_eq!(throttle.guess(b"a", 3, 1_000), Ok(()));
        }
        assert_eq!(throttle.guess(b"a", 3, 1_000), Err(15 * 60 - 1));
        throttle.right(b"a");
        assert_eq!(throttle.guess(b"a", 3, 2_000), Ok(()));
        assert_eq!(throttle.guess(b"a", 3, WINDOW_MS), Ok(()));
    }
}
