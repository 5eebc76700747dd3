//! How far a change has reached, and what every write is answered with.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::text::{GatewayRef, Place};

/// How far a change has reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Propagation {
    /// The position that gateways must have reached.
    pub position: Place,
    /// Gateways that are online.
    pub online: usize,
    /// Of them, those that have applied it.
    pub applied: usize,
    /// How long the slowest of these took, in milliseconds.
    pub slowest_ms: u64,
    /// The online gateways that have not applied it yet.
    pub missing: Vec<GatewayRef>,
}

/// What a write is answered with: the thing as it is now, and what is told only once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written<T> {
    /// The thing.
    #[serde(flatten)]
    pub thing: T,
    /// The secret that was made; shown this once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// How far the change has reached, if `?wait=applied` asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub propagation: Option<Propagation>,
}

/// What a deletion is answered with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Deleted {
    /// What is gone.
    pub id: String,
    /// Always true.
    pub deleted: bool,
}
