//! Rates: how many requests and tokens may pass in any 60 seconds, exact across gateways.
//!
//! The authority grants *permits* in batches. A permit lives for [`PERMIT_MS`] from the moment at
//! which its gateway asked for it; the authority does not know that moment, only that it lies
//! before the call's arrival. So a permit that is granted at `t` cannot be used after
//! `t + PERMIT_MS`, and counts until `t + COUNTS_MS`. Whatever 60 seconds one looks at, all permits
//! used in them were counted together at one moment, and that sum never passed the limit.

mod line;
mod permits;
mod rates;
mod ring;

pub use permits::{Grant, Heard, Permits};
pub use rates::{Answer, Hearing, Rates, Report};
pub use ring::Ring;

use crate::limit::{Account, Limits};
use crate::state::{Key, Organisation};

/// What a limit a minute is counted over.
pub const WINDOW_MS: u64 = 60_000;
/// How long a permit may be used, from its gateway's sending: long enough for a batch to serve a
/// fast key, short enough that what a lost gateway holds is missed only for moments.
pub const PERMIT_MS: u64 = 1_000;
/// How long a permit counts, from its grant: it may be used at the end of its life.
pub const COUNTS_MS: u64 = PERMIT_MS + WINDOW_MS;

/// The limits a minute of one account. `None` is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Rate {
    /// Requests in any 60 seconds.
    pub requests: Option<u32>,
    /// Tokens in any 60 seconds.
    pub tokens: Option<u64>,
    /// The event that set them: of two rates the one with the greater number is in force.
    pub seq: u64,
}

/// So many requests and tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Amount {
    /// Requests.
    pub requests: u64,
    /// Tokens, input and output together.
    pub tokens: u64,
}

/// What of a batch was not used, in all that is known by now: a later word on the same batch
/// replaces an earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Returned {
    /// Which batch.
    pub batch: u64,
    /// Requests that were not made.
    pub requests: u64,
    /// Tokens that were not used; less than zero: so many more were.
    pub tokens: i64,
}

/// What a gateway asks of the authority of one account.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Ask {
    /// Counts the gateway's batches on this account upward; a batch is granted once.
    pub batch: u64,
    /// What it would like to have.
    pub wanted: Amount,
    /// The tokens of the request that waits, if one does: less is of no use to it.
    pub waits: Option<u64>,
    /// The limits as the gateway knows them.
    pub rate: Rate,
    /// What earlier batches did not use.
    pub returned: Vec<Returned>,
}

/// What is left of an account's rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Left {
    /// Requests and tokens that nobody holds; the greatest number where there is no limit.
    pub free: Amount,
    /// Milliseconds until nothing counts any more, if nobody asks.
    pub reset_ms: u64,
}

/// How an account's rate stands, for somebody who only looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Look {
    /// What counts now: all that was permitted in the last minute and not given back.
    pub counted: Amount,
    /// Of it, what its gateways may still use or give back.
    pub out: Amount,
    /// What is there for a newcomer: nobody holds it, and nobody waits for it. The greatest number
    /// where there is no limit.
    pub free: Amount,
    /// Gateways that wait.
    pub waiting: u64,
    /// Milliseconds until the request that was asked about would be permitted, behind all who wait,
    /// if nothing is given back; 0: now.
    pub next_ms: u64,
    /// Milliseconds until nothing counts any more, if nobody asks.
    pub reset_ms: u64,
}

/// The rates that a request of `key` is counted on: its own and its project's.
#[must_use]
pub fn on_path(organisation: &Organisation, key: &Key) -> [Option<(Account, Rate)>; 2] {
    let own = Rate::of(&key.profile.limits, key.seq).map(|rate| (Account::Key(key.id), rate));
    let project = key.profile.project.and_then(|id| {
        let project = organisation.projects.get(&id)?;
        Some((Account::Project(id), Rate::of(&project.limits, project.seq)?))
    });
    [own, project]
}

impl Rate {
    /// The limits a minute among `limits`, which the event `seq` has set; `None`: there are none.
    #[must_use]
    pub const fn of(limits: &Limits, seq: u64) -> Option<Self> {
        let (requests, tokens) = (limits.requests_per_minute, limits.tokens_per_minute);
        if requests.is_none() && tokens.is_none() {
            return None;
        }
        Some(Self { requests, tokens, seq })
    }

    /// The limits as amounts; what is not limited is [`u64::MAX`].
    #[must_use]
    pub fn cap(&self) -> Amount {
        let requests = self.requests.map_or(u64::MAX, u64::from);
        Amount { requests, tokens: self.tokens.unwrap_or(u64::MAX) }
    }

    /// What a request that may use `tokens` is permitted by: one that may use more than the whole
    /// limit waits until nothing else counts, and is corrected when it is settled.
    #[must_use]
    pub fn permitted(&self, tokens: u64) -> u64 {
        self.tokens.map_or(0, |limit| tokens.min(limit))
    }

    /// What each of `gateways` may let pass on its own while nobody answers for the limit.
    #[must_use]
    pub fn share(&self, gateways: u32) -> Amount {
        let (cap, gateways) = (self.cap(), u64::from(gateways.max(1)));
        let part = |limit: u64| if limit == u64::MAX { limit } else { limit / gateways };
        Amount { requests: part(cap.requests), tokens: part(cap.tokens) }
    }
}

impl Amount {
    /// Nothing.
    pub const NONE: Self = Self { requests: 0, tokens: 0 };

    /// Both sums.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            requests: self.requests.saturating_add(other.requests),
            tokens: self.tokens.saturating_add(other.tokens),
        }
    }

    /// Both differences, never below nothing.
    #[must_use]
    pub const fn minus(self, other: Self) -> Self {
        Self {
            requests: self.requests.saturating_sub(other.requests),
            tokens: self.tokens.saturating_sub(other.tokens),
        }
    }

    /// The smaller of each.
    #[must_use]
    pub fn min(self, other: Self) -> Self {
        Self { requests: self.requests.min(other.requests), tokens: self.tokens.min(other.tokens) }
    }

    /// The greater of each.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self { requests: self.requests.max(other.requests), tokens: self.tokens.max(other.tokens) }
    }

    /// Whether all of `other` is in it.
    #[must_use]
    pub const fn holds(self, other: Self) -> bool {
        other.requests <= self.requests && other.tokens <= self.tokens
    }
}
