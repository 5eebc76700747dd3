//! Settling: what records cost moves the accounts and leases that they were admitted on.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::try_join_all;
use turnpike_domain::event::KeyProfile;
use turnpike_domain::id::{EphemeralId, GatewayId, KeyId, LeaseId, OrgId};
use turnpike_domain::ledger::{Lease, path_of};
use turnpike_domain::limit::Unit;
use turnpike_domain::money::NanoUsd;
use turnpike_domain::spend::Spend;
use turnpike_domain::state::Organisation;
use turnpike_domain::time::{DAY_MS, Timestamp};

use super::draft::Draft;
#[cfg(feature = "mutations")]
use super::mutation;
use super::sheet::{Sheet, UNITS};
use super::view::View;
use super::{Booker, Cache};
use crate::error::StoreError;
use crate::kv::Snapshot;
use crate::ledger::rows::Path;
use crate::log;

/// What records of one commit have in common that are booked on the same path.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Source {
    org: OrgId,
    gateway: GatewayId,
    lease: Option<LeaseId>,
    key: KeyId,
    key_seq: u64,
    token: Option<EphemeralId>,
    /// The first moment of the day of admission: all windows begin and end with days.
    day: Timestamp,
}

/// What records have cost together.
#[derive(Clone, Copy, Default)]
pub(super) struct Sum {
    cost: NanoUsd,
    tokens: i64,
}

/// Costs by what they are booked on.
pub(super) type Spent = BTreeMap<Source, Sum>;

/// Adds a record to what is settled.
pub(super) fn add(spent: &mut Spent, org: OrgId, gateway: GatewayId, record: &Spend) {
    let day = Timestamp(record.at.0 / DAY_MS * DAY_MS);
    let Spend { lease, key, key_seq, token, .. } = *record;
    let source = Source { org, gateway, lease, key, key_seq, token, day };
    let sum = spent.entry(source).or_default();
    sum.cost = sum.cost.plus(record.cost);
    let tokens = i64::try_from(record.usage.tokens()).unwrap_or(i64::MAX);
    sum.tokens = sum.tokens.saturating_add(tokens);
}

impl Source {
    fn leases(&self) -> impl Iterator<Item = (OrgId, GatewayId, LeaseId, Unit)> {
        let Self { org, gateway, lease, .. } = *self;
        let keys = UNITS.map(|unit| lease.map(|lease| (org, gateway, lease, unit)));
        keys.into_iter().flatten()
    }
}

impl Booker {
    /// Moves accounts and leases by what a draft's records have cost, or may have cost if they
    /// cannot be read, and notes what was crossed.
    pub(super) async fn settle(
        &self,
        snapshot: &dyn Snapshot,
        cache: &mut Cache,
        draft: &mut Draft,
    ) -> Result<(), StoreError> {
        self.tear(snapshot, cache, draft).await?;
        let spent = std::mem::take(&mut draft.spent);
        let orgs: BTreeSet<OrgId> = spent.keys().map(|source| source.org).collect();
        self.catch_up(orgs).await?;
        let leases = spent.keys().flat_map(Source::leases).collect();
        cache.load_leases(snapshot, leases).await?;
        let (paths, view) = self.paths(snapshot, cache, &spent).await?;
        let mut rows = Vec::new();
        for (source, path) in spent.keys().zip(&paths) {
            for unit in UNITS {
                rows.extend(path.iter().map(|(on, window)| (source.org, *on, unit, *window)));
            }
        }
        cache.load_accounts(snapshot, rows).await?;
        for ((source, sum), path) in spent.iter().zip(&paths) {
            for (unit, amount) in [(Unit::Usd, sum.cost.0), (Unit::Tokens, sum.tokens)] {
                move_one(&mut draft.sheet, (cache, &view), source, path, (unit, amount));
            }
        }
        Ok(())
    }

    /// The path of each source: its lease's own, or that of its key.
    async fn paths(
        &self,
        snapshot: &dyn Snapshot,
        cache: &Cache,
        spent: &Spent,
    ) -> Result<(Vec<Path>, View), StoreError> {
        let leased = |source: &Source| {
            let row = source.leases().find_map(|key| cache.lease(&key));
            row.map(|row| Path::clone(&row.path))
        };
        let known = try_join_all(spent.keys().map(async |source| match leased(source) {
            Some(path) => Ok((Some(path), None)),
            None => self.past(snapshot, source).await.map(|past| (None, past)),
        }));
        let (mut paths, mut view) = (Vec::with_capacity(spent.len()), View::default());
        for (source, (leased, past)) in spent.keys().zip(known.await?) {
            let Source { org, key, token, day, .. } = *source;
            let read = |state: &_| {
                let path =
                    leased.unwrap_or_else(|| path_of(state, key, past.as_ref(), token, day).into());
                path.iter().for_each(|(account, _)| view.note(state, *account));
                path
            };
            paths.push(self.streams.remembered(org, read).await);
        }
        Ok((paths, view))
    }

    /// What the key of a source was when its requests were admitted; `None`: it is that still, or
    /// the log does not say.
    async fn past(
        &self,
        snapshot: &dyn Snapshot,
        source: &Source,
    ) -> Result<Option<KeyProfile>, StoreError> {
        let Source { org, key, key_seq, .. } = *source;
        let is_now =
            |state: &Organisation| state.keys.get(&key).is_some_and(|known| known.seq <= key_seq);
        if self.streams.remembered(org, is_now).await {
            return Ok(None);
        }
        log::profile(snapshot, org, key, key_seq).await
    }
}

fn move_one(
    sheet: &mut Sheet,
    (cache, view): (&Cache, &View),
    source: &Source,
    path: &Path,
    (unit, amount): (Unit, i64),
) {
    let org = source.org;
    let mut levels = sheet.levels((cache, view), org, unit, path);
    #[cfg(feature = "mutations")]
    let settled = mutation::settled(&mut levels);
    #[cfg(not(feature = "mutations"))]
    let settled = &mut levels[..];
    let key = source.lease.map(|lease| (org, source.gateway, lease, unit));
    let leased = key.and_then(|key| Some((key, sheet.lease(cache, &key)?.clone())));
    if let Some((key, mut row)) = leased {
        row.lease.book(settled, amount);
        sheet.leases.insert(key, Some(row));
    } else {
        Lease::default().book(settled, amount);
    }
    sheet.cross(view, org, unit, &mut levels);
    sheet.put(cache, org, unit, &levels);
}
