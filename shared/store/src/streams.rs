//! Streams folded in memory: what commands are decided against, caught up before every use.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};
use turnpike_domain::event::Record;
use turnpike_domain::evolve::{self, Touched};
use turnpike_domain::id::{OrgId, Position};
use turnpike_domain::state::{Head, Organisation, Platform};
use turnpike_domain::time::Timestamp;
use turnpike_wire::sign::SigningKey;
use turnpike_wire::snapshot::{self, State, Taken};

use crate::error::StoreError;
use crate::incarnation;
use crate::kv::{Kv, Snapshot};
use crate::log::{self, StoredHead};
use crate::snapshots;

/// State that events fold into.
pub(crate) trait Fold: Sized + Send {
    fn empty(org: OrgId) -> Self;
    fn head(&self) -> Head;
    fn apply(&mut self, record: &Record, hash: [u8; 32], position: Position) -> Touched;
    /// The frames of a snapshot.
    fn frames(&self, taken: Taken, key: &SigningKey) -> Vec<Bytes>;
    /// From what a snapshot held.
    fn restore(state: State) -> Option<Self>;
}

type Cell<S> = Arc<AsyncMutex<S>>;

/// All streams of one store that this process has used, each folded up to some seq.
///
/// One lock per stream: a command holds its stream's lock from reading the head to the end of its
/// commit, so that the commands of one process never conflict with each other.
pub struct Streams {
    kv: Arc<dyn Kv>,
    organisations: Mutex<BTreeMap<OrgId, Cell<Organisation>>>,
    platform: Cell<Platform>,
}

impl Streams {
    /// Streams of `kv`; nothing is read yet.
    #[must_use]
    pub fn new(kv: Arc<dyn Kv>) -> Self {
        let platform = Arc::new(AsyncMutex::new(Platform::empty(OrgId::PLATFORM)));
        Self { kv, organisations: Mutex::new(BTreeMap::new()), platform }
    }

    /// The store below.
    #[must_use]
    pub fn kv(&self) -> &Arc<dyn Kv> {
        &self.kv
    }

    /// Reads one organisation at its head.
    ///
    /// # Errors
    /// [`StoreError`] if the stream cannot be read.
    pub async fn organisation<R>(
        &self,
        org: OrgId,
        read: impl FnOnce(&Organisation) -> R,
    ) -> Result<R, StoreError> {
        let mut state = self.lock(org).await;
        let snapshot = self.kv.snapshot().await?;
        catch_up(&mut *state, &*snapshot, org).await?;
        Ok(read(&state))
    }

    /// Reads one organisation as this process last saw it, without asking the store.
    pub async fn remembered<R>(&self, org: OrgId, read: impl FnOnce(&Organisation) -> R) -> R {
        read(&*self.lock(org).await)
    }

    /// Reads the platform at its head.
    ///
    /// # Errors
    /// [`StoreError`] if the stream cannot be read.
    pub async fn platform<R>(&self, read: impl FnOnce(&Platform) -> R) -> Result<R, StoreError> {
        let mut state = self.lock_platform().await;
        let snapshot = self.kv.snapshot().await?;
        catch_up(&mut *state, &*snapshot, OrgId::PLATFORM).await?;
        Ok(read(&state))
    }

    /// Reads the platform as this process last saw it.
    pub async fn remembered_platform<R>(&self, read: impl FnOnce(&Platform) -> R) -> R {
        read(&*self.lock_platform().await)
    }

    /// The frames of a snapshot of one stream at its head, signed with `key`.
    ///
    /// # Errors
    /// [`StoreError`] if the stream cannot be read.
    pub async fn frames(
        &self,
        org: OrgId,
        at: Timestamp,
        key: &SigningKey,
    ) -> Result<Vec<Bytes>, StoreError> {
        let store = self.kv.snapshot().await?;
        let incarnation = incarnation::read(&*store).await?.unwrap_or_default();
        let taken = Taken { incarnation, at };
        if org == OrgId::PLATFORM {
            self.platform(|state| state.frames(taken, key)).await
        } else {
            self.organisation(org, |state| state.frames(taken, key)).await
        }
    }

    /// Stores a snapshot of a stream if it has moved far enough since the last one.
    ///
    /// # Errors
    /// [`StoreError`] if it could not be read or written; an older snapshot then still stands.
    pub async fn save(&self, org: OrgId, at: Timestamp) -> Result<bool, StoreError> {
        let store = self.kv.snapshot().await?;
        let head = log::head(&*store, org).await?;
        let saved = snapshots::newest(&*store, org).await?.unwrap_or(0);
        if head.seq.saturating_sub(saved) < snapshots::EVERY_EVENTS {
            return Ok(false);
        }
        let key = snapshots::key(incarnation::read(&*store).await?.unwrap_or_default());
        let frames = self.frames(org, at, &key).await?;
        snapshots::save(&*self.kv, org, head.seq, frames).await?;
        Ok(true)
    }

    pub(crate) async fn lock(&self, org: OrgId) -> OwnedMutexGuard<Organisation> {
        let cell = {
            let mut cells = self.organisations.lock().unwrap_or_else(PoisonError::into_inner);
            let fresh = || Arc::new(AsyncMutex::new(Organisation::empty(org)));
            Arc::clone(cells.entry(org).or_insert_with(fresh))
        };
        cell.lock_owned().await
    }

    pub(crate) async fn lock_platform(&self) -> OwnedMutexGuard<Platform> {
        Arc::clone(&self.platform).lock_owned().await
    }
}

/// Folds what the stream has beyond `state`. A head behind the state (another incarnation of the
/// store) begins anew.
pub(crate) async fn catch_up<S: Fold>(
    state: &mut S,
    snapshot: &dyn Snapshot,
    org: OrgId,
) -> Result<StoredHead, StoreError> {
    let head = log::head(snapshot, org).await?;
    if head.seq < state.head().seq {
        *state = S::empty(org);
    }
    if state.head().seq == 0 && head.seq > 0 {
        *state = snapshots::load(snapshot, org).await?.unwrap_or_else(|| S::empty(org));
    }
    while state.head().seq < head.seq {
        let page = log::page(snapshot, org, state.head().seq, head.seq).await?;
        for logged in &page {
            let (event, hash) = log::open(logged, state.head().position)?;
            state.apply(&event, hash, state.head().position);
        }
    }
    if state.head().hash != head.hash {
        return Err(StoreError::event(org, head.seq, "its hash is not the head's"));
    }
    Ok(head)
}

impl Fold for Organisation {
    fn empty(org: OrgId) -> Self {
        Self::new(org)
    }

    fn head(&self) -> Head {
        self.head
    }

    fn apply(&mut self, record: &Record, hash: [u8; 32], position: Position) -> Touched {
        evolve::organisation(self, record, hash, position)
    }

    fn frames(&self, taken: Taken, key: &SigningKey) -> Vec<Bytes> {
        snapshot::organisation(self, taken, key).map(Bytes::from).collect()
    }

    fn restore(state: State) -> Option<Self> {
        match state {
            State::Organisation(state) => Some(*state),
            State::Platform(_) => None,
        }
    }
}

impl Fold for Platform {
    fn empty(_: OrgId) -> Self {
        Self::default()
    }

    fn head(&self) -> Head {
        self.head
    }

    fn apply(&mut self, record: &Record, hash: [u8; 32], position: Position) -> Touched {
        evolve::platform(self, record, hash, position)
    }

    fn frames(&self, taken: Taken, key: &SigningKey) -> Vec<Bytes> {
        snapshot::platform(self, taken, key).map(Bytes::from).collect()
    }

    fn restore(state: State) -> Option<Self> {
        match state {
            State::Platform(state) => Some(*state),
            State::Organisation(_) => None,
        }
    }
}
