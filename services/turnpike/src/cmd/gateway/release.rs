//! `turnpike gateway release`: what a gateway that is gone still holds.

use serde_json::Value;

use crate::client::{Call, Kind};
use crate::cmd::Session;
use crate::cmd::wait::Wait;
use crate::failure::Failure;
use crate::flags::{amount, some};
use crate::prompt::Confirm;

/// What is released.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Release {
    /// Id or name of the gateway
    gateway: String,
    /// The key whose budget is held, by id or name
    #[arg(long, conflicts_with = "project")]
    key: Option<String>,
    /// The project whose budget is held, by id or name [default: the wallet (operator)]
    #[arg(long)]
    project: Option<String>,
    /// How much money, such as 25 or 0.50
    #[arg(long, value_name = "USD", value_parser = amount, required_unless_present = "tokens",
          conflicts_with = "tokens")]
    cost_usd: Option<String>,
    /// How many tokens
    #[arg(long, value_name = "NUMBER")]
    tokens: Option<u64>,
    #[command(flatten)]
    confirm: Confirm,
    #[command(flatten)]
    wait: Wait,
}

impl Release {
    pub(super) async fn run(self, session: &Session) -> Result<(), Failure> {
        let Self { gateway, confirm, wait, .. } = &self;
        confirm.ask(&format!(
            "Release what {gateway} has lost? If it has spent it and reports that later, the \
             limit is exceeded by as much."
        ))?;
        let client = &session.client;
        let id = client.id_of(Kind::GATEWAY, gateway).await?;
        let body = some([
            ("key_id", client.id_if(Kind::KEY, self.key.as_deref()).await?.map(Value::from)),
            (
                "project_id",
                client.id_if(Kind::PROJECT, self.project.as_deref()).await?.map(Value::from),
            ),
            ("cost_usd", self.cost_usd.clone().map(Value::from)),
            ("tokens", self.tokens.map(Value::from)),
        ]);
        let path = client.in_org(&["gateways", &id, "release"]).await?;
        let answer = client.send(&wait.on(Call::post(path, body.into()))).await?;
        session.changed(&answer, &format!("released what {gateway} has lost, up to that amount"))
    }
}
