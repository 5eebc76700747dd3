//! The data folder of one gateway, which no second process may use.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

/// The data folder, locked while this stands.
pub(super) struct Folder {
    /// Where spool files stand.
    pub(super) spool: PathBuf,
    _lock: File,
}

impl Folder {
    pub(super) fn open(data: &Path) -> io::Result<Self> {
        let spool = data.join("spool");
        std::fs::create_dir_all(&spool)?;
        let lock = File::create(data.join("lock"))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { spool, _lock: lock }),
            Err(TryLockError::WouldBlock) => {
                Err(io::Error::other("another gateway is using this folder"))
            }
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}
