//! State: what the events of one stream add up to. It changes in `evolve` only.

mod ephemeral;
mod key;
mod mcp;
mod model;
mod organisation;
mod platform;

pub use ephemeral::{Ephemeral, REMEMBERED_MS};
pub use key::{FIRST_GENERATION, Key, PreviousSecret, RevokeReason, Standing, Status};
pub use mcp::{
    MAX_CATALOGUE_BYTES, MAX_MCP_SERVERS, MAX_MCP_TOOLS, MAX_TOOL_DESCRIPTION_BYTES, McpCatalogue,
    McpServer, McpServerSpec, McpTool,
};
pub use model::{ProviderKind, ProviderSpec, Route};
pub use organisation::{
    Cap, Gateway, Hit, LimitStatus, Member, MemberState, Organisation, Project, RateFallback, Role,
    SecretReveal, Settings, Token, TopUp, Wallet, WalletMode,
};
pub use platform::{Model, Plan, Platform};

use crate::id::Position;

/// Up to where a stream was folded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Head {
    /// The seq of the last event; 0 before the first.
    pub seq: u64,
    /// The hash of the last event; zeros before the first.
    pub hash: [u8; 32],
    /// The position of the last event, as far as it is known.
    pub position: Position,
}

/// A provider in use, with the seq of the event that made it what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provider {
    /// All of it.
    pub spec: ProviderSpec,
    /// The last event that touched it.
    pub seq: u64,
}
