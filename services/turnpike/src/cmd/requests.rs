//! `turnpike requests`: the request log.

use serde_json::Value;

use super::page::Page;
use super::{Run, Session};
use crate::client::{Call, Kind};
use crate::failure::Failure;
use crate::flags::Moment;
use crate::output::table::{Column, plain, time};

const COLUMNS: &[Column] = &[
    Column::new("at", "/at", time),
    Column::new("key", "", key),
    Column::plain("model", "/model"),
    Column::plain("status", "/status"),
    Column::plain("input", "/usage/input"),
    Column::plain("output", "/usage/output"),
    Column::plain("cost usd", "/cost_usd"),
    Column::plain("ms", "/latency_ms"),
    Column::plain("id", "/id"),
];

const DETAILS: &[Column] = &[
    Column::plain("id", "/id"),
    Column::new("at", "/at", time),
    Column::new("key", "", key),
    Column::plain("key id", "/key_id"),
    Column::plain("metadata", "/metadata"),
    Column::plain("model", "/model"),
    Column::plain("provider", "/provider_id"),
    Column::plain("status", "/status"),
    Column::plain("usage", "/usage"),
    Column::plain("source of usage", "/source"),
    Column::plain("suspect", "/suspect"),
    Column::plain("cost usd", "/cost_usd"),
    Column::plain("reserved usd", "/reserved_usd"),
    Column::plain("price version", "/price_version"),
    Column::plain("multiplier", "/multiplier"),
    Column::plain("latency ms", "/latency_ms"),
    Column::plain("gateway", "/gateway_id"),
    Column::plain("epoch", "/epoch"),
    Column::plain("number", "/number"),
];

/// Which requests are shown.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Requests {
    /// All of this one request, by its id
    request: Option<String>,
    /// Requests of this key, by id or name
    #[arg(long)]
    key: Option<String>,
    /// Requests of this model
    #[arg(long)]
    model: Option<String>,
    /// Requests that were answered with this status
    #[arg(long)]
    status: Option<u16>,
    /// From this time on: an RFC 3339 time, a date, or 2h for the last two hours
    #[arg(long, value_name = "WHEN")]
    from: Option<Moment>,
    /// Before this time
    #[arg(long, value_name = "WHEN")]
    until: Option<Moment>,
    #[command(flatten)]
    page: Page,
}

impl Run for Requests {
    async fn run(self, session: &Session) -> Result<(), Failure> {
        let client = &session.client;
        if let Some(id) = &self.request {
            let call = Call::get(client.in_org(&["requests", id]).await?);
            return session.output.thing(&client.send(&call).await?, DETAILS);
        }
        let now = client.clock().now();
        let key = client.id_if(Kind::KEY, self.key.as_deref()).await?;
        let call = Call::get(client.in_org(&["requests"]).await?)
            .with_some("key", key)
            .with_some("model", self.model)
            .with_some("status", self.status)
            .with_some("from", self.from.map(|moment| moment.time(now)))
            .with_some("until", self.until.map(|moment| moment.time(now)));
        self.page.show(session, call, COLUMNS).await
    }
}

/// The key's name or, once it is deleted, its id.
fn key(request: &Value) -> String {
    let name = &request["key_name"];
    plain(if name.is_null() { &request["key_id"] } else { name })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::output::table::list;

    #[test]
    fn a_row_shows_the_tokens_of_the_request() {
        let request = json!({
            "at": "2026-11-21T04:00:00.000Z", "key_id": "key_1", "key_name": "ci",
            "model": "echo-1", "status": 200, "usage": { "input": 17, "output": 23 },
            "cost_usd": "0.01", "latency_ms": 5, "id": "req_1",
        });
        let table = list(&[request], COLUMNS, false);
        let row: Vec<&str> = table.lines().last().unwrap().split_whitespace().collect();
        let wanted = ["2026-11-21", "04:00:00", "ci", "echo-1", "200", "17", "23", "0.01", "5"];
        assert_eq!(row[..9], wanted);
    }
}
