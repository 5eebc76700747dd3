//! Opening the file: everything that can be wrong with it, each with its own sentence.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use redb::backends::FileBackend;
use redb::{Database, ReadableDatabase, StorageBackend};

use super::disk::{FORMAT, META, NEWEST, ROWS};

/// The form of the file that this program writes. Another form is refused, never guessed at.
const FORMAT_NOW: u64 = 1;
/// Memory for pages of the file, read and written: the working set of a small installation.
const CACHE_BYTES: usize = 256 << 20;
/// What a redb file begins with. redb writes it last when it makes a file, so zeros in its place
/// are a creation that was cut off.
const MAGIC: [u8; 9] = [b'r', b'e', b'd', b'b', 0x1a, 0x0a, 0xa9, 0x0d, 0x0a];

/// Why the store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory cannot be made, read or written.
    #[error("{} cannot be used as the directory of the store: {source}", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// The file cannot be opened for reading and writing.
    #[error("{} cannot be opened for reading and writing: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// Another process, or another part of this one, has the file open.
    #[error("{} is in use by another process: stop it, or name another directory", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// The file was not made by this program.
    #[error("{} is not a store of this program: move it away, or name another directory",
        path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// The file was made by another release of this program, or of redb.
    #[error("{} has the form {found}, this release reads {expected}: use the release that made it",
        path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// The form of the file.
        found: String,
        /// The form of this release.
        expected: u64,
    },
    /// The file is damaged beyond what redb can repair.
    #[error("{} is damaged ({text}): restore it from a backup", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What redb says.
        text: String,
    },
    /// The disk failed while the file was opened.
    #[error("{}: the disk failed: {source}", path.display())]
    Disk {
        /// The file.
        path: PathBuf,
        /// What redb says.
        source: Box<redb::Error>,
    },
    /// The writer's thread could not be started.
    #[error("the thread of the store's writer could not be started: {source}")]
    Thread {
        /// What the operating system says.
        source: io::Error,
    },
}

/// The file, locked, made if it is not there.
pub(super) fn backend(directory: &Path, path: &Path) -> Result<FileBackend, OpenError> {
    let directory_error = |source| OpenError::Directory { path: directory.to_owned(), source };
    let file_error = |source| OpenError::File { path: path.to_owned(), source };
    fs::create_dir_all(directory).map_err(directory_error)?;
    let is_new = !path.try_exists().map_err(file_error)?;
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).create(true).truncate(false).open(path);
    let mut file = match file {
        Ok(file) if is_new => {
            // The name of a new file is durable only when its directory is.
            File::open(directory).and_then(|it| it.sync_all()).map_err(directory_error)?;
            file
        }
        Ok(file) => file,
        Err(source) if is_new => return Err(directory_error(source)),
        Err(source) => return Err(file_error(source)),
    };
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(OpenError::InUse { path: path.to_owned() }),
        Err(TryLockError::Error(source)) => return Err(file_error(source)),
    }
    let mut head = Vec::with_capacity(MAGIC.len());
    let length = u64::try_from(MAGIC.len()).unwrap_or(u64::MAX);
    (&mut file).take(length).read_to_end(&mut head).map_err(file_error)?;
    if head.iter().all(|byte| *byte == 0) {
        file.set_len(0).map_err(file_error)?;
    } else if head != MAGIC {
        return Err(OpenError::Foreign { path: path.to_owned() });
    }
    FileBackend::new(file).map_err(|error| refusal(path, error))
}

/// The database on `backend` and the number of its newest commit.
pub(super) fn database(
    path: &Path,
    backend: impl StorageBackend,
) -> Result<(Database, u64), OpenError> {
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE_BYTES);
    let text = path.display().to_string();
    builder.set_repair_callback(move |repair| {
        tracing::warn!(path = text, done = repair.progress(), "the file was not closed: checking");
    });
    let open = || {
        let database =
            builder.create_with_backend(backend).map_err(|error| refusal(path, error))?;
        let newest = match newest(path, &database)? {
            Some(newest) => newest,
            None => initialise(&database).map_err(|error| refusal(path, error))?,
        };
        Ok((database, newest))
    };
    // redb trusts the pages of a file that it need not repair, and panics at what makes no sense.
    catch_unwind(AssertUnwindSafe(open)).unwrap_or_else(|_| {
        let text = "its pages make no sense".to_owned();
        Err(OpenError::Damaged { path: path.to_owned(), text })
    })
}

/// The number of the newest commit, `None` in a file without any table.
fn newest(path: &Path, database: &Database) -> Result<Option<u64>, OpenError> {
    let foreign = || OpenError::Foreign { path: path.to_owned() };
    let numbers = || -> Result<_, redb::Error> {
        let transaction = database.begin_read()?;
        if transaction.list_tables()?.next().is_none() {
            return Ok(None);
        }
        let meta = transaction.open_table(META)?;
        let number = |name| meta.get(name).map(|found| found.map(|number| number.value()));
        Ok(Some((number(FORMAT)?, number(NEWEST)?)))
    };
    let Some((format, newest)) = numbers().map_err(|error| refusal(path, error))? else {
        return Ok(None);
    };
    let found = format.ok_or_else(foreign)?;
    if found != FORMAT_NOW {
        let (path, found) = (path.to_owned(), found.to_string());
        return Err(OpenError::Format { path, found, expected: FORMAT_NOW });
    }
    newest.ok_or_else(foreign).map(Some)
}

/// Makes the tables of a new file; its newest commit is number 0.
fn initialise(database: &Database) -> Result<u64, redb::Error> {
    let transaction = database.begin_write()?;
    transaction.open_table(ROWS)?;
    {
        let mut meta = transaction.open_table(META)?;
        meta.insert(FORMAT, FORMAT_NOW)?;
        meta.insert(NEWEST, 0)?;
    }
    transaction.commit()?;
    Ok(0)
}

fn refusal(path: &Path, error: impl Into<redb::Error>) -> OpenError {
    use redb::Error;
    let error = error.into();
    let path = path.to_owned();
    if let Error::DatabaseAlreadyOpen = error {
        return OpenError::InUse { path };
    }
    if let Error::UpgradeRequired(found) = error {
        return OpenError::Format { path, found: format!("redb {found}"), expected: FORMAT_NOW };
    }
    if let Error::Corrupted(text) = error {
        return OpenError::Damaged { path, text };
    }
    let other_tables = matches!(
        error,
        Error::TableDoesNotExist(_) | Error::TableTypeMismatch { .. } | Error::TableIsMultimap(_)
    );
    if other_tables {
        return OpenError::Foreign { path };
    }
    OpenError::Disk { path, source: Box::new(error) }
}
