//! What one commit will write, computed from deliveries and known rows alone.

use std::collections::BTreeMap;

use bytes::Bytes;
use turnpike_domain::spend::{Source, Spend};
use turnpike_domain::time::{HOUR_MS, Timestamp};
use turnpike_wire::spend as form;

use super::cache::Cache;
use super::settle::{self, Spent};
use super::sheet::Sheet;
use super::torn::Torn;
use super::{Booked, Delivery};
use crate::keyspace;
use crate::kv::Write;
use crate::ledger::rows;
use crate::rows::{Place, Total};

/// The longest name of a model that is booked: it is part of a key. Real ones have under 100 bytes.
const MAX_MODEL_BYTES: usize = 500;
/// How much is kept of a record that cannot be read: five times the size of one that can, so that
/// a whole commit of them stays within its limits.
const MAX_ASIDE_BYTES: usize = 1_000;

#[derive(Default)]
pub(super) struct Draft {
    /// New places.
    pub(super) places: BTreeMap<Bytes, Place>,
    /// What is added to totals; after [`Self::add_to`] the totals themselves.
    pub(super) sums: BTreeMap<Bytes, Total>,
    /// How many more records it may take.
    pub(super) room: usize,
    /// The answer to each delivery.
    pub(super) answers: Vec<Booked>,
    /// What the records have cost, not yet settled.
    pub(super) spent: Spent,
    /// What records may have cost that cannot be read.
    pub(super) torn: Vec<Torn>,
    /// The ledger's part.
    pub(super) sheet: Sheet,
    /// Rows of the request log and of what was put aside.
    pub(super) rows: Vec<Write>,
}

impl Draft {
    /// Takes what is new of a delivery.
    pub(super) fn take(&mut self, cache: &Cache, delivery: &Delivery, now: Timestamp) {
        let Delivery { org, gateway, ref batch, published } = *delivery;
        let key = keyspace::place(org, gateway, batch.epoch);
        let mut place = self.places.get(&key).copied().unwrap_or_else(|| cache.place(&key));
        let next = place.number.saturating_add(1);
        let gap = batch.first > next;
        let behind = usize::try_from(next.saturating_sub(batch.first)).unwrap_or(usize::MAX);
        let fresh = match batch.records.get(behind..) {
            Some(records) if !gap => records,
            Some(_) | None => &[],
        };
        let records = fresh.get(..self.room).unwrap_or(fresh);
        self.room = self.room.saturating_sub(records.len());
        let is_whole = records.len() == fresh.len();
        let mut aside = 0_usize;
        for encoded in records {
            place.number = place.number.saturating_add(1);
            match read(&encoded.0) {
                Some(record) => self.count(delivery, &record, place.number),
                None => {
                    aside = aside.saturating_add(1);
                    self.put_aside(delivery, &encoded.0, place.number);
                }
            }
        }
        let ends = batch.end && is_whole && !gap && !place.ended && behind <= batch.records.len();
        let moved = !records.is_empty() || ends;
        if moved {
            place.ended |= ends;
            place.at = now;
        }
        if moved || published > place.published {
            place.published = place.published.max(published);
            self.places.insert(key, place);
        }
        let (epoch, fresh) = (batch.epoch, records.len().saturating_sub(aside));
        self.answers.push(Booked { org, gateway, epoch, place, gap, fresh, aside });
    }

    /// Whether there is nothing to write.
    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty() && self.sheet.is_empty()
    }

    /// Turns the sums into totals.
    pub(super) fn add_to(&mut self, cache: &Cache) {
        for (key, sum) in &mut self.sums {
            sum.add(&cache.total(key));
        }
    }

    /// Everything that is written. The places come last.
    pub(super) fn writes(&mut self) -> Vec<Write> {
        let put = |key: &Bytes, value: Bytes| Write::Put { key: key.clone(), value };
        let mut writes = std::mem::take(&mut self.rows);
        writes.extend(self.sums.iter().map(|(key, total)| put(key, total.bytes())));
        writes.extend(self.sheet.writes());
        writes.extend(self.places.iter().map(|(key, place)| put(key, place.bytes())));
        writes
    }

    fn count(&mut self, delivery: &Delivery, record: &Spend, number: u64) {
        let Delivery { org, gateway, ref batch, .. } = *delivery;
        let hour = Timestamp(record.at.0 / HOUR_MS * HOUR_MS);
        let sum = Total::of(record);
        // A caller can make up names as it likes; totals of refused requests stand under none.
        let model = if record.unmetered { "" } else { &record.model };
        if sum != Total::default() {
            let of_key = [
                keyspace::total(org, hour, record.key, model),
                keyspace::key_total(org, record.key),
            ];
            let of_token = record.token.map(|token| keyspace::token_total(org, token));
            for key in of_key.into_iter().chain(of_token) {
                self.sums.entry(key).or_default().add(&sum);
            }
        }
        if !record.unmetered {
            settle::add(&mut self.spent, org, gateway, record);
        }
        self.rows.push(Write::Put {
            key: keyspace::request(org, record.request),
            value: form::log_row(record, gateway, batch.epoch, number).into(),
        });
        self.rows.push(Write::Put {
            key: keyspace::request_of_key(org, record.key, record.request),
            value: Bytes::new(),
        });
    }

    fn put_aside(&mut self, delivery: &Delivery, record: &[u8], number: u64) {
        let Delivery { org, gateway, ref batch, .. } = *delivery;
        let hold = form::hold(record).ok();
        self.torn.extend(hold.and_then(|hold| Torn::of(org, gateway, &hold)));
        let kept = record.get(..MAX_ASIDE_BYTES).unwrap_or(record);
        self.rows.push(Write::Put {
            key: keyspace::aside(org, gateway, batch.epoch, number),
            value: rows::aside(hold.is_some(), kept),
        });
    }
}

/// A record that can be booked. A cost below zero is none: it would take back what others spent;
/// nor is a cost of what was never admitted.
fn read(encoded: &[u8]) -> Option<Spend> {
    let record = form::decode(encoded).ok()?;
    (record.is_sound() && record.model.len() <= MAX_MODEL_BYTES).then_some(record)
}

impl Total {
    /// What one record adds.
    #[must_use]
    pub(super) fn of(record: &Spend) -> Self {
        if record.unmetered {
            let requests = u64::from(record.repeats).saturating_add(1);
            let refused = if record.denial.is_some() { requests } else { 0 };
            return Self { refused, ..Self::default() };
        }
        let estimated = match record.source {
            Source::Estimated => 1,
            Source::Provider | Source::Counted => 0,
        };
        let never = Timestamp::default();
        let (last_at, legacy_at) =
            if record.legacy { (never, record.at) } else { (record.at, never) };
        Self {
            requests: 1,
            estimated,
            input: record.usage.input,
            cached_input: record.usage.cached_input,
            output: record.usage.output,
            cost: record.cost,
            last_at,
            refused: 0,
            legacy: u64::from(record.legacy),
            legacy_at,
        }
    }
}
