//! A control plane for the tests of this crate: a list of events, folded as everywhere.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use sha2::{Digest as _, Sha256};
use turnpike_bus::seam::{BoxFuture, Bus, Publish, Topic};
use turnpike_domain::event::{Actor, Event, KeyProfile, Record, Who};
use turnpike_domain::evolve;
use turnpike_domain::id::{
    CommandId, EventId, GatewayId, IncarnationId, KeyId, OrgId, PlanId, Position, ProjectId,
};
use turnpike_domain::limit::Limits;
use turnpike_domain::scope::Scopes;
use turnpike_domain::secret::{PepperVersion, SecretKind};
use turnpike_domain::state::{Key, Organisation, Platform, Project, Settings, Standing};
use turnpike_domain::time::Timestamp;
use turnpike_runtime::clock::SharedClock;
use turnpike_wire::heartbeat::{Heartbeat, MovedHead};
use turnpike_wire::record::{self, FIRST_HASH};
use turnpike_wire::seal::{Purpose, SealingKey, SealingKeys};
use turnpike_wire::secret::{Pepper, Peppers, PlainSecret, mint};
use turnpike_wire::sign::{Signers, SigningKey, SigningKeys};
use turnpike_wire::snapshot::{self, Assembly, Snapshot, Taken};

use crate::core::Entry;
use crate::upstairs::{Heads, Joined, Upstairs, UpstairsError};
use crate::view::OrgView;

pub(crate) const ORG: OrgId = OrgId(11);
pub(crate) const OTHER: OrgId = OrgId(12);
pub(crate) const GATEWAY: GatewayId = GatewayId(21);
/// When the tests' day begins.
pub(crate) const DAY: Timestamp = Timestamp(1_795_000_000_000);

pub(crate) fn peppers() -> Peppers {
    Peppers::new(vec![Pepper::new(PepperVersion(1), &[7; 32]).unwrap()]).unwrap()
}

pub(crate) fn sealing() -> SealingKeys {
    SealingKeys::new(Purpose::ProviderCredential, vec![SealingKey::new(1, &[8; 32])]).unwrap()
}

pub(crate) fn decisions() -> SealingKeys {
    SealingKeys::new(Purpose::Decision, vec![SealingKey::new(1, &[8; 32])]).unwrap()
}

/// The secret of the `n`-th key; its `turn`-th after rotations.
pub(crate) fn secret(n: u8, turn: u8) -> PlainSecret {
    let mut entropy = [n; 48];
    entropy[..2].copy_from_slice(&[turn, n]);
    mint(SecretKind::Model, &entropy)
}

pub(crate) fn key(n: u8) -> KeyId {
    KeyId(u128::from(n))
}

/// The first key with these limits and its project, as a request of it in `organisation` finds it.
pub(crate) fn entry(
    organisation: &Organisation,
    limits: Limits,
    project: Option<ProjectId>,
) -> Entry {
    let key = Key {
        id: key(1),
        profile: KeyProfile {
            name: "a key".into(),
            owner: None,
            project,
            plan: PlanId(1),
            expires_at: None,
            limits,
            scopes: Scopes::default(),
            metadata: None,
        },
        secret: peppers().stored(&secret(1, 0)),
        previous: None,
        recoverable: None,
        standing: Standing::default(),
        generation: 1,
        ephemeral: false,
        created_at: DAY,
        rotated_at: None,
        seq: 1,
    };
    Entry {
        org: Arc::new(OrgView::of(organisation, false)),
        presented: key.secret.public_id,
        key: Arc::new(key),
        seq: 1,
        used_up: None,
        legacy: false,
        token: None,
    }
}

/// A project with these limits, as old as the day.
pub(crate) fn project(limits: Limits) -> Project {
    Project { name: "team".into(), limits, created_at: DAY, seq: 1 }
}

pub(crate) fn created(n: u8) -> Event {
    let profile = KeyProfile {
        name: format!("key {n}").into(),
        owner: None,
        project: None,
        plan: PlanId(1),
        expires_at: None,
        limits: Limits::default(),
        scopes: Scopes::default(),
        metadata: None,
    };
    let secret = peppers().stored(&secret(n, 0));
    Event::KeyCreated { key: key(n), profile: Box::new(profile), secret, recoverable: None }
}

pub(crate) fn rotated(n: u8, turn: u8) -> Event {
    let secret = peppers().stored(&secret(n, turn));
    Event::KeyRotated { key: key(n), secret, recoverable: None, overlap_until: None }
}

/// What the fake knows; shared by its clones.
#[derive(Clone)]
pub(crate) struct Fake(Arc<Mutex<Known>>);

struct Known {
    log: Vec<Logged>,
    platform: Platform,
    orgs: BTreeMap<OrgId, Organisation>,
    incarnation: IncarnationId,
    beat: u64,
    /// Events ever decided, by which they differ in time.
    decided: u64,
    /// The next heartbeat is the first of a control plane.
    restarted: bool,
    moved: BTreeMap<OrgId, MovedHead>,
    unreachable: bool,
    /// By what clock it tells the time, and how many milliseconds behind it.
    clock: Option<(SharedClock, u64)>,
    /// How long a snapshot is on its way after it was taken.
    slow: Option<(SharedClock, u64)>,
    keys: SigningKeys,
}

/// An event as it is sent.
#[derive(Clone)]
pub(crate) struct Logged {
    pub(crate) org: OrgId,
    pub(crate) kind: String,
    pub(crate) sent: Vec<u8>,
}

fn signing() -> SigningKey {
    SigningKey::from_seed(&[9; 32])
}

pub(crate) fn joined() -> Joined {
    Joined { gateway: GATEWAY, org: None, signers: signing().verifying_key().into() }
}

impl Fake {
    /// A store with two organisations and no keys.
    pub(crate) fn new() -> Self {
        let known = Known {
            log: Vec::new(),
            platform: Platform::default(),
            orgs: BTreeMap::new(),
            incarnation: IncarnationId(1),
            beat: 0,
            decided: 0,
            restarted: false,
            moved: BTreeMap::new(),
            unreachable: false,
            clock: None,
            slow: None,
            keys: SigningKeys::new(signing(), []),
        };
        let fake = Self(Arc::new(Mutex::new(known)));
        for org in [ORG, OTHER] {
            let settings = Settings::default();
            fake.commit(org, Event::OrgCreated { name: "Org".into(), settings });
        }
        fake
    }

    fn with<T>(&self, work: impl FnOnce(&mut Known) -> T) -> T {
        work(&mut self.0.lock().unwrap())
    }

    /// Appends an event; answers with what the relay would send.
    pub(crate) fn commit(&self, org: OrgId, event: Event) -> Logged {
        self.append(org, event, None, false)
    }

    /// Appends an event in the form of a later Turnpike.
    pub(crate) fn commit_unreadable(&self, org: OrgId, event: Event) -> Logged {
        self.append(org, event, None, true)
    }

    fn append(&self, org: OrgId, event: Event, at: Option<Timestamp>, unreadable: bool) -> Logged {
        self.with(|known| {
            known.decided += 1;
            let position = Position(u128::try_from(known.log.len()).unwrap() + 1);
            let head = match org {
                OrgId::PLATFORM => known.platform.head,
                org => known.orgs.entry(org).or_insert_with(|| Organisation::new(org)).head,
            };
            let record = Record {
                id: EventId(position.0),
                org,
                seq: head.seq + 1,
                at: at.unwrap_or(DAY.plus_ms(known.decided)),
                actor: Actor { who: Who::System, address: None },
                command: CommandId(position.0),
                event,
            };
            let before = if head.seq == 0 { FIRST_HASH } else { head.hash };
            let mut stored = record::encode(&record, before).unwrap();
            if unreadable {
                // Field 9 is the version of the form, field 10 the data behind it.
                let place = stored.bytes.windows(3).position(|three| three == [9, 1, 10]);
                stored.bytes[place.unwrap() + 1] = 23;
                stored.hash = Sha256::digest(&stored.bytes).into();
            }
            let sent = record::send(&stored.bytes, position, &stored.hash).unwrap();
            match known.orgs.get_mut(&org) {
                Some(state) => {
                    evolve::organisation(state, &record, stored.hash, position);
                }
                None => {
                    evolve::platform(&mut known.platform, &record, stored.hash, position);
                }
            }
            known.moved.insert(org, MovedHead { org, seq: record.seq, hash: stored.hash });
            let logged = Logged { org, kind: record.event.name().to_owned(), sent };
            known.log.push(logged.clone());
            logged
        })
    }

    /// Appends an event and publishes it.
    pub(crate) async fn tell(&self, bus: &dyn Bus, org: OrgId, event: Event) {
        publish(bus, &self.commit(org, event)).await;
    }

    /// The heartbeat of this second.
    pub(crate) async fn beat(&self, bus: &dyn Bus, at: Timestamp) {
        let message = self.with(|known| {
            known.beat += 1;
            let beat = Heartbeat {
                incarnation: known.incarnation,
                number: known.beat,
                previous: if std::mem::take(&mut known.restarted) { 0 } else { known.beat - 1 },
                at,
                position: Position(u128::try_from(known.log.len()).unwrap()),
                heads: std::mem::take(&mut known.moved).into_values().collect(),
                signers: known.keys.signers().ids().collect(),
            };
            beat.sign(known.keys.current())
        });
        publish_on(bus, Topic::Heartbeat { org: OrgId::PLATFORM }, message).await;
    }

    pub(crate) fn set_unreachable(&self, unreachable: bool) {
        self.with(|known| known.unreachable = unreachable);
    }

    /// Who asks for the heads is told the time, which is so far behind the clock.
    pub(crate) fn set_clock(&self, clock: SharedClock, behind_ms: u64) {
        self.with(|known| known.clock = Some((clock, behind_ms)));
    }

    /// Snapshots are so long on their way after they were taken.
    pub(crate) fn set_slow(&self, clock: SharedClock, ms: u64) {
        self.with(|known| known.slow = Some((clock, ms)));
    }

    /// The control plane was started anew with these keys.
    pub(crate) fn set_keys(&self, keys: SigningKeys) {
        self.with(|known| known.keys = keys);
    }

    /// The store is restored to what it was before the last `lost` events, and says so.
    pub(crate) fn restore(&self, lost: usize) {
        self.with(|known| known.incarnation.0 += 1);
        self.set_back(lost);
    }

    /// The store's files are put back to what they were before the last `lost` events, and a
    /// control plane is started on them that does not know.
    pub(crate) fn set_back(&self, lost: usize) {
        let kept = self.with(|known| {
            let kept = known.log.len() - lost;
            known.log.truncate(kept);
            known.beat += 1;
            known.restarted = true;
            (known.platform, known.orgs) = (Platform::default(), BTreeMap::new());
            known.moved.clear();
            std::mem::take(&mut known.log)
        });
        for logged in kept {
            let record = record::receive(&logged.sent).unwrap().record.unwrap();
            self.append(logged.org, record.event, Some(record.at), false);
        }
    }

    pub(crate) fn organisation(&self, org: OrgId) -> Organisation {
        self.with(|known| known.orgs[&org].clone())
    }

    pub(crate) fn orgs(&self) -> Vec<OrgId> {
        self.with(|known| known.orgs.keys().copied().collect())
    }

    fn take(&self, org: Option<OrgId>) -> Result<Vec<Snapshot>, UpstairsError> {
        self.with(|known| {
            known.check()?;
            let taken = Taken { incarnation: known.incarnation, at: DAY };
            let (key, all) = (known.keys.current(), known.orgs.keys().copied());
            let streams = match org {
                Some(org) => vec![org],
                None => std::iter::once(OrgId::PLATFORM).chain(all).collect(),
            };
            let mut snapshots = Vec::new();
            for org in streams {
                let mut assembly = Assembly::new(known.keys.signers().clone());
                let frames = match known.orgs.get(&org) {
                    Some(state) => snapshot::organisation(state, taken, key),
                    None => snapshot::platform(&known.platform, taken, key),
                };
                snapshots.extend(frames.filter_map(|frame| assembly.take(&frame).unwrap()));
            }
            Ok(snapshots)
        })
    }
}

impl Known {
    fn check(&self) -> Result<(), UpstairsError> {
        match self.unreachable {
            true => Err(UpstairsError::Unreachable("on purpose".to_owned())),
            false => Ok(()),
        }
    }

    fn heads(&self) -> Heads {
        let heads = self.orgs.values().map(|state| (state.id, state.head));
        let heads = heads.chain([(OrgId::PLATFORM, self.platform.head)]);
        let heads = heads.map(|(org, head)| MovedHead { org, seq: head.seq, hash: head.hash });
        let now = self
            .clock
            .as_ref()
            .map(|(clock, behind_ms)| Timestamp(clock.now().0.saturating_sub(*behind_ms)));
        Heads { incarnation: self.incarnation, now, heads: heads.collect() }
    }
}

impl Upstairs for Fake {
    fn join(&self) -> BoxFuture<'_, Result<Joined, UpstairsError>> {
        Box::pin(async { self.with(|known| known.check()).map(|()| joined()) })
    }

    fn snapshot<'a>(
        &'a self,
        _: &'a Joined,
        org: Option<OrgId>,
    ) -> BoxFuture<'a, Result<Vec<Snapshot>, UpstairsError>> {
        Box::pin(async move {
            let taken = self.take(org);
            if let Some((clock, ms)) = self.with(|known| known.slow.clone()) {
                clock.sleep(ms).await;
            }
            taken
        })
    }

    fn heads<'a>(&'a self, _: &'a Joined) -> BoxFuture<'a, Result<Heads, UpstairsError>> {
        Box::pin(async { self.with(|known| known.check().map(|()| known.heads())) })
    }

    fn signers<'a>(&'a self, _: &'a Joined) -> BoxFuture<'a, Result<Signers, UpstairsError>> {
        Box::pin(async { self.with(|known| known.check().map(|()| known.keys.signers().clone())) })
    }

    fn leave<'a>(&'a self, _: &'a Joined) -> BoxFuture<'a, Result<(), UpstairsError>> {
        Box::pin(async { Ok(()) })
    }
}

/// Publishes an event as the relay does, but for the id: tests repeat on purpose.
pub(crate) async fn publish(bus: &dyn Bus, logged: &Logged) {
    let topic = Topic::Events { org: logged.org, kind: logged.kind.clone() };
    publish_on(bus, topic, logged.sent.clone()).await;
}

pub(crate) async fn publish_on(bus: &dyn Bus, topic: Topic, payload: Vec<u8>) {
    let (id, headers, payload) = (String::new(), Vec::new(), payload.into());
    bus.publish(Publish { topic, id, headers, payload }).await.unwrap();
}
