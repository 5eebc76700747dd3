//! The rates of one organisation at their authority, which may be new.

use std::collections::BTreeMap;

use super::{Amount, Ask, COUNTS_MS, Left, Look, Rate, Ring};
use crate::id::{EpochId, GatewayId};
use crate::limit::Account;

/// All that one owner of a shard knows of an organisation's rates.
///
/// It begins without knowing what its predecessor has permitted. So it permits nothing until every
/// gateway that may have used something has reported its own last minute, or until that minute is
/// over. Nothing is stored: an answer needs no commit.
#[derive(Clone, Debug)]
pub struct Rates {
    /// When this owner was chosen, in its own steady time. Its predecessor's permits had ended.
    since_ms: u64,
    /// All that there was to be known is known.
    complete: bool,
    /// How many parts of its report each gateway has sent; `None`: all.
    reports: BTreeMap<GatewayId, Option<u32>>,
    rings: BTreeMap<Account, Ring>,
}

/// One part of a gateway's own last minute. Large reports are sent in several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Counts the parts from 0, which begins a new report.
    pub part: u32,
    /// Nothing follows.
    pub last: bool,
    /// Whose rate, how many milliseconds ago at least, and how much.
    pub used: Vec<(Account, Vec<(u64, Amount)>)>,
}

/// What became of an ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// So much is permitted.
    Permitted {
        /// From nothing to all that was asked for.
        amount: Amount,
        /// If a request waits and gets nothing: after how many milliseconds it is worth asking
        /// again.
        retry_after_ms: Option<u64>,
        /// What the account has left.
        left: Left,
    },
    /// Reports are missing: nothing is permitted yet.
    Gathering {
        /// This gateway's is missing too.
        report: bool,
    },
}

/// Who speaks, when, and who else may have used something lately.
#[derive(Clone, Copy, Debug)]
pub struct Hearing<'a> {
    /// The gateway, in its present run.
    pub who: (GatewayId, EpochId),
    /// The owner's steady time.
    pub now_ms: u64,
    /// The gateways whose reports are needed.
    pub others: &'a [GatewayId],
}

impl Rates {
    /// The rates of an organisation whose owner was chosen at `since_ms` of its own steady time.
    #[must_use]
    pub const fn new(since_ms: u64) -> Self {
        Self { since_ms, complete: false, reports: BTreeMap::new(), rings: BTreeMap::new() }
    }

    /// Answers an ask.
    pub fn ask(&mut self, hearing: Hearing<'_>, account: Account, ask: &Ask) -> Answer {
        let Hearing { who, now_ms, .. } = hearing;
        if !self.complete(hearing.others, now_ms) {
            return Answer::Gathering { report: !self.has_reported(who.0) };
        }
        let ring = self.rings.entry(account).or_default();
        let (amount, retry_after_ms) = ring.ask(who, ask, now_ms);
        Answer::Permitted { amount, retry_after_ms, left: ring.left(now_ms) }
    }

    /// Takes a part of a report; whether it was the one that was to come. If not, the gateway
    /// begins again. A report that comes later than it was needed changes nothing.
    pub fn report(&mut self, hearing: Hearing<'_>, report: &Report) -> bool {
        let Hearing { who, now_ms, .. } = hearing;
        if self.complete(hearing.others, now_ms) {
            return true;
        }
        if report.part == 0 {
            self.rings.values_mut().for_each(|ring| ring.discount(who.0));
        } else if self.reports.get(&who.0) != Some(&Some(report.part)) {
            return false;
        }
        for (account, uses) in &report.used {
            let ring = self.rings.entry(*account).or_default();
            uses.iter().for_each(|(age_ms, used)| ring.count(who, *age_ms, *used, now_ms));
        }
        let next = if report.last { None } else { Some(report.part.saturating_add(1)) };
        self.reports.insert(who.0, next);
        true
    }

    /// How the rate of an account stands for a request with so many tokens, which nobody has made;
    /// `None` while reports of `others` are missing.
    pub fn look(
        &mut self,
        others: &[GatewayId],
        (account, rate, tokens): (Account, Rate, u64),
        now_ms: u64,
    ) -> Option<Look> {
        if !self.complete(others, now_ms) {
            return None;
        }
        match self.rings.get_mut(&account) {
            Some(ring) => Some(ring.look(rate, tokens, now_ms)),
            None => Some(Ring::default().look(rate, tokens, now_ms)),
        }
    }

    /// Whether nothing is missing of what was used before this owner began.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.complete
    }

    /// Forgets the accounts of which nothing counts any more; whether none is left.
    pub fn tidy(&mut self, now_ms: u64) -> bool {
        self.rings.retain(|_, ring| !ring.is_idle(now_ms));
        self.rings.is_empty()
    }

    fn complete(&mut self, others: &[GatewayId], now_ms: u64) -> bool {
        self.complete |= now_ms.saturating_sub(self.since_ms) >= COUNTS_MS
            || others.iter().all(|gateway| self.has_reported(*gateway));
        self.complete
    }

    fn has_reported(&self, gateway: GatewayId) -> bool {
        self.reports.get(&gateway) == Some(&None)
    }
}
