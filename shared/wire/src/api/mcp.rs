//! MCP servers and their tools.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::input::shape;
use super::text::{McpServerRef, Time, Usd};

shape! {
    /// What an MCP server is to be.
    McpServerForm {
        /// Its short name, as it stands in `/mcp/{server}`, scopes and logs; it never changes.
        name: String,
        /// Its endpoint for streamable HTTP, e.g. `https://mcp.example.com/mcp`.
        url: String,
        /// Its credential. It is sealed, and never shown again; in a PATCH, absent keeps it.
        #[schema(write_only, format = "password")]
        credential: Option<String>,
        /// The header that carries the credential as it is; absent: `Authorization: Bearer`.
        credential_header: Option<String>,
        /// Headers to add to every request; never credentials.
        headers: Option<BTreeMap<String, String>>,
        /// The most milliseconds to wait for a connection; absent: 5,000.
        connect_timeout_ms: Option<u64>,
        /// The most milliseconds to wait for the head of the answer; absent: 300,000.
        answer_timeout_ms: Option<u64>,
        /// The most milliseconds between two pieces of a stream; absent: 300,000.
        idle_timeout_ms: Option<u64>,
        /// What one tool call costs, before the plan's multiplier; absent: nothing.
        request_fee_usd: Option<Usd>,
        /// Whether it is there for keys; absent: it is.
        enabled: Option<bool>,
    }
}

/// An MCP server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct McpServer {
    /// Its id.
    pub id: McpServerRef,
    /// Its short name.
    pub name: String,
    /// Its endpoint.
    pub url: String,
    /// Whether it has a credential.
    pub has_credential: bool,
    /// The header that carries the credential; null: `Authorization: Bearer`.
    pub credential_header: Option<String>,
    /// Headers that are added to every request.
    pub headers: BTreeMap<String, String>,
    /// The most milliseconds to wait for a connection.
    pub connect_timeout_ms: u64,
    /// The most milliseconds to wait for the head of the answer.
    pub answer_timeout_ms: u64,
    /// The most milliseconds between two pieces of a stream.
    pub idle_timeout_ms: u64,
    /// What one tool call costs, before the plan's multiplier.
    pub request_fee_usd: Usd,
    /// Whether it is there for keys.
    pub enabled: bool,
    /// How many tools it offered when it was last asked; null: it never was.
    pub tools: Option<u64>,
    /// When it was last asked for its tools.
    pub refreshed_at: Option<Time>,
}

/// A tool of an MCP server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct McpTool {
    /// Its name, as scopes and callers write it.
    pub name: String,
    /// What it does, cut to 200 bytes.
    pub description: String,
}
