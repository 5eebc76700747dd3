//! The keys by which the control plane's word is known: asked for again when they have changed.

use turnpike_runtime::entropy;
use turnpike_wire::heartbeat::{BadHeartbeat, Heartbeat};
use turnpike_wire::sign::Signers;

use super::{Answer, HURRY_MS, Mirror, backoff_ms};
use crate::upstairs::UpstairsError;

/// When the keys are asked for. Whoever can write to the bus can make a gateway want them: how
/// often it asks does not depend on what it hears.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Asking {
    /// What was heard last was signed by an unknown key, or names others than are known.
    wanted: bool,
    running: bool,
    /// Answers in a row that brought nothing new.
    failures: u32,
    /// Not before this steady time.
    at_ms: u64,
}

impl Asking {
    /// Whether the keys that are known may not be those that count.
    pub(super) const fn wanted(&self) -> bool {
        self.wanted
    }

    fn want(&mut self, now_ms: u64) {
        if !std::mem::replace(&mut self.wanted, true) {
            // All gateways hear it at once.
            self.at_ms = self.at_ms.max(now_ms.saturating_add(entropy::jitter_ms(HURRY_MS)));
        }
    }

    fn done(&mut self, useful: bool, now_ms: u64) {
        self.failures = if useful { 0 } else { self.failures.saturating_add(1) };
        (self.wanted, self.running) = (!useful, false);
        self.at_ms = now_ms.saturating_add(backoff_ms(self.failures));
    }
}

impl Mirror {
    /// Takes a message that means to be a heartbeat.
    pub(super) fn beat(&mut self, message: &[u8]) {
        let now_ms = self.parts.clock.boot_ms();
        match Heartbeat::verify(message, &self.parts.joined.signers) {
            Ok(beat) => {
                // An older control plane names none.
                let others = !beat.signers.is_empty()
                    && !beat.signers.iter().copied().eq(self.parts.joined.signers.ids());
                if others {
                    self.signers.want(now_ms);
                } else {
                    self.signers.wanted = false;
                }
                self.heartbeat(&beat);
            }
            Err(error) => {
                self.alarm(&format!("a heartbeat was refused: {error}"));
                if let BadHeartbeat::Signature(_) = error {
                    self.signers.want(now_ms);
                }
            }
        }
    }

    pub(super) fn ask_signers(&mut self, now_ms: u64) {
        if self.signers.running || self.signers.at_ms > now_ms || !self.signers.wanted {
            return;
        }
        self.signers.running = true;
        let (upstairs, joined) = self.upstairs();
        self.answers
            .push(Box::pin(async move { Answer::Signers(upstairs.signers(&joined).await) }));
    }

    pub(super) fn take_signers(&mut self, answer: Result<Signers, UpstairsError>, now_ms: u64) {
        let others = match answer {
            Ok(signers) => Some(signers).filter(|signers| *signers != self.parts.joined.signers),
            Err(error) => {
                tracing::warn!(%error, "the control plane's keys cannot be fetched");
                None
            }
        };
        self.signers.done(others.is_some(), now_ms);
        let Some(signers) = others else { return };
        let names: Vec<String> = signers.ids().map(|id| id.to_string()).collect();
        tracing::info!(signers = names.join(" "), "the control plane's keys have changed");
        self.parts.core.set_signers(signers.clone());
        self.parts.disk.set_signers(signers.clone());
        self.parts.joined.signers = signers;
        // A restart while the control plane is away must not go back to the former ones.
        self.saver.hurry();
    }
}
