//! Leases: what the authority has granted to one gateway on one path.
//!
//! A gateway says how much it holds *in all*, and numbers what it says. The authority hears only
//! newer words. So a word that is lost, repeated or overtaken changes nothing.

use super::Level;
use crate::limit::Account;

/// A lease as the authority keeps it, in one unit. The default is a lease that was never granted
/// anything, or was forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Lease {
    /// The number of the newest word that was heard.
    pub n: u64,
    /// All that was granted and not given back, spent or not.
    pub total: i64,
    /// All that was booked on it.
    pub settled: i64,
    /// Its gateway was not heard of any more: its hold counts as lost.
    pub lost: bool,
}

/// What a gateway says about a lease: "my n-th word is that I hold `total` in all".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Word {
    /// Counts the gateway's words on this lease from 1.
    pub n: u64,
    /// What it wants to hold, or, to give back, what it still needs.
    pub total: i64,
    /// The total with which the request that waits would fit. Less is not worth granting.
    pub least: i64,
}

/// What the authority knows of the gateway that speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// It was cut off: it is granted nothing; what it spends and gives back still counts.
    pub fenced: bool,
    /// How many gateways of the organisation are online, itself included.
    pub gateways: u32,
}

/// Why nothing was granted. The lease and its path stay as they were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The budget does not suffice even when every hold comes back.
    Exhausted {
        /// Whose budget.
        account: Account,
        /// What is left, where nothing is held or lost: until window or cap change, nothing larger
        /// need be asked for.
        left: Option<i64>,
        /// The revision of the cap.
        revision: u64,
    },
    /// The budget suffices, but running requests or other gateways hold it.
    HeldElsewhere {
        /// Whose budget.
        account: Account,
    },
    /// The gateway was cut off, or the lease was lost: another lease is needed.
    Fenced,
}

impl Lease {
    /// What counts against the caps without being settled. A request may cost more than was
    /// reserved, so what is settled can be more than was granted.
    #[must_use]
    pub fn hold(&self) -> i64 {
        self.total.saturating_sub(self.settled).max(0)
    }

    /// Hears a word. An old one changes nothing; the answer is the lease as it stands after it.
    ///
    /// A grant is at least what the waiting request needs, at most what was asked for and, beyond
    /// the need, a share of what is available that leaves as much to every other gateway: near the
    /// cap grants are per request.
    ///
    /// # Errors
    /// [`Refused`]; the word counts as not heard, so it can be tried again when holds come back.
    pub fn hear(
        &mut self,
        path: &mut [Level],
        word: &Word,
        standing: Standing,
    ) -> Result<(), Refused> {
        if word.n <= self.n {
            return Ok(());
        }
        let floor = self.total.max(self.settled);
        let wanted = word.total.saturating_sub(floor);
        if wanted <= 0 {
            let total = word.total.max(0).min(self.total);
            self.replace(path, Self { n: word.n, total, ..*self });
            return Ok(());
        }
        if standing.fenced || self.lost {
            return Err(Refused::Fenced);
        }
        let need = word.least.min(word.total).saturating_sub(floor).max(0);
        if let Some(refused) = refusal(path, need) {
            return Err(refused);
        }
        let available = path.iter().map(Level::available).min().unwrap_or(i64::MAX);
        let share = available / i64::from(standing.gateways.max(1)).saturating_mul(2);
        let total = floor.saturating_add(need.max(wanted.min(share)));
        self.replace(path, Self { n: word.n, total, ..*self });
        Ok(())
    }

    /// Books what a request cost that was admitted on this lease: on the path of the lease, even if
    /// the key has moved since, and whether or not the lease still holds enough.
    pub fn book(&mut self, path: &mut [Level], amount: i64) {
        let amount = amount.max(0);
        let settled = self.settled.saturating_add(amount);
        self.replace(path, Self { settled, ..*self });
        for level in path {
            level.row.settled = level.row.settled.saturating_add(amount);
        }
    }

    /// Gives up waiting for the gateway: what it holds may be spent, so it is not freed.
    pub fn lose(&mut self, path: &mut [Level]) {
        self.replace(path, Self { lost: true, ..*self });
    }

    /// Takes out of the hold what a request may have cost whose record cannot be read, at most
    /// `reserved`: a lease of its own from now on, which is lost, and which no record will settle.
    /// Here it counts as spent, as it does for the gateway.
    #[must_use]
    pub fn tear(&mut self, path: &mut [Level], reserved: i64) -> Self {
        let total = reserved.min(self.hold()).max(0);
        let settled = self.settled.saturating_add(total);
        self.replace(path, Self { settled, ..*self });
        let mut torn = Self::default();
        torn.replace(path, Self { total, lost: true, ..torn });
        torn
    }

    /// Frees what is held: after the epoch's last record nothing more can be spent, or an
    /// administrator takes the risk.
    pub fn free(&mut self, path: &mut [Level]) {
        let total = self.total.min(self.settled);
        self.replace(path, Self { total, ..*self });
    }

    /// Frees at most `amount` of what is lost, and says how much it was: an administrator takes the
    /// risk.
    pub fn release(&mut self, path: &mut [Level], amount: i64) -> i64 {
        if !self.lost {
            return 0;
        }
        let released = self.hold().min(amount).max(0);
        let total = self.total.saturating_sub(released);
        self.replace(path, Self { total, ..*self });
        released
    }

    /// Moves the lease's hold in every row of the path.
    fn replace(&mut self, path: &mut [Level], next: Self) {
        for level in path {
            let row = &mut level.row;
            let before = if self.lost { &mut row.lost } else { &mut row.held };
            *before = before.saturating_sub(self.hold());
            let after = if next.lost { &mut row.lost } else { &mut row.held };
            *after = after.saturating_add(next.hold());
        }
        *self = next;
    }
}

/// The level that stands against granting `need`: a used-up one rather than one that is only held.
fn refusal(path: &[Level], need: i64) -> Option<Refused> {
    let short = || path.iter().filter(|level| level.available() < need);
    let unheld = |level: &Level| {
        let cap = level.cap.amount.unwrap_or(i64::MAX);
        cap.saturating_sub(level.row.settled).saturating_sub(level.row.lost)
    };
    if let Some(level) = short().find(|level| unheld(level) < need) {
        let idle = level.row.held == 0 && level.row.lost == 0;
        let left = idle.then(|| unheld(level).max(0));
        let (account, revision) = (level.account, level.cap.revision);
        return Some(Refused::Exhausted { account, left, revision });
    }
    short().next().map(|level| Refused::HeldElsewhere { account: level.account })
}
