//! Measures the gateway beside nginx: a load generator and a fast scripted provider in one binary.

mod compare;
mod cpu;
mod exchange;
mod failure;
mod generate;
mod histogram;
mod nginx;
mod provider;

use std::io::Write;

use clap::{Parser, Subcommand};
use turnpike_runtime::clock;

/// `cargo run --release -p turnpike-tests --bin load -- <command>`.
#[derive(Parser)]
#[command(about = "Measures the gateway beside nginx, on loopback")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Answers chat completions as fast as a socket allows, until it is killed.
    Provider(provider::Options),
    /// Sends load to one URL and prints what it measured as JSON.
    Generate(generate::Options),
    /// Measures direct, nginx and the gateway in turn and prints a table.
    Compare(compare::Options),
}

fn main() -> anyhow::Result<()> {
    let clock = clock::system();
    let mut out = std::io::stdout().lock();
    match Arguments::parse().command {
        Command::Provider(options) => {
            let provider = provider::start(&options, &clock)?;
            writeln!(out, "{}", provider.address)?;
            out.flush()?;
            provider.wait();
        }
        Command::Generate(options) => {
            let measured = generate::run(&options, &clock)?;
            writeln!(out, "{}", measured.json())?;
        }
        Command::Compare(options) => {
            let rows = compare::run(&options, &clock)?;
            write!(out, "{}", compare::table(&rows))?;
            if let Some(path) = &options.json {
                std::fs::write(path, format!("{}\n", compare::json(&rows)))?;
            }
        }
    }
    Ok(())
}
