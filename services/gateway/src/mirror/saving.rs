//! When the mirror is written to the local disk: beside its work, and soon after a key was stopped.

use std::io;

use turnpike_domain::event::Event;

use super::Mirror;
use super::disk::{Saved, Saving};

/// How often what has changed is written to the local disk.
const SAVE_MS: u64 = 10_000;
/// How soon it is when a key was stopped: a gateway that is killed and starts again in an outage
/// must not let in what it has refused before.
const STOPPED_SAVE_MS: u64 = 1_000;
/// How much longer than a saving the time between two is at least.
const SAVE_SHARE: u64 = 10;

/// What is being written, and when next.
pub(super) struct Saver {
    next_ms: u64,
    /// With the steady time at which it began.
    running: Option<(Saving, u64)>,
    /// How long the last one took.
    took_ms: u64,
}

impl Saver {
    pub(super) const fn new(now_ms: u64) -> Self {
        Self { next_ms: now_ms.saturating_add(SAVE_MS), running: None, took_ms: 0 }
    }

    pub(super) const fn is_due(&self, now_ms: u64) -> bool {
        self.running.is_none() && now_ms >= self.next_ms
    }

    /// What runs is written, once it is. Cancel-safe.
    pub(super) async fn written(&mut self) -> io::Result<Saved> {
        match &mut self.running {
            Some((saving, _)) => saving.await,
            None => std::future::pending().await,
        }
    }

    /// There is something that the disk must know at once.
    pub(super) const fn hurry(&mut self) {
        self.next_ms = 0;
    }

    /// A key was stopped, or has lost a secret.
    pub(super) fn soon(&mut self, now_ms: u64) {
        let pause_ms = STOPPED_SAVE_MS.max(self.took_ms.saturating_mul(SAVE_SHARE));
        self.next_ms = self.next_ms.min(now_ms.saturating_add(pause_ms));
    }
}

impl Mirror {
    /// Begins to write what has changed.
    pub(super) fn save(&mut self) {
        let now_ms = self.parts.clock.boot_ms();
        self.saver.next_ms = now_ms.saturating_add(SAVE_MS);
        self.saver.running = self.parts.disk.save(&self.parts.world).map(|saving| (saving, now_ms));
    }

    /// What ran has ended so.
    pub(super) fn has_saved(&mut self, written: io::Result<Saved>) {
        if let Some((_, since_ms)) = self.saver.running.take() {
            self.saver.took_ms = self.parts.clock.boot_ms().saturating_sub(since_ms);
        }
        match written {
            Ok(saved) => self.parts.disk.saved(saved),
            Err(error) => tracing::error!(%error, "the mirror cannot be saved on disk"),
        }
    }

    /// Writes all that has changed, to the end.
    pub(super) async fn save_all(&mut self) {
        self.finish_saving().await;
        self.save();
        self.finish_saving().await;
    }

    async fn finish_saving(&mut self) {
        if self.saver.running.is_some() {
            let written = self.saver.written().await;
            self.has_saved(written);
        }
    }
}

/// Whether an event ends a secret or a token that worked.
pub(super) const fn takes_away(event: &Event) -> bool {
    matches!(
        event,
        Event::KeyRevoked { .. }
            | Event::KeyDisabled { .. }
            | Event::KeyDeleted { .. }
            | Event::KeyRotated { .. }
            | Event::KeyMigrated { .. }
            | Event::KeyChanged { .. }
            | Event::EphemeralRevoked { .. }
    )
}
