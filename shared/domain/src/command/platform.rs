//! Commands to the platform: what the operator sells, and the gateways of every organisation.

use super::PlanUsers;
use crate::event::{ModelSpec, PlanSpec};
use crate::id::{GatewayId, PlanId, ProviderId, TokenId};
use crate::secret::StoredSecret;
use crate::state::ProviderSpec;
use crate::time::Timestamp;

/// A command to the platform; all of them are the operator's but the gateways' own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PlatformCommand {
    /// Add or change a plan.
    ChangePlan {
        /// Which.
        plan: PlanId,
        /// All of it.
        spec: PlanSpec,
    },
    /// Remove a plan that nobody uses.
    DeletePlan {
        /// Which.
        plan: PlanId,
        /// Who uses it, as the shell has found it in the organisations' own streams.
        used_by: PlanUsers,
    },
    /// Add, change or price (`Some`) or remove (`None`) a model.
    PriceModel {
        /// Its name.
        model: Box<str>,
        /// All of it.
        spec: Option<Box<ModelSpec>>,
    },
    /// Add or change (`Some`) or remove (`None`) a provider of the platform.
    ChangeProvider {
        /// Which.
        provider: ProviderId,
        /// All of it.
        spec: Option<Box<ProviderSpec>>,
    },
    /// Make a join token for gateways that serve every organisation.
    CreateToken {
        /// The new id.
        token: TokenId,
        /// Its name.
        name: Box<str>,
        /// Its secret.
        secret: StoredSecret,
        /// When it stops working.
        expires_at: Option<Timestamp>,
    },
    /// Delete a join token.
    DeleteToken {
        /// Which.
        token: TokenId,
    },
    /// A gateway joins with a join token that the shell has checked (system).
    JoinGateway {
        /// Which.
        gateway: GatewayId,
        /// Its name.
        name: Box<str>,
        /// The token that it came with.
        token: TokenId,
    },
    /// A gateway says good-bye (itself or operator).
    LeaveGateway {
        /// Which.
        gateway: GatewayId,
    },
    /// Cut a gateway off.
    FenceGateway {
        /// Which.
        gateway: GatewayId,
    },
}
