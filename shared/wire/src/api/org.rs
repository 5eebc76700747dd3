//! Organisations and their settings.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use turnpike_domain::state::{LimitStatus, Settings};
use utoipa::openapi::schema::{AnyOfBuilder, ObjectBuilder, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::input::{Input, Mistakes, mistake, shape};
use super::text::{FallbackName, OrgRef, PlanRef, RevealName, Text, Time, WalletName};

/// The word for no bound.
const UNBOUNDED: &str = "unbounded";
const NO_CODE: &str = "must be 402 or 429";
const NO_BOUND: &str = "must be a number of seconds, or \"unbounded\"";

shape! {
    /// What an organisation is to be.
    OrgForm {
        /// 1 to 100 characters.
        name: String,
        /// The status with which a used-up budget is refused: 402 (the default) or 429.
        limit_status: Option<LimitCode>,
        /// Whether secrets can be read again; absent: once.
        secret_reveal: Option<RevealName>,
        /// How long a gateway serves without news; null: without bound; absent: 600 seconds.
        #[schema(required = false)]
        max_staleness_seconds: Staleness,
        /// What gateways do about rates without their authority; absent: share.
        rate_fallback: Option<FallbackName>,
        /// Whether the organisation has a budget of its own (operator); absent: off.
        wallet: Option<WalletName>,
        /// The plans to choose among (operator); null: all.
        allowed_plans: Option<Vec<PlanRef>>,
        /// The plan of keys that name none (operator).
        default_plan: Option<PlanRef>,
    }
}

/// An organisation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Org {
    /// Its id.
    pub id: OrgRef,
    /// Its name.
    pub name: String,
    /// The status with which a used-up budget is refused.
    pub limit_status: LimitCode,
    /// Whether secrets can be read again.
    pub secret_reveal: RevealName,
    /// How long a gateway serves without news.
    pub max_staleness_seconds: Staleness,
    /// What gateways do about rates without their authority.
    pub rate_fallback: FallbackName,
    /// Whether the organisation has a budget of its own.
    pub wallet: WalletName,
    /// The plans to choose among; null: all.
    pub allowed_plans: Option<Vec<PlanRef>>,
    /// The plan of keys that name none.
    pub default_plan: Option<PlanRef>,
    /// When it was made.
    pub created_at: Time,
}

/// The status of a used-up budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitCode(pub LimitStatus);

/// How many seconds a gateway serves without news; without bound it is written `"unbounded"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Staleness(pub Option<u64>);

impl OrgForm {
    /// The settings that it asks for.
    #[must_use]
    pub fn settings(&self) -> Settings {
        let usual = Settings::default();
        let bound_ms = self.max_staleness_seconds.0.map(|seconds| seconds.saturating_mul(1_000));
        Settings {
            limit_status: self.limit_status.map_or(usual.limit_status, |code| code.0),
            secret_reveal: self.secret_reveal.map_or(usual.secret_reveal, |name| name.0),
            max_staleness_ms: bound_ms,
            rate_fallback: self.rate_fallback.map_or(usual.rate_fallback, |name| name.0),
            wallet: self.wallet.map_or(usual.wallet, |name| name.0),
        }
    }

    /// What stands now, as a form.
    #[must_use]
    pub fn of(org: &Org) -> Self {
        Self {
            name: org.name.clone(),
            limit_status: Some(org.limit_status),
            secret_reveal: Some(org.secret_reveal),
            max_staleness_seconds: org.max_staleness_seconds,
            rate_fallback: Some(org.rate_fallback),
            wallet: Some(org.wallet),
            allowed_plans: org.allowed_plans.clone(),
            default_plan: org.default_plan,
        }
    }
}

impl Org {
    /// An organisation as its settings show it.
    #[must_use]
    pub fn of(state: &turnpike_domain::state::Organisation) -> Self {
        let settings = &state.settings;
        let plans = |plans: &Vec<_>| plans.iter().copied().map(Text).collect();
        Self {
            id: Text(state.id),
            name: state.name.to_string(),
            limit_status: LimitCode(settings.limit_status),
            secret_reveal: Text(settings.secret_reveal),
            max_staleness_seconds: Staleness(settings.max_staleness_ms.map(|ms| ms / 1_000)),
            rate_fallback: Text(settings.rate_fallback),
            wallet: Text(settings.wallet),
            allowed_plans: state.allowed_plans.as_ref().map(plans),
            default_plan: state.default_plan.map(Text),
            created_at: Text(state.created_at),
        }
    }
}

impl LimitCode {
    fn of(value: &Value) -> Option<Self> {
        match value.as_u64() {
            Some(402) => Some(Self(LimitStatus::PaymentRequired)),
            Some(429) => Some(Self(LimitStatus::TooManyRequests)),
            Some(_) | None => None,
        }
    }
}

impl Staleness {
    fn of(value: &Value) -> Option<Self> {
        match (value.as_u64(), value.as_str()) {
            (Some(seconds), _) => Some(Self(Some(seconds))),
            (None, Some(UNBOUNDED)) => Some(Self(None)),
            (None, Some(_) | None) => None,
        }
    }
}

impl Serialize for LimitCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u16(match self.0 {
            LimitStatus::PaymentRequired => 402,
            LimitStatus::TooManyRequests => 429,
        })
    }
}

impl<'de> Deserialize<'de> for LimitCode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        Self::of(&value).ok_or_else(|| serde::de::Error::custom(NO_CODE))
    }
}

impl Input for LimitCode {
    fn read(value: &Value, pointer: &str, mistakes: &mut Mistakes) -> Option<Self> {
        let code = Self::of(value);
        if code.is_none() {
            mistake(mistakes, pointer, NO_CODE);
        }
        code
    }
}

impl PartialSchema for LimitCode {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new().schema_type(Type::Integer).enum_values(Some([402, 429])).into()
    }
}

impl ToSchema for LimitCode {}

impl Serialize for Staleness {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Some(seconds) => serializer.serialize_u64(seconds),
            None => serializer.serialize_str(UNBOUNDED),
        }
    }
}

impl<'de> Deserialize<'de> for Staleness {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        Self::of(&value).ok_or_else(|| serde::de::Error::custom(NO_BOUND))
    }
}

impl Input for Staleness {
    fn read(value: &Value, pointer: &str, mistakes: &mut Mistakes) -> Option<Self> {
        let bound = if value.is_null() { Some(Self(None)) } else { Self::of(value) };
        if bound.is_none() {
            mistake(mistakes, pointer, NO_BOUND);
        }
        bound
    }

    fn absent() -> Option<Self> {
        Some(Self(Settings::default().max_staleness_ms.map(|ms| ms / 1_000)))
    }
}

impl PartialSchema for Staleness {
    fn schema() -> RefOr<Schema> {
        let seconds = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(1));
        let word = ObjectBuilder::new().schema_type(Type::String).enum_values(Some([UNBOUNDED]));
        let nothing = ObjectBuilder::new().schema_type(Type::Null);
        AnyOfBuilder::new().item(seconds).item(word).item(nothing).into()
    }
}

impl ToSchema for Staleness {}
