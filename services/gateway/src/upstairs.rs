//! What a gateway asks of the control plane: to join, and for what the bus did not bring.

mod http;

use turnpike_bus::seam::BoxFuture;
use turnpike_domain::id::{GatewayId, IncarnationId, OrgId};
use turnpike_domain::time::Timestamp;
use turnpike_wire::heartbeat::MovedHead;
use turnpike_wire::sign::Signers;
use turnpike_wire::snapshot::Snapshot;

pub use http::HttpUpstairs;

/// What the control plane said when the gateway joined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joined {
    /// Who this gateway is, over its restarts.
    pub gateway: GatewayId,
    /// The one organisation that it serves; `None`: all.
    pub org: Option<OrgId>,
    /// By these keys it knows heartbeats, snapshots and ephemeral tokens.
    pub signers: Signers,
}

/// Where every stream stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heads {
    /// The life of the store.
    pub incarnation: IncarnationId,
    /// The control plane's time when it answered; an older one does not tell it.
    pub now: Option<Timestamp>,
    /// The head of each stream that this gateway may see.
    pub heads: Vec<MovedHead>,
}

/// Why the control plane did not answer, or not with what was asked for.
#[derive(Debug, thiserror::Error)]
pub enum UpstairsError {
    /// It cannot be reached, or has no time.
    #[error("the control plane cannot be reached: {0}")]
    Unreachable(String),
    /// It does not take the join token, or not for this gateway's id.
    #[error("the control plane refuses the join token, or this gateway's id with it")]
    Refused,
    /// The answer is not what it should be, or was not signed by the control plane.
    #[error("the control plane's answer is wrong: {0}")]
    Wrong(String),
}

/// The control plane, as a gateway sees it. Answers are verified: what comes out can be used.
pub trait Upstairs: Send + Sync {
    /// Joins; the same gateway gets the same id every time.
    fn join(&self) -> BoxFuture<'_, Result<Joined, UpstairsError>>;
    /// The state of one stream, or of every stream that this gateway may see.
    fn snapshot<'a>(
        &'a self,
        joined: &'a Joined,
        org: Option<OrgId>,
    ) -> BoxFuture<'a, Result<Vec<Snapshot>, UpstairsError>>;
    /// The heads of every stream that this gateway may see, read after the call came.
    fn heads<'a>(&'a self, joined: &'a Joined) -> BoxFuture<'a, Result<Heads, UpstairsError>>;
    /// The keys that count now.
    fn signers<'a>(&'a self, joined: &'a Joined) -> BoxFuture<'a, Result<Signers, UpstairsError>>;
    /// Says good-bye: the gateway is no longer waited for.
    fn leave<'a>(&'a self, joined: &'a Joined) -> BoxFuture<'a, Result<(), UpstairsError>>;
}
