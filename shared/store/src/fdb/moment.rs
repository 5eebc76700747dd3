//! A snapshot of the cluster: a transaction that is only read and never committed.

use std::sync::Arc;

use bytes::Bytes;
use foundationdb::options::StreamingMode;
use foundationdb::{RangeOption, Transaction};

use super::{Cluster, errors};
use crate::kv::{BoxFuture, Entry, ReadError, Scan, Snapshot, Version};

struct Moment {
    transaction: Transaction,
    version: u64,
    /// Dropped behind its transaction.
    cluster: Arc<Cluster>,
}

/// The newest moment: the version that the cluster gives sees every commit that it answered. What
/// passes, such as a proxy without memory or a client that changes its protocol, is tried again for
/// as long as the transaction may take.
pub(super) async fn take(cluster: &Arc<Cluster>) -> Result<Arc<dyn Snapshot>, ReadError> {
    let unreachable = |error| ReadError::Unavailable(errors::text(error));
    let mut transaction = cluster.transaction().map_err(unreachable)?;
    let version = loop {
        match transaction.get_read_version().await {
            Ok(version) => break version,
            // Waits for longer each time, and gives back what no waiting helps.
            Err(error) => {
                let again = transaction.on_error(error).await;
                transaction = again.map_err(|_| unreachable(error))?;
            }
        }
    };
    let version = u64::try_from(version)
        .map_err(|_| ReadError::Unavailable(format!("the cluster is at version {version}")))?;
    Ok(Arc::new(Moment { transaction, version, cluster: Arc::clone(cluster) }))
}

impl Snapshot for Moment {
    fn version(&self) -> Version {
        Version(self.version)
    }

    fn get<'a>(&'a self, key: &'a [u8]) -> BoxFuture<'a, Result<Option<Bytes>, ReadError>> {
        Box::pin(async move {
            let key = self.cluster.key(key);
            let found = self.transaction.get(&key, true).await.map_err(errors::read)?;
            Ok(found.map(|value| Bytes::copy_from_slice(&value)))
        })
    }

    fn scan<'a>(&'a self, scan: Scan) -> BoxFuture<'a, Result<Vec<Entry>, ReadError>> {
        Box::pin(self.read(scan))
    }
}

impl Moment {
    async fn read(&self, scan: Scan) -> Result<Vec<Entry>, ReadError> {
        let mut entries = Vec::new();
        // A limit of 0 would mean none.
        if scan.begin >= scan.end || scan.limit == 0 {
            return Ok(entries);
        }
        let (begin, end) = (self.cluster.key(&scan.begin), self.cluster.key(&scan.end));
        let mut next = Some(RangeOption {
            limit: Some(scan.limit),
            mode: StreamingMode::WantAll,
            reverse: scan.reverse,
            ..RangeOption::from((begin, end))
        });
        let root = self.cluster.root.len();
        // FoundationDB answers in pages of its own size; the iteration matters in another mode.
        while let Some(range) = next {
            let page = self.transaction.get_range(&range, 1, true).await.map_err(errors::read)?;
            entries.extend(page.iter().map(|row| {
                let key = row.key().get(root..).unwrap_or_default();
                (Bytes::copy_from_slice(key), Bytes::copy_from_slice(row.value()))
            }));
            next = range.next_range(&page);
        }
        Ok(entries)
    }
}
