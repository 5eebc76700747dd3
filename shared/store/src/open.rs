//! Opening the store that an operator named: the one place that knows all engines.

use std::path::Path;
use std::sync::Arc;

use turnpike_runtime::clock::SharedClock;

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

/// Opens `redb:DIR`, `fdb:CLUSTER_FILE`, or `memory`, which nobody else sees and which is gone with
/// the process. FoundationDB can be opened once in a process.
///
/// # Errors
/// [`OpenError`] says what is wrong with the text, or with what it names.
pub async fn open(spec: &str, clock: SharedClock) -> Result<Arc<dyn Kv>, OpenError> {
    if spec == "memory" {
        return Ok(Arc::new(Memory::new()));
    }
    match spec.split_once(':') {
        Some(("redb", directory)) if !directory.is_empty() => {
            Ok(Arc::new(Shared::open(Path::new(directory), clock).await?))
        }
        Some(("fdb", cluster_file)) if !cluster_file.is_empty() => {
            foundationdb(Path::new(cluster_file))
        }
        Some(_) | None => Err(OpenError::Spec { spec: spec.to_owned() }),
    }
}

#[cfg(feature = "fdb")]
fn foundationdb(cluster_file: &Path) -> Result<Arc<dyn Kv>, OpenError> {
    /// What stands before every key of an installation in its cluster.
    const ROOT: &[u8] = b"turnpike/";
    let network = crate::fdb::Network::start()?;
    let root = bytes::Bytes::from_static(ROOT);
    Ok(Arc::new(crate::fdb::Fdb::open(&network, cluster_file, root)?))
}

#[cfg(not(feature = "fdb"))]
fn foundationdb(_: &Path) -> Result<Arc<dyn Kv>, OpenError> {
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
            open(spec, clock::system()).await.unwrap().snapshot().await.unwrap();
        }
        for spec in ["", "redb", "redb:", "fdb:", "postgres://x", "memory:"] {
            let refused = open(spec, clock::system()).await.err();
            assert!(matches!(refused, Some(OpenError::Spec { .. })), "{spec}");
        }
    }

    #[cfg(not(feature = "fdb"))]
    #[tokio::test]
    async fn a_store_that_is_not_built_in_is_named() {
        let refused = open("fdb:/etc/foundationdb/fdb.cluster", clock::system()).await.err();
        assert!(matches!(refused, Some(OpenError::NotBuiltIn)));
    }
}
