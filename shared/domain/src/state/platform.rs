//! The platform: what the operator owns.

use std::collections::BTreeMap;

use super::{Gateway, Head, Provider, Token};
use crate::event::{ModelSpec, PlanSpec};
use crate::id::{GatewayId, PlanId, ProviderId, TokenId};

/// A plan, with the seq of its last event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// All of it.
    pub spec: PlanSpec,
    /// The last event that touched it.
    pub seq: u64,
}

/// A model, with the version of its price.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Model {
    /// All of it.
    pub spec: ModelSpec,
    /// The seq of the event that set it: the version of its price, never reused.
    pub price_version: u64,
}

/// What the operator owns.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Platform {
    /// Up to where its stream was folded.
    pub head: Head,
    /// Pricing groups.
    pub plans: BTreeMap<PlanId, Plan>,
    /// Models by name.
    pub models: BTreeMap<Box<str>, Model>,
    /// Providers of the platform.
    pub providers: BTreeMap<ProviderId, Provider>,
    /// Join tokens for gateways that serve every organisation.
    pub tokens: BTreeMap<TokenId, Token>,
    /// Gateways that joined for every organisation.
    pub gateways: BTreeMap<GatewayId, Gateway>,
}
