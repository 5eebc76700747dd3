//! Followers of the feed: where each one stands, and how it learns of news.

use std::sync::Arc;

use bytes::Bytes;
use turnpike_domain::id::Position;

use crate::error::StoreError;
use crate::keyspace;
use crate::kv::{Batch, BoxFuture, CommitError, Kv, Write};
use crate::leader::Term;

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
        let snapshot = self.kv.snapshot().await?;
        term.check(&*snapshot).await?;
        let key = keyspace::follower(&self.name);
        let value = Bytes::copy_from_slice(&place.0.to_be_bytes());
        let writes = vec![Write::Put { key, value }];
        let batch = Batch { read_at: snapshot.version(), unchanged: vec![term.guard()], writes };
        match self.kv.commit(batch).await {
            Ok(_) => Ok(()),
            Err(CommitError::Conflict) => Err(StoreError::Fenced),
            Err(error) => Err(error.into()),
        }
    }

    /// Resolves when something was appended to the feed, or earlier; raced with a poll.
    #[must_use]
    pub fn moved(&self) -> BoxFuture<'static, ()> {
        self.kv.watch(keyspace::feed_moved())
    }
}
