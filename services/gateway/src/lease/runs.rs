//! Tells the authority that earlier runs of this gateway are over, so that what their leases held
//! is freed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures_util::{StreamExt as _, stream};
use turnpike_bus::seam::Service;
use turnpike_domain::id::{EpochId, OrgId};
use turnpike_wire::authority::{Call, EndRuns, RunsEnded};
use turnpike_wire::form;

use super::agent::{CALL_MS, Means};
use crate::board::Summary;
use crate::lane::Epoch;

/// The wait before it is said again: until then records of earlier runs are being booked.
const AGAIN_MS: u64 = 1_000;
/// Organisations that are told of at a time.
const IN_FLIGHT: usize = 16;

/// What earlier runs have left.
#[derive(Debug)]
pub(crate) struct Runs {
    /// The last number of each epoch, by organisation.
    places: BTreeMap<OrgId, Vec<(EpochId, u64)>>,
    /// Not everything that was spent is known to be among these.
    torn: bool,
}

impl Runs {
    /// `torn`: the files of the last run may have lost something.
    pub(crate) fn of(older: &[Epoch], torn: bool) -> Self {
        let mut summary = Summary::default();
        older.iter().for_each(|epoch| epoch.summarise(&mut summary));
        let damaged = older.iter().any(|epoch| epoch.damaged_lines() > 0);
        let served = summary.served.into_iter();
        let places = served.map(|(org, served)| (org, served.spent)).collect();
        Self { places, torn: torn || damaged }
    }

    /// Tells of every organisation that the mirror knows, again until it is done.
    pub(super) async fn end(self, means: Arc<Means>) {
        let stopping = means.stopping.clone();
        stopping.run_until_cancelled(self.tell(&means)).await;
    }

    async fn tell(&self, means: &Means) {
        let mut done = BTreeSet::new();
        loop {
            let known = means.core.orgs();
            let open: Vec<OrgId> = known.difference(&done).copied().collect();
            if open.is_empty() {
                means.core.other_orgs(&known).await;
                continue;
            }
            let calls = open
                .into_iter()
                .map(|org| async move { self.is_ended(means, org).await.then_some(org) });
            let ended = stream::iter(calls).buffer_unordered(IN_FLIGHT);
            done.extend(ended.filter_map(std::future::ready).collect::<Vec<_>>().await);
            means.clock.sleep(AGAIN_MS).await;
        }
    }

    async fn is_ended(&self, means: &Means, org: OrgId) -> bool {
        let places = self.places.get(&org).cloned().unwrap_or_default();
        let call = Call::EndRuns(EndRuns { run: means.run, places, torn: self.torn });
        let service = Service::Authority { org, gateway: means.gateway };
        let answer = means.bus.call(service, form::encode(&call).into(), CALL_MS).await;
        let answer = answer.ok().and_then(|bytes| form::decode::<RunsEnded>(&bytes).ok());
        answer.is_some_and(|told| means.core.fences().of(org).admits(told.fence) && told.ended)
    }
}
