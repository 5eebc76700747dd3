//! Admission: whether a request may pass, and at which price. Run by gateways, pure.
//!
//! The order of checks is the contract's: credential, path, body, model, scopes, rate, money. This
//! module holds the rules of credential, model and scopes; rates and money are counters of the
//! gateway that these rules hand their figures to.

mod figures;
mod mcp;
mod sentence;
mod want;
mod ways;

use std::fmt;
use std::net::IpAddr;

pub use figures::{Figures, LimitSource};
pub use mcp::{call_prices, call_reservation, mcp_server, mcp_tool, plan_multiplier};
pub use ways::{Obstacle, Way, ways};

use crate::event::ModelSpec;
use crate::ledger::budgets;
use crate::limit::{Fit, Unit};
use crate::meter::{Prices, upper_bound};
use crate::money::Multiplier;
use crate::secret::PublicId;
use crate::settle::Reservation;
use crate::state::{Key, Organisation, Platform, ProviderKind, Status};
use crate::time::Timestamp;

/// No request is clamped to fewer output tokens than this: the least that OpenAI's Responses API
/// takes, and less is no answer to anybody.
pub const LEAST_CLAMPED_OUTPUT: u64 = 16;
/// A second of a recording has hardly ever fewer bytes: speech codecs begin at 6 kbit/s (Opus,
/// RFC 6716, 2.1.1), 750 bytes.
pub const LEAST_BYTES_PER_SECOND: u64 = 500;

/// Why a request was refused. The code is stable; the status is the contract's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Denial {
    /// No credential, a malformed or unknown one, or two at once.
    Unauthorized,
    /// A secret of another kind.
    WrongCredentialKind,
    /// The key is switched off.
    KeyDisabled,
    /// The key's time is over.
    KeyExpired,
    /// The key was revoked.
    KeyRevoked,
    /// The wallet is empty.
    BillingShortfall,
    /// A cost or token limit is used up.
    QuotaExceeded,
    /// There is money, but running requests hold it.
    InFlightBudgetExhausted,
    /// The key may not call this model.
    ModelNotAllowed,
    /// The key may not use any provider of this model.
    ProviderNotAllowed,
    /// The client's address is not on the key's list.
    IpNotAllowed,
    /// The key may not use this MCP server or tool.
    McpNotAllowed,
    /// There is no such model.
    ModelNotFound,
    /// There is no such path.
    NotFound,
    /// The method is not allowed on this path.
    MethodNotAllowed,
    /// The body is too large.
    RequestTooLarge,
    /// The request did not arrive in time.
    RequestTimeout,
    /// The request cannot be read.
    InvalidRequest,
    /// Too many requests or tokens in a minute.
    RateLimited,
    /// The provider failed.
    ProviderError,
    /// The provider did not answer in time.
    ProviderTimeout,
    /// The gateway has had no news for too long.
    ControlPlaneStale,
    /// The authority of budgets or rates could not be asked.
    LimitAuthorityUnavailable,
    /// The gateway has too much to do.
    Overloaded,
}

/// A model that a key may call: what it costs and where it is served.
#[derive(Clone, Copy, Debug)]
pub struct Offer<'a> {
    /// The model.
    pub spec: &'a ModelSpec,
    /// The version of its price.
    pub price_version: u64,
    /// The plan's factor.
    pub multiplier: Multiplier,
    needs_price: bool,
    model: &'a str,
    key: &'a Key,
    platform: &'a Platform,
    organisation: &'a Organisation,
}

/// What the body says about the size of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Demand {
    /// Bytes of the decompressed body.
    pub body_bytes: u64,
    /// It names content that it does not hold (a URL, a file id, an earlier response).
    pub external_content: bool,
    /// The output maximum that it sets.
    pub max_output: Option<u64>,
    /// How many prompts it holds, each with a context of its own; 0 counts as one.
    pub prompts: u64,
    /// How many answers it asks for, those to each prompt together; 0 counts as one.
    pub choices: u64,
    /// Bytes that may be a recording, which some providers charge by the second.
    pub recording_bytes: u64,
    /// The dialect's call makes no output tokens (embeddings, moderations).
    pub no_output: bool,
    /// The dialect's call costs nothing at any provider (counts of tokens).
    pub free: bool,
}

/// Whether the secret that was found under `public_id` still opens this key, and the key works.
/// Budgets are not checked here: they are answered with their own codes, after the scopes.
///
/// # Errors
/// [`Denial::KeyRevoked`], [`Denial::KeyDisabled`], [`Denial::KeyExpired`], or
/// [`Denial::Unauthorized`] for an old secret whose overlap is over.
pub fn key_works(key: &Key, public_id: PublicId, now: Timestamp) -> Result<(), Denial> {
    if key.secret.public_id != public_id {
        let overlaps = key
            .previous
            .as_ref()
            .is_some_and(|old| old.secret.public_id == public_id && old.works(now));
        if !overlaps {
            return Err(Denial::Unauthorized);
        }
    }
    match key.status(now, false) {
        Status::Revoked => Err(Denial::KeyRevoked),
        Status::Inactive => Err(Denial::KeyDisabled),
        Status::Expired => Err(Denial::KeyExpired),
        Status::Exhausted | Status::Active => Ok(()),
    }
}

/// Whether the key may call `model` from `address`, and what is left to choose from.
///
/// # Errors
/// [`Denial::ModelNotFound`], [`Denial::ModelNotAllowed`], [`Denial::IpNotAllowed`] or
/// [`Denial::ProviderNotAllowed`], in this order.
pub fn offer<'a>(
    platform: &'a Platform,
    organisation: &'a Organisation,
    key: &'a Key,
    model: &'a str,
    address: IpAddr,
) -> Result<Offer<'a>, Denial> {
    let found = platform.models.get(model).ok_or(Denial::ModelNotFound)?;
    let multiplier = may_call(platform, key, model).ok_or(Denial::ModelNotAllowed)?;
    let needs_price = needs_price(&found.spec, organisation, key);
    if needs_price && found.spec.routes.iter().all(|route| route.prices.is_none()) {
        return Err(Denial::ModelNotAllowed);
    }
    if !key.profile.scopes.address(address) {
        return Err(Denial::IpNotAllowed);
    }
    let (spec, price_version) = (&found.spec, found.price_version);
    let offer =
        Offer { spec, price_version, multiplier, needs_price, model, key, platform, organisation };
    if offer.ways().next().is_none() {
        return Err(Denial::ProviderNotAllowed);
    }
    Ok(offer)
}

impl<'a> Offer<'a> {
    /// The ways to the model that can be taken with the key, best first; at least one. They are
    /// found as they are asked for, because most requests take the first.
    pub fn ways(&self) -> impl Iterator<Item = Way<'a>> + use<'a> {
        let Self { spec, model, key, platform, organisation, needs_price, .. } = *self;
        let all = ways(platform, organisation, model, spec);
        all.filter(move |way| way.obstacle(key, needs_price).is_none())
    }

    /// Whether the model can be asked for in the dialect of providers of this kind.
    ///
    /// # Errors
    /// [`Denial::ModelNotFound`]: in that dialect there is no such model;
    /// [`Denial::ProviderNotAllowed`]: there is, but nobody whom the key may ask.
    pub fn speaks(&self, kind: ProviderKind) -> Result<(), Denial> {
        let is_of = |way: Way<'_>| way.provider.spec.kind == kind;
        if self.ways().any(is_of) {
            return Ok(());
        }
        let mut all = ways(self.platform, self.organisation, self.model, self.spec);
        Err(if all.any(is_of) { Denial::ProviderNotAllowed } else { Denial::ModelNotFound })
    }
}

/// Whether only ways with a price of their own can be taken: the model has none, and a budget in
/// USD binds the key.
#[must_use]
pub fn needs_price(spec: &ModelSpec, organisation: &Organisation, key: &Key) -> bool {
    spec.prices.is_none() && has_cost_cap(organisation, key)
}

/// Whether a budget that binds the key is in USD: what has no price cannot be counted against it.
#[must_use]
pub fn has_cost_cap(organisation: &Organisation, key: &Key) -> bool {
    budgets(organisation, key).any(|budget| budget.cap(Unit::Usd).is_some())
}

/// The plan's multiplier if plan and scopes let the key call `model`. Also filters model lists.
#[must_use]
pub fn may_call(platform: &Platform, key: &Key, model: &str) -> Option<Multiplier> {
    let plan = platform.plans.get(&key.profile.plan)?;
    let allowed = plan.spec.models.holds(model) && key.profile.scopes.models.holds(model);
    allowed.then_some(plan.spec.multiplier)
}

/// The upper bound of a request on this model.
///
/// Input: no tokenizer makes more tokens than bytes, and no model reads more than its context
/// window, for each prompt anew; content that the body only names may fill the window. A call
/// without output (embeddings) may hold many inputs, each as large as the window, so there only the
/// bytes bound it. Output: the body's own maximum for each answer, or the model's. A recording that
/// is charged by the second: its bytes by [`LEAST_BYTES_PER_SECOND`]. A free call takes nothing,
/// not even the fee.
#[must_use]
pub fn reservation(
    spec: &ModelSpec,
    prices: Option<&Prices>,
    multiplier: Multiplier,
    demand: &Demand,
) -> Reservation {
    if demand.free {
        return Reservation::default();
    }
    let windows = spec.context_window.saturating_mul(demand.prompts.max(1));
    let input = match (demand.external_content, demand.no_output) {
        (false, false) => demand.body_bytes.min(windows),
        (true, false) => windows,
        (false, true) => demand.body_bytes,
        (true, true) => demand.body_bytes.max(windows),
    };
    let each = demand.max_output.map_or(spec.max_output, |asked| asked.min(spec.max_output));
    let output = if demand.no_output { 0 } else { each.saturating_mul(demand.choices.max(1)) };
    let by_seconds = prices.is_some_and(|prices| prices.audio_second.is_some());
    let recording_bytes = if by_seconds { demand.recording_bytes } else { 0 };
    let audio_seconds = recording_bytes.div_ceil(LEAST_BYTES_PER_SECOND);
    let most = (input, output, audio_seconds);
    let cost = prices.map(|prices| upper_bound(most, prices, multiplier));
    Reservation { input, output, audio_seconds, cost: cost.unwrap_or_default() }
}

/// Whether a request that set no output maximum may be lowered to what is left.
#[must_use]
pub fn may_clamp(key: &Key, demand: &Demand) -> bool {
    let makes_output = !demand.no_output && !demand.free;
    demand.max_output.is_none() && makes_output && key.profile.limits.fit == Fit::Clamp
}

/// The largest output maximum, for each answer, with which a request would need no more than `most`
/// in `unit`: what a clamped request is lowered to. `None`: not even with
/// [`LEAST_CLAMPED_OUTPUT`].
#[must_use]
pub fn clamped_output(
    spec: &ModelSpec,
    prices: Option<&Prices>,
    multiplier: Multiplier,
    demand: &Demand,
    (unit, most): (Unit, i64),
) -> Option<u64> {
    let fits = |output: u64| {
        let demand = Demand { max_output: Some(output), ..*demand };
        reservation(spec, prices, multiplier, &demand).amount(unit) <= most
    };
    let (mut fitting, mut above) = (LEAST_CLAMPED_OUTPUT, spec.max_output.saturating_add(1));
    if fitting >= above || !fits(fitting) {
        return None;
    }
    while above - fitting > 1 {
        let middle = fitting + (above - fitting) / 2;
        if fits(middle) { fitting = middle } else { above = middle }
    }
    Some(fitting)
}

impl Denial {
    /// The stable code.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Unauthorized => "unauthorized",
            Self::WrongCredentialKind => "wrong_credential_kind",
            Self::KeyDisabled => "key_disabled",
            Self::KeyExpired => "key_expired",
            Self::KeyRevoked => "key_revoked",
            Self::BillingShortfall => "billing_shortfall",
            Self::QuotaExceeded => "api_key_quota_exceeded",
            Self::InFlightBudgetExhausted => "in_flight_budget_exhausted",
            Self::ModelNotAllowed => "model_not_allowed",
            Self::ProviderNotAllowed => "provider_not_allowed",
            Self::IpNotAllowed => "ip_not_allowed",
            Self::McpNotAllowed => "mcp_not_allowed",
            Self::ModelNotFound => "model_not_found",
            Self::NotFound => "not_found",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::RequestTooLarge => "request_too_large",
            Self::RequestTimeout => "request_timeout",
            Self::InvalidRequest => "invalid_request",
            Self::RateLimited => "rate_limited",
            Self::ProviderError => "provider_error",
            Self::ProviderTimeout => "provider_timeout",
            Self::ControlPlaneStale => "control_plane_stale",
            Self::LimitAuthorityUnavailable => "limit_authority_unavailable",
            Self::Overloaded => "overloaded",
        }
    }

    /// The HTTP status.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::Unauthorized
            | Self::WrongCredentialKind
            | Self::KeyDisabled
            | Self::KeyExpired
            | Self::KeyRevoked => 401,
            Self::BillingShortfall | Self::QuotaExceeded | Self::InFlightBudgetExhausted => 402,
            Self::ModelNotAllowed
            | Self::ProviderNotAllowed
            | Self::IpNotAllowed
            | Self::McpNotAllowed => 403,
            Self::ModelNotFound | Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::RequestTimeout => 408,
            Self::RequestTooLarge => 413,
            Self::InvalidRequest => 400,
            Self::RateLimited => 429,
            Self::ProviderError => 502,
            Self::ProviderTimeout => 504,
            Self::ControlPlaneStale | Self::LimitAuthorityUnavailable | Self::Overloaded => 503,
        }
    }

    /// Whether the same request may succeed later without anybody changing anything. A body that
    /// came too slowly would come so again.
    #[must_use]
    pub const fn retryable(self) -> bool {
        matches!(self, Self::InFlightBudgetExhausted) || matches!(self.status(), 429 | 500..)
    }
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl std::error::Error for Denial {}
