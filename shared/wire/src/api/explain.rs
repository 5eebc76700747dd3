//! Explanations: what would be decided of a request that nobody has made.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::text::{DialectName, Factor, Time, Usd};

/// What a gateway would decide of a hypothetical request, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Explanation {
    /// As of when.
    pub at: Time,
    /// Whether every check lets it pass.
    pub admitted: bool,
    /// The code that the first check refuses it with.
    pub code: Option<String>,
    /// The HTTP status that goes with it; 200 if it is admitted.
    pub status: u16,
    /// Every check in the order in which gateways make them.
    pub checks: Vec<Check>,
    /// Every way to the model, best first, whether it can be taken or not. Those of the platform
    /// are shown to operators.
    pub ways: Vec<Way>,
    /// What would be reserved for it, by the prices of the first way that can be taken; null where
    /// its model or server is not known, or no tool is called.
    pub reservation: Option<Bound>,
    /// The budgets that it counts against, from the key up to the wallet.
    pub levels: Vec<Level>,
    /// The rates that it counts against.
    pub rates: Vec<Rate>,
    /// Up to when every gateway that is online has reported.
    pub complete_up_to: Option<Time>,
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Check {
    /// `credential`, `path`, `body`, `model`, `scopes`, `rate` or `money`.
    pub check: String,
    /// `passed`, `refused`, or `open` where the answer depends on the moment.
    pub outcome: String,
    /// The code of a refusal.
    pub code: Option<String>,
    /// A sentence for people.
    pub says: String,
}

/// A way to a model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Way {
    /// The provider's short name.
    pub provider: String,
    /// Its dialect.
    pub kind: DialectName,
    /// One of the platform's, for every organisation.
    pub of_platform: bool,
    /// The model's name there; null: the same.
    pub upstream_model: Option<String>,
    /// Share among neighbours of the same preference; 0: only when those before it fail.
    pub weight: u32,
    /// Whether it can be taken.
    pub open: bool,
    /// Why it cannot: `disabled`, `provider_not_allowed`, `unpriced`, or `dialect` where it speaks
    /// another than was asked about.
    pub obstacle: Option<String>,
    /// What gateways say of the provider: `healthy`, `degraded`, `down` or `unknown`. A gateway
    /// passes over who is down for it, as long as others are left.
    pub health: String,
}

/// The most that a request can use and cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Bound {
    /// Input tokens.
    pub input_tokens: u64,
    /// Output tokens, after `fit: clamp` has lowered them.
    pub output_tokens: u64,
    /// Seconds of a recording, where the model is charged by them.
    pub audio_seconds: u64,
    /// The cost; null for a model without a price.
    pub cost_usd: Option<Usd>,
    /// Whether `fit: clamp` has lowered the output maximum.
    pub clamped: bool,
    /// The version of the price.
    pub price_version: u64,
    /// The plan's factor.
    pub multiplier: Factor,
}

/// A budget and how it stands. Money is a decimal text, tokens are numbers. A member is not told
/// what others used: of project and wallet `used`, `held`, `lost` and `left` are null.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Level {
    /// Whose limit and which: `key.cost_usd`, `project.tokens`, `wallet`, …
    pub limit_source: String,
    /// The id of the key or project.
    pub id: Option<String>,
    /// The limit.
    pub limit: Value,
    /// What is booked of it.
    pub used: Value,
    /// What running requests and gateways hold of it.
    pub held: Value,
    /// What is held without proof of what became of it.
    pub lost: Value,
    /// What can still be granted.
    pub left: Value,
    /// What the request would reserve of it.
    pub needed: Value,
    /// Whether that fits.
    pub fits: bool,
    /// When it begins anew.
    pub resets_at: Option<Time>,
    /// The revision of the cap.
    pub revision: u64,
}

/// A rate: how much in any 60 seconds, and how it stands, as its owner counts it. A member is not
/// told what others used of a project's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Rate {
    /// Whose limit and which: `key.requests_per_minute`, …
    pub limit_source: String,
    /// The id of the key or project.
    pub id: String,
    /// The limit.
    pub limit: u64,
    /// What the request takes of it.
    pub needed: u64,
    /// What counts now: all that was permitted in the last 60 seconds and not given back.
    pub used: Option<u64>,
    /// Of it, what was permitted in the last second, and may still be given back.
    pub unsettled: Option<u64>,
    /// What is left for a newcomer: nobody holds it or waits for it.
    pub left: Option<u64>,
    /// Gateways that wait for their turn.
    pub waiting: Option<u64>,
    /// Whether the request fits.
    pub fits: Option<bool>,
    /// When such a request would be permitted, if nobody else asks and nothing is given back.
    pub next_at: Option<Time>,
    /// When nothing counts any more, if nobody asks.
    pub resets_at: Option<Time>,
    /// Why its owner's counts are not known, where they are not.
    pub unknown: Option<String>,
}
