//! Presence: which gateways are online, and up to which position each has applied what changed.

mod hearing;
mod promises;
mod providers;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use turnpike_domain::id::{EpochId, GatewayId, KeyId, OrgId, Position, ProviderId};
use turnpike_domain::state::{Gateway, Organisation, Platform};
use turnpike_domain::time::Timestamp;
use turnpike_runtime::clock::{SharedClock, deadline};
use turnpike_store::usage::EpochPlace;
use turnpike_wire::heartbeat::{LostChange, LostKind, ProviderHealth, Quarantine};

pub use promises::Promise;
pub use providers::Fare;

use hearing::Hearing;
use promises::Promises;
use providers::Words;

/// What stands in for an unbounded staleness when asking who is online.
const UNBOUNDED_ONLINE_MS: u64 = 10 * 60 * 1_000;

/// The last receipt of a gateway for an organisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heard {
    /// The run of the gateway.
    pub epoch: EpochId,
    /// Up to where it has applied the organisation's events.
    pub position: Position,
    /// The gateway's own time of the receipt.
    pub at: Timestamp,
    /// When the receipt arrived, on this process's steady clock.
    pub arrived_ms: u64,
    /// When the position was first reached, on the same clock.
    pub reached_ms: u64,
    /// The same on a clock that stands still while nothing can be heard.
    pub listened_ms: u64,
}

/// A gateway as it is known now.
#[derive(Clone, Debug)]
pub struct Known {
    /// Its id.
    pub id: GatewayId,
    /// What the stream says of it.
    pub joined: Gateway,
    /// Its last receipt, since this process began to listen.
    pub heard: Option<Heard>,
    /// What it could not read in its present run.
    pub quarantine: Option<Quarantine>,
    /// Neither left nor fenced, and heard within the organisation's bound.
    pub online: bool,
    /// It joined for every organisation.
    pub of_platform: bool,
}

/// How far a change has reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reach {
    /// The position asked for.
    pub position: Position,
    /// Gateways that are online.
    pub online: usize,
    /// Of them, those at or past the position.
    pub applied: usize,
    /// How long the slowest of these took from the beginning of the wait.
    pub slowest_ms: u64,
    /// The others.
    pub missing: Vec<GatewayId>,
}

/// The receipts of all gateways.
pub struct Presence {
    clock: SharedClock,
    heard: Mutex<BTreeMap<(OrgId, GatewayId), Heard>>,
    promises: Mutex<BTreeMap<(OrgId, GatewayId), Promises>>,
    providers: Mutex<Words>,
    quarantines: Mutex<BTreeMap<(OrgId, GatewayId), Quarantine>>,
    lost: Mutex<BTreeMap<(OrgId, GatewayId), Vec<LostChange>>>,
    hearing: Mutex<Hearing>,
    news: Notify,
    /// When this process began to listen, on its steady clock.
    since_ms: u64,
}

impl Presence {
    /// Nothing is heard yet.
    #[must_use]
    pub fn new(clock: SharedClock) -> Self {
        let since_ms = clock.boot_ms();
        let (heard, promises, providers, quarantines, lost) = Default::default();
        let (hearing, news) = (Mutex::new(Hearing::new(since_ms)), Notify::new());
        Self { clock, heard, promises, providers, quarantines, lost, hearing, news, since_ms }
    }

    /// Takes a receipt. The last word counts, also if it takes an earlier one back: a gateway that
    /// was deceived finds it out and says so.
    pub fn hear(
        &self,
        org: OrgId,
        gateway: GatewayId,
        epoch: EpochId,
        position: Position,
        at: Timestamp,
    ) {
        let arrived_ms = self.clock.boot_ms();
        let listened_ms = self.hearing().listened_ms();
        let mut heard = self.lock();
        let before = heard.get(&(org, gateway)).filter(|old| old.epoch == epoch);
        let reached_ms = match before {
            Some(old) if old.position == position => old.reached_ms,
            Some(_) | None => arrived_ms,
        };
        let said = Heard { epoch, position, at, arrived_ms, reached_ms, listened_ms };
        heard.insert((org, gateway), said);
        drop(heard);
        self.news.notify_waiters();
    }

    /// Takes a heartbeat, of whichever control plane: whatever gateways say is heard too.
    pub fn beat(&self) {
        self.hearing().hear(self.clock.boot_ms());
    }

    /// For how long nothing could be heard of any gateway, up to now; `None`: it can.
    #[must_use]
    pub fn deaf_for_ms(&self) -> Option<u64> {
        self.hearing().deaf_for_ms(self.clock.boot_ms())
    }

    /// Takes what a receipt promises of the gateway's spend.
    pub fn promised(&self, org: OrgId, gateway: GatewayId, promise: Promise) {
        let mut promises = self.promises.lock().unwrap_or_else(PoisonError::into_inner);
        promises.entry((org, gateway)).or_default().add(promise);
    }

    /// Takes what a receipt says of providers.
    pub fn told_of_providers(&self, org: OrgId, gateway: GatewayId, told: Vec<ProviderHealth>) {
        let now_ms = self.clock.boot_ms();
        let mut words = self.providers.lock().unwrap_or_else(PoisonError::into_inner);
        words.hear((org, gateway), told, now_ms);
    }

    /// Takes what a receipt says of events that could not be read.
    pub fn told_of_quarantine(&self, org: OrgId, gateway: GatewayId, told: Option<Quarantine>) {
        let mut quarantines = self.quarantines.lock().unwrap_or_else(PoisonError::into_inner);
        match told {
            Some(told) => quarantines.insert((org, gateway), told),
            None => quarantines.remove(&(org, gateway)),
        };
    }

    /// Takes what a receipt says of changes that are gone.
    pub fn told_of_lost(&self, org: OrgId, gateway: GatewayId, told: Vec<LostChange>) {
        let mut lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
        if told.is_empty() {
            lost.remove(&(org, gateway));
        } else {
            lost.insert((org, gateway), told);
        }
    }

    /// The changes of an organisation's keys that gateways had applied and that are gone.
    #[must_use]
    pub fn lost(&self, org: OrgId) -> BTreeMap<KeyId, LostKind> {
        let lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
        let of_org = lost.range((org, GatewayId(0))..=(org, GatewayId(u128::MAX)));
        let changes = of_org.flat_map(|(_, changes)| changes);
        changes.map(|change| (change.key, change.kind)).collect()
    }

    /// How a provider of `owner` (`None`: of the platform) fares with each gateway that has called
    /// it and was heard lately.
    #[must_use]
    pub fn provider(
        &self,
        id: ProviderId,
        owner: Option<OrgId>,
    ) -> Vec<(GatewayId, ProviderHealth)> {
        let words = self.providers.lock().unwrap_or_else(PoisonError::into_inner);
        words.of(id, owner, self.clock.boot_ms())
    }

    /// Up to when all that `gateways` have served is booked, by the places of a moment of the
    /// store; `None` while none of them is online, or one that is has promised nothing that is
    /// kept.
    ///
    /// A gateway that is offline is not asked: it serves nobody, but its spool may hold records
    /// older than this moment, which lower the mark again when it is back.
    #[must_use]
    pub fn complete_up_to(
        &self,
        org: OrgId,
        gateways: &[Known],
        places: &[EpochPlace],
    ) -> Option<Timestamp> {
        let mut promises = self.promises.lock().unwrap_or_else(PoisonError::into_inner);
        let online = gateways.iter().filter(|gateway| gateway.online);
        let kept = online.map(|Known { id, .. }| promises.get_mut(&(org, *id))?.kept(*id, places));
        // None is less than any moment.
        kept.min().flatten()
    }

    /// All gateways that joined this organisation, or the platform.
    ///
    /// A gateway of which nothing was heard yet counts as online until this process has listened
    /// for as long as the bound: it may be serving, and a proof must not leave it out. For the same
    /// reason it is silent only as far as heartbeats were heard meanwhile.
    #[must_use]
    pub fn gateways(&self, organisation: &Organisation, platform: &Platform) -> Vec<Known> {
        let bound_ms = organisation.settings.max_staleness_ms.unwrap_or(UNBOUNDED_ONLINE_MS);
        let listened_ms = self.hearing().listened_ms();
        let heard = self.lock();
        let quarantines = self.quarantines.lock().unwrap_or_else(PoisonError::into_inner);
        let known = |(id, joined): (&GatewayId, &Gateway), of_platform: bool| {
            let last = heard.get(&(organisation.id, *id)).copied();
            let heard_ms = last.map_or(self.since_ms, |last| last.listened_ms);
            let recent = listened_ms.saturating_sub(heard_ms) <= bound_ms;
            let online = recent && !joined.left && !joined.fenced;
            let quarantine = quarantines.get(&(organisation.id, *id)).copied();
            Known { id: *id, joined: joined.clone(), heard: last, quarantine, online, of_platform }
        };
        let own = organisation.gateways.iter().map(|each| known(each, false));
        own.chain(platform.gateways.iter().map(|each| known(each, true))).collect()
    }

    /// Waits until every online gateway of `gateways` is at or past `position`, or `timeout_ms` is
    /// over.
    pub async fn applied(
        &self,
        position: Position,
        timeout_ms: u64,
        gateways: impl Fn() -> Vec<Known>,
    ) -> Reach {
        let since_ms = self.clock.boot_ms();
        let wait = async {
            loop {
                let news = self.news.notified();
                let mut news = std::pin::pin!(news);
                news.as_mut().enable();
                let reach = reach(position, since_ms, gateways());
                if reach.missing.is_empty() {
                    return reach;
                }
                news.await;
            }
        };
        match deadline(&*self.clock, timeout_ms, wait).await {
            Some(reach) => reach,
            None => reach(position, since_ms, gateways()),
        }
    }

    fn hearing(&self) -> MutexGuard<'_, Hearing> {
        self.hearing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(OrgId, GatewayId), Heard>> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn reach(position: Position, since_ms: u64, gateways: Vec<Known>) -> Reach {
    let mut reach = Reach { position, online: 0, applied: 0, slowest_ms: 0, missing: Vec::new() };
    for gateway in gateways.into_iter().filter(|gateway| gateway.online) {
        reach.online = reach.online.saturating_add(1);
        match gateway.heard {
            Some(heard) if heard.position >= position => {
                reach.applied = reach.applied.saturating_add(1);
                let took_ms = heard.reached_ms.saturating_sub(since_ms);
                reach.slowest_ms = reach.slowest_ms.max(took_ms);
            }
            Some(_) | None => reach.missing.push(gateway.id),
        }
    }
    reach
}
