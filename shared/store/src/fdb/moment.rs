//! A snapshot of the cluster: a transaction that is only read and never committed.

use std::sync::Arc;

use bytes::Bytes;
use foundationdb::options::{StreamingMode, TransactionOption};
use foundationdb::{FdbResult, RangeOption, Transaction};

use super::{Cluster, TIMEOUT_MS, errors};
use crate::kv::{BoxFuture, Entry, ReadError, Scan, Snapshot, Version};

struct Moment {
    transaction: Transaction,
    version: u64,
    /// Dropped behind its transaction.
    cluster: Arc<Cluster>,
}

/// The newest moment: the version that the cluster gives sees every commit that it answered.
pub(super) async fn take(cluster: &Arc<Cluster>) -> Result<Arc<dyn Snapshot>, ReadError> {
    let unreachable = |error| ReadError::Unavailable(errors::text(error));
    let transaction = cluster.transaction(cluster.silence.patience_ms()).map_err(unreachable)?;
    let asked = ask(transaction).await;
    cluster.silence.note(asked.as_ref().is_err_and(|error| errors::is_timeout(*error)));
    let (transaction, version) = asked.map_err(unreachable)?;
    transaction.set_option(TransactionOption::Timeout(TIMEOUT_MS)).map_err(unreachable)?;
    let version = u64::try_from(version)
        .map_err(|_| ReadError::Unavailable(format!("the cluster is at version {version}")))?;
    Ok(Arc::new(Moment { transaction, version, cluster: Arc::clone(cluster) }))
}

/// Asks for the version. What passes, such as a proxy without memory or a client that changes its
/// protocol, is tried again for as long as the transaction may take.
async fn ask(mut transaction: Transaction) -> FdbResult<(Transaction, i64)> {
    loop {
        match transaction.get_read_version().await {
            Ok(version) => return Ok((transaction, version)),
            // Waits for longer each time, and gives back what no waiting helps.
            Err(error) => transaction = transaction.on_error(error).await.map_err(|_| error)?,
        }
    }
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
