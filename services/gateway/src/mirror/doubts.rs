//! What the mirror does when its source speaks against what it has applied.

use turnpike_domain::id::OrgId;
use turnpike_domain::state::Head;
use turnpike_runtime::entropy;
use turnpike_wire::heartbeat::LostChange;

use super::{Everything, HURRY_MS, Mirror, lost};
use crate::audit;

impl Mirror {
    /// Two events claim the place of the stream's head. True: the control plane has named ours; the
    /// other is forged, or the store was set back, which the heads will tell.
    pub(super) fn contradicted(&mut self, org: OrgId, head: Head) -> bool {
        if self.beats.has_named(org, head.seq) {
            self.refuse(org, &format!("{org}: an event came in the place of one that was named"));
            self.beats.mistrust();
            return true;
        }
        self.forged(org, "two events claim one place, and one of them is forged");
        false
    }

    /// The store was restored: nothing that is known may be believed for longer than staleness
    /// allows.
    pub(super) fn begin_again(&mut self, why: &str) {
        if self.everything == Everything::Known {
            self.alarm(&format!("{why}; every stream is fetched again"));
            self.begins_again = true;
            self.beats.start_again();
            // All gateways hear of it at once.
            let at_ms = self.parts.clock.boot_ms().saturating_add(entropy::jitter_ms(HURRY_MS));
            self.everything = Everything::Wanted { at_ms, failures: 0 };
        }
    }

    /// Acts on what the control plane's own word speaks against.
    pub(super) fn disbelieve(&mut self) {
        if self.beats.went_back() {
            return self.begin_again("the store was set back: it lacks what was applied before");
        }
        for org in self.beats.take_forged() {
            self.forged(org, "events came that the control plane has not decided");
            self.fetches.want(org);
            // It was perhaps fetched before, in vain.
            self.fetches.hurry(self.parts.clock.boot_ms());
        }
        for org in self.beats.take_ghosts() {
            self.forged(OrgId::PLATFORM, "an organisation came that the control plane lacks");
            self.parts.world.forget(org);
            self.fetches.done(org);
        }
    }

    fn forged(&mut self, org: OrgId, what: &str) {
        self.refuse(org, &format!("{org}: {what}"));
        self.parts.world.disbelieve(org);
        // Whoever forged may have named a fence that nobody reaches.
        self.parts.core.fences().forget();
    }

    /// Says which changes of keys are gone: somebody should make them again.
    pub(super) fn tell_lost(&mut self) {
        let lost = self.parts.world.take_lost();
        for (org, LostChange { key, kind }) in &lost {
            let (head, now) = (self.parts.world.head(*org), self.parts.core.now());
            let what = lost::name(*kind);
            tracing::error!(%org, %key, what, "a change of a key is gone: make it again");
            self.parts.metrics.lost.inc();
            let (decided_at, applied_at) = (now, now);
            let (org, key, seq, position) = (*org, *key, head.seq, head.position);
            let entry = audit::Entry { what, org, key, seq, position, decided_at, applied_at };
            self.parts.audit.add(&entry);
        }
    }
}
