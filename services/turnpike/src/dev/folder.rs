//! The data folder: where the parts keep what they own, and secrets that only this user may read.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::DevFailure;

/// Only this user may look into the folder of secrets.
const PRIVATE_FOLDER: u32 = 0o700;
/// Only this user may read and write a secret.
const PRIVATE_FILE: u32 = 0o600;

/// A secret in the folder, by the name of its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    /// Digests secrets.
    Peppers,
    /// Seals credentials of providers.
    ProviderSealing,
    /// Seals passwords and recoverable secrets.
    VaultSealing,
    /// Signs what gateways must believe.
    Signing,
    /// Lets the gateway in.
    JoinToken,
    /// The id of the first organisation; kept once the first start is complete.
    OrgId,
    /// The id of the first model key.
    KeyId,
    /// The first model key, until it was shown.
    Key,
    /// The first management token, until it was shown.
    ManagementToken,
    /// The owner's password, until it was shown.
    OwnerPassword,
}

impl Kept {
    /// What is shown once.
    const SHOWN: [Self; 3] = [Self::Key, Self::ManagementToken, Self::OwnerPassword];

    const fn file(self) -> &'static str {
        match self {
            Self::Peppers => "peppers",
            Self::ProviderSealing => "provider-sealing",
            Self::VaultSealing => "vault-sealing",
            Self::Signing => "signing",
            Self::JoinToken => "join-token",
            Self::OrgId => "org-id",
            Self::KeyId => "key-id",
            Self::Key => "key",
            Self::ManagementToken => "management-token",
            Self::OwnerPassword => "owner-password",
        }
    }
}

/// The data folder.
#[derive(Clone, Debug)]
pub(super) struct Folder {
    root: PathBuf,
}

impl Folder {
    /// A folder that need not exist yet.
    pub(super) fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// Where the store is kept.
    pub(super) fn store(&self) -> PathBuf {
        self.root.join("store")
    }

    /// Where the gateway keeps its identity, mirror, spool and audit log.
    pub(super) fn gateway(&self) -> PathBuf {
        self.root.join("gateway")
    }

    /// Reads a secret; `None` if it is not kept.
    pub(super) fn read(&self, what: Kept) -> Result<Option<String>, DevFailure> {
        let path = self.path(what);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text.trim_end().to_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(DevFailure::File { path, source }),
        }
    }

    /// Keeps a secret: on disk, and whole, when this returns.
    pub(super) fn keep(&self, what: Kept, text: &str) -> Result<(), DevFailure> {
        let path = self.path(what);
        write(&path, text).map_err(|source| DevFailure::File { path, source })
    }

    /// Forgets what was shown once.
    pub(super) fn forget_shown(&self) -> Result<(), DevFailure> {
        for what in Kept::SHOWN {
            let path = self.path(what);
            match fs::remove_file(&path) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(source) => return Err(DevFailure::File { path, source }),
            }
        }
        Ok(())
    }

    fn path(&self, what: Kept) -> PathBuf {
        self.root.join("keys").join(what.file())
    }
}

/// Writes beside and renames, so that a crash leaves the old file or the new, never half of one.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    DirBuilder::new().recursive(true).mode(PRIVATE_FOLDER).create(folder)?;
    let beside = path.with_extension("new");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(PRIVATE_FILE);
    let mut file = options.open(&beside)?;
    file.write_all(text.as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn secrets_are_kept_for_this_user_alone_and_forgotten_once_shown() {
        let data = tempfile::tempdir().unwrap();
        let folder = Folder::new(&data.path().join("new"));
        assert_eq!(folder.read(Kept::Key).unwrap(), None);
        folder.keep(Kept::Key, "sk").unwrap();
        folder.keep(Kept::Key, "sk-2").unwrap();
        folder.keep(Kept::KeyId, "key_1").unwrap();
        assert_eq!(folder.read(Kept::Key).unwrap().as_deref(), Some("sk-2"));
        let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(folder.path(Kept::Key)), PRIVATE_FILE);
        assert_eq!(mode(data.path().join("new/keys")), PRIVATE_FOLDER);

        folder.forget_shown().unwrap();
        folder.forget_shown().unwrap();
        assert_eq!(folder.read(Kept::Key).unwrap(), None);
        assert_eq!(folder.read(Kept::KeyId).unwrap().as_deref(), Some("key_1"));
    }
}
