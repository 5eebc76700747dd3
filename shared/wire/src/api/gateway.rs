//! Gateways as the control plane sees them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::input::shape;
use super::text::{EpochRef, GatewayRef, KeyRef, Place, ProjectRef, Time, TokenRef, Usd};

shape! {
    /// What to release of what a gateway has lost: of a key's budget, of a project's, or, without
    /// either, of the wallet.
    ReleaseForm {
        /// The key.
        key_id: Option<KeyRef>,
        /// The project.
        project_id: Option<ProjectRef>,
        /// At most so much money. This or `tokens`.
        cost_usd: Option<Usd>,
        /// At most so many tokens.
        tokens: Option<u64>,
    }
}

/// What was released.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Released {
    /// The gateway that held it.
    pub gateway_id: GatewayRef,
    /// The key whose budget it was.
    pub key_id: Option<KeyRef>,
    /// The project whose budget it was.
    pub project_id: Option<ProjectRef>,
    /// At most so much money.
    pub cost_usd: Option<Usd>,
    /// At most so many tokens.
    pub tokens: Option<u64>,
}

/// Events that a gateway could not read, and put aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Quarantine {
    /// How many.
    pub events: u64,
    /// The seq of the last of them; null where not even that could be read.
    pub last_seq: Option<u64>,
    /// When it came.
    pub at: Time,
    /// Whether it still serves the last good state; else it has fetched the whole since.
    pub stands: bool,
}

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
    /// Events that it could not read in its present run; null: none.
    pub quarantine: Option<Quarantine>,
    /// The join token that it came with.
    pub token_id: TokenRef,
    /// When it joined.
    pub joined_at: Time,
}
