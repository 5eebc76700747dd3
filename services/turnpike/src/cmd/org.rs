//! `turnpike org`: organisations and their settings.

use serde_json::{Map, Value, json};

use super::page::Page;
use super::wait::Wait;
use super::{Run, Session, called};
use crate::client::{Call, Client, Kind};
use crate::failure::Failure;
use crate::flags::{list, nullable, seconds, some};
use crate::output::table::{Column, any, time};

const COLUMNS: &[Column] = &[
    Column::plain("name", "/name"),
    Column::plain("limit status", "/limit_status"),
    Column::plain("secret reveal", "/secret_reveal"),
    Column::plain("max staleness s", "/max_staleness_seconds"),
    Column::plain("rate fallback", "/rate_fallback"),
    Column::plain("wallet", "/wallet"),
    Column::new("allowed plans", "/allowed_plans", any),
    Column::plain("default plan", "/default_plan"),
    Column::new("created", "/created_at", time),
    Column::plain("id", "/id"),
];

/// What can be done with organisations.
#[derive(Clone, Debug, clap::Subcommand)]
pub(crate) enum Org {
    /// List organisations (operator)
    List(Page),
    /// Show the organisation
    Show,
    /// Make an organisation (operator)
    Create(Create),
    /// Change the organisation's name or settings
    Edit(Edit),
}

/// An organisation to make.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Create {
    /// What the organisation is called
    name: String,
    #[command(flatten)]
    settings: Settings,
}

/// What changes of an organisation.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Edit {
    /// Another name
    #[arg(long)]
    name: Option<String>,
    #[command(flatten)]
    wait: Wait,
    #[command(flatten)]
    settings: Settings,
}

/// An organisation's settings.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Settings")]
pub(crate) struct Settings {
    /// The status with which a used-up budget is refused
    #[arg(long, value_parser = clap::value_parser!(u16).range(402..=429))]
    limit_status: Option<u16>,
    /// Whether secrets can be read again
    #[arg(long, value_parser = ["once", "recoverable"])]
    secret_reveal: Option<String>,
    /// How long gateways serve without news, such as 10m, or unbounded
    #[arg(long, value_name = "TIME", value_parser = staleness)]
    max_staleness: Option<Value>,
    /// What gateways do about rates without their authority
    #[arg(long, value_parser = ["share", "deny"])]
    rate_fallback: Option<String>,
    /// Whether the organisation has a budget of its own (operator)
    #[arg(long, value_parser = ["off", "prepaid"])]
    wallet: Option<String>,
    /// Plans to choose among, by id or name, with commas between; none for all (operator)
    #[arg(long, value_name = "PLANS", value_parser = list)]
    allowed_plans: Option<Value>,
    /// The plan of keys that name none, by id or name (operator)
    #[arg(long, value_name = "PLAN", value_parser = nullable)]
    default_plan: Option<Value>,
}

impl Run for Org {
    async fn run(self, session: &Session) -> Result<(), Failure> {
        match self {
            Self::List(page) => page.show(session, Call::get([Kind::ORG.path]), COLUMNS).await,
            Self::Show => {
                let call = Call::get(session.client.in_org(&[]).await?);
                session.output.thing(&session.client.send(&call).await?, COLUMNS)
            }
            Self::Create(create) => create.run(session).await,
            Self::Edit(edit) => edit.run(session).await,
        }
    }
}

impl Create {
    async fn run(self, session: &Session) -> Result<(), Failure> {
        let mut body = self.settings.json(&session.client).await?;
        body.insert("name".to_owned(), self.name.into());
        let answer = session.client.send(&Call::post([Kind::ORG.path], body.into())).await?;
        session.changed(&answer, &format!("made {}", called("organisation", &answer)))
    }
}

impl Edit {
    async fn run(self, session: &Session) -> Result<(), Failure> {
        let client = &session.client;
        let mut body = self.settings.json(client).await?;
        body.extend(self.name.map(|name| ("name".to_owned(), Value::from(name))));
        let call = Call::patch(client.in_org(&[]).await?, body.into());
        let answer = client.send(&self.wait.on(call)).await?;
        session.changed(&answer, &format!("changed {}", called("organisation", &answer)))
    }
}

impl Settings {
    /// What was given, with ids in place of the names of plans.
    async fn json(self, client: &Client) -> Result<Map<String, Value>, Failure> {
        let mut body = some([
            ("limit_status", self.limit_status.map(Value::from)),
            ("secret_reveal", self.secret_reveal.map(Value::from)),
            ("max_staleness_seconds", self.max_staleness),
            ("rate_fallback", self.rate_fallback.map(Value::from)),
            ("wallet", self.wallet.map(Value::from)),
        ]);
        let plans = [("allowed_plans", self.allowed_plans), ("default_plan", self.default_plan)];
        for (field, names) in plans {
            if let Some(names) = names {
                body.insert(field.to_owned(), ids(client, names).await?);
            }
        }
        Ok(body)
    }
}

/// The ids of plans: of one name, of a list of names, or null.
async fn ids(client: &Client, names: Value) -> Result<Value, Failure> {
    if let Some(name) = names.as_str() {
        return Ok(client.id_of(Kind::PLAN, name).await?.into());
    }
    let Value::Array(names) = names else { return Ok(Value::Null) };
    let mut found = Vec::with_capacity(names.len());
    for name in names.iter().filter_map(Value::as_str) {
        found.push(client.id_of(Kind::PLAN, name).await?);
    }
    Ok(json!(found))
}

/// A bound on staleness: a time, or `unbounded`.
fn staleness(text: &str) -> Result<Value, String> {
    if text == "unbounded" { Ok(text.into()) } else { seconds(text).map(Value::from) }
}
