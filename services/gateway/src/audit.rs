//! The local audit log: one JSON line for each change of a key that this gateway applied.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::Serialize;
use turnpike_domain::id::{KeyId, OrgId, Position};
use turnpike_domain::time::Timestamp;

/// The name of the log; the one before it ends with `.1`.
const FILE: &str = "audit.jsonl";
const OLDER_FILE: &str = "audit.jsonl.1";
/// Bytes after which the log is put aside and the one before it deleted.
const MAX_BYTES: u64 = 64 << 20;

/// The log of one data folder.
pub(crate) struct Audit {
    folder: PathBuf,
    file: File,
    bytes: u64,
    max_bytes: u64,
}

/// One change.
pub(crate) struct Entry<'a> {
    /// What happened: the event's name.
    pub(crate) what: &'a str,
    pub(crate) org: OrgId,
    pub(crate) key: KeyId,
    pub(crate) seq: u64,
    pub(crate) position: Position,
    /// When it was decided, by the control plane.
    pub(crate) decided_at: Timestamp,
    /// When it was applied here, by the mirror's time.
    pub(crate) applied_at: Timestamp,
}

#[derive(Serialize)]
struct Line<'a> {
    event: &'a str,
    org: String,
    key: String,
    seq: u64,
    position: String,
    decided_at_ms: u64,
    applied_at_ms: u64,
}

impl Audit {
    /// Opens the log in `folder` and appends to it.
    pub(crate) fn open(folder: &Path) -> io::Result<Self> {
        Self::with_max_bytes(folder, MAX_BYTES)
    }

    fn with_max_bytes(folder: &Path, max_bytes: u64) -> io::Result<Self> {
        let file = append(folder)?;
        let bytes = file.metadata()?.len();
        Ok(Self { folder: folder.to_owned(), file, bytes, max_bytes })
    }

    /// Adds a line. What was applied stands whether or not it could be written down.
    pub(crate) fn add(&mut self, entry: &Entry<'_>) {
        if let Err(error) = self.write(entry) {
            tracing::error!(%error, key = %entry.key, "the audit log cannot be written");
        }
    }

    fn write(&mut self, entry: &Entry<'_>) -> io::Result<()> {
        if self.bytes >= self.max_bytes {
            std::fs::rename(self.folder.join(FILE), self.folder.join(OLDER_FILE))?;
            self.file = append(&self.folder)?;
            self.bytes = 0;
        }
        let mut line = serde_json::to_vec(&Line {
            event: entry.what,
            org: entry.org.to_string(),
            key: entry.key.to_string(),
            seq: entry.seq,
            position: entry.position.to_string(),
            decided_at_ms: entry.decided_at.0,
            applied_at_ms: entry.applied_at.0,
        })?;
        line.push(b'\n');
        self.file.write_all(&line)?;
        self.bytes = self.bytes.saturating_add(u64::try_from(line.len()).unwrap_or(u64::MAX));
        Ok(())
    }
}

fn append(folder: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    OpenOptions::new().append(true).create(true).mode(0o600).open(folder.join(FILE))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(seq: u64) -> Entry<'static> {
        Entry {
            what: "KeyRevoked",
            org: OrgId(1),
            key: KeyId(2),
            seq,
            position: Position(3),
            decided_at: Timestamp(4),
            applied_at: Timestamp(5),
        }
    }

    #[test]
    fn lines_are_appended_over_restarts_and_the_log_is_bounded() {
        let folder = tempfile::tempdir().unwrap();
        Audit::with_max_bytes(folder.path(), 1_000).unwrap().add(&entry(1));
        let mut audit = Audit::with_max_bytes(folder.path(), 1_000).unwrap();
        audit.add(&entry(2));
        let text = std::fs::read_to_string(folder.path().join(FILE)).unwrap();
        let lines: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!((lines.len(), &lines[1]["seq"]), (2, &serde_json::json!(2)));
        assert_eq!(lines[0]["key"], "key_00000000000000000000000002");

        (3..100).for_each(|seq| audit.add(&entry(seq)));
        for file in [FILE, OLDER_FILE] {
            assert!(std::fs::metadata(folder.path().join(file)).unwrap().len() < 1_500);
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
    }
}
