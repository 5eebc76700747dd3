//! `turnpike key migrate`: a legacy key becomes a full one while its callers change over.

use serde_json::{Value, json};

use super::Named;
use crate::client::{Answer, Call, Kind};
use crate::cmd::Session;
use crate::cmd::wait::Wait;
use crate::failure::Failure;
use crate::output::table::{Column, plain, time};
use crate::prompt::Confirm;

/// Shown below the help.
pub(super) const EXAMPLES: &str = "\
Examples:
  KEY=$(turnpike key migrate old-service)     # both secrets work from now on
  turnpike key migrate old-service --show     # who still uses which
  turnpike key migrate old-service --finish   # the old one ends";

const COLUMNS: &[Column] = &[
    Column::plain("secret", "/preview"),
    Column::plain("legacy", "/legacy"),
    Column::plain("requests", "/requests"),
    Column::new("last used", "/last_used_at", time),
    Column::new("until", "/until", time),
];

/// A key to migrate.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Migrate {
    #[command(flatten)]
    named: Named,
    /// Show the secrets that work, and when each was last used
    #[arg(long, conflicts_with = "finish")]
    show: bool,
    /// End the legacy secret: all callers have changed over
    #[arg(long)]
    finish: bool,
    #[command(flatten)]
    confirm: Confirm,
    #[command(flatten)]
    wait: Wait,
}

impl Migrate {
    pub(super) async fn run(self, session: &Session) -> Result<(), Failure> {
        if self.show {
            return self.shown(session).await;
        }
        if !self.finish {
            let done = ("migrate", "began to migrate");
            return self.named.act(session, done, json!({}), self.wait).await;
        }
        let migration = self.migration(session).await?;
        let last = last_use(&migration);
        let question = format!("End the legacy secret of {}? {last}", self.named.key);
        self.confirm.ask(&question)?;
        let done = ("migrate", "ended the legacy secret of");
        self.named.act(session, done, json!({ "finish": true }), self.wait).await
    }

    async fn shown(&self, session: &Session) -> Result<(), Failure> {
        let migration = self.migration(session).await?;
        if session.output.json {
            return session.output.document(&migration);
        }
        session.output.note(&format!("state: {}", plain(&migration["state"])))?;
        session.output.rows(&migration["secrets"], COLUMNS)
    }

    async fn migration(&self, session: &Session) -> Result<Answer, Failure> {
        let client = &session.client;
        let id = client.id_of(Kind::KEY, &self.named.key).await?;
        client.send(&Call::get(client.in_org(&["keys", &id, "migrate"]).await?)).await
    }
}

/// What a person should know before the legacy secret ends.
fn last_use(migration: &Value) -> String {
    let secrets = migration["secrets"].as_array().map(Vec::as_slice).unwrap_or_default();
    let legacy = secrets.iter().find(|secret| secret["legacy"] == true);
    match legacy.map(|secret| &secret["last_used_at"]) {
        None | Some(Value::Null) => "It was never used.".to_owned(),
        Some(at) => format!("It was last used at {} UTC.", time(at)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_use_is_that_of_the_legacy_secret() {
        let ours = json!({ "legacy": false, "last_used_at": "2026-11-21T10:00:00.000Z" });
        let old = json!({ "legacy": true, "last_used_at": "2026-11-20T09:00:00.000Z" });
        let told = last_use(&json!({ "secrets": [ours, old] }));
        assert_eq!(told, "It was last used at 2026-11-20 09:00:00 UTC.");
        let unused = json!({ "secrets": [{ "legacy": true, "last_used_at": null }] });
        assert_eq!(last_use(&unused), "It was never used.");
    }
}
