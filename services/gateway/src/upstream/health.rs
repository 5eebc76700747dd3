//! How providers fare with this gateway: counted by each core for itself, read by whoever asks.

mod history;

use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Semaphore;
use turnpike_domain::id::{OrgId, ProviderId};
use turnpike_domain::state::ProviderSpec;
use turnpike_domain::time::{HOUR_MS, Timestamp};
use turnpike_runtime::metrics::Metrics;
use turnpike_wire::heartbeat::{CircuitState, MAX_PROVIDERS, ProviderHealth};

use super::circuit::{Circuit, State};
use super::stands;
use history::{History, LATENCIES, place, time_us};

/// How often the counts are noted, so that a minute can be told from all of time.
pub(crate) const SAMPLE_MS: u64 = 5_000;
/// A provider that nobody has called for so long is no more told of.
const KEPT_MS: u64 = HOUR_MS;
/// What the organisations' own providers are called together in metrics: their names are not ours.
const OWN: &str = "own";

/// One provider, as all cores of this gateway see it.
#[derive(Debug)]
pub struct Health {
    /// Whether it is passed over.
    pub circuit: Circuit,
    /// Whose it is; `None`: the platform's.
    owner: Option<OrgId>,
    name: Box<str>,
    cores: Box<[Counts]>,
    history: Mutex<History>,
}

/// What one core has counted. No other core writes it, so an addition needs no lock; in a cache
/// line of its own, so that none waits for it.
#[derive(Debug)]
#[repr(align(128))]
pub struct Counts {
    running: AtomicU32,
    calls: AtomicU64,
    failures: AtomicU64,
    /// Calls that got the head of an answer, by how long that took.
    latencies: [AtomicU64; LATENCIES],
}

/// The counts of all cores at one moment.
#[derive(Clone, Debug)]
pub(super) struct Sums {
    calls: u64,
    failures: u64,
    latencies: Box<[u64; LATENCIES]>,
}

/// All providers that this gateway has called. Clones are the same.
#[derive(Clone)]
pub struct Healths {
    known: Arc<Mutex<HashMap<ProviderId, Known>>>,
    cores: NonZeroUsize,
}

struct Known {
    spec: ProviderSpec,
    health: Arc<Health>,
    places: Option<Arc<Semaphore>>,
    called_ms: u64,
}

/// What a core's connections to a provider share with those of the other cores.
pub(super) struct Shares {
    pub(super) health: Arc<Health>,
    pub(super) places: Option<Arc<Semaphore>>,
}

impl Healths {
    /// Nobody was called yet by any of `cores` cores.
    #[must_use]
    pub fn new(cores: NonZeroUsize) -> Self {
        Self { known: Arc::default(), cores }
    }

    /// The health of a provider, and the places for its requests. One that was described anew
    /// begins anew: what failed may have been mended.
    pub(super) fn of(&self, id: ProviderId, owner: Option<OrgId>, spec: &ProviderSpec) -> Shares {
        let mut known = self.lock();
        let fresh = || Known {
            spec: spec.clone(),
            health: Arc::new(Health::new(owner, &spec.name, self.cores)),
            places: places(spec.max_concurrency),
            called_ms: 0,
        };
        let entry = known.entry(id).or_insert_with(fresh);
        if !stands(&entry.spec, spec) || entry.spec.name != spec.name {
            *entry = fresh();
        }
        Shares { health: Arc::clone(&entry.health), places: entry.places.clone() }
    }

    /// Notes the counts at `now_ms`, and forgets who was not called for long.
    pub(crate) fn sample(&self, now_ms: u64) {
        self.lock().retain(|_, known| {
            let called = known.health.sample(now_ms);
            if called || known.called_ms == 0 {
                known.called_ms = now_ms;
            }
            now_ms.saturating_sub(known.called_ms) < KEPT_MS
        });
    }

    /// What is told of the providers of `owner` (`None`: of the platform), those first that are not
    /// well. `at` is the present in the mirror's time, `now_ms` in steady time.
    pub(crate) fn told(
        &self,
        owner: Option<OrgId>,
        at: Timestamp,
        now_ms: u64,
    ) -> Vec<ProviderHealth> {
        let known = self.lock();
        let of_owner = known.iter().filter(|(_, known)| known.health.owner == owner);
        let mut told: Vec<ProviderHealth> =
            of_owner.map(|(id, known)| known.health.told(*id, at, now_ms)).collect();
        told.sort_unstable_by_key(|told| (told.circuit == CircuitState::Closed, told.provider));
        told.truncate(MAX_PROVIDERS);
        told
    }

    /// Registers what is told of each of the platform's providers by its name, and of the
    /// organisations' own together.
    pub(crate) fn watch(&self, metrics: &Metrics) {
        let watch = |name, help, read: fn(&Health) -> u64| {
            let healths = self.clone();
            metrics.watch_labelled(name, help, "provider", move || healths.summed(read));
        };
        watch("provider_calls", "Requests sent to providers", |health| health.sums().calls);
        watch("provider_failures", "Of them, those that failed", |health| health.sums().failures);
        watch("provider_requests_open", "Requests that run", |health| u64::from(health.running()));
        let help = "0: requests pass, 1: one finds out, 2: the provider is passed over";
        watch("provider_circuit", help, |health| match health.circuit.state() {
            State::Closed { .. } => 0,
            State::Probing { .. } => 1,
            State::Open { .. } => 2,
        });
    }

    fn summed(&self, read: fn(&Health) -> u64) -> Vec<(Box<str>, u64)> {
        let mut sums: BTreeMap<Box<str>, u64> = BTreeMap::new();
        for Known { health, .. } in self.lock().values() {
            let name = if health.owner.is_some() { OWN } else { &*health.name };
            *sums.entry(name.into()).or_default() += read(health);
        }
        sums.into_iter().collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ProviderId, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The requests that may run at a time; `None`: no limit.
fn places(most: u32) -> Option<Arc<Semaphore>> {
    let places = usize::try_from(most).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
    (most > 0).then(|| Arc::new(Semaphore::new(places)))
}

impl Health {
    fn new(owner: Option<OrgId>, name: &str, cores: NonZeroUsize) -> Self {
        Self {
            circuit: Circuit::default(),
            owner,
            name: name.into(),
            cores: (0..cores.get()).map(|_| Counts::default()).collect(),
            history: Mutex::default(),
        }
    }

    /// The counts of one core; `None` for a core that there is not.
    pub(super) fn counts(&self, core: usize) -> Option<&Counts> {
        self.cores.get(core)
    }

    fn running(&self) -> u32 {
        self.cores.iter().map(|core| core.running.load(Ordering::Relaxed)).sum()
    }

    fn sums(&self) -> Sums {
        let sum = |read: fn(&Counts) -> &AtomicU64| {
            self.cores.iter().map(|core| read(core).load(Ordering::Relaxed)).sum()
        };
        let mut latencies = Box::new([0_u64; LATENCIES]);
        for core in &self.cores {
            for (sum, count) in latencies.iter_mut().zip(&core.latencies) {
                *sum = sum.saturating_add(count.load(Ordering::Relaxed));
            }
        }
        Sums { calls: sum(|it| &it.calls), failures: sum(|it| &it.failures), latencies }
    }

    /// Notes the counts; answers whether it was called since the last time.
    fn sample(&self, now_ms: u64) -> bool {
        let sums = self.sums();
        self.history.lock().unwrap_or_else(PoisonError::into_inner).add(now_ms, sums)
    }

    fn told(&self, provider: ProviderId, at: Timestamp, now_ms: u64) -> ProviderHealth {
        let sums = self.sums();
        let history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        let minute = history.minute(now_ms, &sums);
        let circuit = match self.circuit.state() {
            State::Closed { .. } => CircuitState::Closed,
            State::Open { .. } => CircuitState::Open,
            State::Probing { .. } => CircuitState::HalfOpen,
        };
        let since_ms = self.circuit.since_ms();
        let changed = (since_ms > 0).then(|| at.0.saturating_sub(now_ms.saturating_sub(since_ms)));
        ProviderHealth {
            provider,
            circuit,
            since: changed.map(Timestamp),
            in_flight: self.running(),
            calls: minute.calls,
            errors: minute.failures,
            p50_ms: minute.median_us().map(|us| us.div_ceil(1_000)),
        }
    }
}

impl Default for Counts {
    fn default() -> Self {
        Self {
            running: AtomicU32::new(0),
            calls: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            latencies: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }
}

impl Counts {
    /// A request begins.
    pub(super) fn begin(&self) {
        self.running.store(self.running.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
        add(&self.calls);
    }

    /// A request is over.
    pub(super) fn end(&self) {
        self.running.store(self.running.load(Ordering::Relaxed).wrapping_sub(1), Ordering::Relaxed);
    }

    /// The head of an answer came after `us` microseconds.
    pub(super) fn answered(&self, us: u64) {
        if let Some(count) = self.latencies.get(place(us)) {
            add(count);
        }
    }

    /// A request failed.
    pub(super) fn failed(&self) {
        add(&self.failures);
    }
}

/// Adds one where only this core writes: no other addition can get lost.
fn add(count: &AtomicU64) {
    count.store(count.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
}

impl Sums {
    /// What came after `earlier`.
    fn since(&self, earlier: &Self) -> Self {
        let mut latencies = self.latencies.clone();
        for (count, before) in latencies.iter_mut().zip(earlier.latencies.iter()) {
            *count = count.saturating_sub(*before);
        }
        Self {
            calls: self.calls.saturating_sub(earlier.calls),
            failures: self.failures.saturating_sub(earlier.failures),
            latencies,
        }
    }

    /// The time that half of the answers did not take longer than, in microseconds, rounded up to
    /// the next of four in each doubling; `None` without answers.
    fn median_us(&self) -> Option<u64> {
        let all: u64 = self.latencies.iter().sum();
        let half = all.div_ceil(2);
        let mut so_far = 0;
        let place = self.latencies.iter().position(|count| {
            so_far += count;
            so_far >= half
        });
        place.filter(|_| all > 0).map(time_us)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::spec;

    const MINUTE: u64 = 60_000;

    #[test]
    fn a_minute_is_told_and_what_lies_before_it_is_not() {
        let healths = Healths::new(NonZeroUsize::new(2).unwrap());
        let id = ProviderId(1);
        let health = healths.of(id, None, &spec("http://a")).health;
        let [first, second] = [0, 1].map(|core| health.counts(core).unwrap());
        let told = |now_ms: u64| healths.told(None, Timestamp(9_000_000), now_ms)[0].clone();
        for counts in [first, second] {
            counts.begin();
            counts.answered(3_000);
            counts.failed();
        }
        second.end();
        let now = told(1_000);
        assert_eq!((now.calls, now.errors, now.in_flight), (2, 2, 1));
        assert!(now.p50_ms.is_some_and(|ms| (3..=4).contains(&ms)), "{:?}", now.p50_ms);
        for turn in 0..20 {
            healths.sample(2_000 + turn * SAMPLE_MS);
        }
        let later = told(2_000 + MINUTE + 10 * SAMPLE_MS);
        assert_eq!((later.calls, later.errors, later.p50_ms), (0, 0, None));
        assert!(healths.told(Some(OrgId(1)), Timestamp(0), 0).is_empty());
        healths.sample(2_000 + KEPT_MS + 200_000);
        assert!(healths.told(None, Timestamp(0), 0).is_empty(), "forgotten");
    }

    #[test]
    fn places_are_one_number_for_all_cores_and_change_with_it() {
        let healths = Healths::new(NonZeroUsize::MIN);
        let of = |most: u32| {
            let spec = ProviderSpec { max_concurrency: most, ..spec("http://a") };
            healths.of(ProviderId(1), None, &spec)
        };
        let (two, again, three) = (of(2).places.unwrap(), of(2).places.unwrap(), of(3).places);
        assert!(Arc::ptr_eq(&two, &again) && two.available_permits() == 2);
        assert_eq!(three.unwrap().available_permits(), 3);
        assert!(of(0).places.is_none());
    }

    #[test]
    fn half_of_the_answers_took_no_longer_than_the_median() {
        let health = Health::new(None, "p", NonZeroUsize::MIN);
        let counts = health.counts(0).unwrap();
        assert_eq!(health.sums().median_us(), None);
        for us in [100, 200, 1_000, 50_000, u64::MAX] {
            counts.answered(us);
        }
        let median = health.sums().median_us().unwrap();
        assert!((1_000..1_250).contains(&median), "{median}");
    }
}
