//! Decisions: why a gateway refused a request, as the people of its organisation read it.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::audit::Event;
use super::key::{LimitsForm, ScopesForm};
use super::text::{
    EphemeralRef, GatewayRef, KeyRef, PlanRef, ProjectRef, RequestRef, StatusName, Time,
};

/// Why a gateway refused a request, by what it knew at that moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Decision {
    /// The id that was asked for.
    pub id: String,
    /// When it was refused.
    pub at: Time,
    /// The code that the caller saw.
    pub code: String,
    /// The HTTP status that the caller saw.
    pub status: u16,
    /// Whether the same request may succeed without anybody changing anything.
    pub retryable: bool,
    /// The rule that said no.
    pub rule: Rule,
    /// The limit and how it stood, where a limit refused.
    pub figures: Option<LimitFigures>,
    /// The event behind it: what closed the budget or stopped the key, or else what set the rule;
    /// null where none is known.
    pub event: Option<Event>,
    /// The key as the gateway knew it; null where its events stand too far back.
    pub key: Option<KeyThen>,
    /// The key.
    pub key_id: KeyRef,
    /// The ephemeral token, if one was presented.
    pub token_id: Option<EphemeralRef>,
    /// The request, as in the header `x-turnpike-request-id`.
    pub request_id: RequestRef,
    /// Who refused it.
    pub gateway_id: GatewayRef,
    /// The model that was asked for, where that was known.
    pub model: Option<String>,
    /// The client's address.
    pub address: Option<String>,
    /// The organisation's last event that the gateway knew.
    pub seq: u64,
    /// The platform's last event that the gateway knew.
    pub platform_seq: u64,
}

/// A rule that refused a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Rule {
    /// Its name: a limit as in `limit_source`, or what of the key, plan or model said no.
    pub name: String,
    /// A sentence for people.
    pub says: String,
    /// Its version: the revision of a cap, or the seq of the event that set the rule.
    pub version: Option<u64>,
    /// The event that set it.
    pub set_by: Option<Event>,
}

/// A limit and how it stood. Money is a decimal text, counts are numbers; null is not known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LimitFigures {
    /// Whose limit and which: `key.cost_usd`, `project.tokens`, `wallet`, …
    pub limit_source: String,
    /// The limit.
    pub limit: Value,
    /// What was used of it.
    pub used: Value,
    /// What running requests and other gateways held of it.
    pub held: Value,
    /// When it begins anew.
    pub resets_at: Option<Time>,
    /// After how many milliseconds it was worth asking again.
    pub retry_after_ms: Option<u64>,
}

/// A key as it stood at an earlier moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct KeyThen {
    /// Its name.
    pub name: String,
    /// What it amounted to.
    pub status: StatusName,
    /// Its last event.
    pub seq: u64,
    /// Its project.
    pub project_id: Option<ProjectRef>,
    /// Its plan.
    pub plan_id: PlanRef,
    /// When it was to stop working.
    pub expires_at: Option<Time>,
    /// Its limits.
    pub limits: LimitsForm,
    /// What it might touch.
    pub scopes: ScopesForm,
}
