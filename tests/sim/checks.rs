//! What must hold of every answer of a gateway: invariants 8, 9 and 10 of money.md.

use std::net::IpAddr;

use turnpike_domain::admit::{Denial, Offer, Way};
use turnpike_domain::id::Position;
use turnpike_domain::scope::Allow;
use turnpike_domain::secret::PublicId;
use turnpike_domain::state::{Key, Organisation, Platform, WalletMode};
use turnpike_gateway::core::Entry;
use turnpike_runtime::clock::Clock as _;

use crate::house::{House, Known, Serving};
use crate::reference::{opens, same_platform};

/// A dead secret is refused so soon on a connected gateway (invariant 10).
const CONNECTED_MS: u64 = 5_000;
/// What the bound of staleness is allowed more: the age of a heartbeat's own reading.
const SLACK_MS: u64 = 1_000;
/// How far a connected gateway's time may be from the control plane's: a heartbeat is on its way,
/// and some are lost.
const CLOCK_MS: u64 = 3_500;
/// A gateway that does not know a secret of this age is stale, and must say so.
const UNKNOWN_MS: u64 = 15_000;

impl House {
    /// A secret was accepted.
    pub(crate) fn check_accepted(&self, serving: &Serving, id: PublicId, entry: &Entry) {
        let (now_ms, place) = (self.now_ms(), serving.place);
        let reference = self.reference.borrow();
        let Some(stream) = reference.orgs.get(&entry.org_id()) else {
            return self.broken("an organisation that does not exist".to_owned());
        };
        let key = &entry.key;
        let folded = stream.keys.get(&key.id).and_then(|states| states.get(&key.seq));
        if folded.and_then(Option::as_deref) != Some(&**key) {
            self.broken(format!("gateway {place}: {} at {} is no fold", key.id, key.seq));
        }
        let view = &entry.org.organisation;
        let same = |folded: &Organisation| {
            folded.settings == view.settings
                && folded.projects == view.projects
                && folded.providers == view.providers
        };
        if !stream.state(view.head.seq).is_some_and(same) {
            self.broken(format!("gateway {place}: the view at {} is no fold", view.head.seq));
        }
        self.check_time(serving, id, key);
        let Some(death) = stream.death(key.id, id, key.seq) else { return };
        let died_ms = self.kv.landed_ms(death.position).unwrap_or(now_ms);
        let what = format!("gateway {place} accepts {} after its {}", key.id, death.seq);
        let (gateway, epoch) = (serving.core.gateway(), serving.lane.epoch_id());
        if self.watch.receipts.of(gateway, epoch, view.id) >= death.position {
            self.broken(format!("{what}, which it said it had applied"));
        }
        let connected_ms = self.watch.calm.since_ms(place).max(died_ms);
        if connected_ms.saturating_add(CONNECTED_MS) < now_ms {
            self.broken(format!("{what}, {} ms after its commit", now_ms - died_ms));
        }
        let slack_ms = SLACK_MS + self.machines[place].set_back_ms.get();
        let bound = view.settings.max_staleness_ms;
        if bound.is_some_and(|bound| died_ms.saturating_add(bound + slack_ms) < now_ms) {
            self.broken(format!("{what}, {} ms after, beyond all staleness", now_ms - died_ms));
        }
    }

    /// What time has ended is not accepted, and a connected gateway knows the time.
    fn check_time(&self, serving: &Serving, id: PublicId, key: &Key) {
        let (place, now) = (serving.place, serving.core.now());
        let over = match &key.previous {
            Some(old) if old.secret.public_id == id => !old.works(now),
            Some(_) | None => key.secret.public_id != id,
        };
        if over || key.profile.expires_at.is_some_and(|end| end <= now) {
            self.broken(format!("gateway {place} accepts {} after its time", key.id));
        }
        let calm_ms = self.watch.calm.since_ms(place).saturating_add(CONNECTED_MS);
        let true_ms = self.control_clock.now().0;
        let ahead_ms = now.0.saturating_sub(true_ms + self.control_set_back_ms.get());
        let apart_ms = true_ms.saturating_sub(now.0).max(ahead_ms);
        if calm_ms < self.now_ms() && apart_ms > CLOCK_MS {
            self.broken(format!("gateway {place} is {apart_ms} ms from the control plane's time"));
        }
    }

    /// A secret was refused: not without reason.
    pub(crate) fn check_refused(&self, serving: &Serving, known: &Known, denial: Denial) {
        let (now_ms, place, id) = (self.now_ms(), serving.place, known.secret.public_id());
        let reference = self.reference.borrow();
        let Some(stream) = reference.orgs.get(&known.org) else { return };
        let Some(states) = stream.keys.get(&known.key) else { return };
        let end = states.values().last().cloned().flatten();
        let end = end.and_then(|key| key.profile.expires_at);
        // A gateway may know the end that it had before.
        let lasts = |key: &Key| key.profile.expires_at == end;
        let valid = |key: &Key| opens(key, id) && key.secret.public_id == id && lasts(key);
        let living = states.iter().rev();
        let living = living.take_while(|(_, state)| state.as_deref().is_some_and(valid));
        let Some((since, _)) = living.last() else { return };
        let ahead_ms = CONNECTED_MS + self.control_set_back_ms.get();
        if end.is_some_and(|end| end <= self.control_clock.now().plus_ms(ahead_ms)) {
            return;
        }
        let position = stream.positions[usize::try_from(*since).unwrap()];
        let since_ms = self.kv.landed_ms(position).unwrap_or(now_ms);
        let what = format!("gateway {place} refuses {} with {denial}", known.key);
        let connected_ms = self.watch.calm.since_ms(place).max(since_ms);
        if connected_ms.saturating_add(CONNECTED_MS) < now_ms {
            self.broken(format!("{what}, {} ms after it was made", now_ms - since_ms));
        }
        if denial == Denial::Unauthorized && since_ms.saturating_add(UNKNOWN_MS) < now_ms {
            self.broken(format!("{what}: it could not check, and says no"));
        }
    }

    /// Invariant 8: what is offered is what plan and scopes leave, judged without the domain.
    pub(crate) fn check_offer(
        &self,
        serving: &Serving,
        (platform, entry): (&Platform, &Entry),
        (model, address): (&str, IpAddr),
        offer: &Result<Offer<'_>, Denial>,
    ) {
        let place = serving.place;
        let at = usize::try_from(platform.head.seq).unwrap();
        let reference = self.reference.borrow();
        let folded = reference.platform.get(at).filter(|folded| same_platform(folded, platform));
        let Some(folded) = folded else {
            return self.broken(format!("gateway {place}: the platform at {at} is no fold"));
        };
        let (key, view) = (&entry.key, &entry.org.organisation);
        let allowed = may(folded, view, key, model, address);
        if offer.is_ok() != allowed {
            let said = offer.as_ref().map(|_| "an offer");
            self.broken(format!("gateway {place}: {said:?} of {model} to {}", key.id));
        }
    }

    /// The chosen way is one that the key may take.
    pub(crate) fn check_way(&self, serving: &Serving, entry: &Entry, way: &Way<'_>) {
        let name = &way.provider.spec.name;
        if way.provider.spec.disabled || !holds(&entry.key.profile.scopes.providers, name) {
            self.broken(format!("gateway {}: {} goes to {name}", serving.place, entry.key.id));
        }
    }

    /// `?wait=applied` said that a gateway is at `position`.
    pub(crate) fn check_applied(
        &self,
        gateway: turnpike_domain::id::GatewayId,
        org: turnpike_domain::id::OrgId,
        position: Position,
    ) {
        if self.watch.receipts.of_any_run(gateway, org) < position {
            self.broken(format!("{gateway} is said to be at {position} and never said so"));
        }
    }
}

fn may(
    platform: &Platform,
    organisation: &Organisation,
    key: &Key,
    model: &str,
    address: IpAddr,
) -> bool {
    let profile = &key.profile;
    let Some(found) = platform.models.get(model) else { return false };
    let Some(plan) = platform.plans.get(&profile.plan) else { return false };
    let from = profile.scopes.addresses.as_ref();
    let capped = profile.limits.cost.is_some()
        || profile.project.is_some_and(|project| {
            organisation.projects.get(&project).is_some_and(|found| found.limits.cost.is_some())
        })
        || organisation.settings.wallet == WalletMode::Prepaid;
    let open = |spec: &turnpike_domain::state::ProviderSpec| {
        !spec.disabled && holds(&profile.scopes.providers, &spec.name)
    };
    let routed = found.spec.routes.iter().any(|route| {
        let mut providers = platform.providers.values();
        providers.any(|provider| provider.spec.name == route.provider && open(&provider.spec))
    });
    let own = organisation.providers.values().any(|provider| {
        open(&provider.spec) && provider.spec.serves.iter().any(|served| **served == *model)
    });
    holds(&plan.spec.models, model)
        && holds(&profile.scopes.models, model)
        && from.is_none_or(|ranges| ranges.iter().any(|range| range.holds(address)))
        && (found.spec.prices.is_some() || !capped)
        && (routed || own)
}

fn holds(allow: &Allow, name: &str) -> bool {
    match allow {
        Allow::All => true,
        Allow::Only(names) => names.iter().any(|one| **one == *name),
    }
}
