//! FoundationDB's client thread: started once in a process, stopped before it ends.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use foundationdb::FdbError;
use foundationdb::api::{FdbApiBuilder, NetworkAutoStop};

use super::errors;

/// The client library can be started once in the life of a process, even after it was stopped.
static STARTED: AtomicBool = AtomicBool::new(false);

/// Why a FoundationDB store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// [`Network::start`] was called before in this process.
    #[error("the FoundationDB client was started before in this process")]
    Started,
    /// The client library refuses to start: most often it is older than API version 730.
    #[error("the FoundationDB client (libfdb_c) does not start: {text}")]
    Client {
        /// What the library says.
        text: String,
    },
    /// The root is empty, too long, or in the keys that FoundationDB keeps for itself.
    #[error(
        "a root of {bytes} bytes cannot be used: 1 to {} bytes, the first not 0xff",
        super::MAX_ROOT_BYTES
    )]
    Root {
        /// The length of the root.
        bytes: usize,
    },
    /// The path of the cluster file is not text that the client library takes.
    #[error("{} is not a path that the FoundationDB client takes", path.display())]
    Path {
        /// The path of the cluster file.
        path: PathBuf,
    },
    /// The cluster file cannot be read or understood.
    #[error("{} is not a cluster file: {text}", path.display())]
    Cluster {
        /// The path of the cluster file.
        path: PathBuf,
        /// What the library says.
        text: String,
    },
}

/// The running client. Its thread is stopped and joined when the last clone is dropped, and every
/// open store holds one. `main` keeps one until its end, so that it is dropped before the process
/// exits: the library must not run on while its memory is taken down.
#[derive(Clone)]
pub struct Network {
    _running: Arc<NetworkAutoStop>,
}

impl Network {
    /// Starts the client.
    ///
    /// # Errors
    /// [`OpenError::Started`] the second time, [`OpenError::Client`] if the library refuses.
    pub fn start() -> Result<Self, OpenError> {
        if STARTED.swap(true, Ordering::AcqRel) {
            return Err(OpenError::Started);
        }
        let refused = |error: FdbError| OpenError::Client { text: errors::text(error) };
        let builder = FdbApiBuilder::default().build().map_err(refused)?;
        #[expect(unsafe_code, reason = "the handle is dropped, and the thread joined, before exit")]
        let running = unsafe { builder.boot() }.map_err(refused)?;
        Ok(Self { _running: Arc::new(running) })
    }
}
