//! The last minute of one account, as the authority counts it.

use std::collections::{BTreeMap, VecDeque};

use super::line::Line;
use super::{Amount, Ask, COUNTS_MS, Left, Look, Rate, Returned, WINDOW_MS};
use crate::id::{EpochId, GatewayId};

/// Batches of one gateway that count at a time: sixteen a second, where a gateway asks for few. It
/// bounds the memory of an account.
const MAX_GRANTS: usize = 1_024;

/// Tokens that one batch may be corrected upward by: more than any request has, and no sum of them
/// overflows.
const MAX_BEYOND: u64 = 1 << 40;

/// What was granted to whom, and still counts; who waits for more.
#[derive(Clone, Debug, Default)]
pub struct Ring {
    rate: Rate,
    callers: BTreeMap<(GatewayId, EpochId), Caller>,
    line: Line,
    /// The sum of all that counts.
    counted: Amount,
}

/// One run of a gateway.
#[derive(Clone, Debug, Default)]
struct Caller {
    /// The newest batch that was asked for.
    newest: u64,
    heard_ms: u64,
    /// Oldest first.
    grants: VecDeque<Grant>,
}

#[derive(Clone, Copy, Debug)]
struct Grant {
    /// 0: used before this authority began, as its gateway has reported.
    batch: u64,
    until_ms: u64,
    granted: Amount,
    /// What of it counts.
    counted: Amount,
}

impl Ring {
    /// Hears what a gateway asks, and answers what it is permitted, or after how many milliseconds
    /// it is worth asking again. An ask that is not newer than all heard before changes nothing.
    ///
    /// What is free is kept for those who have waited longer; those who wait behind leave the one
    /// who asks its part.
    pub fn ask(
        &mut self,
        who: (GatewayId, EpochId),
        ask: &Ask,
        now_ms: u64,
    ) -> (Amount, Option<u64>) {
        self.lapse(now_ms);
        self.learn(ask.rate);
        let caller = self.callers.entry(who).or_default();
        if ask.batch <= caller.newest {
            return (Amount::NONE, None);
        }
        (caller.newest, caller.heard_ms) = (ask.batch, now_ms);
        for returned in &ask.returned {
            let before = caller.take_back(returned);
            self.counted = self.counted.minus(before.0).plus(before.1);
        }
        let is_full = caller.grants.len() >= MAX_GRANTS;
        let least = ask.waits.map(|tokens| self.least(tokens));
        let open = self.free().minus(self.line.ahead(who));
        if is_full || !open.holds(least.unwrap_or_default()) {
            return (Amount::NONE, least.map(|least| self.refuse(who, least, now_ms)));
        }
        let parts = 1 + self.line.behind(who);
        let part = Amount { requests: open.requests / parts, tokens: open.tokens / parts };
        let mut amount = ask.wanted.min(part.max(least.unwrap_or_default()));
        if amount.requests == 0 {
            // Tokens alone let nothing pass.
            amount = Amount::NONE;
        }
        self.grant(who, ask.batch, amount, now_ms.saturating_add(COUNTS_MS));
        if least.is_some() {
            self.line.leave(who);
        }
        (amount, None)
    }

    /// Counts what a gateway used on its own before this authority began, `age_ms` ago or earlier.
    pub fn count(&mut self, who: (GatewayId, EpochId), age_ms: u64, used: Amount, now_ms: u64) {
        let until_ms = now_ms.saturating_add(WINDOW_MS.saturating_sub(age_ms));
        self.callers.entry(who).or_default().heard_ms = now_ms;
        self.grant(who, 0, used, until_ms);
    }

    /// Forgets what was counted of a gateway's own report: another one follows.
    pub fn discount(&mut self, gateway: GatewayId) {
        for (_, caller) in self.callers.iter_mut().filter(|(who, _)| who.0 == gateway) {
            caller.grants.retain(|grant| {
                let stays = grant.batch != 0;
                if !stays {
                    self.counted = self.counted.minus(grant.counted);
                }
                stays
            });
        }
    }

    /// What is left at `now_ms`.
    #[must_use]
    pub fn left(&mut self, now_ms: u64) -> Left {
        self.lapse(now_ms);
        let ends = self.callers.values().filter_map(|caller| caller.grants.back());
        let end_ms = ends.map(|grant| grant.until_ms).max().unwrap_or(now_ms);
        Left { free: self.free(), reset_ms: end_ms.saturating_sub(now_ms) }
    }

    /// How it stands at `now_ms` for a request with so many tokens, which nobody has made: it takes
    /// nothing and has no place in the line. `rate` is in force as that of an ask would be.
    pub fn look(&mut self, rate: Rate, tokens: u64, now_ms: u64) -> Look {
        let Left { reset_ms, .. } = self.left(now_ms);
        self.learn(rate);
        let free = self.free().minus(self.line.all());
        let least = self.least(tokens);
        let next_ms = if free.holds(least) {
            0
        } else {
            let needed = self.line.all().plus(least);
            self.holds_at_ms(needed, now_ms).saturating_sub(now_ms).max(1)
        };
        // A batch ends a window before it stops to count.
        let ends_ms = now_ms.saturating_add(WINDOW_MS);
        let live = self.grants().filter(|grant| grant.until_ms > ends_ms);
        let out = live.fold(Amount::NONE, |sum, grant| sum.plus(grant.counted));
        Look { counted: self.counted, out, free, waiting: self.line.len(), next_ms, reset_ms }
    }

    /// Whether nothing is counted and nobody waits.
    #[must_use]
    pub fn is_idle(&mut self, now_ms: u64) -> bool {
        self.lapse(now_ms);
        self.callers.is_empty() && self.line.is_empty()
    }

    /// The rate of the newest event is in force.
    const fn learn(&mut self, rate: Rate) {
        if rate.seq >= self.rate.seq {
            self.rate = rate;
        }
    }

    fn grants(&self) -> impl Iterator<Item = &Grant> {
        self.callers.values().flat_map(|caller| caller.grants.iter())
    }

    /// What is of use to a request with so many tokens.
    fn least(&self, tokens: u64) -> Amount {
        let requests = u64::from(self.rate.requests.is_some());
        Amount { requests, tokens: self.rate.permitted(tokens) }
    }

    fn free(&self) -> Amount {
        self.rate.cap().minus(self.limited(self.counted))
    }

    /// Nothing counts where there is no limit.
    fn limited(&self, amount: Amount) -> Amount {
        Amount {
            requests: if self.rate.requests.is_some() { amount.requests } else { 0 },
            tokens: if self.rate.tokens.is_some() { amount.tokens } else { 0 },
        }
    }

    /// Gives `who` a place in the line; after how many milliseconds its turn comes, if nothing is
    /// given back.
    fn refuse(&mut self, who: (GatewayId, EpochId), least: Amount, now_ms: u64) -> u64 {
        let at_ms = self.holds_at_ms(self.line.ahead(who).plus(least), now_ms);
        self.line.wait(who, least, at_ms);
        at_ms.saturating_sub(now_ms).max(1)
    }

    /// When so much is free, if nothing is given back.
    fn holds_at_ms(&self, needed: Amount, now_ms: u64) -> u64 {
        let ends = self.grants().map(|grant| (grant.until_ms, grant.counted));
        let mut ends: Vec<(u64, Amount)> = ends.collect();
        ends.sort_unstable_by_key(|(until_ms, _)| *until_ms);
        let (mut counted, cap) = (self.counted, self.rate.cap());
        let frees = ends.into_iter().find(|(_, amount)| {
            counted = counted.minus(*amount);
            cap.minus(self.limited(counted)).holds(needed)
        });
        // Those ahead may need more than one window has.
        frees.map_or(now_ms.saturating_add(COUNTS_MS), |(until_ms, _)| until_ms)
    }

    fn grant(&mut self, who: (GatewayId, EpochId), batch: u64, amount: Amount, until_ms: u64) {
        if amount == Amount::NONE {
            return;
        }
        self.counted = self.counted.plus(amount);
        let grants = &mut self.callers.entry(who).or_default().grants;
        let place = grants.partition_point(|grant| grant.until_ms <= until_ms);
        grants.insert(place, Grant { batch, until_ms, granted: amount, counted: amount });
    }

    fn lapse(&mut self, now_ms: u64) {
        for caller in self.callers.values_mut() {
            while let Some(grant) = caller.grants.pop_front_if(|grant| grant.until_ms <= now_ms) {
                self.counted = self.counted.minus(grant.counted);
            }
        }
        // A gateway that asks again much later begins with the number that it had: nothing is lost
        // but the knowledge of what was repeated.
        self.callers.retain(|_, caller| {
            !caller.grants.is_empty() || caller.heard_ms.saturating_add(COUNTS_MS) > now_ms
        });
        self.line.lapse(now_ms);
    }
}

impl Caller {
    /// Corrects what counts of a batch; answers with what counted before and what counts now.
    fn take_back(&mut self, returned: &Returned) -> (Amount, Amount) {
        let mut grants = self.grants.iter_mut().rev().filter(|grant| grant.batch != 0);
        let Some(grant) = grants.find(|grant| grant.batch == returned.batch) else {
            return (Amount::NONE, Amount::NONE);
        };
        let before = grant.counted;
        let unused = u64::try_from(returned.tokens).unwrap_or(0);
        let beyond = u64::try_from(returned.tokens.saturating_neg()).unwrap_or(0);
        grant.counted = Amount {
            requests: grant.granted.requests.saturating_sub(returned.requests),
            tokens: grant
                .granted
                .tokens
                .saturating_sub(unused)
                .saturating_add(beyond.min(MAX_BEYOND)),
        };
        (before, grant.counted)
    }
}
