//! `turnpike key create` and `key edit`: what a key is to be.

use serde_json::{Map, Value};

use super::Named;
use crate::client::{Call, Client, Kind};
use crate::cmd::wait::Wait;
use crate::cmd::{Run, Session, called};
use crate::failure::Failure;
use crate::flags::{Expiry, LimitFlags, ScopeFlags, nullable, object, seconds, some};

/// Shown below the help of `key create`.
pub(super) const EXAMPLES: &str = "\
Examples:
  turnpike key create ci --expires 90d --cost-usd 25 --reset monthly --alerts 50,80,100
  turnpike key create batch --models echo-1,echo-slow --ips 10.0.0.0/8 --rpm 60
  KEY=$(turnpike key create ci)   # the secret alone is on standard output";

/// Where `turnpike dev` serves models.
const DEFAULT_GATEWAY: &str = "http://127.0.0.1:7080";

/// A key to make.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Create {
    /// What the key is called; unique in the organisation
    name: String,
    /// Where a gateway answers, for the example that is printed
    #[arg(long, value_name = "URL", env = "TURNPIKE_GATEWAY_URL", default_value = DEFAULT_GATEWAY)]
    gateway_url: String,
    /// Make a key whose only credential is an ephemeral token, which is shown instead of a secret
    #[arg(long)]
    ephemeral: bool,
    /// How long an ephemeral key works, such as 15m or 12h (24h at most); one hour if absent
    #[arg(long, value_name = "TIME", value_parser = seconds, requires = "ephemeral")]
    expires_in: Option<u64>,
    #[command(flatten)]
    wait: Wait,
    #[command(flatten)]
    profile: Profile,
}

/// What changes of a key.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Edit {
    #[command(flatten)]
    named: Named,
    /// Another name
    #[arg(long)]
    name: Option<String>,
    #[command(flatten)]
    wait: Wait,
    #[command(flatten)]
    profile: Profile,
}

/// Everything of a key but its name.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Profile {
    /// When it stops working: never, 30d, 1y, a date, or an RFC 3339 time
    #[arg(long, value_name = "WHEN")]
    expires: Option<Expiry>,
    /// The member that it belongs to, by id or address
    #[arg(long, value_name = "MEMBER")]
    owner: Option<String>,
    /// The project that it is grouped under, by id or name; none takes it out
    #[arg(long, value_parser = nullable)]
    project: Option<Value>,
    /// Its plan, by id or name
    #[arg(long)]
    plan: Option<String>,
    /// A JSON object of yours; it is echoed in request logs and spend events
    #[arg(long, value_name = "JSON", value_parser = object)]
    metadata: Option<Value>,
    #[command(flatten)]
    limits: LimitFlags,
    #[command(flatten)]
    scopes: ScopeFlags,
}

impl Run for Create {
    async fn run(self, session: &Session) -> Result<(), Failure> {
        let client = &session.client;
        let mut body = self.profile.json(client).await?;
        body.insert("name".to_owned(), self.name.into());
        body.extend(some([
            ("kind", self.ephemeral.then(|| "ephemeral".into())),
            ("expires_in_seconds", self.expires_in.map(Value::from)),
        ]));
        let call = Call::post(client.in_org(&["keys"]).await?, body.into());
        let answer = client.send(&self.wait.on(call)).await?;
        session.changed(&answer, &format!("made {}", called("key", &answer)))?;
        if session.output.json {
            Ok(())
        } else {
            session.output.note(&example(&self.gateway_url, None))
        }
    }
}

impl Run for Edit {
    async fn run(self, session: &Session) -> Result<(), Failure> {
        let client = &session.client;
        let mut body = self.profile.json(client).await?;
        body.extend(self.name.map(|name| ("name".to_owned(), Value::from(name))));
        if body.is_empty() {
            return Err(Failure::Usage("Nothing is said that should change.".to_owned()));
        }
        let id = client.id_of(Kind::KEY, &self.named.key).await?;
        let call = Call::patch(client.in_org(&["keys", &id]).await?, body.into());
        let answer = client.send(&self.wait.on(call)).await?;
        session.changed(&answer, &format!("changed {}", called("key", &answer)))
    }
}

impl Profile {
    /// What was given, with ids in place of names.
    async fn json(self, client: &Client) -> Result<Map<String, Value>, Failure> {
        let now = client.clock().now();
        let mut body = some([
            ("expires_at", self.expires.map(|expiry| expiry.time(now).into())),
            ("metadata", self.metadata),
            ("limits", self.limits.json()),
            ("scopes", self.scopes.json()),
        ]);
        let named = [
            ("owner_id", Kind::MEMBER, self.owner.map(Value::from)),
            ("project_id", Kind::PROJECT, self.project),
            ("plan_id", Kind::PLAN, self.plan.map(Value::from)),
        ];
        for (field, kind, text) in named {
            let id = match text.as_ref().and_then(Value::as_str) {
                Some(name) => Some(client.id_of(kind, name).await?.into()),
                None => text,
            };
            body.extend(id.map(|id| (field.to_owned(), id)));
        }
        Ok(body)
    }
}

/// A first call, ready to be pasted; `secret` stands in it if it may be shown again.
pub(crate) fn example(gateway_url: &str, secret: Option<&str>) -> String {
    let secret = secret.unwrap_or("$KEY");
    format!(
        "\nTry it:\n  curl {gateway_url}/v1/chat/completions \\\n    \
         -H \"Authorization: Bearer {secret}\" -H 'Content-Type: application/json' \\\n    \
         -d '{{\"model\":\"echo-1\",\"messages\":[{{\"role\":\"user\",\"content\":\"Hello\"}}]}}'"
    )
}
