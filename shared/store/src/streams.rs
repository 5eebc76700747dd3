//! Streams folded in memory: what commands are decided against, caught up before every use.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};
use turnpike_domain::event::Record;
use turnpike_domain::evolve::{self, Touched};
use turnpike_domain::id::{KeyId, OrgId, Position};
use turnpike_domain::limit::{Account, Unit};
use turnpike_domain::secret::Digest;
use turnpike_domain::state::{Cap, Head, Organisation, Platform};
use turnpike_domain::time::Timestamp;
use turnpike_runtime::tasks;
use turnpike_wire::sign::SigningKey;
use turnpike_wire::snapshot::{self, State, Taken};

use crate::error::StoreError;
use crate::incarnation;
use crate::kv::{Kv, ReadError, Snapshot};
use crate::log::{self, StoredHead};
use crate::snapshots;

/// Snapshots that one catching up may use: 5 s of folding each on FoundationDB.
const MAX_SNAPSHOTS: u32 = 20;

/// State that events fold into.
pub(crate) trait Fold: Sized + Send {
    fn empty(org: OrgId) -> Self;
    fn head(&self) -> Head;
    fn apply(&mut self, record: &Record, hash: [u8; 32], position: Position) -> Touched;
    /// The caps that these next events will have changed.
    fn caps_after(&self, records: &[Record]) -> Vec<((Account, Unit), Cap)>;
    /// The legacy secrets that these next events will have begun and ended.
    fn legacy_after(&self, records: &[Record]) -> Vec<(Digest, Option<KeyId>)>;
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
    /// Shared with commands that are being decided: a change of the platform makes a new one.
    platform: Cell<Arc<Platform>>,
}

impl Streams {
    /// Streams of `kv`; nothing is read yet.
    #[must_use]
    pub fn new(kv: Arc<dyn Kv>) -> Self {
        let platform = Arc::new(AsyncMutex::new(Fold::empty(OrgId::PLATFORM)));
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
        self.bring_to_head(&mut *state, org).await?;
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
        Ok(read(&*self.shared_platform().await?))
    }

    /// The platform at its head.
    pub(crate) async fn shared_platform(&self) -> Result<Arc<Platform>, StoreError> {
        let mut state = self.lock_platform().await;
        self.bring_to_head(&mut *state, OrgId::PLATFORM).await?;
        Ok(Arc::clone(&state))
    }

    /// Reads the platform as this process last saw it.
    pub async fn remembered_platform<R>(&self, read: impl FnOnce(&Platform) -> R) -> R {
        read(&*self.lock_platform().await)
    }

    /// The frames of a snapshot of one stream at its head, signed with `key`. Commands go on while
    /// they are made: for a million keys that takes seconds.
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
        Ok(self.framed(org, Taken { incarnation, at }, key).await?.1)
    }

    /// Stores a snapshot of a stream if it has moved far enough since the last one.
    ///
    /// # Errors
    /// [`StoreError`] if it could not be read or written; an older snapshot then still stands.
    pub async fn save(&self, org: OrgId, at: Timestamp) -> Result<bool, StoreError> {
        let store = self.kv.snapshot().await?;
        let head = log::head(&*store, org).await?;
        let saved = snapshots::newest(&*store, org, u64::MAX).await?.map_or(0, |(seq, _)| seq);
        if head.seq.saturating_sub(saved) < snapshots::EVERY_EVENTS {
            return Ok(false);
        }
        let incarnation = incarnation::read(&*store).await?.unwrap_or_default();
        let key = snapshots::key(incarnation);
        let (seq, frames) = self.framed(org, Taken { incarnation, at }, &key).await?;
        snapshots::save(&*self.kv, org, seq, frames).await?;
        Ok(true)
    }

    /// The frames of a stream at its head, and the head's seq.
    async fn framed(
        &self,
        org: OrgId,
        taken: Taken,
        key: &SigningKey,
    ) -> Result<(u64, Vec<Bytes>), StoreError> {
        if org == OrgId::PLATFORM {
            encoded(self.shared_platform().await?, org, taken, key.clone()).await
        } else {
            encoded(self.organisation(org, Organisation::clone).await?, org, taken, key.clone())
                .await
        }
    }

    /// Folds what is missing. A stream that is longer than a snapshot lives is folded over several.
    async fn bring_to_head<S: Fold>(&self, state: &mut S, org: OrgId) -> Result<(), StoreError> {
        for _ in 0..MAX_SNAPSHOTS {
            let snapshot = self.kv.snapshot().await?;
            match catch_up(state, &*snapshot, org).await {
                Ok(_) => return Ok(()),
                // What was folded stays: the next snapshot begins behind it.
                Err(StoreError::Read(ReadError::TooOld)) => {}
                Err(error) => return Err(error),
            }
        }
        Err(StoreError::Contended)
    }

    pub(crate) async fn lock(&self, org: OrgId) -> OwnedMutexGuard<Organisation> {
        let cell = {
            let mut cells = self.organisations.lock().unwrap_or_else(PoisonError::into_inner);
            let fresh = || Arc::new(AsyncMutex::new(Organisation::empty(org)));
            Arc::clone(cells.entry(org).or_insert_with(fresh))
        };
        cell.lock_owned().await
    }

    pub(crate) async fn lock_platform(&self) -> OwnedMutexGuard<Arc<Platform>> {
        Arc::clone(&self.platform).lock_owned().await
    }
}

/// The frames of a state and its seq, made where nothing else waits for it.
async fn encoded(
    state: impl Fold + 'static,
    org: OrgId,
    taken: Taken,
    key: SigningKey,
) -> Result<(u64, Vec<Bytes>), StoreError> {
    let work = move || (state.head().seq, state.frames(taken, &key));
    let made = tasks::blocking("encode snapshot", work).await;
    made.map_err(|error| StoreError::row(&format!("snapshot of {org}"), error))
}

/// Folds what the stream has beyond `state`, and answers its head. A state that is not of this
/// stream's past (the store was restored, and has another past now) begins anew.
pub(crate) async fn catch_up<S: Fold>(
    state: &mut S,
    snapshot: &dyn Snapshot,
    org: OrgId,
) -> Result<StoredHead, StoreError> {
    let head = log::head(snapshot, org).await?;
    fold(state, snapshot, org, head).await?;
    if !is_at(state, head) {
        *state = S::empty(org);
        fold(state, snapshot, org, head).await?;
    }
    if is_at(state, head) {
        return Ok(head);
    }
    let broken = state.head().seq.saturating_add(1).min(head.seq);
    *state = S::empty(org);
    Err(StoreError::event(org, broken, "the chain of hashes ends before it"))
}

/// Folds up to `head`, or up to an event that does not follow the one before it.
async fn fold<S: Fold>(
    state: &mut S,
    snapshot: &dyn Snapshot,
    org: OrgId,
    head: StoredHead,
) -> Result<(), StoreError> {
    if state.head().seq == 0 && head.seq > 0 {
        *state = snapshots::load(snapshot, org).await?.unwrap_or_else(|| S::empty(org));
    }
    while state.head().seq < head.seq {
        let page = log::page(snapshot, org, state.head().seq, head.seq).await?;
        for logged in &page {
            let event = log::open(logged, state.head().position)?;
            if event.prev_hash != state.head().hash {
                return Ok(());
            }
            state.apply(&event.record, event.hash, state.head().position);
        }
    }
    Ok(())
}

fn is_at(state: &impl Fold, head: StoredHead) -> bool {
    (state.head().seq, state.head().hash) == (head.seq, head.hash)
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

    fn caps_after(&self, records: &[Record]) -> Vec<((Account, Unit), Cap)> {
        evolve::caps_after(self, records)
    }

    fn legacy_after(&self, records: &[Record]) -> Vec<(Digest, Option<KeyId>)> {
        evolve::legacy_after(self, records)
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

impl Fold for Arc<Platform> {
    fn empty(_: OrgId) -> Self {
        Self::default()
    }

    fn head(&self) -> Head {
        self.head
    }

    fn apply(&mut self, record: &Record, hash: [u8; 32], position: Position) -> Touched {
        evolve::platform(Self::make_mut(self), record, hash, position)
    }

    fn caps_after(&self, _: &[Record]) -> Vec<((Account, Unit), Cap)> {
        Vec::new()
    }

    fn legacy_after(&self, _: &[Record]) -> Vec<(Digest, Option<KeyId>)> {
        Vec::new()
    }

    fn frames(&self, taken: Taken, key: &SigningKey) -> Vec<Bytes> {
        snapshot::platform(self, taken, key).map(Bytes::from).collect()
    }

    fn restore(state: State) -> Option<Self> {
        match state {
            State::Platform(state) => Some(Self::from(state)),
            State::Organisation(_) => None,
        }
    }
}
