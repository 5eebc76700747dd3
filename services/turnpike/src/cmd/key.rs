//! `turnpike key`: model keys, from creation to deletion.

mod create;
mod ephemeral;
mod explain;
mod import;
mod list;
mod migrate;
mod show;
mod usage;

pub(crate) use create::example;
pub(crate) use list::quota;

use serde_json::{Value, json};

use super::wait::Wait;
use super::{Run, Session, called};
use crate::client::{Call, Kind};
use crate::failure::Failure;
use crate::flags::seconds;
use crate::prompt::Confirm;

/// What can be done with keys.
#[derive(Clone, Debug, clap::Subcommand)]
pub(crate) enum Key {
    /// Make a key; its secret is shown this once
    #[command(after_help = create::EXAMPLES)]
    Create(create::Create),
    /// Make keys of secrets that their callers have already
    #[command(after_help = import::EXAMPLES)]
    Import(import::Import),
    /// Give a legacy key a secret of its own kind beside the old one, and end that at last
    #[command(after_help = migrate::EXAMPLES)]
    Migrate(migrate::Migrate),
    /// List keys
    List(list::List),
    /// Show all of a key
    Show(Named),
    /// Change a key's name, expiry, limits, scopes or metadata
    Edit(create::Edit),
    /// Give a key a new secret; the old one dies at once, or after an overlap
    Rotate(Rotate),
    /// Switch a key off until it is enabled again
    Disable(Switched),
    /// Switch a disabled key on
    Enable(Switched),
    /// Make an inactive or revoked key work again
    Activate(Activate),
    /// Stop a key for a reason of security
    Revoke(Revoke),
    /// Delete a key for ever; its requests stay in the log
    Delete(Delete),
    /// Make a short-lived token from a key; it is shown this once
    #[command(after_help = ephemeral::EXAMPLES)]
    Ephemeral(Box<ephemeral::Ephemeral>),
    /// Say what would be decided of a request, and why
    Explain(explain::Explain),
    /// Show what the key used
    Usage(usage::Usage),
    /// Show whether every gateway that is online knows all of the key
    Propagation(usage::Propagation),
    /// Show a secret again, where the organisation keeps them recoverable; every reading is logged
    Reveal(Named),
}

/// A key.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Named {
    /// Id or name of the key
    key: String,
}

/// A key to switch.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Switched {
    #[command(flatten)]
    named: Named,
    #[command(flatten)]
    wait: Wait,
}

/// How a key gets a new secret.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Rotate {
    #[command(flatten)]
    named: Named,
    /// For how long the old secret also works, such as 10m or 24h (at most)
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    overlap: Option<u64>,
    #[command(flatten)]
    wait: Wait,
}

/// How a key comes back.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Activate {
    #[command(flatten)]
    named: Named,
    /// With a new secret; needed after a compromise
    #[arg(long)]
    rotate: bool,
    #[command(flatten)]
    wait: Wait,
}

/// Why a key is stopped.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Revoke {
    #[command(flatten)]
    named: Named,
    /// After a compromise the key comes back only with a new secret
    #[arg(long, value_parser = ["compromised", "unused", "other"], default_value = "other")]
    reason: String,
    #[command(flatten)]
    confirm: Confirm,
    #[command(flatten)]
    wait: Wait,
}

/// A key to delete.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Delete {
    #[command(flatten)]
    named: Named,
    #[command(flatten)]
    confirm: Confirm,
    #[command(flatten)]
    wait: Wait,
}

impl Run for Key {
    async fn run(self, session: &Session) -> Result<(), Failure> {
        match self {
            Self::Create(create) => create.run(session).await,
            Self::Import(import) => import.run(session).await,
            Self::Migrate(migrate) => migrate.run(session).await,
            Self::List(list) => list.run(session).await,
            Self::Show(named) => show::run(&named.key, session).await,
            Self::Edit(edit) => edit.run(session).await,
            Self::Rotate(rotate) => rotate.run(session).await,
            Self::Disable(switched) => switched.run(session, "disable", "disabled").await,
            Self::Enable(switched) => switched.run(session, "enable", "enabled").await,
            Self::Activate(activate) => activate.run(session).await,
            Self::Revoke(revoke) => revoke.run(session).await,
            Self::Delete(delete) => delete.run(session).await,
            Self::Ephemeral(ephemeral) => ephemeral.run(session).await,
            Self::Explain(explain) => explain.run(session).await,
            Self::Usage(usage) => usage.run(session).await,
            Self::Propagation(propagation) => propagation.run(session).await,
            Self::Reveal(named) => named.reveal(session).await,
        }
    }
}

impl Named {
    /// Does something to the key, and tells that it is done.
    async fn act(
        &self,
        session: &Session,
        (verb, done): (&str, &str),
        body: Value,
        wait: Wait,
    ) -> Result<(), Failure> {
        let client = &session.client;
        let id = client.id_of(Kind::KEY, &self.key).await?;
        let path = client.in_org(&["keys", &id, verb]).await?;
        let answer = client.send(&wait.on(Call::post(path, body))).await?;
        session.changed(&answer, &format!("{done} {}", called("key", &answer)))
    }

    async fn reveal(&self, session: &Session) -> Result<(), Failure> {
        let client = &session.client;
        let id = client.id_of(Kind::KEY, &self.key).await?;
        let call = Call::post(client.in_org(&["keys", &id, "reveal"]).await?, json!({}));
        let answer = client.send(&call).await?;
        match answer["secret"].as_str() {
            Some(secret) if !session.output.json => session.output.line(secret),
            Some(_) | None => session.output.document(&answer),
        }
    }
}

impl Switched {
    async fn run(self, session: &Session, verb: &str, done: &str) -> Result<(), Failure> {
        self.named.act(session, (verb, done), json!({}), self.wait).await
    }
}

impl Rotate {
    async fn run(self, session: &Session) -> Result<(), Failure> {
        let body = match self.overlap {
            Some(seconds) => json!({ "overlap_seconds": seconds }),
            None => json!({}),
        };
        self.named.act(session, ("rotate", "rotated"), body, self.wait).await
    }
}

impl Activate {
    async fn run(self, session: &Session) -> Result<(), Failure> {
        let body = json!({ "rotate": self.rotate });
        self.named.act(session, ("activate", "activated"), body, self.wait).await
    }
}

impl Revoke {
    async fn run(self, session: &Session) -> Result<(), Failure> {
        self.confirm.ask(&format!("Revoke {}? It stops at once.", self.named.key))?;
        let body = json!({ "reason": self.reason });
        self.named.act(session, ("revoke", "revoked"), body, self.wait).await
    }
}

impl Delete {
    async fn run(self, session: &Session) -> Result<(), Failure> {
        let Named { key } = &self.named;
        self.confirm.ask(&format!("Delete {key}? It stops at once and cannot be restored."))?;
        let client = &session.client;
        let id = client.id_of(Kind::KEY, key).await?;
        let call = Call::delete(client.in_org(&["keys", &id]).await?);
        let answer = client.send(&self.wait.on(call)).await?;
        session.changed(&answer, &format!("deleted key {key}"))
    }
}
