//! Whether the bus can be heard, by the heartbeats that come each second: silence of a gateway is
//! no sign of anything while they do not come either.

/// A longer pause between two heartbeats is one in which nothing was heard. A relay that follows
/// another begins within it; receipts that were lost in a shorter one come again within a second.
const PAUSE_MS: u64 = 8_000;

/// What was heard of heartbeats.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hearing {
    /// When the last one came, in steady time; at first, when this process began.
    last_ms: u64,
    /// For how long none were heard before, altogether.
    deaf_ms: u64,
}

impl Hearing {
    /// Of a process that begins now.
    pub(super) const fn new(now_ms: u64) -> Self {
        Self { last_ms: now_ms, deaf_ms: 0 }
    }

    /// A heartbeat has come.
    pub(super) fn hear(&mut self, now_ms: u64) {
        if let Some(deaf_ms) = self.deaf_for_ms(now_ms) {
            self.deaf_ms = self.deaf_ms.saturating_add(deaf_ms);
        }
        self.last_ms = now_ms;
    }

    /// The time of the last heartbeat on a clock that stands still while none are heard.
    pub(super) const fn listened_ms(&self) -> u64 {
        self.last_ms.saturating_sub(self.deaf_ms)
    }

    /// For how long none were heard, if that is a sign.
    pub(super) fn deaf_for_ms(&self, now_ms: u64) -> Option<u64> {
        let silent_ms = now_ms.saturating_sub(self.last_ms);
        (silent_ms > PAUSE_MS).then_some(silent_ms)
    }
}
