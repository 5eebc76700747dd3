//! MCP servers that an organisation has registered, with the tools that each was seen to offer.

use crate::money::NanoUsd;
use crate::secret::Sealed;
use crate::time::Timestamp;

/// A tool as its server describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct McpTool {
    /// Its name, as callers write it.
    pub name: Box<str>,
    /// What it does, cut to [`MAX_TOOL_DESCRIPTION_BYTES`]; empty where the server says nothing.
    pub description: Box<str>,
}

/// The tools that a server offered when it was last asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct McpCatalogue {
    /// When it was asked.
    pub at: Timestamp,
    /// What it offered, in its order: at most [`MAX_MCP_TOOLS`], and [`MAX_CATALOGUE_BYTES`].
    pub tools: Vec<McpTool>,
}

/// A registered MCP server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct McpServerSpec {
    /// Its short name, as it stands in paths, scopes and logs; it never changes.
    pub name: Box<str>,
    /// Its endpoint for streamable HTTP.
    pub url: Box<str>,
    /// Its credential, sealed for gateways and the control plane.
    pub credential: Option<Sealed>,
    /// The header that carries the credential as it is; `None`: `Authorization: Bearer`.
    pub credential_header: Option<Box<str>>,
    /// Headers to add to every request; never credentials.
    pub headers: Vec<(Box<str>, Box<str>)>,
    /// The most milliseconds to wait for a connection.
    pub connect_timeout_ms: u64,
    /// The most milliseconds to wait for the head of the answer.
    pub answer_timeout_ms: u64,
    /// The most milliseconds between two pieces of a stream.
    pub idle_timeout_ms: u64,
    /// What one tool call costs, before the plan's multiplier.
    pub request_fee: NanoUsd,
    /// Switched off: answered as if it were not there.
    pub disabled: bool,
    /// What it offered when it was last asked; `None`: it never was.
    pub catalogue: Option<McpCatalogue>,
}

impl McpCatalogue {
    /// The bytes of all names and descriptions.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.tools.iter().map(|tool| tool.name.len() + tool.description.len()).sum()
    }
}

/// A registered MCP server, with the seq of the event that made it what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct McpServer {
    /// All of it.
    pub spec: McpServerSpec,
    /// The last event that touched it.
    pub seq: u64,
}

/// The most servers of one organisation: every gateway holds all of them with their tools.
pub const MAX_MCP_SERVERS: usize = 200;
/// The most tools that are kept of a server: as many as a scope may list.
pub const MAX_MCP_TOOLS: usize = crate::text::MAX_LIST_ENTRIES;
/// The most bytes of names and descriptions that are kept of a server: they are one event, and a
/// value of the store has at most 100 kB.
pub const MAX_CATALOGUE_BYTES: usize = 65_536;
/// The most bytes that are kept of a tool's description: a line of the picker.
pub const MAX_TOOL_DESCRIPTION_BYTES: usize = 200;
