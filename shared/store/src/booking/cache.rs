//! Rows that one booker has read or written, so that the next commit need not read them.
//!
//! They stay true because nobody else writes them while the booker's term lasts; but a commit of
//! the booker itself whose answer was lost may still change them, until a later one has succeeded.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures_util::future::try_join_all;
use turnpike_domain::id::{EpochId, GatewayId, LeaseId, OrgId};
use turnpike_domain::ledger::Row;
use turnpike_domain::limit::{Account, Unit};
use turnpike_domain::time::Window;

use super::draft::Draft;
use crate::error::StoreError;
use crate::keyspace;
use crate::kv::Snapshot;
use crate::ledger::rows::{self, LeaseRow};
use crate::rows::{Place, Total};

/// Rows kept in memory; beyond it the cache begins anew. A row takes some 200 bytes and a process
/// may have 64 shards: 128 MB in all, and twice what one commit can touch.
const MAX_ROWS: usize = 10_000;

/// Where an account's row stands.
pub(super) type AccountKey = (OrgId, Account, Unit, Window);
/// Where a lease's row stands.
pub(super) type LeaseKey = (OrgId, GatewayId, LeaseId, Unit);

#[derive(Default)]
pub(super) struct Cache {
    totals: BTreeMap<Bytes, Total>,
    places: BTreeMap<Bytes, Place>,
    accounts: BTreeMap<AccountKey, Row>,
    /// `None`: there is no such lease.
    leases: BTreeMap<LeaseKey, Option<LeaseRow>>,
    /// The run of a gateway that has ended those before it.
    runs: BTreeMap<(OrgId, GatewayId), EpochId>,
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

    /// The row of an account that was loaded; zero if there was none.
    pub(super) fn account(&self, key: &AccountKey) -> Row {
        self.accounts.get(key).copied().unwrap_or_default()
    }

    /// A lease that was loaded.
    pub(super) fn lease(&self, key: &LeaseKey) -> Option<&LeaseRow> {
        self.leases.get(key)?.as_ref()
    }

    /// The run of a gateway that has ended all before it; the gateway was loaded.
    pub(super) fn oldest_run(&self, org: OrgId, gateway: GatewayId) -> EpochId {
        self.runs.get(&(org, gateway)).copied().unwrap_or(EpochId(0))
    }

    /// Begins anew if too much is kept.
    pub(super) fn make_room(&mut self) {
        let ledger = self.accounts.len().saturating_add(self.leases.len());
        let booked = self.totals.len().saturating_add(self.places.len());
        if ledger.saturating_add(booked).saturating_add(self.runs.len()) > MAX_ROWS {
            *self = Self::default();
        }
    }

    /// Reads the places that are not known yet.
    pub(super) async fn load_places(
        &mut self,
        snapshot: &dyn Snapshot,
        mut keys: Vec<Bytes>,
    ) -> Result<(), StoreError> {
        keys.retain(|key| !self.places.contains_key(key));
        for (key, value) in read(snapshot, keys, Bytes::clone).await? {
            self.places
                .insert(key, value.map_or_else(|| Ok(Place::default()), |row| Place::read(&row))?);
        }
        Ok(())
    }

    /// Reads the totals that are not known yet.
    pub(super) async fn load_totals(
        &mut self,
        snapshot: &dyn Snapshot,
        mut keys: Vec<Bytes>,
    ) -> Result<(), StoreError> {
        keys.retain(|key| !self.totals.contains_key(key));
        for (key, value) in read(snapshot, keys, Bytes::clone).await? {
            self.totals
                .insert(key, value.map_or_else(|| Ok(Total::default()), |row| Total::read(&row))?);
        }
        Ok(())
    }

    /// Reads the rows of accounts that are not known yet.
    pub(super) async fn load_accounts(
        &mut self,
        snapshot: &dyn Snapshot,
        mut keys: Vec<AccountKey>,
    ) -> Result<(), StoreError> {
        keys.retain(|key| !self.accounts.contains_key(key));
        let stored = |(org, account, unit, window): &AccountKey| {
            keyspace::account(*org, *account, *unit, *window)
        };
        for (key, value) in read(snapshot, keys, stored).await? {
            let row = value.map_or_else(|| Ok(Row::default()), |row| rows::read_account(&row))?;
            self.accounts.insert(key, row);
        }
        Ok(())
    }

    /// Reads the leases that are not known yet.
    pub(super) async fn load_leases(
        &mut self,
        snapshot: &dyn Snapshot,
        mut keys: Vec<LeaseKey>,
    ) -> Result<(), StoreError> {
        keys.retain(|key| !self.leases.contains_key(key));
        let stored =
            |(org, gateway, lease, unit): &LeaseKey| keyspace::lease(*org, *gateway, *lease, *unit);
        for (key, value) in read(snapshot, keys, stored).await? {
            self.leases.insert(key, value.map(|row| LeaseRow::read(&row)).transpose()?);
        }
        Ok(())
    }

    /// Reads which runs of these gateways were ended, where it is not known yet.
    pub(super) async fn load_runs(
        &mut self,
        snapshot: &dyn Snapshot,
        mut keys: Vec<(OrgId, GatewayId)>,
    ) -> Result<(), StoreError> {
        keys.retain(|key| !self.runs.contains_key(key));
        let stored = |(org, gateway): &(OrgId, GatewayId)| keyspace::run(*org, *gateway);
        for (key, value) in read(snapshot, keys, stored).await? {
            let run = value.map_or(Ok(0), |row| rows::read_number(&row))?;
            self.runs.insert(key, EpochId(run));
        }
        Ok(())
    }

    /// Remembers what a commit has written.
    pub(super) fn keep(&mut self, draft: Draft) {
        self.places.extend(draft.places);
        self.totals.extend(draft.sums);
        self.accounts.extend(draft.sheet.accounts);
        self.leases.extend(draft.sheet.leases);
        self.runs.extend(draft.sheet.runs);
    }
}

/// Reads all at once: on a distributed store each read is a round trip.
async fn read<K: Ord>(
    snapshot: &dyn Snapshot,
    mut keys: Vec<K>,
    stored: impl Fn(&K) -> Bytes,
) -> Result<Vec<(K, Option<Bytes>)>, StoreError> {
    keys.sort_unstable();
    keys.dedup();
    let reads = keys.into_iter().map(async |key| {
        let value = snapshot.get(&stored(&key)).await?;
        Ok((key, value))
    });
    try_join_all(reads).await
}
