//! `turnpike gateway token`: what lets gateways join.

use serde_json::Value;

use crate::client::{Call, Kind};
use crate::cmd::page::Page;
use crate::cmd::{Run, Session, called};
use crate::failure::Failure;
use crate::flags::{Expiry, some};
use crate::output::table::{Column, expiry, time};
use crate::prompt::Confirm;

const COLUMNS: &[Column] = &[
    Column::plain("name", "/name"),
    Column::plain("token", "/preview"),
    Column::plain("all organisations", "/all_organisations"),
    Column::new("expires", "/expires_at", expiry),
    Column::new("created", "/created_at", time),
    Column::plain("id", "/id"),
];

/// What can be done with join tokens.
#[derive(Clone, Debug, clap::Subcommand)]
pub(crate) enum Token {
    /// List join tokens
    List(Page),
    /// Make a join token; it is shown this once
    Create {
        /// What the token is called
        name: String,
        /// For gateways that serve every organisation (operator)
        #[arg(long)]
        all_organisations: bool,
        /// When it stops letting gateways in: never, 30d, 1y, a date, or an RFC 3339 time
        #[arg(long, value_name = "WHEN")]
        expires: Option<Expiry>,
    },
    /// Delete a join token; gateways that came with it cannot join again
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
        let list = client.path_of(Kind::JOIN_TOKEN).await?;
        match self {
            Self::List(page) => page.show(session, Call::get(list), COLUMNS).await,
            Self::Create { name, all_organisations, expires } => {
                let now = client.clock().now();
                let body = some([
                    ("name", Some(name.into())),
                    ("all_organisations", Some(all_organisations.into())),
                    ("expires_at", expires.map(|expiry| Value::from(expiry.time(now)))),
                ]);
                let answer = client.send(&Call::post(list, body.into())).await?;
                session.changed(&answer, &format!("made {}", called("join token", &answer)))
            }
            Self::Delete { token, confirm } => {
                confirm.ask(&format!("Delete the join token {token}?"))?;
                let id = client.id_of(Kind::JOIN_TOKEN, &token).await?;
                let path = list.into_iter().chain([id.as_str()]);
                let answer = client.send(&Call::delete(path)).await?;
                session.changed(&answer, &format!("deleted join token {token}"))
            }
        }
    }
}
