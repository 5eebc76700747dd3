//! Opening the store that an operator named: the one place that knows all engines.

use std::path::Path;
use std::sync::Arc;

use turnpike_runtime::clock::{Clock, SharedClock};

use crate::kv::Kv;
use crate::memory::Memory;
use crate::shared::{self, Shared};

/// Why the named store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The text names no store.
    #[error("`{spec}` names no store: use redb:DIR, fdb:CLUSTER_FILE or memory")]
    Spec {
        /// The text.
        spec: String,
    },
    /// FoundationDB was asked for, but this program was built without it.
    #[error("this program was built without FoundationDB: build it with `--features fdb`")]
    NotBuiltIn,
    /// The directory of an embedded store cannot be used.
    #[error(transparent)]
    Shared(#[from] shared::OpenError),
    /// The cluster of a FoundationDB store cannot be used.
    #[cfg(feature = "fdb")]
    #[error(transparent)]
    Fdb(#[from] crate::fdb::OpenError),
}

/// The root of an installation that has a FoundationDB cluster for itself.
pub const DEFAULT_ROOT: &str = "turnpike";
/// The longest root: it stands before every key, and keys are copied in every commit.
const MAX_ROOT_CHARACTERS: usize = 40;

/// Whether `root` can be the root of an installation. A slash will follow it, so that none is the
/// beginning of another.
#[must_use]
pub fn is_root(root: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (1..=MAX_ROOT_CHARACTERS).contains(&root.len()) && root.bytes().all(plain)
}

/// Opens `redb:DIR`, `fdb:CLUSTER_FILE`, or `memory`, which nobody else sees and which is gone with
/// the process. `root` keeps the installations of one FoundationDB cluster apart.
///
/// # Errors
/// [`OpenError`] says what is wrong with the text, or with what it names.
pub async fn open(spec: &str, root: &str, clock: SharedClock) -> Result<Arc<dyn Kv>, OpenError> {
    if spec == "memory" {
        return Ok(Arc::new(Memory::new()));
    }
    match spec.split_once(':') {
        Some(("redb", directory)) if !directory.is_empty() => {
            Ok(Arc::new(Shared::open(Path::new(directory), clock).await?))
        }
        Some(("fdb", cluster_file)) if !cluster_file.is_empty() => {
            foundationdb(Path::new(cluster_file), root, &*clock).await
        }
        Some(_) | None => Err(OpenError::Spec { spec: spec.to_owned() }),
    }
}

/// Waits until the cluster answers: whatever is started first, no order is wrong.
#[cfg(feature = "fdb")]
async fn foundationdb(
    cluster_file: &Path,
    root: &str,
    clock: &dyn Clock,
) -> Result<Arc<dyn Kv>, OpenError> {
    /// The wait after an answer that is none. A cluster that cannot be reached takes longer itself.
    const AGAIN_MS: u64 = 1_000;
    let root = bytes::Bytes::from(format!("{root}/"));
    let store = crate::fdb::Fdb::open(cluster_file, root)?;
    while let Err(error) = store.snapshot().await {
        tracing::warn!(%error, "the store does not answer yet; it is asked further");
        clock.sleep(AGAIN_MS).await;
    }
    Ok(Arc::new(store))
}

#[cfg(not(feature = "fdb"))]
async fn foundationdb(_: &Path, _: &str, _: &dyn Clock) -> Result<Arc<dyn Kv>, OpenError> {
    Err(OpenError::NotBuiltIn)
}

#[cfg(test)]
mod tests {
    use turnpike_runtime::clock;

    use super::*;

    #[tokio::test]
    async fn memory_and_directories_are_opened_and_anything_else_is_refused() {
        let directory = tempfile::TempDir::new().unwrap();
        let redb = format!("redb:{}", directory.path().display());
        for spec in ["memory", &redb] {
            open(spec, DEFAULT_ROOT, clock::system()).await.unwrap().snapshot().await.unwrap();
        }
        for spec in ["", "redb", "redb:", "fdb:", "postgres://x", "memory:"] {
            let refused = open(spec, DEFAULT_ROOT, clock::system()).await.err();
            assert!(matches!(refused, Some(OpenError::Spec { .. })), "{spec}");
        }
    }

    #[test]
    fn no_root_is_the_beginning_of_another() {
        let longest = "r".repeat(MAX_ROOT_CHARACTERS);
        for root in ["turnpike", "a", "staging-2.eu_west", &longest] {
            assert!(is_root(root), "{root}");
        }
        let longer = format!("{longest}r");
        for root in ["", "a/b", "a b", "\u{ff}", "é", &longer] {
            assert!(!is_root(root), "{root}");
        }
    }

    #[cfg(not(feature = "fdb"))]
    #[tokio::test]
    async fn a_store_that_is_not_built_in_is_named() {
        let refused = open("fdb:/etc/fdb.cluster", DEFAULT_ROOT, clock::system()).await.err();
        assert!(matches!(refused, Some(OpenError::NotBuiltIn)));
    }
}
