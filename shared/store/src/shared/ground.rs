//! The directory that processes meet in: its lock, its socket, and who comes first.

use std::fs::{self, File, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::net::{UnixListener, UnixStream};
use turnpike_runtime::clock::{SharedClock, deadline};
use turnpike_runtime::tasks;

use super::guest::{Guest, Link};
use super::holder::{GREETING_MS, Held};
use super::line::{self, PROTOCOL};
use crate::embedded::{self, Embedded};

/// The file whose lock the holder has. It stays empty.
const LOCK_NAME: &str = "turnpike.lock";
/// The socket that the holder serves.
const SOCKET_NAME: &str = "turnpike.sock";
/// The socket before it is ready, so that nobody ever meets one that is open to all.
const NEW_SOCKET_NAME: &str = "turnpike.sock.new";

/// Why a store could not be opened, by this process or through another.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file cannot be opened.
    #[error(transparent)]
    Store(#[from] embedded::OpenError),
    /// The lock, which is beside the file, cannot be taken or read.
    #[error("{} cannot be locked: {source}", path.display())]
    Lock {
        /// The file that is locked.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// The socket for other processes cannot be made.
    #[error("the socket {} cannot be made: {source}", path.display())]
    Socket {
        /// The socket.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// Another process has the file open and does not serve it.
    #[error("{} is in use by another process, which does not answer: {source}", path.display())]
    Silent {
        /// The socket of that process.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// Another process has the file open and is of another release.
    #[error("the process that has {} open speaks version {found}, this one {PROTOCOL}: \
        use one release", path.display())]
    Protocol {
        /// The socket of that process.
        path: PathBuf,
        /// The version of the other process.
        found: u16,
    },
    /// The thread that opens the file ended early.
    #[error(transparent)]
    Task(#[from] tasks::TaskPanicked),
}

/// What this process became.
pub(super) enum Part {
    Holder(Arc<Held>, UnixListener),
    Guest(Arc<Guest>, Link),
}

impl OpenError {
    /// Whether it may pass by itself: the holder is still opening the file, or has just died.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::Silent { .. } | Self::Store(embedded::OpenError::InUse { .. }) => true,
            Self::Store(_)
            | Self::Lock { .. }
            | Self::Socket { .. }
            | Self::Protocol { .. }
            | Self::Task(_) => false,
        }
    }
}

/// Takes the part that is free: the holder's, else a guest's.
pub(super) async fn take_part(directory: &Path, clock: &SharedClock) -> Result<Part, OpenError> {
    let place = directory.to_owned();
    // The file may have to be repaired first.
    if let Some(held) = tasks::blocking("store-open", move || hold(&place)).await?? {
        let listener = bind(directory)?;
        return Ok(Part::Holder(Arc::new(held), listener));
    }
    let (guest, link) = join(directory, clock).await?;
    Ok(Part::Guest(guest, link))
}

/// Locks and opens the file; `None` if another process has the lock.
fn hold(directory: &Path) -> Result<Option<Held>, OpenError> {
    let path = directory.join(LOCK_NAME);
    fs::create_dir_all(directory)
        .map_err(|source| embedded::OpenError::Directory { path: directory.to_owned(), source })?;
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(&path);
    let lock: File = file.map_err(|source| OpenError::Lock { path: path.clone(), source })?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(source)) => return Err(OpenError::Lock { path, source }),
    }
    Ok(Some(Held { store: Embedded::open(directory)?, _lock: lock }))
}

/// Makes the socket. The lock is held, so one that is there already belongs to nobody.
fn bind(directory: &Path) -> Result<UnixListener, OpenError> {
    let path = directory.join(SOCKET_NAME);
    let new = directory.join(NEW_SOCKET_NAME);
    let make = || {
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let listener = UnixListener::bind(&new)?;
        fs::set_permissions(&new, Permissions::from_mode(0o600))?;
        fs::rename(&new, &path)?;
        Ok(listener)
    };
    make().map_err(|source| OpenError::Socket { path: path.clone(), source })
}

async fn join(directory: &Path, clock: &SharedClock) -> Result<(Arc<Guest>, Link), OpenError> {
    let path = directory.join(SOCKET_NAME);
    let greeted = deadline(&**clock, GREETING_MS, async {
        let mut stream = UnixStream::connect(&path).await?;
        let found = line::greet(&mut stream).await?;
        Ok((stream, found))
    });
    let greeted = greeted.await.unwrap_or_else(|| Err(io::ErrorKind::TimedOut.into()));
    match greeted {
        Ok((stream, PROTOCOL)) => Ok(Guest::new(stream, Arc::clone(clock))),
        Ok((_, found)) => Err(OpenError::Protocol { path, found }),
        Err(source) => Err(OpenError::Silent { path, source }),
    }
}
