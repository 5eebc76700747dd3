//! Limits of keys and projects, and the accounts that budgets are kept on.

use crate::id::{EphemeralId, KeyId, ProjectId};
use crate::money::NanoUsd;
use crate::time::Reset;

/// The percentages of its cap at which an alert is raised for a wallet, which has no limits of its
/// own to say it.
pub const WALLET_ALERT_PERCENT: &[u8] = &[50, 80, 100];

/// What happens when a request's upper bound does not fit into what is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Fit {
    /// It is refused.
    #[default]
    Reject,
    /// Its output maximum is lowered so that it fits, if it set none itself.
    Clamp,
}

/// The limits of a key or a project. `None` is no limit.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Limits {
    /// The most to spend in one window.
    pub cost: Option<NanoUsd>,
    /// The most tokens, input and output together, in one window.
    pub tokens: Option<u64>,
    /// When cost and tokens begin anew.
    pub reset: Reset,
    /// Requests in any 60 seconds.
    pub requests_per_minute: Option<u32>,
    /// Tokens in any 60 seconds.
    pub tokens_per_minute: Option<u64>,
    /// Percentages of the cost limit at which an alert is raised, ascending.
    pub alert_percent: Vec<u8>,
    /// What happens to a request that may not fit.
    pub fit: Fit,
}

impl Limits {
    /// Whether nothing is limited.
    #[must_use]
    pub const fn is_unlimited(&self) -> bool {
        self.cost.is_none()
            && self.tokens.is_none()
            && self.requests_per_minute.is_none()
            && self.tokens_per_minute.is_none()
    }

    /// The cap in `unit`, if there is one.
    #[must_use]
    pub fn cap(&self, unit: Unit) -> Option<i64> {
        match unit {
            Unit::Usd => self.cost.map(|cost| cost.0),
            Unit::Tokens => self.tokens.map(|tokens| i64::try_from(tokens).unwrap_or(i64::MAX)),
        }
    }
}

/// What a budget is kept on: `wallet ← project ← key ← ephemeral token`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Account {
    /// The organisation's own money.
    Wallet,
    /// A project.
    Project(ProjectId),
    /// A key.
    Key(KeyId),
    /// An ephemeral token with a budget of its own.
    Ephemeral(EphemeralId),
}

/// What an account counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Unit {
    /// Nano-USD.
    Usd,
    /// Tokens.
    Tokens,
}

impl Unit {
    /// Every unit, in the order in which budgets are listed.
    pub const BOTH: [Self; 2] = [Self::Usd, Self::Tokens];
}
