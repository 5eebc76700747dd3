//! `turnpike member`: the people of an organisation.

use std::path::PathBuf;

use secrecy::ExposeSecret as _;
use serde_json::json;

use super::page::Page;
use super::wait::Wait;
use super::{Run, Session};
use crate::client::{Call, Kind, read_secret};
use crate::failure::Failure;
use crate::output::table::{Column, plain, time};
use crate::prompt::Confirm;

/// The roles that members have.
const ROLES: [&str; 5] = ["viewer", "member", "admin", "owner", "operator"];

const COLUMNS: &[Column] = &[
    Column::plain("email", "/email"),
    Column::plain("name", "/name"),
    Column::plain("role", "/role"),
    Column::plain("state", "/state"),
    Column::new("invited", "/created_at", time),
    Column::plain("id", "/id"),
];

/// What can be done with members.
#[derive(Clone, Debug, clap::Subcommand)]
pub(crate) enum Member {
    /// List members
    List(Page),
    /// Invite a person; the invitation's secret is shown this once
    Invite {
        /// The address, which is also the login name
        email: String,
        /// A name for people [default: the address]
        #[arg(long)]
        name: Option<String>,
        /// What the person may do; never above your own role
        #[arg(long, value_parser = ROLES, default_value = "member")]
        role: String,
    },
    /// Answer an invitation: choose a password. Needs no token, but --org
    Accept {
        /// File that holds the invitation (iv-tp-…)
        #[arg(long, value_name = "FILE")]
        invitation_file: PathBuf,
        /// File that holds the new password, of 12 to 128 characters
        #[arg(long, value_name = "FILE")]
        password_file: PathBuf,
    },
    /// Give a member another role
    Role {
        /// Id or address of the member
        member: String,
        /// What the member may do; never above your own role
        #[arg(value_parser = ROLES)]
        role: String,
        #[command(flatten)]
        wait: Wait,
    },
    /// Remove a member with all tokens; the member's keys stay
    Remove {
        /// Id or address of the member
        member: String,
        #[command(flatten)]
        confirm: Confirm,
        #[command(flatten)]
        wait: Wait,
    },
}

impl Run for Member {
    async fn run(self, session: &Session) -> Result<(), Failure> {
        let client = &session.client;
        match self {
            Self::List(page) => {
                let call = Call::get(client.in_org(&["members"]).await?);
                page.show(session, call, COLUMNS).await
            }
            Self::Invite { email, name, role } => {
                let name = name.unwrap_or_else(|| email.clone());
                let body = json!({ "email": email, "name": name, "role": role });
                let call = Call::post(client.in_org(&["members"]).await?, body);
                let answer = client.send(&call).await?;
                session.changed(&answer, &format!("invited {email} as {role}"))
            }
            Self::Accept { invitation_file, password_file } => {
                let (invitation, password) =
                    (read_secret(&invitation_file)?, read_secret(&password_file)?);
                let body = json!({
                    "invitation": invitation.expose_secret(),
                    "password": password.expose_secret(),
                });
                let path = ["orgs", client.named_org()?, "members", "accept"];
                let answer = client.send(&Call::post(path, body).open()).await?;
                session.changed(&answer, &format!("joined as {}", plain(&answer["email"])))
            }
            Self::Role { member, role, wait } => {
                let id = client.id_of(Kind::MEMBER, &member).await?;
                let path = client.in_org(&["members", &id]).await?;
                let call = Call::patch(path, json!({ "role": role }));
                let answer = client.send(&wait.on(call)).await?;
                session.changed(&answer, &format!("{member} is {role} now"))
            }
            Self::Remove { member, confirm, wait } => {
                confirm.ask(&format!("Remove {member}, and every token that acts for them?"))?;
                let id = client.id_of(Kind::MEMBER, &member).await?;
                let path = client.in_org(&["members", &id]).await?;
                let answer = client.send(&wait.on(Call::delete(path))).await?;
                session.changed(&answer, &format!("removed {member}"))
            }
        }
    }
}
