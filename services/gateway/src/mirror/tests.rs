//! The mirror in step with a control plane, over a bus that loses, repeats and reorders.

mod doubt;
mod joins;
mod legacy;
mod signers;
mod waking;

use std::num::NonZeroUsize;

use proptest::prelude::*;
use turnpike_bus::local::LocalBus;
use turnpike_bus::seam::{Feed, Reader, Start, Topic};
use turnpike_domain::admit::Denial;
use turnpike_domain::event::Event;
use turnpike_domain::id::EpochId;
use turnpike_domain::state::{RevokeReason, Settings};
use turnpike_domain::time::{MINUTE_MS, SECOND_MS};
use turnpike_runtime::clock::{Clock, PausedClock};
use turnpike_runtime::config::Secret;
use turnpike_runtime::tasks::Tasks;
use turnpike_wire::form;
use turnpike_wire::heartbeat::Receipt;
use turnpike_wire::secret::{Peppers, PlainSecret, parse};

use super::*;
use crate::board::Board;
use crate::config::ServeOptions;
use crate::fake::{
    DAY, Fake, GATEWAY, ORG, OTHER, created, decisions, joined, key, peppers, publish, publish_on,
    rotated, sealing, secret,
};
use crate::upstream::health::Healths;

/// Enough for everything that waits for no heartbeat.
const SOON_MS: u64 = 50;

/// What the bus holds of events: about a hundred.
const KEPT_BYTES: usize = 64 << 10;

fn silent() -> Receipts {
    let cores = NonZeroUsize::MIN;
    Receipts::new(Board::new(cores), Healths::new(cores), None)
}

/// What the mirrors on disk are signed with.
fn token() -> Secret {
    Secret::from(secrecy::SecretString::from("token"))
}

/// A mirror at work.
struct Follower {
    core: Arc<Core>,
    metrics: MirrorMetrics,
    probes: Probes,
    tasks: Tasks,
}

/// Begins a mirror on what an earlier one has left in `data`.
fn begin(
    clock: &PausedClock,
    bus: &Arc<LocalBus>,
    upstairs: Arc<dyn Upstairs>,
    peppers: Peppers,
    data: &std::path::Path,
) -> Follower {
    let shared: SharedClock = Arc::new(clock.clone());
    let options = ServeOptions::default();
    let core = Arc::new(Core::new(Arc::clone(&shared), options, peppers, decisions(), GATEWAY));
    let mut world = World::new(Arc::clone(&core), sealing());
    if let Some(loaded) = disk::load(data, &token()) {
        assert_eq!(loaded.joined, joined());
        world.start_again(loaded.streams);
        core.set_fresh_at(loaded.times.fresh_at);
    }
    let all = Metrics::new();
    let (metrics, probes) = (MirrorMetrics::new(&all), Probes::new(all));
    let (tasks, receipts) = (Tasks::new("test"), silent());
    let sending: Arc<dyn Bus> = Arc::clone(bus) as Arc<dyn Bus>;
    let (telling, sender) = (receipts.clone(), (GATEWAY, EpochId(5)));
    let telling = telling.run(Arc::clone(&sending), Arc::clone(&shared), sender, tasks.stopping());
    tasks.spawn("receipts", telling);
    let parts = MirrorParts {
        core: Arc::clone(&core),
        world,
        upstairs,
        joined: joined(),
        bus: sending,
        clock: shared,
        disk: Disk::open(data, &token(), joined()).unwrap(),
        audit: Audit::open(data).unwrap(),
        receipts,
        probes: probes.clone(),
        metrics: metrics.clone(),
    };
    tasks.spawn("mirror", Mirror::new(parts).run(tasks.stopping()));
    Follower { core, metrics, probes, tasks }
}

/// A gateway's mirror with its control plane, on a paused clock.
struct House {
    fake: Fake,
    bus: Arc<LocalBus>,
    clock: PausedClock,
    core: Arc<Core>,
    metrics: MirrorMetrics,
    probes: Probes,
    tasks: Tasks,
    data: Arc<tempfile::TempDir>,
}

impl House {
    async fn new(fake: Fake) -> Self {
        let house = Self::start(fake, Arc::new(tempfile::tempdir().unwrap())).await;
        house.beat().await;
        house
    }

    async fn start(fake: Fake, data: Arc<tempfile::TempDir>) -> Self {
        Self::under(peppers(), fake, data).await
    }

    async fn under(peppers: Peppers, fake: Fake, data: Arc<tempfile::TempDir>) -> Self {
        let clock = PausedClock::new(DAY);
        let bus = LocalBus::with_kept_bytes(Arc::new(clock.clone()), KEPT_BYTES);
        let bus = Arc::new(bus);
        let begun = begin(&clock, &bus, Arc::new(fake.clone()), peppers, data.path());
        let Follower { core, metrics, probes, tasks } = begun;
        let house = Self { fake, bus, clock, core, metrics, probes, tasks, data };
        house.clock.sleep(SOON_MS).await;
        house
    }

    async fn tell(&self, org: OrgId, event: Event) {
        self.fake.tell(&*self.bus, org, event).await;
        self.soon().await;
    }

    async fn soon(&self) {
        self.clock.sleep(SOON_MS).await;
    }

    async fn beat(&self) {
        self.fake.beat(&*self.bus, self.clock.now()).await;
        self.soon().await;
    }

    fn try_key(&self, secret: &PlainSecret) -> Result<(), Denial> {
        let presented = parse(secret.expose()).unwrap();
        self.core.identify(&presented).map(drop).map_err(|denied| denied.denial)
    }

    async fn stop(self) -> (Fake, Arc<tempfile::TempDir>) {
        assert!(self.tasks.drain(&self.clock, SECOND_MS).await);
        (self.fake, self.data)
    }
}

fn revoked(n: u8) -> Event {
    Event::KeyRevoked { key: key(n), reason: RevokeReason::Unused }
}

#[tokio::test(start_paused = true)]
async fn a_key_works_from_its_event_on_and_until_its_end() {
    let house = House::new(Fake::new()).await;
    assert_eq!(house.try_key(&secret(1, 0)), Err(Denial::Unauthorized));
    house.tell(ORG, created(1)).await;
    assert_eq!(house.try_key(&secret(1, 0)), Ok(()));
    let mut forged = secret(1, 0).expose().to_owned();
    forged.replace_range(30..31, "Z");
    assert!(parse(&forged).is_err(), "the checksum is looked at first");

    house.tell(ORG, rotated(1, 1)).await;
    assert_eq!(house.try_key(&secret(1, 0)), Err(Denial::Unauthorized));
    assert_eq!(house.try_key(&secret(1, 1)), Ok(()));
    house.tell(ORG, Event::KeyDisabled { key: key(1) }).await;
    assert_eq!(house.try_key(&secret(1, 1)), Err(Denial::KeyDisabled));
    house.tell(ORG, revoked(1)).await;
    assert_eq!(house.try_key(&secret(1, 1)), Err(Denial::KeyRevoked));
    house.tell(ORG, Event::KeyDeleted { key: key(1) }).await;
    assert_eq!(house.try_key(&secret(1, 1)), Err(Denial::Unauthorized));
    assert_eq!((house.core.keys(), house.metrics.gaps.get()), (0, 0));

    let audit = std::fs::read_to_string(house.data.path().join("audit.jsonl")).unwrap();
    assert_eq!(audit.lines().count(), 5);
    assert!(audit.lines().nth(3).unwrap().contains("KeyRevoked"), "{audit}");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_knows_the_last_event_about_its_key() {
    let house = House::new(Fake::new()).await;
    house.tell(ORG, created(1)).await;
    house.tell(ORG, created(2)).await;
    house.tell(ORG, revoked(1)).await;
    let secret = secret(1, 0);
    let denied = house.core.identify(&parse(secret.expose()).unwrap()).unwrap_err();
    let subject = denied.subject.unwrap();
    let head = house.fake.organisation(ORG).head.seq;
    assert_eq!((subject.key, subject.seq, subject.key_seq), (key(1), head, head));
}

#[tokio::test(start_paused = true)]
async fn keys_that_stood_before_come_with_the_snapshot() {
    let fake = Fake::new();
    fake.commit(ORG, created(1));
    fake.commit(OTHER, created(2));
    let house = House::new(fake).await;
    assert_eq!((house.try_key(&secret(1, 0)), house.try_key(&secret(2, 0))), (Ok(()), Ok(())));
}

#[tokio::test(start_paused = true)]
async fn lost_events_are_found_by_the_next_and_by_the_heartbeat() {
    let house = House::new(Fake::new()).await;
    house.tell(ORG, created(1)).await;
    // The bus loses a revocation; the next event shows the gap.
    house.fake.commit(ORG, revoked(1));
    house.tell(ORG, created(2)).await;
    assert_eq!(house.metrics.gaps.get(), 1);
    house.clock.sleep(200).await;
    assert_eq!(house.try_key(&secret(1, 0)), Err(Denial::KeyRevoked));
    assert_eq!(house.try_key(&secret(2, 0)), Ok(()));
    // It loses the last one: only the heartbeat knows.
    house.fake.commit(OTHER, created(3));
    house.beat().await;
    house.clock.sleep(SECOND_MS).await;
    assert_eq!(house.try_key(&secret(3, 0)), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_mirror_that_fell_behind_the_bus_fetches_what_it_lacks() {
    let house = House::new(Fake::new()).await;
    house.tell(OTHER, created(255)).await;
    for n in 0..=250 {
        // No wait: the mirror sees none of them before the first are gone.
        house.fake.tell(&*house.bus, ORG, created(n)).await;
    }
    house.clock.sleep(2 * SECOND_MS).await;
    assert_eq!(house.core.keys(), 252);
    house.tell(ORG, revoked(250)).await;
    assert_eq!(house.try_key(&secret(250, 0)), Err(Denial::KeyRevoked));
}

#[tokio::test(start_paused = true)]
async fn repetitions_change_nothing_and_a_disorder_is_fetched() {
    let house = House::new(Fake::new()).await;
    let [first, second, third] =
        [created(1), revoked(1), created(2)].map(|event| house.fake.commit(ORG, event));
    for logged in [&first, &first, &third, &second, &first, &second, &third] {
        publish(&*house.bus, logged).await;
    }
    house.clock.sleep(SECOND_MS).await;
    assert_eq!(house.try_key(&secret(1, 0)), Err(Denial::KeyRevoked));
    assert_eq!(house.try_key(&secret(2, 0)), Ok(()));
    assert_eq!(house.metrics.gaps.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn forged_truncated_and_foreign_events_are_refused_with_an_alarm() {
    let house = House::new(Fake::new()).await;
    house.tell(ORG, created(1)).await;
    let logged = house.fake.commit(ORG, revoked(1));
    let topic = || Topic::Events { org: ORG, kind: logged.kind.clone() };
    let mut flipped = logged.sent.clone();
    let last = flipped.len() - 1;
    flipped[last] ^= 1;
    publish_on(&*house.bus, topic(), flipped).await;
    publish_on(&*house.bus, topic(), logged.sent[..last].to_vec()).await;
    publish_on(&*house.bus, topic(), Vec::new()).await;
    let foreign = Topic::Events { org: OTHER, kind: logged.kind.clone() };
    publish_on(&*house.bus, foreign, logged.sent.clone()).await;
    publish_on(&*house.bus, Topic::Heartbeat { org: OrgId::PLATFORM }, b"beat".to_vec()).await;
    house.soon().await;
    assert_eq!(house.metrics.alarms.get(), 5);
    assert_eq!(house.try_key(&secret(1, 0)), Ok(()));
    // What was lost by it comes with the heartbeat.
    house.beat().await;
    house.clock.sleep(SECOND_MS).await;
    assert_eq!(house.try_key(&secret(1, 0)), Err(Denial::KeyRevoked));
}

#[tokio::test(start_paused = true)]
async fn an_unreadable_event_holds_one_key_until_its_state_can_be_fetched() {
    let house = House::new(Fake::new()).await;
    for n in [1, 2] {
        house.tell(ORG, created(n)).await;
    }
    house.tell(OTHER, created(3)).await;
    house.fake.set_unreachable(true);
    publish(&*house.bus, &house.fake.commit_unreadable(ORG, revoked(1))).await;
    house.soon().await;
    assert_eq!(house.metrics.alarms.get(), 1);
    assert_eq!(house.try_key(&secret(1, 0)), Err(Denial::ControlPlaneStale), "it may be revoked");
    assert_eq!(house.try_key(&secret(2, 0)), Ok(()));
    assert_eq!(house.try_key(&secret(3, 0)), Ok(()));
    house.fake.set_unreachable(false);
    house.clock.sleep(20 * SECOND_MS).await;
    assert_eq!(house.try_key(&secret(1, 0)), Err(Denial::KeyRevoked));
}

#[tokio::test(start_paused = true)]
async fn an_unreadable_event_about_the_whole_keeps_the_last_good_state() {
    let house = House::new(Fake::new()).await;
    house.tell(ORG, created(1)).await;
    house.fake.set_unreachable(true);
    let settings = Settings { max_staleness_ms: None, ..Settings::default() };
    let event = Event::OrgSettingsChanged { name: "Later".into(), settings };
    publish(&*house.bus, &house.fake.commit_unreadable(ORG, event)).await;
    // What comes after it is applied all the same.
    house.tell(ORG, created(2)).await;
    house.beat().await;
    assert_eq!(house.metrics.alarms.get(), 1);
    assert_eq!((house.try_key(&secret(1, 0)), house.try_key(&secret(2, 0))), (Ok(()), Ok(())));
    for _ in 0..11 {
        house.clock.sleep(MINUTE_MS).await;
        house.beat().await;
    }
    let held = house.try_key(&secret(1, 0));
    assert_eq!(held, Err(Denial::ControlPlaneStale), "not for longer than staleness allows");
    house.fake.set_unreachable(false);
    house.clock.sleep(20 * SECOND_MS).await;
    assert_eq!(house.try_key(&secret(1, 0)), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn receipts_tell_what_cannot_be_read_and_claim_nothing_behind_it() {
    let house = House::new(Fake::new()).await;
    house.tell(ORG, created(1)).await;
    let mut reader = house.bus.read(Feed::Receipts(Some(ORG)), Start::Now).await.unwrap();
    house.beat().await;
    let before = last_receipt(&mut *reader);
    assert_eq!(before.quarantine, None);
    // No event at all: nothing is missing.
    let topic = Topic::Events { org: ORG, kind: "KeyCreated".to_owned() };
    publish_on(&*house.bus, topic, b"noise".to_vec()).await;
    house.beat().await;
    let told = last_receipt(&mut *reader).quarantine.unwrap();
    assert_eq!((told.events, told.seq, told.stands), (1, None, false));

    house.fake.set_unreachable(true);
    let seq = house.fake.organisation(ORG).head.seq + 1;
    let unreadable = house.fake.commit_unreadable(ORG, revoked(1));
    publish(&*house.bus, &unreadable).await;
    house.tell(OTHER, created(2)).await;
    house.beat().await;
    let held = last_receipt(&mut *reader);
    let told = held.quarantine.unwrap();
    assert_eq!((told.events, told.stands), (2, true));
    assert_eq!(told.seq, Some(seq));
    assert_eq!(held.position, before.position, "nobody may take it for applied");
    house.fake.set_unreachable(false);
    house.clock.sleep(20 * SECOND_MS).await;
    house.beat().await;
    let healed = last_receipt(&mut *reader);
    assert_eq!(healed.quarantine.map(|told| (told.events, told.stands)), Some((2, false)));
    assert!(healed.position > before.position);

    // The platform's stream binds every organisation.
    house.fake.set_unreachable(true);
    let event = Event::GatewayLeft { gateway: GATEWAY };
    publish(&*house.bus, &house.fake.commit_unreadable(OrgId::PLATFORM, event)).await;
    house.beat().await;
    let held = last_receipt(&mut *reader);
    assert_eq!(held.quarantine.map(|told| (told.events, told.stands)), Some((1, true)));
}

#[tokio::test(start_paused = true)]
async fn another_chain_is_replaced_by_the_true_one() {
    let house = House::new(Fake::new()).await;
    house.tell(ORG, created(1)).await;
    // Somebody who can write to the bus revokes in the control plane's name.
    let liar = Fake::new();
    liar.commit(ORG, created(1));
    publish(&*house.bus, &liar.commit(ORG, revoked(1))).await;
    house.soon().await;
    house.tell(ORG, created(2)).await;
    house.clock.sleep(SECOND_MS).await;
    assert_eq!(house.try_key(&secret(1, 0)), Ok(()));
    assert_eq!(house.try_key(&secret(2, 0)), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_gateway_is_ready_while_it_may_serve() {
    let house = House::start(Fake::new(), Arc::new(tempfile::tempdir().unwrap())).await;
    assert!(!house.probes.is_ready(), "it has not caught up yet");
    house.tell(ORG, created(1)).await;
    house.beat().await;
    assert!(house.probes.is_ready());
    house.clock.sleep(9 * MINUTE_MS).await;
    assert!(house.core.is_stale() && house.probes.is_ready());
    house.clock.sleep(2 * MINUTE_MS).await;
    assert!(!house.probes.is_ready(), "it refuses by now");
    house.beat().await;
    assert!(house.probes.is_ready());
}

#[tokio::test(start_paused = true)]
async fn a_heartbeat_makes_a_gateway_ask_again_at_once() {
    let house = House::new(Fake::new()).await;
    house.fake.set_unreachable(true);
    house.clock.sleep(5 * MINUTE_MS).await;
    // A heartbeat with others missing before it: the heads are asked for, in vain for long.
    house.fake.beat(&*house.bus, house.clock.now()).await;
    house.clock.sleep(MINUTE_MS).await;
    assert!(house.core.is_stale());
    house.fake.set_unreachable(false);
    house.fake.beat(&*house.bus, house.clock.now()).await;
    house.clock.sleep(SECOND_MS).await;
    assert!(!house.core.is_stale());
}

#[tokio::test(start_paused = true)]
async fn without_news_a_gateway_is_stale_then_refuses_then_recovers() {
    let house = House::new(Fake::new()).await;
    house.tell(ORG, created(1)).await;
    let settings = Settings { max_staleness_ms: None, ..Settings::default() };
    let unbounded = Event::OrgSettingsChanged { name: "Other".into(), settings };
    house.tell(OTHER, created(2)).await;
    house.tell(OTHER, unbounded).await;
    house.fake.set_unreachable(true);
    assert_eq!(house.try_key(&secret(3, 0)), Err(Denial::Unauthorized));
    house.clock.sleep(6 * SECOND_MS).await;
    assert_eq!(house.try_key(&secret(3, 0)), Err(Denial::ControlPlaneStale), "it may be new");
    assert_eq!(house.try_key(&secret(1, 0)), Ok(()));
    house.clock.sleep(10 * MINUTE_MS).await;
    assert_eq!(house.try_key(&secret(1, 0)), Err(Denial::ControlPlaneStale));
    assert_eq!(house.try_key(&secret(2, 0)), Ok(()));
    house.fake.set_unreachable(false);
    house.beat().await;
    assert_eq!(house.try_key(&secret(1, 0)), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_missing_heartbeat_makes_the_heads_be_asked_for() {
    let house = House::new(Fake::new()).await;
    house.tell(ORG, created(1)).await;
    house.fake.commit(ORG, revoked(1));
    // The event and the heartbeat that speaks of it are lost; nothing more happens there.
    let nowhere = LocalBus::new(Arc::new(house.clock.clone()));
    house.fake.beat(&nowhere, house.clock.now()).await;
    house.beat().await;
    house.clock.sleep(SECOND_MS).await;
    assert_eq!(house.try_key(&secret(1, 0)), Err(Denial::KeyRevoked));
}

#[tokio::test(start_paused = true)]
async fn a_restart_in_an_outage_serves_from_the_disk_until_it_is_too_old() {
    let house = House::new(Fake::new()).await;
    house.tell(ORG, created(1)).await;
    house.tell(ORG, created(2)).await;
    house.tell(ORG, revoked(2)).await;
    house.beat().await;
    let (fake, data) = house.stop().await;
    fake.set_unreachable(true);
    let house = House::start(fake, data).await;
    assert_eq!(house.try_key(&secret(1, 0)), Ok(()));
    assert_eq!(house.try_key(&secret(2, 0)), Err(Denial::KeyRevoked));
    house.clock.sleep(10 * MINUTE_MS + 5 * SECOND_MS).await;
    assert_eq!(house.try_key(&secret(1, 0)), Err(Denial::ControlPlaneStale));
    house.fake.set_unreachable(false);
    house.clock.sleep(20 * SECOND_MS).await;
    house.beat().await;
    assert_eq!(house.try_key(&secret(1, 0)), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_restored_store_makes_the_mirror_start_again() {
    let house = House::new(Fake::new()).await;
    house.tell(ORG, created(1)).await;
    house.tell(OTHER, created(2)).await;
    house.beat().await;
    house.fake.restore(1);
    house.beat().await;
    house.clock.sleep(SECOND_MS).await;
    house.beat().await;
    house.clock.sleep(SECOND_MS).await;
    assert_eq!(house.try_key(&secret(1, 0)), Ok(()));
    assert_eq!(house.try_key(&secret(2, 0)), Err(Denial::Unauthorized));
}

#[tokio::test(start_paused = true)]
async fn receipts_follow_events_and_heartbeats_while_fresh() {
    let house = House::new(Fake::new()).await;
    let mut reader = house.bus.read(Feed::Receipts(None), Start::Now).await.unwrap();
    house.tell(ORG, created(1)).await;
    let told = receipts(&mut *reader);
    assert_eq!(told, [(ORG, 3)]);
    house.beat().await;
    let told = receipts(&mut *reader);
    assert_eq!(told, [(OrgId::PLATFORM, 3), (ORG, 3), (OTHER, 3)]);
    house.clock.sleep(6 * SECOND_MS).await;
    house.tell(ORG, created(2)).await;
    assert_eq!(receipts(&mut *reader), [], "a stale mirror proves nothing");
    assert_eq!(house.try_key(&secret(2, 0)), Ok(()));
}

/// The newest receipt that has come.
fn last_receipt(reader: &mut dyn Reader) -> Receipt {
    let all = std::iter::from_fn(|| reader.ready());
    form::decode(&all.last().unwrap().unwrap().payload).unwrap()
}

fn receipts(reader: &mut dyn Reader) -> Vec<(OrgId, u128)> {
    let next = || match reader.ready()?.unwrap() {
        Message { topic: Topic::Receipts { org, gateway }, payload, .. } => {
            assert_eq!(gateway, GATEWAY);
            let receipt: Receipt = form::decode(&payload).unwrap();
            Some((org, receipt.position.0))
        }
        other => panic!("{other:?}"),
    };
    std::iter::from_fn(next).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Invariant 9: the mirror at position p is the fold of the log up to p, whatever the bus does.
    #[test]
    fn the_mirror_is_the_fold_of_the_log(
        commands in proptest::collection::vec((0..4_u8, 0..5_u8, any::<bool>()), 1..60),
        fates in proptest::collection::vec(0..6_u8, 60),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let house = House::new(Fake::new()).await;
            let mut late = Vec::new();
            for (place, (what, n, other)) in commands.into_iter().enumerate() {
                let n = if other { n + 10 } else { n };
                let event = match what {
                    0 => created(n),
                    1 => rotated(n, u8::try_from(place).unwrap() + 1),
                    2 => revoked(n),
                    _ => Event::KeyDeleted { key: key(n) },
                };
                let logged = house.fake.commit(if other { OTHER } else { ORG }, event);
                match fates[place] {
                    0 => {}
                    1 => late.push(logged),
                    2 => {
                        publish(&*house.bus, &logged).await;
                        publish(&*house.bus, &logged).await;
                    }
                    3 => {
                        publish(&*house.bus, &logged).await;
                        house.soon().await;
                    }
                    _ => publish(&*house.bus, &logged).await,
                }
            }
            for logged in late.iter().rev() {
                publish(&*house.bus, logged).await;
            }
            house.beat().await;
            house.clock.sleep(2 * SECOND_MS).await;
            let mut keys = 0;
            for org in house.fake.orgs() {
                let truth = house.fake.organisation(org);
                for key in truth.keys.values() {
                    let slot = house.core.table.get(&key.secret.public_id).unwrap();
                    assert_eq!((&slot.key, slot.org.view().organisation.id), (key, org));
                    keys += 1;
                }
            }
            assert_eq!(house.core.keys(), keys);
        });
    }
}
