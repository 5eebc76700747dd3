//! Booking: spend records become totals, ledgers, request log and places, each record exactly once.
//!
//! A record counts once by its producer's number: the last booked number per (organisation,
//! gateway, epoch) is written in the commit that books. A lower number is a duplicate, the next one
//! is booked, a higher one is a gap that the gateway is asked to fill.
//!
//! One task books a shard, one commit at a time. Each commit guards the shard's fence (another
//! owner) and the shard's turn (a commit of this owner whose answer was lost and that lands late):
//! both make the whole commit fail, so totals are plain values and are never added twice. The words
//! of gateways on their leases are heard by the same task in the same way: it is the authority.

mod cache;
mod draft;
mod follow;
mod holds;
#[cfg(feature = "mutations")]
mod mutation;
mod past;
mod recheck;
mod settle;
mod sheet;
#[cfg(test)]
pub(crate) mod tests;
mod torn;
mod view;
mod words;

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::try_join_all;
use turnpike_domain::id::{EpochId, GatewayId, OrgId};
use turnpike_domain::ledger::Due;
use turnpike_domain::time::Timestamp;
use turnpike_wire::spend as form;

use crate::error::StoreError;
use crate::keyspace;
use crate::kv::{Batch, CommitError, Kv, Snapshot, Write};
use crate::leader::Term;
use crate::rows::Place;
use crate::streams::Streams;
use cache::Cache;
use draft::Draft;
pub use holds::Release;
#[cfg(feature = "mutations")]
pub use mutation::{Commit, Mistake, mutate, plant};
pub use words::{Ask, MAX_WORDS};

/// The most records of one commit (money.md): small enough for FoundationDB's limits.
pub const MAX_RECORDS: usize = 500;
/// Into how many parts the organisations are divided; each has one owner at a time.
pub const SHARDS: u8 = 64;
/// Tries of one booking before its records are left for their gateway to send again.
const MAX_TRIES: u32 = 8;

/// Spend as it arrives: successive records of one epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Whose spend, by the subject that it came on.
    pub org: OrgId,
    /// Who measured it, by the subject that it came on.
    pub gateway: GatewayId,
    /// The records.
    pub batch: form::Batch,
    /// Up to which number this epoch's records were published to outside consumers, as far as the
    /// caller knows; 0: nothing is known. Kept beside the place, never lowered; a delivery without
    /// records may carry nothing else.
    pub published: u64,
}

/// How far an epoch is booked after a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Booked {
    /// Whose spend.
    pub org: OrgId,
    /// Who measured it.
    pub gateway: GatewayId,
    /// In which run.
    pub epoch: EpochId,
    /// Up to where, and when.
    pub place: Place,
    /// Records before the delivery are missing: the gateway must send from `place.number + 1`.
    pub gap: bool,
    /// How many of the delivery's records were booked now.
    pub fresh: usize,
    /// How many could not be read and were put aside now; their numbers are passed.
    pub aside: usize,
}

/// Books the spend of one shard, and keeps its ledgers and leases.
pub struct Booker {
    kv: Arc<dyn Kv>,
    term: Arc<Term>,
    turn_key: Bytes,
    streams: Arc<Streams>,
    /// `None` while a commit of this booker may still land: what is read then may change before the
    /// next call.
    cache: Option<Cache>,
    /// Thresholds that commits have crossed, for [`Self::take_dues`].
    dues: Vec<(OrgId, Due)>,
    /// The same of commits whose answer was lost: the next commit decides whether they have landed.
    perhaps_due: Vec<(OrgId, Due)>,
    commits: Commits,
}

/// How often a booker has tried to commit, and how often another commit came before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Commits {
    /// Tries.
    pub tried: u64,
    /// Tries that conflicted.
    pub conflicts: u64,
}

/// One try of a call: the moment that it reads at, and what is known by then.
struct Work {
    snapshot: Arc<dyn Snapshot>,
    cache: Cache,
    /// No commit of this booker can land behind the snapshot.
    is_sure: bool,
}

/// Tries a call again that another commit came before, or of which it is not known whether it
/// happened.
macro_rules! insist {
    ($once:expr) => {{
        for _ in 0..$crate::booking::MAX_TRIES {
            match $once.await {
                Ok(Some(answer)) => return Ok(answer),
                Ok(None) | Err($crate::error::StoreError::Read($crate::kv::ReadError::TooOld)) => {}
                Err(error) => return Err(error),
            }
        }
        Err($crate::error::StoreError::Contended)
    }};
}
use insist;

/// The shard that an organisation belongs to, below [`SHARDS`].
///
/// Organisation ids are UUIDv7: their last bits are random, which is all that a hash would give.
#[must_use]
pub const fn shard_of(org: OrgId) -> u8 {
    let [.., last] = org.bytes();
    last % SHARDS
}

impl Booker {
    /// A booker for a shard, as long as `term` lasts. Keys, caps and paths are those of `streams`.
    #[must_use]
    pub fn new(kv: Arc<dyn Kv>, term: Arc<Term>, shard: u8, streams: Arc<Streams>) -> Self {
        let (cache, turn_key) = (Some(Cache::default()), keyspace::turn(shard));
        let (dues, perhaps_due, commits) = (Vec::new(), Vec::new(), Commits::default());
        Self { kv, term, turn_key, streams, cache, dues, perhaps_due, commits }
    }

    /// Books deliveries, together at most [`MAX_RECORDS`] records, in one commit, and says how far
    /// each epoch is booked. A delivery that is a duplicate or behind a gap books nothing. Where a
    /// commit would grow too large, because each record crosses many thresholds, it books only the
    /// first of them.
    ///
    /// May be dropped at any time: the commit then happens or not, and the next call finds out.
    ///
    /// # Errors
    /// [`StoreError::Fenced`] if another process books this shard now; else the store failed and
    /// nothing of this call may be assumed: gateways send again.
    pub async fn book(
        &mut self,
        deliveries: &[Delivery],
        now: Timestamp,
    ) -> Result<Vec<Booked>, StoreError> {
        let mut most = MAX_RECORDS;
        loop {
            match self.book_some(deliveries, now, most).await {
                Err(StoreError::Commit(CommitError::TooLarge(_))) if most > 1 => most /= 2,
                answered => return answered,
            }
        }
    }

    async fn book_some(
        &mut self,
        deliveries: &[Delivery],
        now: Timestamp,
        most: usize,
    ) -> Result<Vec<Booked>, StoreError> {
        insist!(self.book_once(deliveries, now, most))
    }

    /// The thresholds that this booker's commits have crossed since it was last asked: each is told
    /// by [`crate::execute::Executor::tell_due`]. Those of other bookers, or of one whose store
    /// failed, are found by [`crate::ledger::dues`].
    #[must_use]
    pub fn take_dues(&mut self) -> Vec<(OrgId, Due)> {
        std::mem::take(&mut self.dues)
    }

    /// The commits since this was last asked.
    pub fn take_commits(&mut self) -> Commits {
        std::mem::take(&mut self.commits)
    }

    async fn book_once(
        &mut self,
        deliveries: &[Delivery],
        now: Timestamp,
        most: usize,
    ) -> Result<Option<Vec<Booked>>, StoreError> {
        let mut work = self.begin().await?;
        let place = |one: &Delivery| keyspace::place(one.org, one.gateway, one.batch.epoch);
        work.cache.load_places(&*work.snapshot, deliveries.iter().map(place).collect()).await?;
        let mut draft = Draft { room: most, ..Draft::default() };
        for delivery in deliveries {
            draft.take(&work.cache, delivery, now);
        }
        work.cache.load_totals(&*work.snapshot, draft.sums.keys().cloned().collect()).await?;
        draft.add_to(&work.cache);
        self.settle(&*work.snapshot, &mut work.cache, &mut draft).await?;
        let answers = std::mem::take(&mut draft.answers);
        self.finish(work, draft, answers).await
    }

    /// Begins a try.
    async fn begin(&mut self) -> Result<Work, StoreError> {
        // Taken out, and put back only when the store has answered, even if this future is dropped.
        let known = self.cache.take();
        let is_sure = known.is_some();
        let mut cache = known.unwrap_or_default();
        cache.make_room();
        let snapshot = self.kv.snapshot().await?;
        self.term.check(&*snapshot).await?;
        Ok(Work { snapshot, cache, is_sure })
    }

    /// Brings organisations to a head behind the try's snapshot. If a cap of theirs has changed in
    /// between, a commit that relies on it conflicts.
    async fn catch_up(&self, orgs: BTreeSet<OrgId>) -> Result<(), StoreError> {
        let reads = orgs.into_iter().map(|org| self.streams.organisation(org, |_| ()));
        try_join_all(reads).await.map(drop)
    }

    /// Commits what a try has drafted, if anything; `None`: it is not known whether that happened,
    /// or another commit came first.
    async fn finish<T>(
        &mut self,
        work: Work,
        mut draft: Draft,
        answer: T,
    ) -> Result<Option<T>, StoreError> {
        let Work { snapshot, mut cache, is_sure } = work;
        if draft.is_empty() {
            self.cache = is_sure.then_some(cache);
            return Ok(Some(answer));
        }
        self.commits.tried = self.commits.tried.saturating_add(1);
        match self.commit(&*snapshot, &mut draft).await {
            Ok(()) => {
                self.dues.append(&mut self.perhaps_due);
                self.dues.append(&mut draft.sheet.dues);
                cache.keep(draft);
                self.cache = Some(cache);
                Ok(Some(answer))
            }
            Err(CommitError::Conflict) => {
                self.commits.conflicts = self.commits.conflicts.saturating_add(1);
                Ok(None)
            }
            Err(CommitError::Unknown(_)) => {
                self.perhaps_due.append(&mut draft.sheet.dues);
                Ok(None)
            }
            Err(error @ (CommitError::TooLarge(_) | CommitError::Unavailable(_))) => {
                Err(error.into())
            }
        }
    }

    async fn commit(&self, snapshot: &dyn Snapshot, draft: &mut Draft) -> Result<(), CommitError> {
        let mut writes = draft.writes();
        #[cfg(feature = "mutations")]
        if mutation::commit() == Commit::Split {
            return self.commit_split(snapshot, writes, draft.places.len()).await;
        }
        writes.push(Write::Put { key: self.turn_key.clone(), value: Bytes::new() });
        let mut unchanged = vec![self.term.guard(), self.turn_key.clone()];
        unchanged.extend(draft.sheet.guards());
        let batch = Batch { read_at: snapshot.version(), unchanged, writes };
        self.kv.commit(batch).await.map(|_| ())
    }
}
