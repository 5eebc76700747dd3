//! A gateway's side of a lease: what it may spend without asking.

use super::Word;

/// What a gateway holds on one lease, in one unit. It never lets `used + reserved` above what it
/// was granted by reserving; only a request that costs more than its reservation can.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Holding {
    /// The number of the newest word.
    n: u64,
    /// What was granted in all, as far as it is known; lowered before it is given back.
    granted: i64,
    /// What ended requests have cost.
    used: i64,
    /// What running requests may cost.
    reserved: i64,
}

impl Holding {
    /// What can be reserved without asking.
    #[must_use]
    pub const fn free(&self) -> i64 {
        self.granted.saturating_sub(self.used).saturating_sub(self.reserved)
    }

    /// Reserves `bound`, if it fits.
    pub const fn reserve(&mut self, bound: i64) -> bool {
        let fits = bound >= 0 && bound <= self.free();
        if fits {
            self.reserved = self.reserved.saturating_add(bound);
        }
        fits
    }

    /// Ends a request that had reserved `bound` and cost `cost`.
    pub const fn settle(&mut self, bound: i64, cost: i64) {
        self.reserved = self.reserved.saturating_sub(bound);
        self.used = self.used.saturating_add(cost);
    }

    /// The word that asks for room for `bound`, and for `ahead` on top of it. It never names less
    /// than what is granted: that would give back what can still be reserved while the word is on
    /// its way.
    pub fn ask(&mut self, bound: i64, ahead: i64) -> Word {
        let least = self.used.saturating_add(self.reserved).saturating_add(bound);
        self.speak(least.saturating_add(ahead).max(self.granted), least)
    }

    /// The word that gives back all that no running request has reserved. From now on it is not
    /// spent any more, whether or not the word arrives.
    pub fn give_back(&mut self) -> Word {
        self.granted = self.granted.min(self.used.saturating_add(self.reserved));
        self.speak(self.granted, self.granted)
    }

    /// Hears what the authority holds the total to be after word `n`. Only the answer to the newest
    /// word counts: an older one may say more than was given back since.
    pub const fn hear(&mut self, n: u64, total: i64) {
        if n == self.n {
            self.granted = total;
        }
    }

    const fn speak(&mut self, total: i64, least: i64) -> Word {
        self.n = self.n.saturating_add(1);
        Word { n: self.n, total, least }
    }
}
