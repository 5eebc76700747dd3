//! The provider's own books: what it truly served, and what each request must be booked at.

use std::collections::{BTreeMap, BTreeSet};

use turnpike_domain::id::{EpochId, KeyId, LeaseId, OrgId, RequestId};
use turnpike_domain::money::NanoUsd;
use turnpike_domain::settle::Settlement;
use turnpike_domain::spend::Source;

use crate::pace::Paces;

/// One admitted request.
pub(crate) struct Served {
    pub(crate) org: OrgId,
    pub(crate) key: KeyId,
    pub(crate) epoch: EpochId,
    /// What it was admitted on, and what it has reserved there, in USD and in tokens.
    pub(crate) lease: Option<LeaseId>,
    pub(crate) bounds: [i64; 2],
    /// What is booked if its gateway dies: the reservation.
    pub(crate) estimate: Settlement,
    /// The line that opens it is in the gateway's file for certain.
    pub(crate) written: bool,
    /// How the gateway settled it.
    pub(crate) settled: Option<Settlement>,
    /// The gateway died: what it settled last may not have been in the file.
    pub(crate) orphaned: bool,
    /// The folder of its gateway is lost: nobody will send its record.
    pub(crate) forgotten: bool,
    /// What the provider served it for, in USD and in tokens.
    pub(crate) truth: [i64; 2],
}

/// All of them.
#[derive(Default)]
pub(crate) struct Books {
    pub(crate) requests: BTreeMap<RequestId, Served>,
    pub(crate) paces: Paces,
    /// Runs whose records may be lost.
    forgotten: BTreeSet<EpochId>,
}

impl Books {
    /// The runs with this epoch are dead.
    pub(crate) fn orphan(&mut self, epoch: EpochId) {
        for served in self.requests.values_mut().filter(|served| served.epoch == epoch) {
            served.orphaned = true;
        }
    }

    /// The folders of the runs with this epoch are lost.
    pub(crate) fn forget(&mut self, epoch: EpochId) {
        self.forgotten.insert(epoch);
        for served in self.requests.values_mut().filter(|served| served.epoch == epoch) {
            served.forgotten = true;
        }
    }

    pub(crate) fn is_forgotten(&self, epoch: EpochId) -> bool {
        self.forgotten.contains(&epoch)
    }
}

impl Served {
    /// What it cost, or will once it is booked by its gateway.
    pub(crate) const fn truth_cost(&self) -> NanoUsd {
        NanoUsd(self.truth[0])
    }

    /// Whether a row of this cost and source may stand for the request.
    pub(crate) fn allows(&self, cost: NanoUsd, source: Source) -> bool {
        let is = |settlement: &Settlement| settlement.cost == cost && settlement.source == source;
        self.settled.as_ref().is_some_and(is) || (self.orphaned && is(&self.estimate))
    }

    /// Whether it may be missing from the books.
    pub(crate) const fn may_be_missing(&self) -> bool {
        self.forgotten || (self.orphaned && !self.written)
    }
}
