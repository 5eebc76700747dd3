//! `turnpike member`: the people of an organisation.

use serde_json::json;

use super::page::Page;
use super::wait::Wait;
use super::{Run, Session};
use crate::client::{Call, Kind};
use crate::failure::Failure;
use crate::output::table::{Column, time};
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
