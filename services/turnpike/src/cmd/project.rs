//! `turnpike project`: groups of keys with limits of their own.

use serde_json::Value;

use super::key::quota;
use super::page::Page;
use super::wait::Wait;
use super::{Run, Session, called};
use crate::client::{Call, Kind};
use crate::failure::Failure;
use crate::flags::{LimitFlags, some};
use crate::output::table::{Column, time};
use crate::prompt::Confirm;

const COLUMNS: &[Column] = &[
    Column::plain("name", "/name"),
    Column::plain("keys", "/keys"),
    Column::new("quota", "", quota),
    Column::plain("held usd", "/usage/held_cost_usd"),
    Column::plain("rpm", "/limits/requests_per_minute"),
    Column::plain("tpm", "/limits/tokens_per_minute"),
    Column::new("created", "/created_at", time),
    Column::plain("id", "/id"),
];

/// What can be done with projects.
#[derive(Clone, Debug, clap::Subcommand)]
pub(crate) enum Project {
    /// List projects
    List(Page),
    /// Make a project
    Create {
        /// What the project is called; unique in the organisation
        name: String,
        #[command(flatten)]
        wait: Wait,
        #[command(flatten)]
        limits: LimitFlags,
    },
    /// Show a project
    Show {
        /// Id or name of the project
        project: String,
    },
    /// Change a project's name or limits
    Edit {
        /// Id or name of the project
        project: String,
        /// Another name
        #[arg(long)]
        name: Option<String>,
        #[command(flatten)]
        wait: Wait,
        #[command(flatten)]
        limits: LimitFlags,
    },
    /// Delete a project that has no keys
    Delete {
        /// Id or name of the project
        project: String,
        #[command(flatten)]
        confirm: Confirm,
        #[command(flatten)]
        wait: Wait,
    },
}

impl Run for Project {
    async fn run(self, session: &Session) -> Result<(), Failure> {
        let client = &session.client;
        match self {
            Self::List(page) => {
                let call = Call::get(client.in_org(&["projects"]).await?);
                page.show(session, call, COLUMNS).await
            }
            Self::Create { name, wait, limits } => {
                let body = body(Some(name), limits);
                let call = Call::post(client.in_org(&["projects"]).await?, body);
                let answer = client.send(&wait.on(call)).await?;
                session.changed(&answer, &format!("made {}", called("project", &answer)))
            }
            Self::Show { project } => {
                let id = client.id_of(Kind::PROJECT, &project).await?;
                let call = Call::get(client.in_org(&["projects", &id]).await?);
                session.output.thing(&client.send(&call).await?, COLUMNS)
            }
            Self::Edit { project, name, wait, limits } => {
                let id = client.id_of(Kind::PROJECT, &project).await?;
                let path = client.in_org(&["projects", &id]).await?;
                let call = Call::patch(path, body(name, limits));
                let answer = client.send(&wait.on(call)).await?;
                session.changed(&answer, &format!("changed {}", called("project", &answer)))
            }
            Self::Delete { project, confirm, wait } => {
                confirm.ask(&format!("Delete the project {project}?"))?;
                let id = client.id_of(Kind::PROJECT, &project).await?;
                let path = client.in_org(&["projects", &id]).await?;
                let answer = client.send(&wait.on(Call::delete(path))).await?;
                session.changed(&answer, &format!("deleted project {project}"))
            }
        }
    }
}

/// What was given of a project.
fn body(name: Option<String>, limits: LimitFlags) -> Value {
    some([("name", name.map(Value::from)), ("limits", limits.json())]).into()
}
