//! Who waits for which key, for the engines that live in this process.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::kv::BoxFuture;

/// The most watches at a time, as on a FoundationDB client. One more is lost, which the contract
/// allows: resolving it at once would turn the caller's loop into a spin.
const MAX_WATCHES: usize = 10_000;

/// The watches of one store.
#[derive(Default)]
pub(crate) struct Watches(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    by_key: HashMap<Bytes, Vec<oneshot::Sender<()>>>,
    /// Senders in all lists, those whose watch was dropped included.
    count: usize,
}

impl Watches {
    /// Resolves after the next [`Self::wake`] of `key`; counts from the call, not the first poll.
    pub(crate) fn watch(&self, key: Bytes) -> BoxFuture<'static, ()> {
        let mut waiting = self.lock();
        if waiting.count >= MAX_WATCHES {
            waiting.forget_dropped();
        }
        if waiting.count >= MAX_WATCHES {
            return Box::pin(std::future::pending());
        }
        let (wake, woken) = oneshot::channel();
        waiting.by_key.entry(key).or_default().push(wake);
        waiting.count = waiting.count.saturating_add(1);
        Box::pin(async move {
            // The store is gone: nothing will be written, so the watch is lost.
            if woken.await.is_err() {
                std::future::pending::<()>().await;
            }
        })
    }

    /// Resolves all watches of the keys.
    pub(crate) fn wake<'a>(&self, keys: impl Iterator<Item = &'a Bytes>) {
        let mut waiting = self.lock();
        if waiting.count == 0 {
            return;
        }
        for key in keys {
            let senders = waiting.by_key.remove(key).unwrap_or_default();
            waiting.count = waiting.count.saturating_sub(senders.len());
            for sender in senders {
                // Whoever dropped its watch does not want to know.
                let _ = sender.send(());
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn forget_dropped(&mut self) {
        self.by_key.retain(|_, senders| {
            senders.retain(|sender| !sender.is_closed());
            !senders.is_empty()
        });
        self.count = self.by_key.values().map(Vec::len).sum();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn a_full_table_forgets_dropped_watches_first() {
        let watches = Watches::default();
        for _ in 0..MAX_WATCHES {
            drop(watches.watch(Bytes::from_static(b"dropped")));
        }
        let kept = watches.watch(Bytes::from_static(b"kept"));
        watches.wake([Bytes::from_static(b"kept")].iter());
        assert_eq!(kept.now_or_never(), Some(()));
    }

    #[test]
    fn a_watch_too_many_is_lost() {
        let watches = Watches::default();
        let key = Bytes::from_static(b"key");
        let held: Vec<_> = (0..MAX_WATCHES).map(|_| watches.watch(key.clone())).collect();
        let lost = watches.watch(key.clone());
        watches.wake([key].iter());
        assert_eq!(lost.now_or_never(), None);
        assert!(held.into_iter().all(|watch| watch.now_or_never().is_some()));
    }
}
