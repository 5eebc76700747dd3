//! Booking: spend records become totals, request log and places, each record exactly once.
//!
//! A record counts once by its producer's number: the last booked number per (organisation, gateway,
//! epoch) is written in the commit that books. A lower number is a duplicate, the next one is
//! booked, a higher one is a gap that the gateway is asked to fill.
//!
//! One task books a shard, one commit at a time. Each commit guards the shard's fence (another owner)
//! and the shard's turn (a commit of this owner whose answer was lost and that lands late): both
//! make the whole commit fail, so totals are plain values and are never added twice.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use turnpike_domain::id::{EpochId, GatewayId, OrgId};
use turnpike_domain::spend::{Source, Spend};
use turnpike_domain::time::{HOUR_MS, Timestamp};
use turnpike_wire::spend as form;

use crate::error::StoreError;
use crate::keyspace;
use crate::kv::{Batch, CommitError, Kv, Snapshot, Write};
use crate::leader::Term;
use crate::rows::{Place, Total};

/// The most records of one commit (money.md): small enough for FoundationDB's limits.
pub const MAX_RECORDS: usize = 500;
/// Rows kept in memory between commits; beyond it the cache begins anew.
const MAX_CACHED_ROWS: usize = 50_000;
/// Tries of one booking before its records are left for their gateway to send again.
const MAX_TRIES: u32 = 8;

/// Spend as it arrives: consecutive records of one epoch, the first with number `first`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Whose spend.
    pub org: OrgId,
    /// Who measured it.
    pub gateway: GatewayId,
    /// In which run.
    pub epoch: EpochId,
    /// The number of the first record, or of the next one if there are none.
    pub first: u64,
    /// The records.
    pub records: Vec<Spend>,
    /// Nothing follows.
    pub end: bool,
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
}

/// Books the spend of one shard.
pub struct Booker {
    kv: Arc<dyn Kv>,
    term: Arc<Term>,
    turn_key: Bytes,
    rows: BTreeMap<Bytes, Total>,
    places: BTreeMap<Bytes, Place>,
}

/// What one commit will write.
struct Draft {
    places: BTreeMap<Bytes, Place>,
    totals: BTreeMap<Bytes, Total>,
    requests: Vec<Write>,
    answers: Vec<Booked>,
}

impl Booker {
    /// A booker for a shard, as long as `term` lasts.
    #[must_use]
    pub fn new(kv: Arc<dyn Kv>, term: Arc<Term>, shard: u8) -> Self {
        let turn_key = keyspace::turn(shard);
        Self { kv, term, turn_key, rows: BTreeMap::new(), places: BTreeMap::new() }
    }

    /// Books deliveries, together at most [`MAX_RECORDS`] records, in one commit, and says how far
    /// each epoch is booked. A delivery that is a duplicate or behind a gap books nothing.
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
            let snapshot = self.kv.snapshot().await?;
            self.term.check(&*snapshot).await?;
            let draft = self.draft(&*snapshot, deliveries, now).await?;
            if draft.requests.is_empty() && draft.places.is_empty() {
                return Ok(draft.answers);
            }
            match self.kv.commit(self.batch(&*snapshot, &draft)).await {
                Ok(_) => return Ok(self.keep(draft)),
                Err(CommitError::Conflict | CommitError::Unknown(_)) => {
                    self.forget();
                }
                Err(error) => {
                    self.forget();
                    return Err(error.into());
                }
            }
        }
        Err(StoreError::Contended)
    }

    /// How far an epoch is booked.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be read.
    pub async fn place(
        &mut self,
        org: OrgId,
        gateway: GatewayId,
        epoch: EpochId,
    ) -> Result<Place, StoreError> {
        let snapshot = self.kv.snapshot().await?;
        self.read_place(&*snapshot, &keyspace::place(org, gateway, epoch)).await
    }

    async fn draft(
        &mut self,
        snapshot: &dyn Snapshot,
        deliveries: &[Delivery],
        now: Timestamp,
    ) -> Result<Draft, StoreError> {
        let mut draft = Draft {
            places: BTreeMap::new(),
            totals: BTreeMap::new(),
            requests: Vec::new(),
            answers: Vec::with_capacity(deliveries.len()),
        };
        for delivery in deliveries {
            self.deliver(snapshot, delivery, now, &mut draft).await?;
        }
        Ok(draft)
    }

    async fn deliver(
        &mut self,
        snapshot: &dyn Snapshot,
        delivery: &Delivery,
        now: Timestamp,
        draft: &mut Draft,
    ) -> Result<(), StoreError> {
        let key = keyspace::place(delivery.org, delivery.gateway, delivery.epoch);
        let mut place = match draft.places.get(&key) {
            Some(place) => *place,
            None => self.read_place(snapshot, &key).await?,
        };
        let next = place.number.saturating_add(1);
        let gap = delivery.first > next;
        let behind = usize::try_from(next.saturating_sub(delivery.first)).unwrap_or(usize::MAX);
        let fresh = match delivery.records.get(behind..) {
            Some(fresh) if !gap => fresh,
            Some(_) | None => &[],
        };
        for record in fresh {
            place.number = place.number.saturating_add(1);
            self.count(snapshot, delivery, record, draft).await?;
            draft.requests.push(Write::Put {
                key: keyspace::request(delivery.org, record.request),
                value: form::log_row(record, delivery.gateway, delivery.epoch, place.number).into(),
            });
        }
        let ends = delivery.end && !gap && !place.ended && behind <= delivery.records.len();
        if !fresh.is_empty() || ends {
            place.ended |= ends;
            place.at = now;
            draft.places.insert(key, place);
        }
        let Delivery { org, gateway, epoch, .. } = *delivery;
        draft.answers.push(Booked { org, gateway, epoch, place, gap, fresh: fresh.len() });
        Ok(())
    }

    /// Adds one record to its totals.
    async fn count(
        &mut self,
        snapshot: &dyn Snapshot,
        delivery: &Delivery,
        record: &Spend,
        draft: &mut Draft,
    ) -> Result<(), StoreError> {
        let hour = Timestamp(record.at.0 / HOUR_MS * HOUR_MS);
        let keys = [
            keyspace::total(delivery.org, hour, record.key, &record.model),
            keyspace::key_total(delivery.org, record.key),
        ];
        for key in keys {
            let mut total = match draft.totals.get(&key) {
                Some(total) => *total,
                None => self.read_total(snapshot, &key).await?,
            };
            total.add(&Total::of(record));
            draft.totals.insert(key, total);
        }
        Ok(())
    }

    fn batch(&self, snapshot: &dyn Snapshot, draft: &Draft) -> Batch {
        let put = |key: &Bytes, value: Bytes| Write::Put { key: key.clone(), value };
        let mut writes = draft.requests.clone();
        writes.extend(draft.totals.iter().map(|(key, total)| put(key, total.bytes())));
        writes.extend(draft.places.iter().map(|(key, place)| put(key, place.bytes())));
        writes.push(put(&self.turn_key, Bytes::new()));
        let unchanged = vec![self.term.guard(), self.turn_key.clone()];
        Batch { read_at: snapshot.version(), unchanged, writes }
    }

    /// Remembers what a commit wrote, so that the next one need not read it.
    fn keep(&mut self, draft: Draft) -> Vec<Booked> {
        if self.rows.len().saturating_add(self.places.len()) > MAX_CACHED_ROWS {
            self.forget();
        }
        self.rows.extend(draft.totals);
        self.places.extend(draft.places);
        draft.answers
    }

    /// Forgets what was remembered: an unsure commit may have changed it.
    fn forget(&mut self) {
        self.rows.clear();
        self.places.clear();
    }

    async fn read_place(
        &self,
        snapshot: &dyn Snapshot,
        key: &Bytes,
    ) -> Result<Place, StoreError> {
        if let Some(place) = self.places.get(key) {
            return Ok(*place);
        }
        snapshot.get(key).await?.map_or_else(|| Ok(Place::default()), |value| Place::read(&value))
    }

    async fn read_total(
        &self,
        snapshot: &dyn Snapshot,
        key: &Bytes,
    ) -> Result<Total, StoreError> {
        if let Some(total) = self.rows.get(key) {
            return Ok(*total);
        }
        snapshot.get(key).await?.map_or_else(|| Ok(Total::default()), |value| Total::read(&value))
    }
}

impl Total {
    /// What one record adds.
    #[must_use]
    pub fn of(record: &Spend) -> Self {
        let estimated = match record.source {
            Source::Estimated => 1,
            Source::Provider | Source::Counted => 0,
        };
        Self {
            requests: 1,
            estimated,
            input: record.usage.input,
            cached_input: record.usage.cached_input,
            output: record.usage.output,
            cost: record.cost,
            last_at: record.at,
        }
    }
}
