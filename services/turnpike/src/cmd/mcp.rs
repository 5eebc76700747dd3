//! `turnpike mcp`: MCP servers that keys may reach, and the tools that they offer.

use std::path::PathBuf;

use serde_json::{Map, Value};

use super::page::Page;
use super::provider::{header, read_credential};
use super::wait::Wait;
use super::{Run, Session, called};
use crate::client::{Call, Kind};
use crate::failure::Failure;
use crate::flags::some;
use crate::output::table::{Column, time};
use crate::prompt::Confirm;

const COLUMNS: &[Column] = &[
    Column::plain("name", "/name"),
    Column::plain("url", "/url"),
    Column::plain("credential", "/has_credential"),
    Column::plain("enabled", "/enabled"),
    Column::plain("usd a call", "/request_fee_usd"),
    Column::plain("tools", "/tools"),
    Column::new("refreshed", "/refreshed_at", time),
    Column::plain("id", "/id"),
];

const TOOLS: &[Column] =
    &[Column::plain("tool", "/name"), Column::plain("description", "/description")];

/// What can be done with MCP servers.
#[derive(Clone, Debug, clap::Subcommand)]
pub(crate) enum Mcp {
    /// List MCP servers
    List {
        #[command(flatten)]
        page: Page,
    },
    /// Show an MCP server
    Show {
        /// Id or name of the server
        server: String,
    },
    /// Register an MCP server
    Add(Box<Add>),
    /// Change an MCP server
    Change(Box<Change>),
    /// Ask an MCP server for its tools
    Refresh {
        /// Id or name of the server
        server: String,
        #[command(flatten)]
        wait: Wait,
    },
    /// List the tools that an MCP server offered when it was last asked
    Tools {
        /// Id or name of the server
        server: String,
        /// A part of a name or description
        #[arg(long, value_name = "TEXT")]
        search: Option<String>,
        #[command(flatten)]
        page: Page,
    },
    /// Remove an MCP server
    Remove {
        /// Id or name of the server
        server: String,
        #[command(flatten)]
        confirm: Confirm,
        #[command(flatten)]
        wait: Wait,
    },
}

/// An MCP server to register.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Add {
    /// Its short name, as it stands in /mcp/NAME, scopes and logs; it never changes
    name: String,
    /// Its endpoint for streamable HTTP, such as https://mcp.example.com/mcp
    #[arg(long, value_name = "URL")]
    endpoint: String,
    #[command(flatten)]
    terms: Terms,
}

/// What changes of an MCP server.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Change {
    /// Id or name of the server
    server: String,
    /// Another endpoint
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,
    #[command(flatten)]
    terms: Terms,
}

/// What an MCP server has besides its name and endpoint.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Terms {
    /// File that holds its credential, - for standard input; it is sealed and never shown again
    #[arg(long, value_name = "FILE")]
    credential_file: Option<PathBuf>,
    /// Header that carries the credential as it is [default: Authorization, as a bearer]
    #[arg(long, value_name = "NAME")]
    credential_header: Option<String>,
    /// Header to add to every request, NAME=VALUE; may be repeated
    #[arg(long, value_name = "HEADER", value_parser = header)]
    header: Vec<(String, String)>,
    /// The most milliseconds to wait for a connection
    #[arg(long, value_name = "MS")]
    connect_timeout_ms: Option<u64>,
    /// The most milliseconds to wait for the head of an answer
    #[arg(long, value_name = "MS")]
    answer_timeout_ms: Option<u64>,
    /// The most milliseconds between two pieces of a stream
    #[arg(long, value_name = "MS")]
    idle_timeout_ms: Option<u64>,
    /// What one tool call costs in USD, before the plan's multiplier
    #[arg(long, value_name = "USD")]
    request_fee_usd: Option<String>,
    /// Switch it on or off
    #[arg(long, value_name = "true|false")]
    enabled: Option<bool>,
    #[command(flatten)]
    wait: Wait,
}

impl Run for Mcp {
    async fn run(self, session: &Session) -> Result<(), Failure> {
        match self {
            Self::List { page } => {
                let call = Call::get(session.client.path_of(Kind::MCP_SERVER).await?);
                page.show(session, call, COLUMNS).await
            }
            Self::Show { server } => {
                let call = Call::get(path(session, &id(session, &server).await?, None).await?);
                session.output.thing(&session.client.send(&call).await?, COLUMNS)
            }
            Self::Add(add) => add.run(session).await,
            Self::Change(change) => change.run(session).await,
            Self::Refresh { server, wait } => {
                let id = id(session, &server).await?;
                let path = path(session, &id, Some("refresh")).await?;
                let call = wait.on(Call::post(path, Value::Object(Map::new())));
                let answer = session.client.send(&call).await?;
                let tools = &answer["tools"];
                session.changed(&answer, &format!("MCP server {server} offers {tools} tools"))
            }
            Self::Tools { server, search, page } => {
                let id = id(session, &server).await?;
                let call = Call::get(path(session, &id, Some("tools")).await?);
                page.show(session, call.with_some("search", search), TOOLS).await
            }
            Self::Remove { server, confirm, wait } => {
                confirm.ask(&format!("Remove {server}? No key reaches it any more."))?;
                let id = id(session, &server).await?;
                let call = wait.on(Call::delete(path(session, &id, None).await?));
                let answer = session.client.send(&call).await?;
                session.changed(&answer, &format!("removed MCP server {server}"))
            }
        }
    }
}

async fn id(session: &Session, server: &str) -> Result<String, Failure> {
    session.client.id_of(Kind::MCP_SERVER, server).await
}

async fn path<'a>(
    session: &'a Session,
    id: &'a str,
    below: Option<&'a str>,
) -> Result<Vec<&'a str>, Failure> {
    let mut path = session.client.path_of(Kind::MCP_SERVER).await?;
    path.push(id);
    path.extend(below);
    Ok(path)
}

impl Add {
    async fn run(self, session: &Session) -> Result<(), Failure> {
        let wait = self.terms.wait;
        let mut body = self.terms.body()?;
        for (field, text) in [("name", self.name), ("url", self.endpoint)] {
            body.insert(field.to_owned(), text.into());
        }
        let path = session.client.path_of(Kind::MCP_SERVER).await?;
        let answer = session.client.send(&wait.on(Call::post(path, body.into()))).await?;
        session.changed(&answer, &format!("added {}", called("MCP server", &answer)))
    }
}

impl Change {
    async fn run(self, session: &Session) -> Result<(), Failure> {
        let wait = self.terms.wait;
        let mut body = self.terms.body()?;
        body.extend(self.endpoint.map(|url| ("url".to_owned(), url.into())));
        let id = id(session, &self.server).await?;
        let path = path(session, &id, None).await?;
        let answer = session.client.send(&wait.on(Call::patch(path, body.into()))).await?;
        session.changed(&answer, &format!("changed {}", called("MCP server", &answer)))
    }
}

impl Terms {
    fn body(self) -> Result<Map<String, Value>, Failure> {
        let credential = self.credential_file.as_deref().map(read_credential).transpose()?;
        let headers: Map<String, Value> =
            self.header.into_iter().map(|(name, value)| (name, value.into())).collect();
        Ok(some([
            ("credential", credential.map(Value::from)),
            ("credential_header", self.credential_header.map(Value::from)),
            ("headers", (!headers.is_empty()).then_some(Value::Object(headers))),
            ("connect_timeout_ms", self.connect_timeout_ms.map(Value::from)),
            ("answer_timeout_ms", self.answer_timeout_ms.map(Value::from)),
            ("idle_timeout_ms", self.idle_timeout_ms.map(Value::from)),
            ("request_fee_usd", self.request_fee_usd.map(Value::from)),
            ("enabled", self.enabled.map(Value::from)),
        ]))
    }
}
