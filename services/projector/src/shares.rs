//! Shares: the replicas divide the shards, and who owns more than its share gives some up.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio_util::sync::CancellationToken;
use turnpike_runtime::clock::SharedClock;
use turnpike_store::booking::SHARDS;
use turnpike_store::kv::Kv;
use turnpike_store::leader::RENEW_MS;
use turnpike_store::replicas::Replicas;

use crate::terms::Terms;

/// Shards given up in one second. Each is nobody's for about half of one.
const AT_ONCE: usize = 8;

/// How many shards this process should own.
pub(crate) struct Shares(AtomicUsize);

impl Shares {
    /// All, as long as nobody else is known.
    pub(crate) fn new() -> Self {
        Self(AtomicUsize::new(SHARDS.into()))
    }

    /// How many shards are its share.
    pub(crate) fn own(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// Counts replicas and gives up what is more than a share, until `stop`.
    pub(crate) async fn keep(
        &self,
        kv: Arc<dyn Kv>,
        clock: SharedClock,
        terms: Arc<Terms>,
        stop: CancellationToken,
    ) {
        let mut replicas = Replicas::new(kv, clock.clone(), "projector");
        while stop.run_until_cancelled(clock.sleep(RENEW_MS)).await.is_some() {
            match replicas.beat().await {
                Ok(live) => {
                    self.0.store(usize::from(SHARDS).div_ceil(live.max(1)), Ordering::Relaxed);
                    terms.give_up(self.own(), AT_ONCE);
                }
                Err(error) => tracing::warn!(%error, "the replicas are not known"),
            }
        }
        replicas.leave().await;
    }
}
