//! Followers of the feed: where each one stands, and how it learns of news.

use std::sync::Arc;

use bytes::Bytes;
use turnpike_domain::id::Position;

use crate::error::StoreError;
use crate::keyspace;
use crate::kv::{Batch, BoxFuture, CommitError, Kv, Write};
use crate::leader::Term;

/// Tries to note a place: a conflict that is no loss of the term passes at once.
const MAX_TRIES: u32 = 4;

/// One named follower of the feed.
#[derive(Clone)]
pub struct Follower {
    kv: Arc<dyn Kv>,
    name: String,
}

impl Follower {
    /// The follower `name`.
    #[must_use]
    pub fn new(kv: Arc<dyn Kv>, name: &str) -> Self {
        Self { kv, name: name.into() }
    }

    /// Where it stands; zero if it never did.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be read.
    pub async fn place(&self) -> Result<Position, StoreError> {
        let snapshot = self.kv.snapshot().await?;
        let Some(value) = snapshot.get(&keyspace::follower(&self.name)).await? else {
            return Ok(Position::default());
        };
        let wrong = |_| StoreError::row("follower", "expected 16 bytes");
        Ok(Position(u128::from_be_bytes(value.as_ref().try_into().map_err(wrong)?)))
    }

    /// Notes where it stands, as long as `term` lasts.
    ///
    /// # Errors
    /// [`StoreError::Fenced`] if it was; others if the store failed.
    pub async fn save(&self, place: Position, term: &Term) -> Result<(), StoreError> {
        let key = keyspace::follower(&self.name);
        let value = Bytes::copy_from_slice(&place.0.to_be_bytes());
        let writes = vec![Write::Put { key, value }];
        for _ in 0..MAX_TRIES {
            let snapshot = self.kv.snapshot().await?;
            term.check(&*snapshot).await?;
            let (read_at, unchanged) = (snapshot.version(), vec![term.guard()]);
            match self.kv.commit(Batch { read_at, unchanged, writes: writes.clone() }).await {
                Ok(_) => return Ok(()),
                // Fenced, or a snapshot that was too old to tell: looking again says which.
                Err(CommitError::Conflict) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(StoreError::Contended)
    }

    /// Resolves when something was appended to the feed, or earlier; raced with a poll.
    #[must_use]
    pub fn moved(&self) -> BoxFuture<'static, ()> {
        self.kv.watch(keyspace::feed_moved())
    }
}
