//! The store that a test runs on: memory, or the FoundationDB cluster that the developer has named.

use std::sync::Arc;

use crate::kv::Kv;

/// An empty store of the test's own. Where `TURNPIKE_TEST_FDB_CLUSTER_FILE` names a cluster, it is
/// there, under a root that no other test has.
pub(crate) fn fresh() -> Arc<dyn Kv> {
    #[cfg(feature = "fdb")]
    if let Some(store) = cluster::store() {
        return Arc::new(cluster::Patient(store));
    }
    Arc::new(crate::memory::Memory::new())
}

#[cfg(feature = "fdb")]
pub(crate) mod cluster {
    use std::future::Future;
    use std::path::Path;
    use std::sync::mpsc;

    use bytes::Bytes;
    use turnpike_runtime::entropy;

    use super::{Arc, Kv};
    use crate::fdb::Fdb;
    use crate::kv::{
        Batch, BoxFuture, CommitError, Committed, Entry, ReadError, Scan, Snapshot, Version,
    };

    /// An empty root in the cluster for tests; `None`: none is named.
    pub(crate) fn store() -> Option<Fdb> {
        #[expect(clippy::disallowed_methods, reason = "a cluster for tests is named by people")]
        let cluster_file = std::env::var("TURNPIKE_TEST_FDB_CLUSTER_FILE").ok()?;
        // A thread that was seeded draws what it drew when the test last ran.
        #[expect(clippy::disallowed_methods, reason = "its numbers must not be the test's own")]
        let number = std::thread::spawn(entropy::number).join().unwrap();
        let root = Bytes::from(format!("turnpike-test/{number:032x}/"));
        Some(Fdb::open(Path::new(&cluster_file), root).unwrap())
    }

    /// A store during whose calls a paused clock stands still. Tokio moves such a clock when every
    /// task waits, but not while a thread blocks; of a cluster it cannot know.
    pub(super) struct Patient<T>(pub(super) T);

    async fn patiently<F: Future>(call: F) -> F::Output {
        let (release, released) = mpsc::channel::<()>();
        #[expect(clippy::disallowed_methods, reason = "blocking is what holds the clock")]
        drop(tokio::task::spawn_blocking(move || released.recv()));
        let answer = call.await;
        drop(release);
        answer
    }

    impl Kv for Patient<Fdb> {
        fn snapshot(&self) -> BoxFuture<'_, Result<Arc<dyn Snapshot>, ReadError>> {
            Box::pin(async move {
                let snapshot = patiently(self.0.snapshot()).await?;
                Ok(Arc::new(Patient(snapshot)) as Arc<dyn Snapshot>)
            })
        }

        fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<Committed, CommitError>> {
            Box::pin(patiently(self.0.commit(batch)))
        }

        fn watch(&self, key: Bytes) -> BoxFuture<'static, ()> {
            self.0.watch(key)
        }
    }

    impl Snapshot for Patient<Arc<dyn Snapshot>> {
        fn version(&self) -> Version {
            self.0.version()
        }

        fn get<'a>(&'a self, key: &'a [u8]) -> BoxFuture<'a, Result<Option<Bytes>, ReadError>> {
            Box::pin(patiently(self.0.get(key)))
        }

        fn scan<'a>(&'a self, scan: Scan) -> BoxFuture<'a, Result<Vec<Entry>, ReadError>> {
            Box::pin(patiently(self.0.scan(scan)))
        }
    }
}
