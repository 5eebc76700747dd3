//! The internal HTTP API between gateways and the control plane: paths and JSON bodies.
//!
//! Every call carries the join token as `Authorization: Bearer gk-tp-…`, and after joining the
//! gateway's id in [`GATEWAY_HEADER`]. Errors are problem documents as in the management API.

use serde::{Deserialize, Serialize};

/// POST [`JoinRequest`], answered by [`JoinReply`].
pub const JOIN_PATH: &str = "/internal/v1/join";
/// GET, answered by framed snapshot frames ([`crate::snapshot::framed`]), gzipped if accepted: the
/// platform and every organisation in the gateway's scope, or one stream with `?org=`.
pub const SNAPSHOT_PATH: &str = "/internal/v1/snapshot";
/// GET, answered by [`HeadsReply`].
pub const HEADS_PATH: &str = "/internal/v1/heads";
/// GET, answered by [`SignersReply`].
pub const SIGNERS_PATH: &str = "/internal/v1/signers";
/// POST without a body.
pub const LEAVE_PATH: &str = "/internal/v1/leave";
/// Names the gateway that calls.
pub const GATEWAY_HEADER: &str = "x-turnpike-gateway";

/// A gateway wants to join, or comes back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JoinRequest {
    /// Its name, usually the host's.
    pub name: String,
    /// Its id (`gw_…`) from before, or one that its operator chose and nobody has used.
    pub gateway: Option<String>,
}

/// The gateway is in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinReply {
    /// Its id (`gw_…`), over its restarts.
    pub gateway: String,
    /// The one organisation that it serves (`org_…`); `null`: all.
    pub org: Option<String>,
    /// The public keys by which the control plane's signatures are known, 64 hexadecimal digits
    /// each: of its present signing key, of former ones and of a coming one.
    pub verifying_keys: Vec<String>,
}

/// The keys of [`JoinReply`], for who has joined and meets a signature or a name of another one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignersReply {
    /// As in [`JoinReply`].
    pub verifying_keys: Vec<String>,
}

/// Where every stream of the gateway's scope stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeadsReply {
    /// The life of the store (`inc_…`).
    pub incarnation: String,
    /// The control plane's time, read after the heads, in milliseconds since 1970. An older control
    /// plane does not tell it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub now_ms: Option<u64>,
    /// The heads.
    pub heads: Vec<StreamHead>,
}

/// Where one stream stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamHead {
    /// Whose (`org_…`).
    pub org: String,
    /// The seq of its last event.
    pub seq: u64,
    /// The hash of its last event, 64 hexadecimal digits.
    pub hash: String,
}
