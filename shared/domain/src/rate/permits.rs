//! A gateway's side of one rate: what it was permitted, and what it has used of it lately.

use std::collections::VecDeque;

use super::{Amount, Ask, PERMIT_MS, Rate, Returned, WINDOW_MS};

/// Requests in two seconds below which a key is slow: it asks for each of them, and for nothing
/// ahead that others could use.
const SLOW: u64 = 4;

/// What a gateway knows of its own last minute on one account. All times are its own steady time.
#[derive(Clone, Debug, Default)]
pub struct Permits {
    /// The greatest fence of an owner that answered.
    fence: u64,
    /// The number of the newest batch.
    newest: u64,
    /// The ask that is not answered yet.
    pending: Option<u64>,
    /// Batches that count, oldest first.
    batches: VecDeque<Batch>,
}

/// A batch that may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Its number.
    pub batch: u64,
    /// How much.
    pub amount: Amount,
    /// From this moment on nothing of it may be used.
    pub ends_ms: u64,
}

/// What became of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// It is of use.
    Granted(Grant),
    /// It permits nothing, or came when its time was over.
    Nothing,
    /// It answers another ask than the newest, or its owner had been replaced: as if it had not
    /// come.
    Stale,
}

#[derive(Clone, Copy, Debug)]
struct Batch {
    number: u64,
    ends_ms: u64,
    granted: Amount,
    unused_requests: u64,
    /// Less than zero: so many more were used.
    unused_tokens: i64,
    /// The gateway permitted it to itself.
    is_own: bool,
    news: News,
}

/// Whether the authority knows what was not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum News {
    Told,
    /// The ask of this number tells it.
    Telling(u64),
    Untold,
}

impl Permits {
    /// The ask for `wanted`; `waits`: the tokens of the request that waits longest. It is sent now:
    /// what it is granted ends [`PERMIT_MS`] from now. An ask that is still pending is given up.
    pub fn ask(&mut self, rate: Rate, wanted: Amount, waits: Option<u64>, now_ms: u64) -> Ask {
        self.give_up();
        self.lapse(now_ms);
        let batch = self.begin(wanted, now_ms, false);
        self.pending = Some(batch);
        let mut returned = Vec::new();
        let untold = self.batches.iter_mut().filter(|one| !one.is_own && one.news != News::Told);
        for one in untold.filter(|one| one.number != batch) {
            one.news = News::Telling(batch);
            let (requests, tokens) = (one.unused_requests, one.unused_tokens);
            returned.push(Returned { batch: one.number, requests, tokens });
        }
        Ask { batch, wanted, waits, rate, returned }
    }

    /// Hears the answer to ask `batch` of the owner with `fence`.
    pub fn hear(&mut self, fence: u64, batch: u64, amount: Amount, now_ms: u64) -> Heard {
        if fence < self.fence || self.pending != Some(batch) {
            return Heard::Stale;
        }
        (self.fence, self.pending) = (fence, None);
        for one in self.batches.iter_mut().filter(|one| one.news == News::Telling(batch)) {
            one.news = News::Told;
        }
        let Some(one) = self.find(batch) else { return Heard::Nothing };
        one.granted = amount.min(one.granted);
        let grant = Grant { batch, amount: one.granted, ends_ms: one.ends_ms };
        if grant.amount == Amount::NONE {
            self.batches.retain(|one| one.number != batch);
        } else if now_ms >= grant.ends_ms {
            one.all_unused();
        } else {
            return Heard::Granted(grant);
        }
        Heard::Nothing
    }

    /// Stops waiting for the newest answer: whatever it grants is given back.
    pub fn give_up(&mut self) {
        if let Some(one) = self.pending.take().and_then(|batch| self.find(batch)) {
            one.all_unused();
        }
    }

    /// Whether an ask is on its way.
    #[must_use]
    pub const fn is_asking(&self) -> bool {
        self.pending.is_some()
    }

    /// Permits itself at most `wanted` of its share among `gateways`: nobody answers for the rate.
    /// `None`: the share is used up.
    pub fn fall_back(
        &mut self,
        rate: Rate,
        gateways: u32,
        wanted: Amount,
        now_ms: u64,
    ) -> Option<Grant> {
        self.lapse(now_ms);
        let amount = rate.share(gateways).minus(self.used()).min(wanted);
        let short = (rate.requests.is_some() && amount.requests == 0)
            || (rate.tokens.is_some() && amount.tokens == 0 && wanted.tokens > 0);
        if short || amount == Amount::NONE {
            return None;
        }
        let batch = self.begin(amount, now_ms, true);
        Some(Grant { batch, amount, ends_ms: now_ms.saturating_add(PERMIT_MS) })
    }

    /// Says what of a batch was not used, in all that is known by now; less than zero tokens: so
    /// many more were.
    pub fn unused(&mut self, batch: u64, requests: u64, tokens: i64) {
        let Some(one) = self.find(batch) else { return };
        if (one.unused_requests, one.unused_tokens) != (requests, tokens) {
            (one.unused_requests, one.unused_tokens) = (requests, tokens);
            one.news = News::Untold;
        }
    }

    /// What was used, or may be, in the last minute.
    #[must_use]
    pub fn used(&self) -> Amount {
        self.batches.iter().fold(Amount::NONE, |sum, one| sum.plus(one.used()))
    }

    /// The same as a report: how many milliseconds ago at least, and how much.
    pub fn report(&mut self, now_ms: u64) -> Vec<(u64, Amount)> {
        self.lapse(now_ms);
        let used = self.batches.iter().filter(|one| one.used() != Amount::NONE);
        used.map(|one| (now_ms.saturating_sub(one.ends_ms), one.used())).collect()
    }

    /// What is worth asking for beyond what waits: a second's worth at the pace of the last two,
    /// and a quarter more. Nothing for a slow key. `left` is what the newest batch still has.
    #[must_use]
    pub fn ahead(&self, left: Amount, now_ms: u64) -> Amount {
        let lately = |one: &&Batch| one.ends_ms.saturating_add(PERMIT_MS) > now_ms;
        let recent = self.batches.iter().filter(lately);
        let used = recent.fold(Amount::NONE, |sum, one| sum.plus(one.used())).minus(left);
        if used.requests < SLOW {
            return Amount::NONE;
        }
        let pace = |used: u64| used / 2 + used / 8;
        Amount { requests: pace(used.requests), tokens: pace(used.tokens) }
    }

    /// After how many milliseconds a request with `tokens` that the share has no room for is worth
    /// asking for again: when the share has room at the soonest, or once an authority may answer,
    /// in `back_ms`, if this gateway alone has not used up the whole rate.
    #[must_use]
    pub fn frees_ms(&self, rate: Rate, tokens: u64, back_ms: u64, now_ms: u64) -> u64 {
        let used = self.batches.iter().find(|one| one.used() != Amount::NONE);
        let at_ms = used.map_or(now_ms, |one| one.ends_ms.saturating_add(WINDOW_MS));
        let least = Amount { requests: 1, tokens: rate.permitted(tokens) };
        let share_ms = at_ms.saturating_sub(now_ms);
        let has_room = rate.cap().holds(self.used().plus(least));
        match (has_room, share_ms) {
            (_, 0) => back_ms,
            (true, _) => back_ms.min(share_ms),
            (false, _) => share_ms,
        }
    }

    /// Whether the authority should be told what was not used.
    #[must_use]
    pub fn has_news(&self) -> bool {
        self.batches.iter().any(|one| !one.is_own && one.news != News::Told)
    }

    /// Forgets what counts no more; whether nothing is left.
    pub fn lapse(&mut self, now_ms: u64) -> bool {
        let is_over = |one: &mut Batch| one.ends_ms.saturating_add(WINDOW_MS) <= now_ms;
        while self.batches.pop_front_if(is_over).is_some() {}
        self.batches.is_empty()
    }

    fn begin(&mut self, granted: Amount, now_ms: u64, is_own: bool) -> u64 {
        self.newest = self.newest.saturating_add(1);
        if granted != Amount::NONE {
            self.batches.push_back(Batch {
                number: self.newest,
                ends_ms: now_ms.saturating_add(PERMIT_MS),
                granted,
                unused_requests: 0,
                unused_tokens: 0,
                is_own,
                news: News::Told,
            });
        }
        self.newest
    }

    fn find(&mut self, batch: u64) -> Option<&mut Batch> {
        self.batches.iter_mut().rev().find(|one| one.number == batch)
    }
}

impl Batch {
    fn used(&self) -> Amount {
        let unused = u64::try_from(self.unused_tokens).unwrap_or(0);
        let beyond = u64::try_from(self.unused_tokens.saturating_neg()).unwrap_or(0);
        Amount {
            requests: self.granted.requests.saturating_sub(self.unused_requests),
            tokens: self.granted.tokens.saturating_sub(unused).saturating_add(beyond),
        }
    }

    /// Nothing of it was used or will be.
    fn all_unused(&mut self) {
        self.unused_requests = self.granted.requests;
        self.unused_tokens = i64::try_from(self.granted.tokens).unwrap_or(i64::MAX);
        self.news = News::Untold;
    }
}
