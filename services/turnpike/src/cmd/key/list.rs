//! `turnpike key list`: the table of keys.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::client::{Answer, Call, Kind};
use crate::cmd::page::{self, Page};
use crate::cmd::{Run, Session};
use crate::failure::Failure;
use crate::output::table::{Column, any, expiry, percent, plain, time};

/// Names of owners and projects that are looked up for one table; what is beyond keeps its id.
const MAX_NAMES: u32 = 500;

const COLUMNS: &[Column] = &[
    Column::plain("name", "/name"),
    Column::plain("owner", "/owner_id"),
    Column::plain("project", "/project_id"),
    Column::plain("key", "/preview"),
    Column::plain("status", "/status"),
    Column::plain("legacy", "/legacy"),
    Column::new("quota", "", quota),
    Column::new("expires", "/expires_at", expiry),
    Column::new("ips", "/scopes/ips", any),
    Column::new("last used", "/last_used_at", time),
    Column::new("created", "/created_at", time),
    Column::plain("requests", "/requests"),
    Column::new("share", "/traffic_share", percent),
];

/// Which keys are listed, in which order.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct List {
    /// Keys whose name or masked secret holds this
    #[arg(long, value_name = "TEXT")]
    search: Option<String>,
    /// Keys of this status
    #[arg(long, value_parser = ["active", "inactive", "expired", "revoked", "exhausted"])]
    status: Option<String>,
    /// Keys of this member, by id or address
    #[arg(long, value_name = "MEMBER")]
    owner: Option<String>,
    /// Keys of this project, by id or name
    #[arg(long)]
    project: Option<String>,
    /// Keys that a legacy secret opens (true), or the others (false)
    #[arg(long, value_name = "BOOL")]
    legacy: Option<bool>,
    /// name, owner, status, requests or created_at; a - before it turns the order round
    #[arg(long, value_name = "FIELD", allow_hyphen_values = true)]
    sort: Option<String>,
    #[command(flatten)]
    page: Page,
}

impl Run for List {
    async fn run(self, session: &Session) -> Result<(), Failure> {
        let client = &session.client;
        let owner = client.id_if(Kind::MEMBER, self.owner.as_deref()).await?;
        let project = client.id_if(Kind::PROJECT, self.project.as_deref()).await?;
        let call = Call::get(client.in_org(&["keys"]).await?)
            .with_some("search", self.search)
            .with_some("status", self.status)
            .with_some("sort", self.sort)
            .with_some("owner", owner)
            .with_some("project", project)
            .with_some("legacy", self.legacy);
        let mut keys = self.page.read(session, call).await?;
        if !session.output.json {
            rename(session, &mut keys, "owner_id", Kind::MEMBER).await?;
            rename(session, &mut keys, "project_id", Kind::PROJECT).await?;
        }
        page::tell(session, &keys, COLUMNS)
    }
}

/// Puts names in the place of ids, for people.
async fn rename(
    session: &Session,
    keys: &mut Answer,
    field: &str,
    kind: Kind,
) -> Result<(), Failure> {
    let data = keys["data"].as_array_mut().map(Vec::as_mut_slice).unwrap_or_default();
    if data.iter().all(|key| key[field].is_null()) {
        return Ok(());
    }
    let path = session.client.path_of(kind).await?;
    let things = session.client.send(&Call::get(path).with("limit", MAX_NAMES)).await;
    let things = match things {
        Ok(things) => things,
        // Who may not read the names still may read the keys.
        Err(Failure::Refused(_)) => return Ok(()),
        Err(failure) => return Err(failure),
    };
    let named = things["data"].as_array().map(Vec::as_slice).unwrap_or_default().iter();
    let names: BTreeMap<&str, &Value> =
        named.filter_map(|thing| Some((thing["id"].as_str()?, thing.get(kind.name)?))).collect();
    for key in data {
        if let Some(name) = key[field].as_str().and_then(|id| names.get(id)) {
            key[field] = (*name).clone();
        }
    }
    Ok(())
}

/// What is used of what is allowed, in the present window.
pub(crate) fn quota(key: &Value) -> String {
    let caps = [
        ("USD", &key["limits"]["cost_usd"], &key["usage"]["cost_usd"]),
        ("tokens", &key["limits"]["tokens"], &key["usage"]["tokens"]),
    ];
    let there = caps.iter().filter(|(_, cap, _)| !cap.is_null());
    let told: Vec<String> = there
        .map(|(unit, cap, used)| format!("{} of {} {unit}", plain(used), plain(cap)))
        .collect();
    if told.is_empty() {
        return "unlimited".to_owned();
    }
    match key["limits"]["reset"].as_str() {
        None | Some("none") => told.join(", "),
        Some(reset) => format!("{} {reset}", told.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_quota_says_what_is_used_of_what() {
        let usage = json!({ "cost_usd": "1.25", "tokens": 70 });
        let key = |limits: Value| json!({ "limits": limits, "usage": usage });
        assert_eq!(quota(&key(json!({ "reset": "none" }))), "unlimited");
        assert_eq!(quota(&key(json!({ "cost_usd": "25.00" }))), "1.25 of 25.00 USD");
        let both = json!({ "cost_usd": "25.00", "tokens": 1_000, "reset": "monthly" });
        assert_eq!(quota(&key(both)), "1.25 of 25.00 USD, 70 of 1000 tokens monthly");
    }
}
