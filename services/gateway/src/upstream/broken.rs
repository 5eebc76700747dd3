//! Why a connection to a provider could not be used to the end.

use std::io;

/// What went wrong on a connection.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// The socket's own failure.
    #[error("the connection failed")]
    Socket(#[from] io::Error),
    /// The provider closed it in the middle.
    #[error("the connection was closed too early")]
    Closed,
    /// No head of an answer in time.
    #[error("the provider kept silent")]
    Silent,
    /// What came is not HTTP/1.1 as RFC 9112 describes it.
    #[error("the answer is malformed: {0}")]
    Malformed(&'static str),
    /// A head, a chunk's size line or trailers that do not end.
    #[error("a part of the answer is too long: {0}")]
    TooLong(&'static str),
}
