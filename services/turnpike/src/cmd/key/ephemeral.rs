//! `turnpike key ephemeral`: short-lived tokens made from a key.

use serde_json::Value;

use super::Named;
use crate::client::{Call, Kind};
use crate::cmd::page::Page;
use crate::cmd::wait::Wait;
use crate::cmd::{Session, called};
use crate::failure::Failure;
use crate::flags::{ScopeFlags, seconds, some, usd};
use crate::output::table::{Column, time};
use crate::prompt::Confirm;

/// Shown below the help of `key ephemeral`.
pub(super) const EXAMPLES: &str = "\
Examples:
  turnpike key ephemeral ci --expires-in 15m --models echo-1 --cost-usd 0.50
  TOKEN=$(turnpike key ephemeral ci)   # the token alone is on standard output
  turnpike key ephemeral list ci
  turnpike key ephemeral revoke ci eph_… --wait";

const COLUMNS: &[Column] = &[
    Column::plain("name", "/name"),
    Column::plain("status", "/status"),
    Column::plain("requests", "/used/requests"),
    Column::plain("spent", "/used/cost_usd"),
    Column::plain("at most", "/cost_usd"),
    Column::plain("tokens", "/used/tokens"),
    Column::plain("at most", "/tokens"),
    Column::new("expires", "/expires_at", time),
    Column::new("created", "/created_at", time),
    Column::plain("id", "/id"),
];

/// What can be done with the tokens of a key; without a subcommand one is made.
#[derive(Clone, Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Ephemeral {
    #[command(subcommand)]
    other: Option<Other>,
    #[command(flatten)]
    issue: Issue,
}

/// A token to make.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Issue {
    /// The key's id or name
    #[arg(value_name = "KEY")]
    key: Option<String>,
    /// What the token is called
    #[arg(long)]
    name: Option<String>,
    /// How long it works, such as 15m or 12h (24h at most); one hour if absent
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    expires_in: Option<u64>,
    /// The most that it may spend of its key's budget, such as 25 or 0.50
    #[arg(long, value_name = "USD", value_parser = usd)]
    cost_usd: Option<Value>,
    /// The most tokens that it may use of its key's budget
    #[arg(long, value_name = "NUMBER")]
    tokens: Option<u64>,
    #[command(flatten)]
    wait: Wait,
    #[command(flatten)]
    scopes: ScopeFlags,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum Other {
    /// List the tokens made from a key
    List {
        #[command(flatten)]
        named: Named,
        #[command(flatten)]
        page: Page,
    },
    /// Revoke a token before its end; it stops at once
    Revoke {
        #[command(flatten)]
        named: Named,
        // Not `token`: that is the client's own credential.
        /// The token's id
        #[arg(value_name = "TOKEN")]
        ephemeral: String,
        #[command(flatten)]
        confirm: Confirm,
        #[command(flatten)]
        wait: Wait,
    },
}

impl Ephemeral {
    pub(super) async fn run(self, session: &Session) -> Result<(), Failure> {
        match self.other {
            Some(other) => other.run(session).await,
            None => self.issue.run(session).await,
        }
    }
}

impl Issue {
    async fn run(self, session: &Session) -> Result<(), Failure> {
        let client = &session.client;
        let unnamed = || Failure::Usage("Name the key of the token.".to_owned());
        let key = self.key.ok_or_else(unnamed)?;
        let body = some([
            ("name", self.name.map(Value::from)),
            ("expires_in_seconds", self.expires_in.map(Value::from)),
            ("cost_usd", self.cost_usd),
            ("tokens", self.tokens.map(Value::from)),
            ("scopes", self.scopes.json()),
        ]);
        let id = client.id_of(Kind::KEY, &key).await?;
        let call = Call::post(client.in_org(&["keys", &id, "ephemeral"]).await?, body.into());
        let answer = client.send(&self.wait.on(call)).await?;
        session.changed(&answer, &format!("made {}", called("ephemeral token", &answer)))
    }
}

impl Other {
    async fn run(self, session: &Session) -> Result<(), Failure> {
        let client = &session.client;
        match self {
            Self::List { named, page } => {
                let id = client.id_of(Kind::KEY, &named.key).await?;
                let call = Call::get(client.in_org(&["keys", &id, "ephemeral"]).await?);
                page.show(session, call, COLUMNS).await
            }
            Self::Revoke { named, ephemeral, confirm, wait } => {
                confirm.ask(&format!("Revoke {ephemeral}? It stops at once."))?;
                let id = client.id_of(Kind::KEY, &named.key).await?;
                let path = client.in_org(&["keys", &id, "ephemeral", &ephemeral]).await?;
                let answer = client.send(&wait.on(Call::delete(path))).await?;
                session.changed(&answer, &format!("revoked ephemeral token {ephemeral}"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        ephemeral: Ephemeral,
    }

    fn read(line: &str) -> Result<Ephemeral, clap::Error> {
        Line::try_parse_from(line.split(' ')).map(|line| line.ephemeral)
    }

    #[test]
    fn a_key_alone_means_that_a_token_is_made() {
        let issue = read("x ci --expires-in 15m --cost-usd 0.5 --models a").unwrap();
        assert!(issue.other.is_none());
        assert_eq!((issue.issue.key.as_deref(), issue.issue.expires_in), (Some("ci"), Some(900)));
        assert_eq!(read("x").unwrap().issue.key, None, "which key is asked when it is run");
    }

    #[test]
    fn lists_and_revocations_are_told_apart() {
        assert!(matches!(read("x list ci").unwrap().other, Some(Other::List { .. })));
        let revoke = read("x revoke ci eph_1 --yes").unwrap();
        assert!(
            matches!(revoke.other, Some(Other::Revoke { ephemeral, .. }) if ephemeral == "eph_1")
        );
        assert!(read("x revoke ci").is_err(), "which token?");
    }
}
