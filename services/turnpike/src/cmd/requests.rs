//! `turnpike requests`: the request log.

use serde_json::Value;

use super::page::Page;
use super::{Run, Session};
use crate::client::{Call, Kind};
use crate::failure::Failure;
use crate::flags::Moment;
use crate::output::table::{Column, plain, time};

/// The most milliseconds that an export may take: a log of many millions is read for hours.
const EXPORT_MS: u64 = 24 * 3_600_000;

const COLUMNS: &[Column] = &[
    Column::new("at", "/at", time),
    Column::new("key", "", key),
    Column::plain("model", "/model"),
    Column::plain("status", "/status"),
    Column::plain("code", "/code"),
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
    Column::plain("key deleted", "/key_deleted"),
    Column::plain("token", "/token_id"),
    Column::plain("model", "/model"),
    Column::plain("provider", "/provider_id"),
    Column::plain("mcp server", "/server"),
    Column::plain("tool", "/tool"),
    Column::plain("legacy secret", "/legacy"),
    Column::plain("streamed", "/streamed"),
    Column::plain("status", "/status"),
    Column::plain("code", "/code"),
    Column::plain("decision", "/decision_id"),
    Column::plain("admitted", "/admitted"),
    Column::plain("stands for more", "/repeats"),
    Column::plain("failovers", "/failovers"),
    Column::plain("usage", "/usage"),
    Column::plain("source of usage", "/source"),
    Column::plain("suspect", "/suspect"),
    Column::plain("cost usd", "/cost_usd"),
    Column::plain("reserved usd", "/reserved_usd"),
    Column::plain("reserved tokens", "/reserved_tokens"),
    Column::plain("price version", "/price_version"),
    Column::plain("multiplier", "/multiplier"),
    Column::plain("latency ms", "/latency_ms"),
    Column::plain("gateway", "/gateway_id"),
    Column::plain("epoch", "/epoch"),
    Column::plain("number", "/number"),
];

/// What can be asked of the request log; without a subcommand it is listed.
#[derive(Clone, Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Requests {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    list: List,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum Verb {
    /// List requests, newest first, the refused ones too
    List(List),
    /// Write all requests that fit to standard output, newest first
    Export(Export),
    /// Show all of one request, also of a deleted key
    Show {
        /// Its id, as the header x-turnpike-request-id has it
        request: String,
    },
}

/// Which requests are listed.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct List {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    page: Page,
}

/// Which requests are written, and how.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Export {
    #[command(flatten)]
    which: Which,
    /// A table for spreadsheets, or one JSON object a line
    #[arg(long, value_parser = ["csv", "ndjson"], default_value = "csv")]
    format: String,
}

/// What a request must be.
#[derive(Clone, Debug, clap::Args)]
struct Which {
    /// Requests of this key, by id or name
    #[arg(long)]
    key: Option<String>,
    /// Requests of this model
    #[arg(long)]
    model: Option<String>,
    /// Requests that this provider has served, by id or name
    #[arg(long)]
    provider: Option<String>,
    /// Requests that were answered with this status, such as 429, or one of a class, such as 4xx
    #[arg(long)]
    status: Option<String>,
    /// Requests that ended for this reason, such as rate_limited
    #[arg(long)]
    code: Option<String>,
    /// From this time on: an RFC 3339 time, a date, or 2h for the last two hours
    #[arg(long, value_name = "WHEN")]
    from: Option<Moment>,
    /// Before this time
    #[arg(long, value_name = "WHEN")]
    until: Option<Moment>,
}

impl Run for Requests {
    async fn run(self, session: &Session) -> Result<(), Failure> {
        match self.verb {
            None => self.list.run(session).await,
            Some(Verb::List(list)) => list.run(session).await,
            Some(Verb::Export(export)) => export.run(session).await,
            Some(Verb::Show { request }) => {
                let client = &session.client;
                let call = Call::get(client.in_org(&["requests", &request]).await?);
                session.output.thing(&client.send(&call).await?, DETAILS)
            }
        }
    }
}

impl List {
    async fn run(self, session: &Session) -> Result<(), Failure> {
        self.page.show(session, self.which.call(session).await?, COLUMNS).await
    }
}

impl Export {
    async fn run(self, session: &Session) -> Result<(), Failure> {
        let call = self.which.call(session).await?.with("format", self.format);
        let mut answer = session.client.open(&call, EXPORT_MS).await?;
        while let Some(piece) =
            answer.chunk().await.map_err(|error| session.client.unreachable(error))?
        {
            session.output.raw(&piece)?;
        }
        Ok(())
    }
}

impl Which {
    async fn call(self, session: &Session) -> Result<Call, Failure> {
        let client = &session.client;
        let now = client.clock().now();
        let key = client.id_if(Kind::KEY, self.key.as_deref()).await?;
        // The organisation's own come first: they are asked first too.
        let provider = match client.id_if(Kind::PROVIDER, self.provider.as_deref()).await {
            Err(Failure::NotFound(_)) => {
                client.id_if(Kind::PLATFORM_PROVIDER, self.provider.as_deref()).await?
            }
            found => found?,
        };
        Ok(Call::get(client.in_org(&["requests"]).await?)
            .with_some("key", key)
            .with_some("model", self.model)
            .with_some("provider", provider)
            .with_some("status", self.status)
            .with_some("code", self.code)
            .with_some("from", self.from.map(|moment| moment.time(now)))
            .with_some("until", self.until.map(|moment| moment.time(now))))
    }
}

/// The key's name, or its id where the name is not known.
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
            "model": "echo-1", "status": 402, "code": "billing_shortfall",
            "usage": { "input": 17, "output": 23 },
            "cost_usd": "0.01", "latency_ms": 5, "id": "req_1",
        });
        let table = list(&[request], COLUMNS, false);
        let row: Vec<&str> = table.lines().last().unwrap().split_whitespace().collect();
        let wanted = [
            "2026-11-21",
            "04:00:00",
            "ci",
            "echo-1",
            "402",
            "billing_shortfall",
            "17",
            "23",
            "0.01",
            "5",
        ];
        assert_eq!(row[..10], wanted);
    }
}
