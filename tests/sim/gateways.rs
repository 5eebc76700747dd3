//! Ending gateways: as a crash does, or in order; and comparing what they saved with the log.

use turnpike_domain::id::OrgId;
use turnpike_wire::snapshot::State;

use crate::house::House;
use crate::reference::{same_organisation, same_platform};

/// How long running requests may take to end before a restart in order.
const DRAIN_MS: u64 = 25_000;

impl House {
    /// Kills the gateway of a machine with all that it holds in memory.
    pub(crate) async fn kill_gateway(&self, place: usize) {
        let Some(running) = self.machines[place].running.take() else { return };
        let (epoch, open) = (running.epoch(), running.embedded.lane.open_requests());
        self.note(format!("gateway {place} is killed with {open} requests open"));
        self.books.borrow_mut().orphan(epoch);
        running.requests.abort();
        running.embedded.abort();
        self.watch.accounts.books().end(epoch);
        // Its tasks are dropped at their next turn: only then is its folder free.
        self.sleep(1).await;
        self.check_saved(place);
    }

    /// Ends the gateway of a machine in order.
    pub(crate) async fn end_gateway(&self, place: usize) {
        let Some(running) = self.machines[place].running.take() else { return };
        self.note(format!("gateway {place} ends in order"));
        let epoch = running.epoch();
        if !running.requests.drain(&self.clock, DRAIN_MS).await {
            self.books.borrow_mut().orphan(epoch);
        }
        if running.embedded.lane.open_requests() > 0 {
            self.broken(format!("gateway {place} ended with requests open"));
        }
        running.embedded.end().await;
        self.watch.accounts.books().end(epoch);
        self.check_saved(place);
    }

    /// Loses the folder of a machine whose gateway has ended: what it has not sent is lost.
    pub(crate) fn lose_folder(&self, place: usize, also_name: bool) {
        self.note(format!("gateway {place} loses its folder, and its name: {also_name}"));
        self.folders_lost.set(true);
        for epoch in self.machines[place].lose_folder(also_name) {
            self.books.borrow_mut().forget(epoch);
        }
    }

    /// Invariant 9 on the disk: what a mirror saved is the fold of the log up to its place.
    pub(crate) fn check_saved(&self, place: usize) {
        self.catch_up();
        let saved = self.machines[place].saved();
        let reference = self.reference.borrow();
        for state in saved {
            let (org, seq, same) = match &state {
                State::Platform(platform) => {
                    let at = usize::try_from(platform.head.seq).unwrap();
                    let expected = reference.platform.get(at);
                    let same = expected.is_some_and(|folded| same_platform(folded, platform));
                    (OrgId::PLATFORM, at, same)
                }
                State::Organisation(found) => {
                    let stream = reference.orgs.get(&found.id);
                    let expected = stream.and_then(|stream| stream.state(found.head.seq));
                    let at = usize::try_from(found.head.seq).unwrap();
                    let same = expected.is_some_and(|folded| same_organisation(folded, found));
                    (found.id, at, same)
                }
            };
            if !same {
                self.broken(format!("the mirror of gateway {place} at {org} {seq} is no fold"));
            }
        }
    }

    /// Brings the reference in step with the store.
    pub(crate) fn catch_up(&self) {
        let read = self.reference.borrow_mut().catch_up();
        if let Err(error) = read {
            self.broken(format!("the log is broken: {error}"));
        }
    }
}
