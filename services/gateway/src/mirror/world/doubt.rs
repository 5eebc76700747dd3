//! What is wrong with the mirror: what could not be read, what was forged, what is gone.

use turnpike_domain::id::{OrgId, Position};
use turnpike_wire::heartbeat::{LostChange, Quarantine};

use super::World;
use crate::mirror::aside::{self, Aside};

impl World {
    /// Whether something of the stream could not be read.
    pub(crate) fn is_held(&self, org: OrgId) -> bool {
        let of_platform = org == OrgId::PLATFORM && self.aside.stands();
        of_platform || self.aside_of(org).stands()
    }

    /// `position`, if all before it was read that the organisation depends on; else up to where it
    /// was.
    pub(crate) fn known(&self, org: OrgId, position: Position) -> Position {
        self.aside_of(org).known(self.aside.known(position))
    }

    /// What of the organisation's stream, or of the platform's, could not be read in this run.
    pub(crate) fn quarantine(&self, org: OrgId) -> Option<Quarantine> {
        aside::foremost(self.aside_of(org), self.aside)
    }

    /// Changes of the organisation's keys that are gone and that nobody has made again.
    pub(crate) fn lost(&self, org: OrgId) -> Vec<LostChange> {
        self.orgs.get(&org).map(|org| org.lost.told(&org.state)).unwrap_or_default()
    }

    /// The changes that were found to be gone since this was last asked.
    pub(crate) fn take_lost(&mut self) -> Vec<(OrgId, LostChange)> {
        std::mem::take(&mut self.lost)
    }

    /// What is mirrored of a stream is not the control plane's: nothing more is applied to it until
    /// it is fetched.
    pub(crate) fn disbelieve(&mut self, org: OrgId) {
        self.forged.insert(org);
        self.set_behind(org, true);
    }

    /// Something came in the name of a stream that is no event of it.
    pub(crate) fn refuse(&mut self, org: OrgId) {
        let now = self.core.now();
        if org == OrgId::PLATFORM {
            self.aside.refuse(now);
        } else if let Some(mirrored) = self.orgs.get_mut(&org) {
            mirrored.aside.refuse(now);
        }
    }

    fn aside_of(&self, org: OrgId) -> Aside {
        self.orgs.get(&org).map(|org| org.aside).unwrap_or_default()
    }
}
