//! What can go wrong while load is measured.

use std::path::PathBuf;

/// Why there is no figure.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// A socket or thread could not be had, or a connection broke.
    #[error("{doing}")]
    Io {
        /// What was being done.
        doing: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// The URL is not `http://host:port/path`.
    #[error("{0:?} is not a URL such as http://127.0.0.1:7080/v1/chat/completions")]
    Url(String),
    /// The answer was not HTTP/1.1 with a length or chunks.
    #[error("an answer cannot be read: {0}")]
    Answer(&'static str),
    /// A thread of the generator panicked or was not started.
    #[error("a thread of the generator was lost")]
    Thread,
    /// nginx did not come up.
    #[error("nginx did not answer within its time; its log is in {0}")]
    Nginx(PathBuf),
    /// Nothing was measured.
    #[error("no request was answered with 200")]
    Nothing,
    /// A target used CPU for a minute after its load.
    #[error("a target did not come to rest")]
    Restless,
}

impl Failure {
    /// A failure of the system while doing something.
    pub(crate) fn io(doing: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Io { doing, source }
    }
}
