//! What events carry as a whole: all of a key, a plan or a model from now on.

use crate::id::{MemberId, PlanId, ProjectId};
use crate::limit::Limits;
use crate::meter::Prices;
use crate::money::{Multiplier, NanoUsd};
use crate::scope::{Allow, Attenuation, Scopes};
use crate::state::Route;
use crate::time::Timestamp;

/// The properties of a key that people set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyProfile {
    /// Unique among the organisation's keys.
    pub name: Box<str>,
    /// The member that it belongs to.
    pub owner: Option<MemberId>,
    /// The project that it is grouped under.
    pub project: Option<ProjectId>,
    /// The pricing group.
    pub plan: PlanId,
    /// When it stops working.
    pub expires_at: Option<Timestamp>,
    /// Its limits.
    pub limits: Limits,
    /// Its scopes.
    pub scopes: Scopes,
    /// A JSON text that is echoed in request logs and spend events.
    pub metadata: Option<Box<str>>,
}

/// What an ephemeral token may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EphemeralGrant {
    /// For people.
    pub name: Option<Box<str>>,
    /// The generation of its key that it lives with.
    pub generation: u32,
    /// When it stops working.
    pub expires_at: Timestamp,
    /// What it may not touch although its key may.
    pub attenuation: Attenuation,
    /// The most that it may spend of its key's budget; `None`: all of it.
    pub cost_cap: Option<NanoUsd>,
    /// The most tokens that it may use of its key's budget; `None`: all of them.
    pub token_cap: Option<u64>,
    /// The key was made for this token and has no other credential.
    pub alone: bool,
}

/// A plan: which models, at which multiple of their price.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanSpec {
    /// Its name.
    pub name: Box<str>,
    /// The models of the plan.
    pub models: Allow,
    /// The factor on every price.
    pub multiplier: Multiplier,
}

/// A model as callers see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelSpec {
    /// What its tokens cost; `None`: unpriced, so refused where a USD cap stands.
    pub prices: Option<Prices>,
    /// The most tokens of input and output together.
    pub context_window: u64,
    /// The most tokens of output.
    pub max_output: u64,
    /// Where it is served, in order of preference.
    pub routes: Vec<Route>,
}
