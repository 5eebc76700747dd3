//! Failures of the store: the world said no.

use turnpike_domain::id::OrgId;

use crate::kv::{CommitError, ReadError};

/// Why something above the bytes failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The bytes could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The bytes could not be written.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// Stored bytes make no sense; nothing was changed.
    #[error("the store holds something unreadable in {place}: {why}")]
    Corrupt {
        /// Which table and row.
        place: String,
        /// What is wrong with it.
        why: String,
    },
    /// Other writers came first too often.
    #[error("too many others write at the same time: try again")]
    Contended,
    /// Another process leads now; whoever gets this stops.
    #[error("another process has taken over")]
    Fenced,
}

impl StoreError {
    /// An unreadable event of an organisation.
    pub(crate) fn event(org: OrgId, seq: u64, why: impl ToString) -> Self {
        Self::Corrupt { place: format!("event {seq} of {org}"), why: why.to_string() }
    }

    /// An unreadable row of a table.
    pub(crate) fn row(table: &str, why: impl ToString) -> Self {
        Self::Corrupt { place: table.into(), why: why.to_string() }
    }
}
