//! The terms of all shards that this process owns, renewed together: 64 commits a second would be
//! most of the work of an idle house.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;
use turnpike_runtime::clock::SharedClock;
use turnpike_store::leader::{RENEW_MS, Term, renew_all};

/// The terms that are held.
pub(crate) struct Terms {
    clock: SharedClock,
    held: Mutex<BTreeMap<u8, Held>>,
}

struct Held {
    term: Arc<Term>,
    lost: CancellationToken,
    /// Cancelled when the shard is to be given up in order.
    leave: CancellationToken,
}

impl Terms {
    pub(crate) fn new(clock: SharedClock) -> Self {
        Self { clock, held: Mutex::default() }
    }

    /// Renews a shard's term from now on. The token is cancelled when the term is lost, `leave`
    /// when the shard is to be given up.
    pub(crate) fn hold(
        &self,
        shard: u8,
        term: Arc<Term>,
        leave: CancellationToken,
    ) -> CancellationToken {
        let lost = CancellationToken::new();
        self.lock().insert(shard, Held { term, lost: lost.clone(), leave });
        lost
    }

    /// How many shards are held.
    pub(crate) fn count(&self) -> usize {
        self.lock().len()
    }

    /// Gives up what is held beyond `share`, at most `at_once`.
    pub(crate) fn give_up(&self, share: usize, at_once: usize) {
        let held = self.lock();
        let kept = || held.values().filter(|held| !held.leave.is_cancelled());
        let beyond = kept().count().saturating_sub(share).min(at_once);
        kept().rev().take(beyond).for_each(|held| held.leave.cancel());
    }

    /// Renews it no longer.
    pub(crate) fn release(&self, shard: u8) {
        self.lock().remove(&shard);
    }

    /// Renews each second, for ever.
    pub(crate) async fn keep(&self) {
        loop {
            self.clock.sleep(RENEW_MS).await;
            let terms: Vec<Arc<Term>> =
                self.lock().values().map(|held| Arc::clone(&held.term)).collect();
            match renew_all(&terms).await {
                Ok(lost) => self.end(|term| lost.iter().any(|one| Arc::ptr_eq(one, term))),
                Err(error) => {
                    tracing::warn!(%error, "the terms were not renewed");
                    self.end(|term| !term.may_answer());
                }
            }
        }
    }

    fn end(&self, is_lost: impl Fn(&Arc<Term>) -> bool) {
        for (_, held) in self.lock().extract_if(.., |_, held| is_lost(&held.term)) {
            held.lost.cancel();
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u8, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
