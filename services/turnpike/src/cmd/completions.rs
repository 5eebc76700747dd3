//! `turnpike completions`: what a shell needs to complete our command lines.

use std::io::{self, Write as _};

use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::cli::Cli;
use crate::failure::Failure;

/// For which shell.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Completions {
    /// The shell
    shell: Shell,
}

impl Completions {
    /// Prints the script to standard output.
    ///
    /// # Errors
    /// [`Failure::Io`] if nobody reads it.
    pub(crate) fn run(self) -> Result<(), Failure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "turnpike", &mut script);
        let written = io::stdout().write_all(&script);
        written.map_err(Failure::io("standard output cannot be written"))
    }
}
