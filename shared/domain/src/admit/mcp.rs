//! Which MCP servers and tools a key may use, and what a tool call costs.

use std::net::IpAddr;

use super::Denial;
use crate::meter::{Prices, upper_bound};
use crate::money::Multiplier;
use crate::settle::Reservation;
use crate::state::{Key, McpServer, McpServerSpec, Organisation, Platform};

/// The server of this name, if the key may reach it from `address`. Prompts, resources and all that
/// is no tool follow this rule.
///
/// # Errors
/// [`Denial::NotFound`] (also for one that is switched off), [`Denial::McpNotAllowed`] or
/// [`Denial::IpNotAllowed`], in this order.
pub fn mcp_server<'a>(
    organisation: &'a Organisation,
    key: &Key,
    name: &str,
    address: IpAddr,
) -> Result<&'a McpServer, Denial> {
    let server = organisation.mcp_server(name).filter(|server| !server.spec.disabled);
    let server = server.ok_or(Denial::NotFound)?;
    if !key.profile.scopes.mcp.server(name) {
        return Err(Denial::McpNotAllowed);
    }
    if !key.profile.scopes.address(address) {
        return Err(Denial::IpNotAllowed);
    }
    Ok(server)
}

/// Whether the key may list and call `tool` of the server of this name.
///
/// # Errors
/// [`Denial::McpNotAllowed`].
pub fn mcp_tool(key: &Key, server: &str, tool: &str) -> Result<(), Denial> {
    if key.profile.scopes.mcp.tool(server, tool) { Ok(()) } else { Err(Denial::McpNotAllowed) }
}

/// The prices of a call of a tool of this server: its fee, and no tokens.
#[must_use]
pub fn call_prices(server: &McpServerSpec) -> Prices {
    Prices { request_fee: server.request_fee, ..Prices::default() }
}

/// What a tool call is reserved with, which is what it costs: the fee at the key's multiplier.
#[must_use]
pub fn call_reservation(server: &McpServerSpec, multiplier: Multiplier) -> Reservation {
    let cost = upper_bound((0, 0, 0), &call_prices(server), multiplier);
    Reservation { cost, ..Reservation::default() }
}

/// The factor of the key's plan on every price; one where the plan is not known.
#[must_use]
pub fn plan_multiplier(platform: &Platform, key: &Key) -> Multiplier {
    platform.plans.get(&key.profile.plan).map(|plan| plan.spec.multiplier).unwrap_or_default()
}
