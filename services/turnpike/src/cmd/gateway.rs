//! `turnpike gateway`: the gateways of an organisation, and what lets them in.

mod release;
mod token;

use serde_json::{Value, json};

use super::page::Page;
use super::wait::Wait;
use super::{Run, Session, called};
use crate::client::{Call, Kind};
use crate::failure::Failure;
use crate::output::table::{Column, plain, time};
use crate::prompt::Confirm;
use release::Release;
use token::Token;

const COLUMNS: &[Column] = &[
    Column::plain("name", "/name"),
    Column::new("state", "", state),
    Column::plain("position", "/position"),
    Column::new("heard", "/lag_ms", heard),
    Column::new("quarantine", "/quarantine", quarantine),
    Column::plain("all organisations", "/all_organisations"),
    Column::new("joined", "/joined_at", time),
    Column::plain("epoch", "/epoch"),
    Column::plain("id", "/id"),
];

/// What can be done with gateways.
#[derive(Clone, Debug, clap::Subcommand)]
pub(crate) enum Gateway {
    /// List gateways: which are online, and up to where they have applied changes
    List(Page),
    /// Note that a gateway will not come back
    Remove(Named),
    /// Cut a gateway off: it is granted nothing more (operator)
    Fence(Named),
    /// Release what a gateway that is gone still holds of a budget
    Release(Release),
    /// Tokens with which gateways join
    #[command(subcommand)]
    Token(Token),
}

/// A gateway.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Named {
    /// Id or name of the gateway
    gateway: String,
    #[command(flatten)]
    confirm: Confirm,
    #[command(flatten)]
    wait: Wait,
}

impl Run for Gateway {
    async fn run(self, session: &Session) -> Result<(), Failure> {
        let client = &session.client;
        match self {
            Self::List(page) => {
                let call = Call::get(client.path_of(Kind::GATEWAY).await?);
                page.show(session, call, COLUMNS).await
            }
            Self::Remove(Named { gateway, confirm, wait }) => {
                confirm.ask(&format!("Remove {gateway}? Nobody waits for it any more."))?;
                let id = client.id_of(Kind::GATEWAY, &gateway).await?;
                let path = client.in_org(&["gateways", &id]).await?;
                let answer = client.send(&wait.on(Call::delete(path))).await?;
                session.changed(&answer, &format!("removed gateway {gateway}"))
            }
            Self::Fence(Named { gateway, confirm, wait }) => {
                confirm.ask(&format!("Cut {gateway} off? It is granted nothing more."))?;
                let id = client.id_of(Kind::GATEWAY, &gateway).await?;
                let path = client.in_org(&["gateways", &id, "fence"]).await?;
                let answer = client.send(&wait.on(Call::post(path, json!({})))).await?;
                session.changed(&answer, &format!("fenced {}", called("gateway", &answer)))
            }
            Self::Release(release) => release.run(session).await,
            Self::Token(token) => token.run(session).await,
        }
    }
}

/// The one word that a gateway's flags come to.
fn state(gateway: &Value) -> String {
    let is = |flag: &str| gateway[flag] == Value::Bool(true);
    let word = if is("fenced") {
        "fenced"
    } else if is("left") {
        "left"
    } else if is("online") {
        "online"
    } else {
        "offline"
    };
    word.to_owned()
}

/// What it could not read, and whether that is made good.
fn quarantine(told: &Value) -> String {
    if told.is_null() {
        return String::new();
    }
    let now = if told["stands"] == Value::Bool(true) { "missing" } else { "made good" };
    format!("{} unread, {now}", plain(&told["events"]))
}

/// How long ago it was heard of.
fn heard(lag_ms: &Value) -> String {
    if lag_ms.is_null() { "never".to_owned() } else { format!("{} ms ago", plain(lag_ms)) }
}
