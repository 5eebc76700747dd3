//! The program `turnpike`: reads the command line, runs the command, answers with its exit code.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;
use turnpike::cli::Cli;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The exit code of what was typed wrong.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(told) => {
            // Help and version are no mistakes, and go to standard output.
            let code = if told.use_stderr() { USAGE } else { 0 };
            return if told.print().is_ok() { code.into() } else { ExitCode::FAILURE };
        }
    };
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("no threads could be started: {error}"), 1),
    };
    match runtime.block_on(cli.run()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) if failure.is_closed_pipe() => ExitCode::SUCCESS,
        Err(failure) => fail(&failure.told(), failure.exit_code()),
    }
}

/// Tells what went wrong. If nobody listens, the exit code still does.
fn fail(told: &str, code: u8) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "turnpike: {told}");
    code.into()
}
