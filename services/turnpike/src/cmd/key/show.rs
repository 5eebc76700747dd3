//! `turnpike key show`: all of one key.

use super::list::quota;
use crate::client::{Call, Kind};
use crate::cmd::Session;
use crate::failure::Failure;
use crate::output::table::{Column, any, expiry, percent, time};

const COLUMNS: &[Column] = &[
    Column::plain("id", "/id"),
    Column::plain("name", "/name"),
    Column::plain("key", "/preview"),
    Column::plain("status", "/status"),
    Column::plain("reason", "/status_reason"),
    Column::plain("owner", "/owner_id"),
    Column::plain("project", "/project_id"),
    Column::plain("plan", "/plan_id"),
    Column::new("expires", "/expires_at", expiry),
    Column::new("quota", "", quota),
    Column::new("resets", "/usage/resets_at", time),
    Column::plain("held usd", "/usage/held_cost_usd"),
    Column::plain("held tokens", "/usage/held_tokens"),
    Column::plain("lost usd", "/usage/lost_cost_usd"),
    Column::plain("requests a minute", "/limits/requests_per_minute"),
    Column::plain("tokens a minute", "/limits/tokens_per_minute"),
    Column::plain("alerts at %", "/limits/alert_percent"),
    Column::plain("fit", "/limits/fit"),
    Column::new("models", "/scopes/models", any),
    Column::new("providers", "/scopes/providers", any),
    Column::new("ips", "/scopes/ips", any),
    Column::plain("mcp", "/scopes/mcp/enabled"),
    Column::plain("mcp mode", "/scopes/mcp/mode"),
    Column::plain("mcp servers", "/scopes/mcp/servers"),
    Column::plain("mcp tools", "/scopes/mcp/tools"),
    Column::plain("metadata", "/metadata"),
    Column::plain("legacy", "/legacy"),
    Column::new("created", "/created_at", time),
    Column::new("rotated", "/rotated_at", time),
    Column::new("last used", "/last_used_at", time),
    Column::plain("requests", "/requests"),
    Column::new("share", "/traffic_share", percent),
    Column::new("usage complete up to", "/usage/complete_up_to", time),
];

/// Shows the key of this id or name.
pub(super) async fn run(key: &str, session: &Session) -> Result<(), Failure> {
    let client = &session.client;
    let id = client.id_of(Kind::KEY, key).await?;
    let key = client.send(&Call::get(client.in_org(&["keys", &id]).await?)).await?;
    session.output.thing(&key, COLUMNS)
}
