//! The command line: which command is meant, and who runs it.

use clap::{Parser, Subcommand};

use crate::cmd::{self, Noun, Verb};
use crate::dev::{self, Dev};
use crate::failure::Failure;

/// Shown below the help.
const EXAMPLES: &str = "\
Examples:
  turnpike dev                                  everything on this machine, in one process
  turnpike key create ci --expires 90d --cost-usd 25 --reset monthly
  turnpike key rotate ci --wait                 and the proof that every gateway has it
  turnpike usage --by model,day --from 30d
  turnpike events tail --follow

The client reads TURNPIKE_URL, TURNPIKE_TOKEN and TURNPIKE_ORG.
Exit codes: 0 done, 1 failed, 2 wrong usage.";

/// Turnpike: API keys for AI gateways, issued, distributed, enforced and billed
#[derive(Clone, Debug, Parser)]
#[command(name = "turnpike", version, after_help = EXAMPLES, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Debug, Subcommand)]
enum Command {
    /// Run everything in one process: control plane, gateway, projector and the provider echo
    #[command(after_help = dev::EXAMPLES)]
    Dev(Dev),
    /// Run the provider echo alone
    Echo(cmd::echo::Echo),
    /// Model keys
    Key(Box<Noun<cmd::key::Key>>),
    /// Organisations and their settings
    Org(Noun<cmd::org::Org>),
    /// People of the organisation
    Member(Noun<cmd::member::Member>),
    /// Groups of keys with limits of their own
    Project(Noun<cmd::project::Project>),
    /// Pricing groups
    Plan(Noun<cmd::plan::Plan>),
    /// Models, their prices and routes
    Model(Noun<cmd::model::Model>),
    /// Where models are served
    Provider(Noun<cmd::provider::Provider>),
    /// Management tokens
    Token(Noun<cmd::token::Token>),
    /// Gateways and what lets them in
    Gateway(Noun<cmd::gateway::Gateway>),
    /// The stream of events
    Events(Noun<cmd::events::Events>),
    /// Who did what, and the proof of it
    Audit(Noun<cmd::audit::Audit>),
    /// The request log
    Requests(Verb<cmd::requests::Requests>),
    /// What was used
    Usage(Verb<cmd::usage::Usage>),
    /// Who the token acts for
    Me(Verb<cmd::me::Me>),
    /// Print what a shell needs to complete command lines
    Completions(cmd::completions::Completions),
}

impl Cli {
    /// Does what the command line says.
    ///
    /// # Errors
    /// Its failure, which knows its exit code.
    pub async fn run(self) -> Result<(), Failure> {
        match self.command {
            Command::Dev(dev) => Box::pin(dev.run()).await,
            Command::Echo(echo) => echo.run().await,
            Command::Key(noun) => Box::pin(noun.run()).await,
            Command::Org(noun) => Box::pin(noun.run()).await,
            Command::Member(noun) => Box::pin(noun.run()).await,
            Command::Project(noun) => Box::pin(noun.run()).await,
            Command::Plan(noun) => Box::pin(noun.run()).await,
            Command::Model(noun) => Box::pin(noun.run()).await,
            Command::Provider(noun) => Box::pin(noun.run()).await,
            Command::Token(noun) => Box::pin(noun.run()).await,
            Command::Gateway(noun) => Box::pin(noun.run()).await,
            Command::Events(noun) => Box::pin(noun.run()).await,
            Command::Audit(noun) => Box::pin(noun.run()).await,
            Command::Requests(verb) => Box::pin(verb.run()).await,
            Command::Usage(verb) => Box::pin(verb.run()).await,
            Command::Me(verb) => Box::pin(verb.run()).await,
            Command::Completions(completions) => completions.run(),
        }
    }
}
