//! `turnpike token`: management tokens, by which programs use the management API.

use serde_json::Value;

use super::page::Page;
use super::{Run, Session, called};
use crate::client::{Call, Kind};
use crate::failure::Failure;
use crate::flags::{Expiry, some};
use crate::output::table::{Column, expiry, time};
use crate::prompt::Confirm;

const COLUMNS: &[Column] = &[
    Column::plain("name", "/name"),
    Column::plain("role", "/role"),
    Column::plain("token", "/preview"),
    Column::plain("owner", "/owner_id"),
    Column::new("expires", "/expires_at", expiry),
    Column::new("created", "/created_at", time),
    Column::plain("id", "/id"),
];

/// What can be done with tokens.
#[derive(Clone, Debug, clap::Subcommand)]
pub(crate) enum Token {
    /// List management tokens
    List(Page),
    /// Make a management token; it is shown this once
    Create {
        /// What the token is called
        name: String,
        /// What its holder may do; never above your own role
        #[arg(long, value_parser = ["viewer", "member", "admin", "owner", "operator"])]
        role: String,
        /// When it stops working: never, 30d, 1y, a date, or an RFC 3339 time
        #[arg(long, value_name = "WHEN")]
        expires: Option<Expiry>,
    },
    /// Delete a token; whoever uses it is locked out at once
    Delete {
        /// Id or name of the token
        token: String,
        #[command(flatten)]
        confirm: Confirm,
    },
}

impl Run for Token {
    async fn run(self, session: &Session) -> Result<(), Failure> {
        let client = &session.client;
        match self {
            Self::List(page) => {
                let call = Call::get(client.in_org(&["tokens"]).await?);
                page.show(session, call, COLUMNS).await
            }
            Self::Create { name, role, expires } => {
                let now = client.clock().now();
                let body = some([
                    ("name", Some(name.into())),
                    ("role", Some(role.into())),
                    ("expires_at", expires.map(|expiry| Value::from(expiry.time(now)))),
                ]);
                let call = Call::post(client.in_org(&["tokens"]).await?, body.into());
                let answer = client.send(&call).await?;
                session.changed(&answer, &format!("made {}", called("token", &answer)))
            }
            Self::Delete { token, confirm } => {
                confirm.ask(&format!("Delete the token {token}? Its holder is locked out."))?;
                let id = client.id_of(Kind::TOKEN, &token).await?;
                let path = client.in_org(&["tokens", &id]).await?;
                let answer = client.send(&Call::delete(path)).await?;
                session.changed(&answer, &format!("deleted token {token}"))
            }
        }
    }
}
