//! How a process says why it ends: one line for people, and an exit code.

use std::error::Error;
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;

use tracing::Level;

/// The exit code of a process, after its last line: why it could not do its work.
///
/// It is told in the log, in the form that was chosen for it, and before there is one on standard
/// error. Where in the program it came up is of no use to whoever reads it.
pub fn exit_code<E: AsRef<dyn Error>>(outcome: Result<(), E>) -> ExitCode {
    let Err(error) = outcome else { return ExitCode::SUCCESS };
    let why = told(error.as_ref());
    if tracing::enabled!(Level::ERROR) {
        tracing::error!("{why}");
    } else {
        // If nobody listens, the exit code still does.
        let _ = writeln!(std::io::stderr(), "{why}");
    }
    ExitCode::FAILURE
}

/// What failed, and the causes below it, each after a colon unless it was told already.
#[must_use]
pub fn told(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(below) = cause {
        let below_text = below.to_string();
        if !text.ends_with(&below_text) {
            // Writing to a text cannot fail.
            let _ = write!(text, ": {below_text}");
        }
        cause = below.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{what}")]
    struct Above<S: Error + 'static> {
        what: &'static str,
        source: S,
    }

    #[test]
    fn every_cause_is_told_once() {
        let taken = || io::Error::new(io::ErrorKind::AddrInUse, "taken");
        let port = Above { what: "cannot listen", source: taken() };
        assert_eq!(told(&port), "cannot listen: taken");
        let start = Above { what: "did not start", source: port };
        assert_eq!(told(&start), "did not start: cannot listen: taken");
        let twice = Above { what: "cannot listen: taken", source: taken() };
        assert_eq!(told(&twice), "cannot listen: taken");
    }
}
