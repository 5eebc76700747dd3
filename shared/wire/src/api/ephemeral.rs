//! Ephemeral tokens: what a caller sends to make one, and what one looks like.

use serde::{Deserialize, Serialize};
use turnpike_domain::scope::{Attenuation, McpScope, Scopes};
use utoipa::ToSchema;

use super::input::shape;
use super::key::{KeyForm, LimitsForm, ScopesForm};
use super::text::{
    EphemeralRef, KeyRef, KindName, MemberRef, PlanRef, ProjectRef, StatusName, Time, Usd,
};
use crate::form::Named;

/// What the credential of a key is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// A secret that lasts.
    Model,
    /// An ephemeral token that the key was made for.
    Ephemeral,
}

shape! {
    /// What a token made from a key is to be. All of it may be absent.
    EphemeralForm {
        /// 1 to 100 characters, for people.
        name: Option<String>,
        /// How long it works: 1 to 86,400, at most as long as its key. Absent: 3,600, or as long as
        /// its key.
        expires_in_seconds: Option<u32>,
        /// What it may touch, within what its key may; what is absent or null is as the key has it.
        scopes: Option<ScopesForm>,
        /// The most that it may spend of its key's budget; absent: all of it.
        cost_usd: Option<Usd>,
        /// The most tokens that it may use of its key's budget, input and output together; absent:
        /// all of them.
        tokens: Option<u64>,
    }
}

shape! {
    /// What a new key is to be. Only the name is needed.
    NewKeyForm {
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
        metadata: Option<serde_json::Map<String, serde_json::Value>>,
        /// `ephemeral`: its only credential is a token that is checked without a look-up; absent:
        /// `model`, a secret that lasts.
        kind: Option<KindName>,
        /// Of an ephemeral key: how long it works, 1 to 86,400; absent: 3,600.
        expires_in_seconds: Option<u32>,
    }
}

/// A token made from a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Ephemeral {
    /// Its id.
    pub id: EphemeralRef,
    /// The key that it was made from.
    pub key_id: KeyRef,
    /// Its name.
    pub name: Option<String>,
    /// What it amounts to now. A token does not work when its key does not, nor after its key was
    /// rotated or revoked: then it is revoked.
    pub status: StatusName,
    /// It was revoked itself.
    pub revoked: bool,
    /// When it was made.
    pub created_at: Time,
    /// When it stops working.
    pub expires_at: Time,
    /// What it may touch; null: as its key.
    pub scopes: ScopesForm,
    /// The most that it may spend of its key's budget.
    pub cost_usd: Option<Usd>,
    /// The most tokens that it may use of its key's budget.
    pub tokens: Option<u64>,
    /// What it used.
    pub used: EphemeralUsage,
}

/// What a token used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EphemeralUsage {
    /// Admitted requests that are booked.
    pub requests: u64,
    /// What is booked.
    pub cost_usd: Usd,
    /// Tokens that are booked.
    pub tokens: u64,
    /// What is held of its own budget by running requests and leases.
    pub held_cost_usd: Usd,
    /// Tokens that are held of its own budget by running requests and leases.
    pub held_tokens: u64,
}

impl Named for KeyKind {
    const NOUN: &'static str = "kind of key";
    const NAMES: &'static [&'static str] = &["model", "ephemeral"];

    fn name(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Ephemeral => "ephemeral",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        match name {
            "model" => Some(Self::Model),
            "ephemeral" => Some(Self::Ephemeral),
            _ => None,
        }
    }
}

impl From<NewKeyForm> for KeyForm {
    fn from(form: NewKeyForm) -> Self {
        let NewKeyForm { name, owner_id, project_id, plan_id, expires_at, .. } = form;
        let NewKeyForm { limits, scopes, metadata, .. } = form;
        Self { name, owner_id, project_id, plan_id, expires_at, limits, scopes, metadata }
    }
}

impl From<&ScopesForm> for Attenuation {
    fn from(form: &ScopesForm) -> Self {
        let Scopes { models, providers, addresses, .. } = form.into();
        let mcp = form.mcp.as_ref().map(McpScope::from);
        Self { models, providers, addresses, mcp }
    }
}

impl From<&Attenuation> for ScopesForm {
    fn from(attenuation: &Attenuation) -> Self {
        let Attenuation { models, providers, addresses, mcp } = attenuation.clone();
        let named = mcp.is_some();
        let mcp = mcp.unwrap_or_default();
        let shown = Self::from(&Scopes { models, providers, addresses, mcp });
        Self { mcp: shown.mcp.filter(|_| named), ..shown }
    }
}
