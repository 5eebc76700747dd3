//! Why a command of the client did not do what it was asked, and with which exit code it ends.

use std::fmt::Write as _;
use std::io;

use turnpike_runtime::connector::{ClientError, TlsError};
use turnpike_runtime::ending;
use turnpike_runtime::telemetry::TelemetryError;
use turnpike_wire::api::problem::Problem;

use crate::dev::DevFailure;
use crate::echo::EchoFailure;
use crate::flags;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The command line cannot be meant; the sentence says what to change.
    #[error("{0}")]
    Usage(String),
    /// The person at the terminal said no.
    #[error("Nothing was done.")]
    Declined,
    /// The control plane refused, with its reasons.
    #[error("{}", told(.0))]
    Refused(Box<Problem>),
    /// The control plane could not be asked.
    #[error("{url} could not be reached")]
    Unreachable {
        /// Where it was looked for.
        url: String,
        /// What the connection says.
        source: reqwest::Error,
    },
    /// What stands in front of the control plane says that it is away.
    #[error("{url} answers {status}: the control plane is away")]
    Away {
        /// Where it was looked for.
        url: String,
        /// The status.
        status: u16,
    },
    /// What answers there is not a control plane of this release.
    #[error("{url} answered {what}: is it the address of a control plane?")]
    Strange {
        /// Where it was asked.
        url: String,
        /// What came back.
        what: String,
    },
    /// A name that stands for nothing, or for several things.
    #[error("{0}")]
    NotFound(String),
    /// A change has not reached every gateway that is online.
    #[error("{0}")]
    NotApplied(String),
    /// The chain of the audit log is broken.
    #[error("{0}")]
    NotVerified(String),
    /// Rows of an import were refused.
    #[error("{0}")]
    NotImported(String),
    /// The HTTP client could not be made, or the URL cannot be called.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The roots of trust cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The provider `echo` did not start.
    #[error(transparent)]
    Echo(#[from] EchoFailure),
    /// Everything in one process did not start.
    #[error(transparent)]
    Dev(#[from] DevFailure),
    /// Logging could not begin.
    #[error(transparent)]
    Telemetry(#[from] TelemetryError),
    /// A file, the terminal, or the pipe behind it.
    #[error("{what}")]
    Io {
        /// What was read or written.
        what: String,
        /// What the operating system says.
        source: io::Error,
    },
}

impl Failure {
    /// A failure of a file or of the terminal.
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        |source| Self::Io { what: what.into(), source }
    }

    /// The exit code: 2 for what was typed wrong, 1 for everything else.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::Declined
            | Self::Refused(_)
            | Self::Unreachable { .. }
            | Self::Away { .. }
            | Self::Strange { .. }
            | Self::NotFound(_)
            | Self::NotApplied(_)
            | Self::NotVerified(_)
            | Self::NotImported(_)
            | Self::Client(_)
            | Self::Tls(_)
            | Self::Echo(_)
            | Self::Dev(_)
            | Self::Telemetry(_)
            | Self::Io { .. } => 1,
        }
    }

    /// What failed, and the causes below it, each after a colon unless it was told already.
    #[must_use]
    pub fn told(&self) -> String {
        ending::told(self)
    }

    /// Whoever read the output has stopped reading it: nobody is left to be told.
    #[must_use]
    pub fn is_closed_pipe(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::BrokenPipe)
    }

    /// Whether the same call may succeed in a moment.
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            Self::Refused(problem) => problem.status == 503,
            Self::Unreachable { source, .. } => !source.is_builder(),
            Self::Away { .. } => true,
            Self::Strange { .. }
            | Self::Usage(_)
            | Self::Declined
            | Self::NotFound(_)
            | Self::NotApplied(_)
            | Self::NotVerified(_)
            | Self::NotImported(_)
            | Self::Client(_)
            | Self::Tls(_)
            | Self::Echo(_)
            | Self::Dev(_)
            | Self::Telemetry(_)
            | Self::Io { .. } => false,
        }
    }
}

/// The problem as sentences: what it is, by what operators find it in the logs, and each mistake by
/// the flag that made it. Beside those the detail would say everything twice.
fn told(problem: &Problem) -> String {
    let what = if problem.errors.is_empty() { &problem.detail } else { &problem.title };
    let mut text = format!("{what} ({}, {})", problem.code, problem.request_id);
    for error in &problem.errors {
        // Writing to a text cannot fail.
        let _ = write!(text, "\n  {}: {}", flags::of(&error.pointer), error.message);
    }
    text
}

#[cfg(test)]
mod tests {
    use turnpike_wire::api::problem::InputError;

    use super::*;

    fn problem(status: u16) -> Failure {
        let error = |pointer: &str| InputError {
            pointer: pointer.to_owned(),
            message: "must be more".to_owned(),
        };
        Failure::Refused(Box::new(Problem {
            r#type: "about:blank".to_owned(),
            title: "The input is not valid.".to_owned(),
            status,
            code: "validation_failed".to_owned(),
            detail: "/limits/cost_usd must be more".to_owned(),
            request_id: "req_1".to_owned(),
            errors: vec![error("/limits/cost_usd"), error("/unheard/of")],
        }))
    }

    #[test]
    fn mistakes_are_told_by_the_flag_that_made_them() {
        let lines = [
            "The input is not valid. (validation_failed, req_1)",
            "  --cost-usd: must be more",
            "  /unheard/of: must be more",
        ];
        assert_eq!(problem(422).to_string(), lines.join("\n"));
    }

    #[test]
    fn a_cause_is_told_once() {
        let address = std::net::SocketAddr::from(([127, 0, 0, 1], 1));
        let source = || io::Error::new(io::ErrorKind::AddrInUse, "taken");
        let echo = Failure::from(EchoFailure::Listen { address, source: source() });
        assert_eq!(echo.told(), "echo cannot listen on 127.0.0.1:1: taken");
        let option = "listen";
        let listen = turnpike_runtime::serve::ListenError { address, option, source: source() };
        let start = turnpike_control_plane::run::StartError::from(listen);
        let told = Failure::from(DevFailure::from(start)).told();
        assert_eq!(told.matches("taken").count(), 1, "{told}");
    }

    #[test]
    fn what_may_pass_is_tried_again_and_what_was_typed_wrong_ends_with_two() {
        assert!(problem(503).is_passing());
        assert!(!problem(422).is_passing());
        assert_eq!(problem(422).exit_code(), 1);
        assert_eq!(Failure::Usage("no".to_owned()).exit_code(), 2);
    }
}
