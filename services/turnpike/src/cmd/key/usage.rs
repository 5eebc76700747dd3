//! `turnpike key usage` and `key propagation`: what a key used, and which gateways know it.

use super::Named;
use crate::client::{Call, Kind};
use crate::cmd::Session;
use crate::cmd::usage::{Span, tell};
use crate::cmd::wait::{self, Wait};
use crate::failure::Failure;
use crate::output::Output;

/// Which usage of a key is shown.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Usage {
    #[command(flatten)]
    named: Named,
    /// One row for each model, hour or day, or several with commas between
    #[arg(long, value_name = "GROUPS", default_value = "day")]
    by: String,
    #[command(flatten)]
    span: Span,
}

/// Whether gateways know all of a key.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Propagation {
    #[command(flatten)]
    named: Named,
    #[command(flatten)]
    wait: Wait,
}

impl Usage {
    pub(super) async fn run(self, session: &Session) -> Result<(), Failure> {
        let client = &session.client;
        let id = client.id_of(Kind::KEY, &self.named.key).await?;
        let call = Call::get(client.in_org(&["keys", &id, "usage"]).await?);
        let call = self.span.on(call.with("group_by", self.by), client.clock().now());
        tell(session, &client.send(&call).await?)
    }
}

impl Propagation {
    pub(super) async fn run(self, session: &Session) -> Result<(), Failure> {
        let client = &session.client;
        let id = client.id_of(Kind::KEY, &self.named.key).await?;
        let call = Call::get(client.in_org(&["keys", &id, "propagation"]).await?);
        let answer = client.send(&self.wait.on(call)).await?;
        if session.output.json {
            session.output.document(&answer)?;
        }
        wait::told(&answer).tell(session.output, Output::line)
    }
}
