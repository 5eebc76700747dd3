//! Keys: what a caller sends to make or change one, and what one looks like.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use turnpike_domain::limit::{Fit, Limits};
use turnpike_domain::scope::{Allow, McpMode, McpScope, Scopes};
use turnpike_domain::time::Reset;
use utoipa::ToSchema;

use super::input::shape;
use super::text::{
    FitName, KeyRef, KindName, McpModeName, MemberRef, Percent, PlanRef, ProjectRef, Range,
    ReasonName, ResetName, StatusName, Text, Time, Usd,
};

shape! {
    /// What a key is to be. Only the name is needed.
    KeyForm {
        /// 1 to 100 characters, unique among the keys that are not deleted.
        name: String,
        /// The member that it belongs to; absent: whoever makes it. Another one needs an admin.
        owner_id: Option<MemberRef>,
        /// The project that it is grouped under.
        project_id: Option<ProjectRef>,
        /// Its plan; absent: the organisation's default.
        plan_id: Option<PlanRef>,
        /// When it stops working; absent: never.
        expires_at: Option<Time>,
        /// Its limits; absent: none.
        limits: Option<LimitsForm>,
        /// What it may touch; absent: everything but MCP.
        scopes: Option<ScopesForm>,
        /// Anything of yours, at most 4,096 bytes; echoed in request logs and spend events.
        #[schema(value_type = Option<Object>)]
        metadata: Option<Map<String, Value>>,
    }
}

shape! {
    /// Limits of a key or a project. What is absent or null is not limited.
    LimitsForm {
        /// The most to spend in one window.
        cost_usd: Option<Usd>,
        /// The most tokens in one window, input and output together.
        tokens: Option<u64>,
        /// When cost and tokens begin anew, in UTC; absent: none.
        reset: Option<ResetName>,
        /// Requests in any 60 seconds.
        requests_per_minute: Option<u32>,
        /// Tokens in any 60 seconds.
        tokens_per_minute: Option<u64>,
        /// Percentages of the cost limit at which an alert is raised, ascending.
        alert_percent: Option<Vec<u8>>,
        /// What happens to a request whose upper bound does not fit; absent: reject.
        fit: Option<FitName>,
    }
}

shape! {
    /// What a key may touch. What is absent or null is not restricted.
    ScopesForm {
        /// Models, by name, within those of the plan.
        models: Option<Vec<String>>,
        /// Providers, by name.
        providers: Option<Vec<String>>,
        /// Client addresses and ranges, v4 and v6.
        ips: Option<Vec<Range>>,
        /// MCP; absent: off.
        mcp: Option<McpForm>,
    }
}

shape! {
    /// What a key may do with MCP.
    McpForm {
        /// Off is the default.
        enabled: Option<bool>,
        /// How `servers` is read; absent: allow_all.
        mode: Option<McpModeName>,
        /// The list of the two list modes.
        servers: Option<Vec<String>>,
        /// Per server, the tools that may be called; a server that is not named has all its tools.
        tools: Option<BTreeMap<String, Vec<String>>>,
    }
}

shape! {
    /// How a key gets a new secret.
    RotateForm {
        /// For how long the old secret also works, at most 86,400 seconds; absent: it dies at once.
        overlap_seconds: Option<u32>,
    }
}

shape! {
    /// Why a key is stopped.
    RevokeForm {
        /// Absent: other. After "compromised" it comes back only with another secret.
        reason: Option<ReasonName>,
    }
}

shape! {
    /// How a key comes back.
    ActivateForm {
        /// With a new secret; needed after "compromised".
        rotate: Option<bool>,
    }
}

/// A key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Key {
    /// Its id, for life.
    pub id: KeyRef,
    /// Its name.
    pub name: String,
    /// The member that it belongs to.
    pub owner_id: Option<MemberRef>,
    /// The project that it is grouped under.
    pub project_id: Option<ProjectRef>,
    /// The masked secret.
    pub preview: String,
    /// What it amounts to now. Where several hold: revoked, inactive, expired, exhausted.
    pub status: StatusName,
    /// Why it does not work: the reason of the revocation, or a sentence.
    pub status_reason: Option<String>,
    /// Its plan.
    pub plan_id: PlanRef,
    /// When it stops working.
    pub expires_at: Option<Time>,
    /// Its limits.
    pub limits: LimitsForm,
    /// What it may touch.
    pub scopes: ScopesForm,
    /// Yours.
    #[schema(value_type = Option<Object>)]
    pub metadata: Option<Map<String, Value>>,
    /// `ephemeral`: its only credential is a token. Absent of every other key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<KindName>,
    /// Imported from elsewhere, and not yet a full key.
    pub legacy: bool,
    /// When it was made.
    pub created_at: Time,
    /// When it got its present secret, if that is not the first.
    pub rotated_at: Option<Time>,
    /// When it was last used, as far as it is booked.
    pub last_used_at: Option<Time>,
    /// Admitted requests of all time.
    pub requests: u64,
    /// The percentage of the organisation's requests of the last 30 days.
    pub traffic_share: Percent,
    /// What it used in the present window.
    pub usage: KeyUsage,
}

/// What a key or a project used in the present window of its limits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct KeyUsage {
    /// What is booked.
    pub cost_usd: Usd,
    /// Tokens that are booked.
    pub tokens: u64,
    /// What is held by running requests and leases.
    pub held_cost_usd: Usd,
    /// Tokens that are held.
    pub held_tokens: u64,
    /// What is held without proof of what became of it.
    pub lost_cost_usd: Usd,
    /// When the window ends.
    pub resets_at: Option<Time>,
    /// Up to when every gateway that is online has reported.
    pub complete_up_to: Option<Time>,
}

impl From<&LimitsForm> for Limits {
    fn from(form: &LimitsForm) -> Self {
        Self {
            cost: form.cost_usd.map(|usd| usd.0),
            tokens: form.tokens,
            reset: form.reset.map_or(Reset::None, |reset| reset.0),
            requests_per_minute: form.requests_per_minute,
            tokens_per_minute: form.tokens_per_minute,
            alert_percent: form.alert_percent.clone().unwrap_or_default(),
            fit: form.fit.map_or(Fit::Reject, |fit| fit.0),
        }
    }
}

impl From<&Limits> for LimitsForm {
    fn from(limits: &Limits) -> Self {
        let percents = &limits.alert_percent;
        Self {
            cost_usd: limits.cost.map(Text),
            tokens: limits.tokens,
            reset: Some(Text(limits.reset)),
            requests_per_minute: limits.requests_per_minute,
            tokens_per_minute: limits.tokens_per_minute,
            alert_percent: (!percents.is_empty()).then(|| percents.clone()),
            fit: Some(Text(limits.fit)),
        }
    }
}

impl From<&ScopesForm> for Scopes {
    fn from(form: &ScopesForm) -> Self {
        let ranges = |ips: &Vec<Range>| ips.iter().map(|range| range.0).collect();
        Self {
            models: allow(form.models.as_deref()),
            providers: allow(form.providers.as_deref()),
            addresses: form.ips.as_ref().map(ranges),
            mcp: form.mcp.as_ref().map(McpScope::from).unwrap_or_default(),
        }
    }
}

impl From<&Scopes> for ScopesForm {
    fn from(scopes: &Scopes) -> Self {
        let ranges = |ips: &BTreeSet<_>| ips.iter().copied().map(Text).collect();
        Self {
            models: list(&scopes.models),
            providers: list(&scopes.providers),
            ips: scopes.addresses.as_ref().map(ranges),
            mcp: Some(McpForm::from(&scopes.mcp)),
        }
    }
}

impl From<&McpForm> for McpScope {
    fn from(form: &McpForm) -> Self {
        let tools = |(server, tools): (&String, &Vec<String>)| (boxed(server), set(tools));
        Self {
            enabled: form.enabled.unwrap_or(false),
            mode: form.mode.map_or(McpMode::AllowAll, |mode| mode.0),
            servers: form.servers.as_deref().map(set).unwrap_or_default(),
            tools: form.tools.iter().flatten().map(tools).collect(),
        }
    }
}

impl From<&McpScope> for McpForm {
    fn from(scope: &McpScope) -> Self {
        let tools = scope.tools.iter().map(|(server, tools)| (server.to_string(), texts(tools)));
        let tools: BTreeMap<String, _> = tools.collect();
        Self {
            enabled: Some(scope.enabled),
            mode: Some(Text(scope.mode)),
            servers: (!scope.servers.is_empty()).then(|| texts(&scope.servers)),
            tools: (!tools.is_empty()).then_some(tools),
        }
    }
}

/// The set of a list; absent: everything.
#[must_use]
pub fn allow(names: Option<&[String]>) -> Allow {
    names.map_or(Allow::All, |names| Allow::Only(set(names)))
}

/// The list of a set; everything: null.
#[must_use]
pub fn list(names: &Allow) -> Option<Vec<String>> {
    match names {
        Allow::All => None,
        Allow::Only(names) => Some(texts(names)),
    }
}

fn set(names: &[String]) -> BTreeSet<Box<str>> {
    names.iter().map(|name| boxed(name)).collect()
}

fn texts(names: &BTreeSet<Box<str>>) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}

fn boxed(name: &str) -> Box<str> {
    name.into()
}
