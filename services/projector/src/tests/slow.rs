//! A store whose every commit takes its time, so that a process can die before and after each.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::oneshot;
use turnpike_runtime::clock::SharedClock;
use turnpike_runtime::tasks;
use turnpike_store::kv::{Batch, BoxFuture, CommitError, Committed, Kv, ReadError, Snapshot};

/// How long a commit takes to land, and its answer to arrive.
pub(super) const STEP_MS: u64 = 2;

/// A slow store.
pub(super) struct Slow {
    pub(super) kv: Arc<dyn Kv>,
    pub(super) clock: SharedClock,
}

impl Kv for Slow {
    fn snapshot(&self) -> BoxFuture<'_, Result<Arc<dyn Snapshot>, ReadError>> {
        self.kv.snapshot()
    }

    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<Committed, CommitError>> {
        let (kv, clock) = (Arc::clone(&self.kv), self.clock.clone());
        let (sender, answer) = oneshot::channel();
        // It runs on if its caller dies.
        tasks::detach("slow commit", async move {
            clock.sleep(STEP_MS).await;
            let committed = kv.commit(batch).await;
            clock.sleep(STEP_MS).await;
            drop(sender.send(committed));
        });
        Box::pin(async { answer.await.unwrap() })
    }

    fn watch(&self, key: Bytes) -> BoxFuture<'static, ()> {
        self.kv.watch(key)
    }
}
