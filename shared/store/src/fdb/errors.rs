//! What FoundationDB's error numbers mean for a commit and for a read.
//!
//! The numbers are those of FoundationDB's documentation, "Error Codes". The binding can say
//! whether an error "may have committed"; that is not used, because it asks the linked library, and
//! a number that is new to it would pass for a plain failure. Here a number that is not listed is
//! [`CommitError::Unknown`].

use foundationdb::FdbError;

use crate::kv::{CommitError, ReadError};

const TRANSACTION_TOO_OLD: i32 = 1007;
const FUTURE_VERSION: i32 = 1009;
const NOT_COMMITTED: i32 = 1020;
const TRANSACTION_TIMED_OUT: i32 = 1031;
const PROCESS_BEHIND: i32 = 1037;
const CLUSTER_VERSION_CHANGED: i32 = 1039;
const TRANSACTION_TOO_LARGE: i32 = 2101;
const KEY_TOO_LARGE: i32 = 2102;
const VALUE_TOO_LARGE: i32 = 2103;

/// Refused before anything was written: a server is behind (1037), the database is locked (1038), a
/// proxy has no memory left (1042, 1078), batch priority, a tag or a proxy's tag is throttled
/// (1051, 1213, 1223).
const REFUSED: [i32; 7] = [PROCESS_BEHIND, 1038, 1042, 1051, 1078, 1213, 1223];

/// The answer of a commit. `commit_unknown_result` (1021), `cluster_version_changed` (1039), a
/// cancellation and a timeout may have happened, as may anything that is not known here.
pub(super) fn commit(error: FdbError) -> CommitError {
    match error.code() {
        // The version is too old to tell, or belongs to another cluster.
        NOT_COMMITTED | TRANSACTION_TOO_OLD | FUTURE_VERSION => CommitError::Conflict,
        TRANSACTION_TOO_LARGE | KEY_TOO_LARGE | VALUE_TOO_LARGE => {
            CommitError::TooLarge(text(error))
        }
        code if REFUSED.contains(&code) => CommitError::Unavailable(text(error)),
        _ => CommitError::Unknown(text(error)),
    }
}

/// A failure while the transaction was put together: nothing was sent.
pub(super) fn before_commit(error: FdbError) -> CommitError {
    CommitError::Unavailable(text(error))
}

/// The answer of a read within a snapshot. The timeout is as long as a version is kept, so who runs
/// into it takes a new snapshot, which says whether the cluster can be reached. A server that has
/// not come to the version yet, and a client that changes its protocol, serve a newer one.
pub(super) fn read(error: FdbError) -> ReadError {
    match error.code() {
        TRANSACTION_TOO_OLD
        | TRANSACTION_TIMED_OUT
        | FUTURE_VERSION
        | PROCESS_BEHIND
        | CLUSTER_VERSION_CHANGED => ReadError::TooOld,
        _ => ReadError::Unavailable(text(error)),
    }
}

/// Whether a call was given up because nobody answered.
pub(super) fn is_timeout(error: FdbError) -> bool {
    error.code() == TRANSACTION_TIMED_OUT
}

/// A sentence with the number, which is what documentation and support ask for.
pub(super) fn text(error: FdbError) -> String {
    format!("FoundationDB error {}: {}", error.code(), error.message())
}
