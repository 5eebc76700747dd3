//! Rows that one booker has read or written, so that the next commit need not read them.
//!
//! They stay true because nobody else writes them while the booker's term lasts; but a commit of
//! the booker itself whose answer was lost may still change them, until a later one has succeeded.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures_util::future::try_join_all;

use super::Delivery;
use crate::error::StoreError;
use crate::keyspace;
use crate::kv::Snapshot;
use crate::rows::{Place, Total};

/// Rows kept in memory; beyond it the cache begins anew. A row takes some 200 bytes and a process
/// may have 64 shards: 64 MB in all, and four times what one commit can touch.
const MAX_ROWS: usize = 5_000;

#[derive(Default)]
pub(super) struct Cache {
    totals: BTreeMap<Bytes, Total>,
    places: BTreeMap<Bytes, Place>,
}

impl Cache {
    /// A place that was loaded; the first one of an epoch that was never booked.
    pub(super) fn place(&self, key: &Bytes) -> Place {
        self.places.get(key).copied().unwrap_or_default()
    }

    /// Totals that were loaded; zero if there were none.
    pub(super) fn total(&self, key: &Bytes) -> Total {
        self.totals.get(key).copied().unwrap_or_default()
    }

    /// Reads the places that are not known yet.
    pub(super) async fn load_places(
        &mut self,
        snapshot: &dyn Snapshot,
        deliveries: &[Delivery],
    ) -> Result<(), StoreError> {
        if self.totals.len().saturating_add(self.places.len()) > MAX_ROWS {
            *self = Self::default();
        }
        let keys =
            deliveries.iter().map(|one| keyspace::place(one.org, one.gateway, one.batch.epoch));
        let missing: Vec<Bytes> = keys.filter(|key| !self.places.contains_key(key)).collect();
        for (key, value) in read(snapshot, missing).await? {
            self.places
                .insert(key, value.map_or_else(|| Ok(Place::default()), |row| Place::read(&row))?);
        }
        Ok(())
    }

    /// Reads the totals that are not known yet.
    pub(super) async fn load_totals(
        &mut self,
        snapshot: &dyn Snapshot,
        keys: impl Iterator<Item = &Bytes>,
    ) -> Result<(), StoreError> {
        let missing = keys.filter(|key| !self.totals.contains_key(*key)).cloned().collect();
        for (key, value) in read(snapshot, missing).await? {
            self.totals
                .insert(key, value.map_or_else(|| Ok(Total::default()), |row| Total::read(&row))?);
        }
        Ok(())
    }

    /// Remembers what a commit has written.
    pub(super) fn keep(&mut self, places: BTreeMap<Bytes, Place>, totals: BTreeMap<Bytes, Total>) {
        self.places.extend(places);
        self.totals.extend(totals);
    }
}

/// Reads all at once: on a distributed store each read is a round trip.
async fn read(
    snapshot: &dyn Snapshot,
    keys: Vec<Bytes>,
) -> Result<Vec<(Bytes, Option<Bytes>)>, StoreError> {
    let reads = keys.into_iter().map(async |key| {
        let value = snapshot.get(&key).await?;
        Ok((key, value))
    });
    try_join_all(reads).await
}
