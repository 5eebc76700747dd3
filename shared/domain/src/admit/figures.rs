//! The figures behind a refusal for want of budget or rate, as far as they are known.

use crate::limit::{Account, Unit};
use crate::time::Timestamp;

/// Which limit stood against a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LimitSource {
    /// The budget of an account in a unit.
    Budget(Account, Unit),
    /// Requests in any 60 seconds of a key or project.
    RequestRate(Account),
    /// Tokens in any 60 seconds of a key or project.
    TokenRate(Account),
}

/// What is known of the limit that stood against a request. Amounts are nano-USD, tokens or
/// requests, as the source says; what the gateway did not know when it refused is `None`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Figures {
    /// Which limit.
    pub source: LimitSource,
    /// The limit itself.
    pub limit: Option<i64>,
    /// What counts against it for good: booked, or lost sight of.
    pub used: Option<i64>,
    /// What running requests and other gateways hold of it.
    pub held: Option<i64>,
    /// When the account begins anew, if it does.
    pub resets_at: Option<Timestamp>,
    /// After how many milliseconds it is worth asking again, if time alone helps.
    pub retry_after_ms: Option<u64>,
    /// The revision of the cap; 0 for rates, whose revision is the key's or project's event.
    pub revision: u64,
}

impl LimitSource {
    /// The name in the API: whose limit, and which field of its limits.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Budget(Account::Wallet, Unit::Usd) => "wallet",
            Self::Budget(Account::Wallet, Unit::Tokens) => "wallet.tokens",
            Self::Budget(Account::Project(_), Unit::Usd) => "project.cost_usd",
            Self::Budget(Account::Project(_), Unit::Tokens) => "project.tokens",
            Self::Budget(Account::Key(_), Unit::Usd) => "key.cost_usd",
            Self::Budget(Account::Key(_), Unit::Tokens) => "key.tokens",
            Self::Budget(Account::Ephemeral(_), Unit::Usd) => "ephemeral.cost_usd",
            Self::Budget(Account::Ephemeral(_), Unit::Tokens) => "ephemeral.tokens",
            Self::RequestRate(Account::Wallet) => "wallet.requests_per_minute",
            Self::RequestRate(Account::Project(_)) => "project.requests_per_minute",
            Self::RequestRate(Account::Key(_)) => "key.requests_per_minute",
            Self::RequestRate(Account::Ephemeral(_)) => "ephemeral.requests_per_minute",
            Self::TokenRate(Account::Wallet) => "wallet.tokens_per_minute",
            Self::TokenRate(Account::Project(_)) => "project.tokens_per_minute",
            Self::TokenRate(Account::Key(_)) => "key.tokens_per_minute",
            Self::TokenRate(Account::Ephemeral(_)) => "ephemeral.tokens_per_minute",
        }
    }

    /// Whether the amounts are money.
    #[must_use]
    pub const fn is_money(self) -> bool {
        match self {
            Self::Budget(_, Unit::Usd) => true,
            Self::Budget(_, Unit::Tokens) | Self::RequestRate(_) | Self::TokenRate(_) => false,
        }
    }

    /// Whose limit it is.
    #[must_use]
    pub const fn account(self) -> Account {
        match self {
            Self::Budget(account, _) | Self::RequestRate(account) | Self::TokenRate(account) => {
                account
            }
        }
    }
}

impl Figures {
    /// A limit of which nothing else is known.
    #[must_use]
    pub const fn of(source: LimitSource) -> Self {
        Self {
            source,
            limit: None,
            used: None,
            held: None,
            resets_at: None,
            retry_after_ms: None,
            revision: 0,
        }
    }
}
