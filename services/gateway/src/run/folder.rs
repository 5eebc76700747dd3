//! The data folder of one gateway, which no second process may use.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use turnpike_domain::id::GatewayId;

/// The folder of all spools within the data folder.
const SPOOL: &str = "spool";

/// The data folder, locked while this stands.
pub(super) struct Folder {
    data: PathBuf,
    _lock: File,
}

impl Folder {
    pub(super) fn open(data: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(data)?;
        let lock = File::create(data.join("lock"))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { data: data.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => {
                Err(io::Error::other("another gateway is using this folder"))
            }
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// Where this gateway's spool files stand. Records belong to the gateway that measured them:
    /// those of another identity could only be sent in a wrong name, and are left where they are.
    pub(super) fn spool(&self, gateway: GatewayId) -> io::Result<PathBuf> {
        let all = self.data.join(SPOOL);
        let own = all.join(gateway.to_string());
        std::fs::create_dir_all(&own)?;
        for entry in std::fs::read_dir(&all)? {
            let path = entry?.path();
            if path != own {
                tracing::warn!(path = %path.display(), "a spool of another identity stands here");
            }
        }
        Ok(own)
    }
}
