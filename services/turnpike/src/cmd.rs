//! The commands of the client, one file each, and what all of them are given.

pub(crate) mod audit;
pub(crate) mod completions;
pub(crate) mod decision;
pub(crate) mod echo;
pub(crate) mod events;
pub(crate) mod gateway;
pub(crate) mod key;
pub(crate) mod mcp;
pub(crate) mod me;
pub(crate) mod member;
pub(crate) mod model;
pub(crate) mod notices;
pub(crate) mod org;
pub(crate) mod page;
pub(crate) mod peppers;
pub(crate) mod plan;
pub(crate) mod project;
pub(crate) mod provider;
pub(crate) mod requests;
pub(crate) mod token;
pub(crate) mod usage;
pub(crate) mod wait;
pub(crate) mod wallet;

use std::future::Future;

use serde_json::Value;
use turnpike_runtime::clock;

use crate::client::{Access, Answer, Client};
use crate::failure::Failure;
use crate::output::Output;

/// What every command is given besides its own arguments.
pub(crate) struct Session {
    /// The management API.
    pub(crate) client: Client,
    /// Where answers go.
    pub(crate) output: Output,
}

/// A command of the client.
pub(crate) trait Run {
    /// Does what it says, and tells what came of it.
    fn run(self, session: &Session) -> impl Future<Output = Result<(), Failure>>;
}

/// What all commands of the client take.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Common {
    #[command(flatten)]
    access: Access,
    /// Print JSON, as the API has it, instead of tables
    #[arg(long, global = true)]
    json: bool,
}

/// A noun with its verbs: `key create`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Noun<C: clap::Subcommand> {
    #[command(subcommand)]
    verb: C,
    #[command(flatten)]
    common: Common,
}

/// A command without verbs: `me`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Verb<A: clap::Args> {
    #[command(flatten)]
    arguments: A,
    #[command(flatten)]
    common: Common,
}

impl<C: clap::Subcommand + Run> Noun<C> {
    /// Runs the verb.
    ///
    /// # Errors
    /// Its failure.
    pub(crate) async fn run(self) -> Result<(), Failure> {
        self.verb.run(&self.common.session()?).await
    }
}

impl<A: clap::Args + Run> Verb<A> {
    /// Runs the command.
    ///
    /// # Errors
    /// Its failure.
    pub(crate) async fn run(self) -> Result<(), Failure> {
        self.arguments.run(&self.common.session()?).await
    }
}

impl Common {
    fn session(&self) -> Result<Session, Failure> {
        let client = Client::new(&self.access, clock::system())?;
        Ok(Session { client, output: Output { json: self.json } })
    }
}

impl Session {
    /// Tells what a change came to: all of the answer for programs; a sentence for people, and a
    /// secret alone on standard output, so that `$(…)` takes it.
    ///
    /// # Errors
    /// [`Failure::NotApplied`] if a proof was asked for and a gateway is missing from it.
    pub(crate) fn changed(&self, answer: &Answer, done: &str) -> Result<(), Failure> {
        let output = self.output;
        if output.json {
            output.document(answer)?;
        } else if let Some(secret) = answer["secret"].as_str() {
            output.line(secret)?;
            output.note(done)?;
            output
                .note("The secret is shown this once: keep it now. If it is lost, make another.")?;
        } else {
            output.line(done)?;
        }
        let Some(found) = answer.get("propagation") else { return Ok(()) };
        // Nothing stands on standard output beside a secret.
        let proof = if answer["secret"].is_string() { Output::note } else { Output::line };
        wait::told(found).tell(output, proof)
    }
}

/// A thing for people: its noun, its name and its id.
pub(crate) fn called(noun: &str, thing: &Value) -> String {
    let id = thing["id"].as_str().unwrap_or_default();
    match thing["name"].as_str() {
        Some(name) => format!("{noun} {name} ({id})"),
        None => format!("{noun} {id}"),
    }
}
