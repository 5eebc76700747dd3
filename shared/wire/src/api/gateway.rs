//! Gateways as the control plane sees them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::text::{EpochRef, GatewayRef, Place, Time, TokenRef};

/// A gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Gateway {
    /// Its id, over restarts.
    pub id: GatewayRef,
    /// Its name, usually the host's.
    pub name: String,
    /// Heard of within the staleness bound, and neither left nor fenced.
    pub online: bool,
    /// It said good-bye.
    pub left: bool,
    /// The operator cut it off.
    pub fenced: bool,
    /// It serves every organisation.
    pub all_organisations: bool,
    /// Up to where it has applied the organisation's events.
    pub position: Option<Place>,
    /// Milliseconds since it was last heard of.
    pub lag_ms: Option<u64>,
    /// Its present run.
    pub epoch: Option<EpochRef>,
    /// The join token that it came with.
    pub token_id: TokenRef,
    /// When it joined.
    pub joined_at: Time,
}
