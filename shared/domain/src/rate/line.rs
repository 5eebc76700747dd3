//! The line of gateways that wait for permits: the longest waiter first.

use super::Amount;
use crate::id::{EpochId, GatewayId};

/// How long after the time that it was told a waiter keeps its place: callers are told whole
/// seconds, and come back over a network.
pub(super) const GRACE_MS: u64 = 2_000;

/// Who waits, in the order of their first refusal.
#[derive(Clone, Debug, Default)]
pub(super) struct Line {
    waiters: Vec<Waiter>,
}

#[derive(Clone, Debug)]
struct Waiter {
    who: (GatewayId, EpochId),
    /// What is of use to the request that waits longest there.
    least: Amount,
    /// Until when its place is kept.
    until_ms: u64,
}

impl Line {
    /// Forgets who did not come back.
    pub(super) fn lapse(&mut self, now_ms: u64) {
        self.waiters.retain(|waiter| waiter.until_ms > now_ms);
    }

    /// What is kept for those who have waited longer than `who`, who may stand in the line.
    pub(super) fn ahead(&self, who: (GatewayId, EpochId)) -> Amount {
        let ahead = self.waiters.iter().take_while(|waiter| waiter.who != who);
        ahead.fold(Amount::NONE, |sum, waiter| sum.plus(waiter.least))
    }

    /// What is kept for all that wait.
    pub(super) fn all(&self) -> Amount {
        self.waiters.iter().fold(Amount::NONE, |sum, waiter| sum.plus(waiter.least))
    }

    /// How many wait.
    pub(super) fn len(&self) -> u64 {
        u64::try_from(self.waiters.len()).unwrap_or(u64::MAX)
    }

    /// How many wait behind `who`.
    pub(super) fn behind(&self, who: (GatewayId, EpochId)) -> u64 {
        let behind = self.waiters.iter().skip_while(|waiter| waiter.who != who).skip(1);
        u64::try_from(behind.count()).unwrap_or(u64::MAX)
    }

    /// Keeps the place of `who`, or gives it the last one.
    pub(super) fn wait(&mut self, who: (GatewayId, EpochId), least: Amount, told_ms: u64) {
        let until_ms = told_ms.saturating_add(GRACE_MS);
        match self.waiters.iter_mut().find(|waiter| waiter.who == who) {
            Some(waiter) => {
                waiter.least = least;
                waiter.until_ms = until_ms;
            }
            None => self.waiters.push(Waiter { who, least, until_ms }),
        }
    }

    /// `who` was served.
    pub(super) fn leave(&mut self, who: (GatewayId, EpochId)) {
        self.waiters.retain(|waiter| waiter.who != who);
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.waiters.is_empty()
    }
}
