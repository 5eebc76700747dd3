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
    /// MCP servers that keys may reach, and their tools
    Mcp(Noun<cmd::mcp::Mcp>),
    /// The organisation's own money
    Wallet(Noun<cmd::wallet::Wallet>),
    /// Management tokens
    Token(Noun<cmd::token::Token>),
    /// Gateways and what lets them in
    Gateway(Noun<cmd::gateway::Gateway>),
    /// The stream of events
    Events(Noun<cmd::events::Events>),
    /// Who did what, and the proof of it
    Audit(Noun<cmd::audit::Audit>),
    /// Why requests were refused
    Decision(Noun<cmd::decision::Decision>),
    /// Budget alerts and alarms
    Notices(Verb<cmd::notices::Notices>),
    /// The request log
    Requests(Verb<cmd::requests::Requests>),
    /// What was used
    Usage(Verb<cmd::usage::Usage>),
    /// How many secrets need each version of the pepper (operator)
    Peppers(Verb<cmd::peppers::Peppers>),
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
            Command::Mcp(noun) => Box::pin(noun.run()).await,
            Command::Wallet(noun) => Box::pin(noun.run()).await,
            Command::Token(noun) => Box::pin(noun.run()).await,
            Command::Gateway(noun) => Box::pin(noun.run()).await,
            Command::Events(noun) => Box::pin(noun.run()).await,
            Command::Audit(noun) => Box::pin(noun.run()).await,
            Command::Decision(noun) => Box::pin(noun.run()).await,
            Command::Notices(verb) => Box::pin(verb.run()).await,
            Command::Requests(verb) => Box::pin(verb.run()).await,
            Command::Usage(verb) => Box::pin(verb.run()).await,
            Command::Peppers(verb) => Box::pin(verb.run()).await,
            Command::Me(verb) => Box::pin(verb.run()).await,
            Command::Completions(completions) => completions.run(),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;
    use clap::error::ErrorKind;

    use super::*;

    /// The page that tells people of every command.
    const PAGE: &str = include_str!("../../../docs/use/client.md");

    fn mistake(line: &str) -> Option<ErrorKind> {
        Cli::try_parse_from(line.split(' ')).err().map(|error| error.kind())
    }

    #[test]
    fn the_grammar_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn what_people_type_is_understood() {
        for line in [
            "turnpike dev --data x --control 127.0.0.1:0 --gateway [::1]:0 --json",
            "turnpike echo --listen 127.0.0.1:0",
            "turnpike key create ci --expires 90d --cost-usd 25 --tokens 1_000_000 --reset daily",
            "turnpike key create ci --rpm 60 --tpm 10000 --alerts 50,80,100 --models a,b",
            "turnpike key create ci --ips 10.0.0.0/8 --project web --owner a@b.c --plan standard",
            "turnpike key create ci --metadata {\"team\":\"x\"} --fit clamp --wait",
            "turnpike key list --json --sort -requests --status active --all",
            "turnpike key --json list",
            "turnpike key edit ci --cost-usd none --expires never",
            "turnpike key rotate ci --overlap 24h --wait --wait-timeout-ms 10000",
            "turnpike key revoke ci --reason compromised -y",
            "turnpike org edit --max-staleness unbounded --limit-status 429",
            "turnpike model create m --context-window 1 --max-output 1 --route a --route b",
            "turnpike gateway token create dc-1 --all-organisations",
            "turnpike usage --by key,day --from 30d --url http://x --token-file y --org org_1",
            "turnpike requests show req_1",
            "turnpike requests --key ci --json",
            "turnpike requests list --status 4xx --code rate_limited --provider echo",
            "turnpike decision show dec_1",
            "turnpike notices --limit 5 --json",
            "turnpike wallet topup 25.50 --note invoice-7 --wait",
            "turnpike wallet ledger --all",
            "turnpike key explain ci --model echo-1 --input-tokens 10 --ip ::1",
            "turnpike key usage ci --by model,day --from 7d",
            "turnpike key propagation ci --wait",
            "turnpike key edit ci --mcp on --mcp-mode allow_list --mcp-servers a,b",
            "turnpike key edit ci --mcp-tools a=x,y --mcp-tools b=none",
            "turnpike gateway release edge-1 --key ci --cost-usd 1.25 -y",
            "turnpike member accept --org org_1 --invitation-file i --password-file p",
            "turnpike events tail -f --after 0",
            "turnpike audit verify --file copy.cbor",
            "turnpike completions zsh",
        ] {
            assert_eq!(mistake(line), None, "{line}");
        }
    }

    #[test]
    fn what_cannot_be_meant_is_refused_before_anything_is_asked() {
        use ErrorKind::{
            ArgumentConflict, DisplayHelp, InvalidSubcommand, InvalidValue,
            MissingRequiredArgument, UnknownArgument, ValueValidation,
        };
        for (line, wanted) in [
            ("turnpike --help", DisplayHelp),
            ("turnpike keys", InvalidSubcommand),
            ("turnpike key create", MissingRequiredArgument),
            ("turnpike key create ci --expires soon", ValueValidation),
            ("turnpike key create ci --cost-usd 1e3", ValueValidation),
            ("turnpike key create ci --reset yearly", InvalidValue),
            ("turnpike key create ci --metadata [1]", ValueValidation),
            ("turnpike key list --all --limit 5", ArgumentConflict),
            ("turnpike key rotate ci --wait-timeout-ms 5", MissingRequiredArgument),
            ("turnpike key revoke ci --reason tired", InvalidValue),
            ("turnpike model edit m --unpriced --input 1", ArgumentConflict),
            ("turnpike wallet topup none", ValueValidation),
            ("turnpike key explain ci", MissingRequiredArgument),
            ("turnpike key create ci --mcp-mode some", InvalidValue),
            ("turnpike key create ci --mcp-tools x", ValueValidation),
            ("turnpike gateway release edge-1", MissingRequiredArgument),
            ("turnpike gateway release edge-1 --tokens 1 --cost-usd 1", ArgumentConflict),
            ("turnpike dev --control 7070", ValueValidation),
            ("turnpike dev --url http://x", UnknownArgument),
        ] {
            assert_eq!(mistake(line), Some(wanted), "{line}");
        }
    }

    /// An argument of a command with the id of an option that all have is a panic when it is read.
    #[test]
    fn no_command_takes_an_argument_for_an_option_that_all_have() {
        let mut waiting = vec![(Cli::command(), Vec::new())];
        while let Some((command, above)) = waiting.pop() {
            let ids = || command.get_arguments().map(|argument| argument.get_id().to_string());
            let clashing: Vec<_> = ids().filter(|id| above.contains(id)).collect();
            assert_eq!(clashing, [""; 0], "{}", command.get_name());
            let globals = command.get_arguments().filter(|argument| argument.is_global_set());
            let globals = globals.map(|argument| argument.get_id().to_string());
            let above: Vec<_> = above.into_iter().chain(globals).collect();
            waiting.extend(command.get_subcommands().map(|verb| (verb.clone(), above.clone())));
        }
        for line in ["token delete ci --yes", "gateway token delete ci --yes", "mcp list"] {
            let line = ["turnpike"].into_iter().chain(line.split(' '));
            assert!(Cli::try_parse_from(line).is_ok());
        }
    }

    #[test]
    fn the_book_names_every_command() {
        let mut waiting = vec![Cli::command()];
        while let Some(command) = waiting.pop() {
            let verbs = command.get_subcommands().filter(|verb| verb.get_name() != "help");
            let verbs: Vec<_> = verbs.cloned().collect();
            let path = command.get_bin_name().unwrap_or(command.get_name()).to_owned();
            assert!(!verbs.is_empty() || PAGE.contains(&format!("`{path}")), "{path}");
            waiting.extend(verbs.into_iter().map(|verb| {
                let bin_name = format!("{path} {}", verb.get_name());
                verb.bin_name(bin_name)
            }));
        }
    }
}
