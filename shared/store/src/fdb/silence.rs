//! How long a cluster is asked that has not answered before.

use std::sync::atomic::{AtomicU32, Ordering};

use super::TIMEOUT_MS;

/// The patience with a cluster that has just been silent. Callers wait in line, such as commands to
/// one organisation: if each waited in full, the tenth would be told after a minute.
const SHORT_MS: i32 = 500;
/// One question in so many is asked with full patience: a cluster that has become slow, and not
/// silent, is heard again.
const FULL_EACH: u32 = 10;

/// Questions in a row that ran into their timeout.
#[derive(Default)]
pub(super) struct Silence(AtomicU32);

impl Silence {
    /// For how many milliseconds the cluster is asked now.
    pub(super) fn patience_ms(&self) -> i32 {
        let silent = self.0.load(Ordering::Relaxed);
        if silent.is_multiple_of(FULL_EACH) { TIMEOUT_MS } else { SHORT_MS }
    }

    /// Notes whether a question ran into its timeout.
    pub(super) fn note(&self, is_timeout: bool) {
        if is_timeout {
            self.0.fetch_add(1, Ordering::Relaxed);
        } else {
            self.0.store(0, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_silent_is_asked_shortly_and_now_and_then_in_full() {
        let silence = Silence::default();
        let asked: Vec<i32> = (0..21)
            .map(|_| {
                let patience_ms = silence.patience_ms();
                silence.note(true);
                patience_ms
            })
            .collect();
        let in_full = asked.iter().filter(|patience_ms| **patience_ms == TIMEOUT_MS).count();
        assert_eq!((asked[0], asked[1], asked[10], in_full), (TIMEOUT_MS, SHORT_MS, TIMEOUT_MS, 3));
        silence.note(false);
        assert_eq!(silence.patience_ms(), TIMEOUT_MS);
    }
}
