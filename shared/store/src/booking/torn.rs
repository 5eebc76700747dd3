//! What records held that cannot be read: it is lost the moment that their numbers are passed.
//!
//! Whatever such a request has cost, its gateway counts it as spent and never gives it back. A
//! lease of its own stands for it, which names the gateway and the budgets, counts against them,
//! and goes only when somebody releases it.

use turnpike_domain::id::{GatewayId, LeaseId, OrgId};
use turnpike_domain::limit::Unit;
use turnpike_runtime::entropy;
use turnpike_wire::spend::Hold;

use super::draft::Draft;
use super::sheet::UNITS;
use super::view::View;
use super::{Booker, Cache};
use crate::error::StoreError;
use crate::kv::Snapshot;
use crate::ledger::rows::LeaseRow;

/// What one record may have cost.
pub(super) struct Torn {
    org: OrgId,
    gateway: GatewayId,
    lease: LeaseId,
    /// In USD and in tokens.
    reserved: [i64; 2],
}

impl Torn {
    /// `None`: it was on no lease, so nothing is held for it.
    pub(super) fn of(org: OrgId, gateway: GatewayId, hold: &Hold) -> Option<Self> {
        let tokens = i64::try_from(hold.reserved_tokens).unwrap_or(i64::MAX);
        Some(Self { org, gateway, lease: hold.lease?, reserved: [hold.reserved.0, tokens] })
    }

    fn key(&self, unit: Unit) -> (OrgId, GatewayId, LeaseId, Unit) {
        (self.org, self.gateway, self.lease, unit)
    }
}

impl Booker {
    /// Takes what a draft's unreadable records held out of their leases.
    pub(super) async fn tear(
        &self,
        snapshot: &dyn Snapshot,
        cache: &mut Cache,
        draft: &mut Draft,
    ) -> Result<(), StoreError> {
        let torn = std::mem::take(&mut draft.torn);
        let keys = torn.iter().flat_map(|one| UNITS.map(|unit| one.key(unit))).collect();
        cache.load_leases(snapshot, keys).await?;
        let mut rows = Vec::new();
        for (one, unit) in torn.iter().flat_map(|one| UNITS.map(|unit| (one, unit))) {
            let path = cache.lease(&one.key(unit)).map(|row| row.path.iter());
            let path = path.into_iter().flatten();
            rows.extend(path.map(|(account, window)| (one.org, *account, unit, *window)));
        }
        cache.load_accounts(snapshot, rows).await?;
        for one in &torn {
            // Caps do not matter to what is lost.
            let view = View::default();
            let lease = LeaseId(entropy::number());
            for (unit, reserved) in UNITS.into_iter().zip(one.reserved) {
                tear_one(draft, (cache, &view), (one, unit, lease), reserved);
            }
        }
        Ok(())
    }
}

fn tear_one(
    draft: &mut Draft,
    known: (&Cache, &View),
    (one, unit, lease): (&Torn, Unit, LeaseId),
    reserved: i64,
) {
    let (sheet, key) = (&mut draft.sheet, one.key(unit));
    let Some(mut row) = sheet.lease(known.0, &key).cloned() else { return };
    let mut levels = sheet.levels(known, one.org, unit, &row.path);
    let torn = row.lease.tear(&mut levels, reserved);
    if torn.hold() == 0 {
        return;
    }
    let torn = LeaseRow { lease: torn, torn: true, ..row.clone() };
    sheet.leases.insert((one.org, one.gateway, lease, unit), Some(torn));
    sheet.leases.insert(key, Some(row));
    sheet.put(known.0, one.org, unit, &levels);
}
