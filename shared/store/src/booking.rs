//! Booking: spend records become totals, request log and places, each record exactly once.
//!
//! A record counts once by its producer's number: the last booked number per (organisation,
//! gateway, epoch) is written in the commit that books. A lower number is a duplicate, the next one
//! is booked, a higher one is a gap that the gateway is asked to fill.
//!
//! One task books a shard, one commit at a time. Each commit guards the shard's fence (another
//! owner) and the shard's turn (a commit of this owner whose answer was lost and that lands late):
//! both make the whole commit fail, so totals are plain values and are never added twice.

mod cache;
mod draft;
#[cfg(feature = "mutations")]
mod mutation;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use bytes::Bytes;
use turnpike_domain::id::{EpochId, GatewayId, OrgId};
use turnpike_domain::time::Timestamp;
use turnpike_wire::spend as form;

use crate::error::StoreError;
use crate::keyspace;
use crate::kv::{Batch, CommitError, Kv, ReadError, Snapshot, Write};
use crate::leader::Term;
use crate::rows::Place;
use cache::Cache;
use draft::Draft;
#[cfg(feature = "mutations")]
pub use mutation::{Commit, mutate};

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

/// Books the spend of one shard.
pub struct Booker {
    kv: Arc<dyn Kv>,
    term: Arc<Term>,
    turn_key: Bytes,
    /// `None` while a commit of this booker may still land: what is read then may change before the
    /// next call.
    cache: Option<Cache>,
}

/// The shard that an organisation belongs to, below [`SHARDS`].
///
/// Organisation ids are UUIDv7: their last bits are random, which is all that a hash would give.
#[must_use]
pub const fn shard_of(org: OrgId) -> u8 {
    let [.., last] = org.bytes();
    last % SHARDS
}

impl Booker {
    /// A booker for a shard, as long as `term` lasts.
    #[must_use]
    pub fn new(kv: Arc<dyn Kv>, term: Arc<Term>, shard: u8) -> Self {
        Self { kv, term, turn_key: keyspace::turn(shard), cache: Some(Cache::default()) }
    }

    /// Books deliveries, together at most [`MAX_RECORDS`] records, in one commit, and says how far
    /// each epoch is booked. A delivery that is a duplicate or behind a gap books nothing.
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
        for _ in 0..MAX_TRIES {
            match self.once(deliveries, now).await {
                Ok(Some(answers)) => return Ok(answers),
                Ok(None) | Err(StoreError::Read(ReadError::TooOld)) => {}
                Err(error) => return Err(error),
            }
        }
        Err(StoreError::Contended)
    }

    /// Tries once; `None`: it is not known whether the commit happened, or another came first.
    async fn once(
        &mut self,
        deliveries: &[Delivery],
        now: Timestamp,
    ) -> Result<Option<Vec<Booked>>, StoreError> {
        // Taken out, and put back only when the store has answered, even if this future is dropped.
        let known = self.cache.take();
        let is_sure = known.is_some();
        let mut cache = known.unwrap_or_default();
        let snapshot = self.kv.snapshot().await?;
        self.term.check(&*snapshot).await?;
        cache.load_places(&*snapshot, deliveries).await?;
        let mut draft = Draft::default();
        for delivery in deliveries {
            draft.take(&cache, delivery, now);
        }
        if draft.is_empty() {
            self.cache = is_sure.then_some(cache);
            return Ok(Some(draft.answers));
        }
        cache.load_totals(&*snapshot, draft.sums.keys()).await?;
        draft.add_to(&cache);
        match self.commit(&*snapshot, &mut draft).await {
            Ok(()) => {
                cache.keep(draft.places, draft.sums);
                self.cache = Some(cache);
                Ok(Some(draft.answers))
            }
            Err(CommitError::Conflict | CommitError::Unknown(_)) => Ok(None),
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
        let unchanged = vec![self.term.guard(), self.turn_key.clone()];
        let batch = Batch { read_at: snapshot.version(), unchanged, writes };
        self.kv.commit(batch).await.map(|_| ())
    }
}
