//! The ledger's part of one commit: accounts and leases as they will stand after it.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use turnpike_domain::id::{EpochId, GatewayId, OrgId};
use turnpike_domain::ledger::{Due, Level, Row};
use turnpike_domain::limit::{Account, Unit};
use turnpike_domain::time::Window;
use turnpike_runtime::entropy;

use super::cache::{AccountKey, Cache, LeaseKey};
use super::view::View;
#[cfg(feature = "mutations")]
use super::{Mistake, mutation};
use crate::keyspace;
use crate::kv::Write;
use crate::ledger::rows::{self, LeaseRow};

/// Every account keeps its rows in both.
pub(super) const UNITS: [Unit; 2] = [Unit::Usd, Unit::Tokens];

/// What one commit changes.
#[derive(Default)]
pub(super) struct Sheet {
    pub(super) accounts: BTreeMap<AccountKey, Row>,
    /// `None`: the lease is forgotten.
    pub(super) leases: BTreeMap<LeaseKey, Option<LeaseRow>>,
    pub(super) runs: BTreeMap<(OrgId, GatewayId), EpochId>,
    /// Up to which event an organisation's stream is followed.
    pub(super) followed: BTreeMap<OrgId, u64>,
    /// The release by hand that is carried out in several commits, and what of it is left.
    pub(super) releases: BTreeMap<OrgId, (u64, i64)>,
    /// Thresholds that were crossed. Each row's value is the id of the command that tells it.
    pub(super) dues: Vec<(OrgId, Due)>,
    /// The caps that grants rely on.
    pub(super) caps: BTreeSet<(OrgId, Account, Unit)>,
}

impl Sheet {
    pub(super) fn is_empty(&self) -> bool {
        self.accounts.is_empty()
            && self.leases.is_empty()
            && self.runs.is_empty()
            && self.followed.is_empty()
            && self.releases.is_empty()
    }

    /// A lease as it stands by now.
    pub(super) fn lease<'a>(&'a self, cache: &'a Cache, key: &LeaseKey) -> Option<&'a LeaseRow> {
        self.leases.get(key).map_or_else(|| cache.lease(key), Option::as_ref)
    }

    /// A path as it stands by now; its rows were loaded.
    pub(super) fn levels(
        &self,
        (cache, view): (&Cache, &View),
        org: OrgId,
        unit: Unit,
        path: &[(Account, Window)],
    ) -> Vec<Level> {
        let level = |(account, window): &(Account, Window)| {
            let key = (org, *account, unit, *window);
            let row = self.accounts.get(&key).copied().unwrap_or_else(|| cache.account(&key));
            let cap = view.cap(org, *account, unit);
            Level { account: *account, window: *window, cap, row }
        };
        path.iter().map(level).collect()
    }

    /// Keeps what became of a path.
    pub(super) fn put(&mut self, cache: &Cache, org: OrgId, unit: Unit, levels: &[Level]) {
        for level in levels {
            let key = (org, level.account, unit, level.window);
            if self.accounts.contains_key(&key) || cache.account(&key) != level.row {
                self.accounts.insert(key, level.row);
            }
        }
    }

    /// Makes the commit depend on the caps of a path.
    pub(super) fn rely_on(&mut self, org: OrgId, unit: Unit, levels: &[Level]) {
        self.caps.extend(levels.iter().map(|level| (org, level.account, unit)));
    }

    /// Notes the thresholds that these levels have crossed.
    pub(super) fn cross(&mut self, view: &View, org: OrgId, unit: Unit, levels: &mut [Level]) {
        for level in levels {
            let percents = view.alert_percents(org, level.account);
            let crossed = level.crossed(unit, percents);
            #[cfg(feature = "mutations")]
            if mutation::is_planted(Mistake::ForgetDue) {
                continue;
            }
            self.dues.extend(crossed.into_iter().map(|due| (org, due)));
        }
    }

    /// The rows that the commit relies on.
    pub(super) fn guards(&self) -> impl Iterator<Item = Bytes> {
        self.caps.iter().map(|(org, account, unit)| keyspace::cap(*org, *account, *unit))
    }

    /// Everything that is written.
    pub(super) fn writes(&self) -> Vec<Write> {
        let put = |key: Bytes, value: Bytes| Write::Put { key, value };
        let accounts = self.accounts.iter().map(|((org, account, unit, window), row)| {
            put(keyspace::account(*org, *account, *unit, *window), rows::account(row))
        });
        let leases = self.leases.iter().map(|((org, gateway, lease, unit), row)| {
            let key = keyspace::lease(*org, *gateway, *lease, *unit);
            match row {
                Some(row) => put(key, row.bytes()),
                None => Write::Delete { key },
            }
        });
        let runs = self
            .runs
            .iter()
            .map(|((org, gateway), run)| put(keyspace::run(*org, *gateway), rows::number(run.0)));
        let followed = self
            .followed
            .iter()
            .map(|(org, seq)| put(keyspace::followed(*org), rows::number((*seq).into())));
        let releases = self
            .releases
            .iter()
            .map(|(org, (seq, left))| put(keyspace::release(*org), rows::release(*seq, *left)));
        let dues = self
            .dues
            .iter()
            .map(|(org, due)| put(keyspace::due(*org, due), rows::number(entropy::number())));
        accounts.chain(leases).chain(runs).chain(followed).chain(releases).chain(dues).collect()
    }
}
