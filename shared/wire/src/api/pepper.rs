//! Peppers, by how many secrets still need each.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// One version of the pepper.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PepperUse {
    /// Its version.
    pub version: u16,
    /// New secrets are stored under it.
    pub newest: bool,
    /// The control plane has it. Without it the secrets below do not work.
    pub configured: bool,
    /// Keys that one of their secrets is stored under it.
    pub keys: u64,
    /// Management tokens and join tokens.
    pub tokens: u64,
    /// Invitations that were not answered yet.
    pub invitations: u64,
}
