//! The data folder of one gateway, which no second process may use.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use turnpike_domain::id::GatewayId;
use turnpike_runtime::machine;

/// The folder of all spools within the data folder.
const SPOOL: &str = "spool";
/// Within the data folder: on which start of the machine the spools were last written.
const BOOT: &str = "boot";

/// The data folder, locked while this stands.
pub(super) struct Folder {
    data: PathBuf,
    _lock: File,
}

/// Where the spool files of one gateway stand.
pub(super) struct SpoolFolder {
    pub(super) path: PathBuf,
    /// The folder is new, or the machine was started again since its files were written, which are
    /// not forced to the disk: what an earlier run has spent may not stand in them.
    pub(super) torn: bool,
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

    /// Where this gateway's spool files stand, and whether they are all that an earlier run wrote.
    /// Records belong to the gateway that measured them:
    /// those of another identity could only be sent in a wrong name, and are left where they are.
    pub(super) fn spool(&self, gateway: GatewayId) -> io::Result<SpoolFolder> {
        let all = self.data.join(SPOOL);
        let own = all.join(gateway.to_string());
        let (boot, mark) = (machine::boot_id(), self.data.join(BOOT));
        let before = std::fs::read_to_string(&mark).ok();
        let torn = !own.is_dir() || boot.is_none() || before != boot;
        std::fs::create_dir_all(&own)?;
        std::fs::write(&mark, boot.unwrap_or_default())?;
        for entry in std::fs::read_dir(&all)? {
            let path = entry?.path();
            if path != own {
                tracing::warn!(path = %path.display(), "a spool of another identity stands here");
            }
        }
        Ok(SpoolFolder { path: own, torn })
    }
}
