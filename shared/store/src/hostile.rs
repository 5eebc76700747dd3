//! A store that fails as stores fail: answers lost before and after the commit, commits that land
//! late, conflicts without a reason, snapshots that are too old. It never loses what it answered.

use std::collections::VecDeque;
use std::future::ready;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use turnpike_runtime::entropy;

use crate::engines;
use crate::kv::{Batch, BoxFuture, CommitError, Committed, Kv, ReadError, Snapshot};

/// A store with faults; one call in about three fails while `failing` is set.
pub(crate) struct Hostile {
    below: Arc<dyn Kv>,
    failing: AtomicBool,
    /// The next commit lands late, and the next snapshot behind it fails.
    losing: AtomicBool,
    blind: AtomicBool,
    /// Commits whose answer was lost and that have not landed yet.
    late: Mutex<VecDeque<Batch>>,
}

impl Default for Hostile {
    fn default() -> Self {
        Self {
            below: engines::fresh(),
            failing: AtomicBool::default(),
            losing: AtomicBool::default(),
            blind: AtomicBool::default(),
            late: Mutex::default(),
        }
    }
}

impl Hostile {
    pub(crate) fn set_failing(&self, failing: bool) {
        self.failing.store(failing, Ordering::Relaxed);
    }

    /// The next commit waits for [`Self::land_all`], and its caller is told nothing.
    pub(crate) fn lose_next(&self) {
        self.losing.store(true, Ordering::Relaxed);
    }

    pub(crate) async fn land_all(&self) {
        let late: Vec<Batch> = self.late.lock().unwrap().drain(..).collect();
        for batch in late {
            let _its_answer_is_lost = self.below.commit(batch).await;
        }
    }

    fn fails(&self, one_in: u64) -> bool {
        self.failing.load(Ordering::Relaxed) && entropy::below(one_in) == 0
    }

    /// Lets a commit land that was thought lost, at some moment of its own choice.
    async fn land_some(&self) {
        if !self.failing.load(Ordering::Relaxed) {
            return;
        }
        let landing = {
            let mut late = self.late.lock().unwrap();
            let when = entropy::below(3) == 0;
            if when { late.pop_front() } else { None }
        };
        if let Some(batch) = landing {
            let _its_answer_is_lost = self.below.commit(batch).await;
        }
    }
}

impl Kv for Hostile {
    fn snapshot(&self) -> BoxFuture<'_, Result<Arc<dyn Snapshot>, ReadError>> {
        Box::pin(async move {
            self.land_some().await;
            if self.blind.swap(false, Ordering::Relaxed) || self.fails(20) {
                return Err(ReadError::Unavailable("on purpose".into()));
            }
            if self.fails(20) {
                return Err(ReadError::TooOld);
            }
            self.below.snapshot().await
        })
    }

    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<Committed, CommitError>> {
        Box::pin(async move {
            self.land_some().await;
            let lost = || Err(CommitError::Unknown("on purpose".into()));
            if self.fails(8) {
                return lost();
            }
            if self.fails(8) {
                self.below.commit(batch).await?;
                return lost();
            }
            let loses = self.losing.swap(false, Ordering::Relaxed);
            if loses {
                self.blind.store(true, Ordering::Relaxed);
            }
            if loses || self.fails(8) {
                self.late.lock().unwrap().push_back(batch);
                return lost();
            }
            if self.fails(10) {
                return Err(CommitError::Conflict);
            }
            if self.fails(20) {
                return Err(CommitError::Unavailable("on purpose".into()));
            }
            self.below.commit(batch).await
        })
    }

    fn watch(&self, _key: Bytes) -> BoxFuture<'static, ()> {
        Box::pin(ready(()))
    }
}
