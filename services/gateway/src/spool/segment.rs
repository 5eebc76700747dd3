//! The names of spool files, and the folder that holds them.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use turnpike_domain::id::EpochId;

/// What a spool file's name ends with.
const SUFFIX: &str = ".spool";

/// One file: segment `number` of `epoch`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SegmentFile {
    /// The run that wrote it.
    pub(crate) epoch: EpochId,
    /// Its place among the epoch's files.
    pub(crate) number: u32,
}

impl SegmentFile {
    /// Makes the file, empty. Its owner alone may read it.
    pub(crate) fn create(self, folder: &Path) -> io::Result<File> {
        use std::os::unix::fs::OpenOptionsExt;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true).mode(0o600);
        options.open(self.path(folder))
    }

    /// All bytes of the file.
    pub(crate) fn read(self, folder: &Path) -> io::Result<Vec<u8>> {
        std::fs::read(self.path(folder))
    }

    /// Deletes the file; one that is gone already is fine.
    pub(crate) fn remove(self, folder: &Path) -> io::Result<()> {
        match std::fs::remove_file(self.path(folder)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    fn path(self, folder: &Path) -> PathBuf {
        folder.join(format!("{}-{:08}{SUFFIX}", self.epoch, self.number))
    }

    fn parse(name: &str) -> Option<Self> {
        let (epoch, number) = name.strip_suffix(SUFFIX)?.rsplit_once('-')?;
        Some(Self { epoch: epoch.parse().ok()?, number: number.parse().ok()? })
    }
}

/// All spool files of a folder, by epoch and number. Files of other names are left alone.
pub(crate) fn segments(folder: &Path) -> io::Result<Vec<SegmentFile>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        found.extend(entry?.file_name().to_str().and_then(SegmentFile::parse));
    }
    found.sort_unstable();
    Ok(found)
}
