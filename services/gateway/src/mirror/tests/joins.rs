//! T20: gateways that join at any time, while events arrive as fast as they may.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use turnpike_domain::state::Organisation;
use turnpike_runtime::clock::deadline;
use turnpike_runtime::entropy;
use turnpike_wire::snapshot::State;

use super::*;

const SEED: u64 = 20_261_121;
/// Mirrors that are at work at a time.
const AT_ONCE: u64 = 16;
/// How long a way to the control plane takes at most, and how long a mirror lives on once it is in
/// step, before it is looked at.
const MOST_WAY_MS: u64 = 300;
const MOST_LIFE_MS: u64 = 400;
/// Longer than any mirror takes to be in step.
const PATIENCE_MS: u64 = 30_000;
/// Events in each millisecond: 1,000 a second.
const STEP_MS: u64 = 1;
/// An organisation of its own for each of so many stretches of the numbers of keys.
const ORGS: u64 = 5;
const KEYS_OF_ONE: u64 = 50;
/// Turns of the one thread in which everything that can be done at a moment is done.
const TURNS: u32 = 200;

/// A control plane that is far away: what it answers was true some time ago, stream by stream.
struct Far {
    fake: Fake,
    clock: PausedClock,
}

impl Far {
    async fn way(&self) {
        self.clock.sleep(entropy::below(MOST_WAY_MS)).await;
    }

    async fn there_and_back<T>(&self, answer: impl Future<Output = T>) -> T {
        self.way().await;
        let answer = answer.await;
        self.way().await;
        answer
    }
}

impl Upstairs for Far {
    fn join(&self) -> BoxFuture<'_, Result<Joined, UpstairsError>> {
        Box::pin(self.there_and_back(self.fake.join()))
    }

    fn snapshot<'a>(
        &'a self,
        joined: &'a Joined,
        org: Option<OrgId>,
    ) -> BoxFuture<'a, Result<Vec<Snapshot>, UpstairsError>> {
        Box::pin(async move {
            let one = |org| self.there_and_back(self.fake.snapshot(joined, Some(org)));
            let Some(org) = org else {
                let mut all = Vec::new();
                for org in std::iter::once(OrgId::PLATFORM).chain(self.fake.orgs()) {
                    all.extend(one(org).await?);
                }
                return Ok(all);
            };
            one(org).await
        })
    }

    fn heads<'a>(&'a self, joined: &'a Joined) -> BoxFuture<'a, Result<Heads, UpstairsError>> {
        Box::pin(self.there_and_back(self.fake.heads(joined)))
    }

    fn signers<'a>(&'a self, joined: &'a Joined) -> BoxFuture<'a, Result<Signers, UpstairsError>> {
        Box::pin(self.there_and_back(self.fake.signers(joined)))
    }

    fn leave<'a>(&'a self, joined: &'a Joined) -> BoxFuture<'a, Result<(), UpstairsError>> {
        Box::pin(self.there_and_back(self.fake.leave(joined)))
    }
}

/// The next event of a life: made, changed many times, deleted, made again.
fn next(turns: &mut BTreeMap<u8, u8>) -> (OrgId, Event) {
    let n = u8::try_from(entropy::below(ORGS * KEYS_OF_ONE)).unwrap();
    let org = OrgId(ORG.0 + u128::from(n) / u128::from(KEYS_OF_ONE));
    let Some(turn) = turns.get_mut(&n) else {
        turns.insert(n, 0);
        return (org, created(n));
    };
    *turn = turn.wrapping_add(1);
    let event = match entropy::below(5) {
        0 => rotated(n, *turn),
        1 => revoked(n),
        2 => Event::KeyDisabled { key: key(n) },
        3 => Event::KeyEnabled { key: key(n) },
        _ => {
            turns.remove(&n);
            Event::KeyDeleted { key: key(n) }
        }
    };
    (org, event)
}

/// Commits and publishes without an end, with a heartbeat each second; answers how many events it
/// made when it is told to stop.
async fn events(fake: &Fake, bus: &LocalBus, clock: &PausedClock, stop: &CancellationToken) -> u64 {
    let (mut turns, mut made) = (BTreeMap::new(), 0);
    while !stop.is_cancelled() {
        let (org, event) = next(&mut turns);
        fake.tell(bus, org, event).await;
        made += 1;
        if made % (SECOND_MS / STEP_MS) == 0 {
            fake.beat(bus, clock.now()).await;
        }
        clock.sleep(STEP_MS).await;
    }
    made
}

/// Does all that can be done at this moment: on a paused clock time stands still meanwhile.
async fn settle() {
    for _ in 0..TURNS {
        tokio::task::yield_now().await;
    }
}

/// One gateway's life; how long it took until it was in step. At its end the table and what it
/// leaves on its disk are compared with the fold of the log.
async fn one_life(far: Far, bus: &Arc<LocalBus>) -> u64 {
    let (fake, clock) = (far.fake.clone(), far.clock.clone());
    clock.sleep(entropy::below(SECOND_MS)).await;
    let (data, began_ms) = (tempfile::tempdir().unwrap(), clock.boot_ms());
    let Follower { core, metrics, tasks, .. } =
        begin(&clock, bus, Arc::new(far), peppers(), data.path());
    assert!(deadline(&clock, PATIENCE_MS, core.in_step()).await.is_some(), "seed {SEED}");
    let took_ms = clock.boot_ms() - began_ms;
    clock.sleep(entropy::below(MOST_LIFE_MS)).await;
    settle().await;
    let truth: BTreeMap<OrgId, Organisation> =
        fake.orgs().into_iter().map(|org| (org, fake.organisation(org))).collect();
    let keys = truth.values().map(|state| state.keys.len()).sum::<usize>();
    assert_eq!(core.keys(), keys, "seed {SEED}");
    assert!(tasks.drain(&clock, SECOND_MS).await);
    let saved = disk::load(data.path(), &token()).unwrap().streams.into_iter();
    let saved: BTreeMap<OrgId, Organisation> = saved
        .filter_map(|stream| match stream.state {
            State::Organisation(state) => Some((state.id, *state)),
            State::Platform(_) => None,
        })
        .collect();
    assert!(saved == truth, "seed {SEED}: what a gateway knows is not the fold of the log");
    assert_eq!(metrics.alarms.get(), 0, "seed {SEED}");
    took_ms
}

/// So many gateways join, a few at a time.
#[expect(clippy::print_stdout, reason = "the figures of the full form are for the book")]
fn joins(count: u64) {
    entropy::seed_this_thread(SEED);
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.enable_all().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let (fake, clock) = (Fake::new(), PausedClock::new(DAY));
        for other in 2..u128::from(ORGS) {
            let settings = Settings::default();
            fake.commit(OrgId(ORG.0 + other), Event::OrgCreated { name: "Org".into(), settings });
        }
        let bus = Arc::new(LocalBus::new(Arc::new(clock.clone())));
        let stop = CancellationToken::new();
        let lives = (0..AT_ONCE).map(async |_| {
            let mut most_ms = 0;
            for _ in 0..count / AT_ONCE {
                let far = Far { fake: fake.clone(), clock: clock.clone() };
                most_ms = most_ms.max(one_life(far, &bus).await);
            }
            most_ms
        });
        let lives = async {
            let took = join_all(lives).await;
            stop.cancel();
            took.into_iter().max().unwrap()
        };
        let (made, most_ms) = tokio::join!(events(&fake, &bus, &clock, &stop), lives);
        println!("T20: {count} joins among {made} events; in step after {most_ms} ms at most");
    });
}

/// Bounds: 96 joins among 1,000 events a second, 5 organisations with 50 keys, 16 at a time.
#[test]
fn t20_gateways_that_join_among_events_know_the_fold_of_the_log() {
    joins(96);
}

/// Bounds: the same with 5,008 joins.
#[test]
#[ignore = "takes minutes: make soak T=T20"]
fn t20_five_thousand_gateways_that_join_among_events_know_the_fold_of_the_log() {
    joins(5_008);
}
