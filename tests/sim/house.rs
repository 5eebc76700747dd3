//! The house of one life: hostile seams, the machines on which processes run, and the processes.

use std::cell::{Cell, RefCell};
use std::path::Path;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::json;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use turnpike_control_plane::config::ControlPlaneOptions;
use turnpike_domain::id::{EpochId, GatewayId, KeyId, OrgId};
use turnpike_domain::secret::{PepperVersion, SecretKind};
use turnpike_domain::time::Timestamp;
use turnpike_gateway::config::Config;
use turnpike_gateway::core::Core;
use turnpike_gateway::lane::Lane;
use turnpike_gateway::lease::Leases;
use turnpike_gateway::permit::Permits;
use turnpike_gateway::run::{self as gateway, Embedded};
use turnpike_projector::config::ProjectorOptions;
use turnpike_projector::run as projector;
use turnpike_runtime::clock::{Clock as _, PausedClock, SharedClock};
use turnpike_runtime::entropy;
use turnpike_runtime::metrics::Metrics;
use turnpike_runtime::tasks::Tasks;
use turnpike_store::kv::Kv;
use turnpike_store::memory::Memory;
use turnpike_tests::chance::{Dice, Tally};
use turnpike_tests::hostile_bus::{Connection, HostileBus};
use turnpike_tests::hostile_kv::HostileKv;
use turnpike_tests::{hostile_bus, hostile_kv};
use turnpike_wire::secret::{ENTROPY_BYTES, Pepper, Peppers, PlainSecret, mint};

use crate::books::Books;
use crate::control::{Control, Door, Switchboard};
use crate::reference::Reference;
use crate::watch::Watch;

/// Gateways of a life.
pub(crate) const GATEWAYS: usize = 3;
/// When every life begins: shortly before the end of a day, a week and a month in February 2027.
const DAY: Timestamp = Timestamp(1_803_859_200_000 - UNTIL_MIDNIGHT_MS);
/// The windows of a life roll over in its midst.
const UNTIL_MIDNIGHT_MS: u64 = 45_000;
/// After so much silence a gateway is given up: less than the longest cut lasts.
const LOSE_AFTER_MS: u64 = 12_000;
/// The wait before a start that failed is tried again.
const START_AGAIN_MS: u64 = 200;
/// A pepper's and a sealing key's digits.
const KEY: &str = "1:00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
/// Where spools stand: in memory where there is such a place.
const MEMORY: &str = "/dev/shm";

pub(crate) struct House {
    /// True time: nobody's own clock.
    pub(crate) clock: PausedClock,
    /// The day of all control planes.
    pub(crate) control_clock: PausedClock,
    pub(crate) dice: Dice,
    pub(crate) tally: Tally,
    pub(crate) kv: HostileKv,
    pub(crate) bus: HostileBus,
    pub(crate) peppers: Peppers,
    pub(crate) watch: Watch,
    pub(crate) reference: RefCell<Reference>,
    pub(crate) books: RefCell<Books>,
    pub(crate) controls: RefCell<Vec<(usize, Control)>>,
    pub(crate) machines: Vec<Machine>,
    pub(crate) projectors: RefCell<Vec<(usize, Projector)>>,
    pub(crate) join_token: PlainSecret,
    /// Every secret that was ever made, and the key that it was made for.
    pub(crate) secrets: RefCell<Vec<Rc<Known>>>,
    /// Somebody's day was stepped: windows have many names.
    pub(crate) days_stepped: Cell<bool>,
    /// How far the control plane's day was set back in all: no gateway has to follow that.
    pub(crate) control_set_back_ms: Cell<u64>,
    /// A gateway's folder was lost: what it held may be lost for ever.
    pub(crate) folders_lost: Cell<bool>,
    switchboard: Switchboard,
    hostile: Arc<AtomicBool>,
    /// Numbers of processes.
    next: Cell<usize>,
}

/// A model key's secret as its holder knows it.
pub(crate) struct Known {
    pub(crate) secret: PlainSecret,
    pub(crate) org: OrgId,
    pub(crate) key: KeyId,
}

/// A machine that runs a gateway, over its restarts.
pub(crate) struct Machine {
    pub(crate) place: usize,
    pub(crate) bus: Arc<hostile_bus::Port>,
    pub(crate) upstairs_down_ms: Arc<AtomicU64>,
    pub(crate) clock: PausedClock,
    /// How far its day was set back in all: so much of a gateway's absence may go uncounted.
    pub(crate) set_back_ms: Cell<u64>,
    pub(crate) running: RefCell<Option<Running>>,
    /// Somebody is about to end or start its gateway.
    pub(crate) taken: Cell<bool>,
    /// The runs whose records may stand in its folder.
    epochs: RefCell<Vec<EpochId>>,
    config: Config,
    known_as: Arc<Mutex<Option<GatewayId>>>,
    _folder: TempDir,
}

/// A gateway at work.
pub(crate) struct Running {
    pub(crate) embedded: Embedded,
    pub(crate) requests: Tasks,
}

/// What a request holds of a gateway: it does not keep it alive.
#[derive(Clone)]
pub(crate) struct Serving {
    pub(crate) place: usize,
    pub(crate) core: Arc<Core>,
    pub(crate) leases: Arc<Leases>,
    pub(crate) permits: Arc<Permits>,
    pub(crate) lane: Rc<Lane>,
    pub(crate) requests: Tasks,
}

pub(crate) struct Projector {
    pub(crate) running: projector::Running,
    pub(crate) kv: Arc<hostile_kv::Port>,
    pub(crate) bus: Arc<hostile_bus::Port>,
    pub(crate) clock: PausedClock,
}

impl House {
    pub(crate) fn new(seed: u64) -> Rc<Self> {
        let (dice, tally) = (Dice::new(seed), Tally::default());
        let clock = PausedClock::new(DAY);
        let shared: SharedClock = Arc::new(clock.clone());
        let watch = Watch::default();
        let memory: Arc<dyn Kv> = Arc::new(Memory::new());
        let receipts = watch.receipts.clone();
        let tap = Box::new(move |message: &_| receipts.take(message));
        let (of_kv, of_bus) = (dice.fork("store"), dice.fork("bus"));
        let kv = HostileKv::new(Arc::clone(&memory), shared.clone(), of_kv, tally.clone());
        let accounts = watch.accounts.clone();
        kv.watch(Box::new(move |writes| accounts.commit(writes)));
        let bus = HostileBus::new(shared, of_bus, tally.clone(), tap);
        let mut random = [0; ENTROPY_BYTES];
        entropy::fill(&mut random);
        let join_token = mint(SecretKind::Gateway, &random);
        let machines = (0..GATEWAYS)
            .map(|place| Machine::new(place, bus.port(), &dice, &join_token))
            .collect();
        let key = turnpike_wire::keyring::unhex(&KEY[2..]).unwrap();
        let pepper = Pepper::new(PepperVersion(1), &key).unwrap();
        Rc::new(Self {
            control_clock: PausedClock::new(DAY),
            clock,
            tally,
            kv,
            bus,
            peppers: Peppers::new(vec![pepper]).unwrap(),
            watch,
            reference: RefCell::new(Reference::new(memory)),
            books: RefCell::default(),
            controls: RefCell::default(),
            machines,
            projectors: RefCell::default(),
            join_token,
            secrets: RefCell::default(),
            days_stepped: Cell::new(false),
            control_set_back_ms: Cell::new(0),
            folders_lost: Cell::new(false),
            switchboard: Switchboard::default(),
            hostile: Arc::default(),
            next: Cell::new(0),
            dice,
        })
    }

    pub(crate) fn now_ms(&self) -> u64 {
        self.clock.boot_ms()
    }

    pub(crate) async fn sleep(&self, ms: u64) {
        self.clock.sleep(ms).await;
    }

    pub(crate) fn note(&self, line: String) {
        self.watch.note(self.now_ms(), line);
    }

    pub(crate) fn broken(&self, what: String) {
        self.watch.broken(self.now_ms(), what);
    }

    /// Whether chance strikes at all.
    pub(crate) fn set_hostile(&self, hostile: bool) {
        self.hostile.store(hostile, Ordering::Relaxed);
        self.kv.set_hostile(hostile);
        self.bus.set_hostile(hostile);
    }

    /// Starts a control plane, however often the store refuses.
    pub(crate) async fn start_control(&self) {
        let place = self.number();
        let (kv, bus) = (self.kv.port(), self.bus.port());
        let control = loop {
            let (kv, bus) = (Arc::clone(&kv), Arc::clone(&bus));
            match Control::start(kv, bus, &self.control_clock, control_options()).await {
                Ok(control) => break control,
                Err(error) => self.note(format!("control plane {place}: {error}")),
            }
            self.sleep(START_AGAIN_MS).await;
        };
        self.note(format!("control plane {place} stands"));
        self.switchboard.add(place, &control);
        self.controls.borrow_mut().push((place, control));
    }

    /// Kills one of the control planes.
    pub(crate) fn kill_control(&self, at: usize) {
        let (place, control) = self.controls.borrow_mut().remove(at);
        self.note(format!("control plane {place} is killed"));
        self.switchboard.remove(place);
        control.kill();
    }

    pub(crate) fn start_projector(&self) {
        let place = self.number();
        let clock = PausedClock::new(self.clock.now());
        let (kv, bus) = (self.kv.port(), self.bus.port());
        let options = ProjectorOptions { lose_after_ms: LOSE_AFTER_MS, ..Default::default() };
        let parts = projector::Parts {
            kv: Arc::clone(&kv) as Arc<dyn Kv>,
            bus: Arc::new(Connection(Arc::clone(&bus))),
            clock: Arc::new(clock.clone()),
            options,
            metrics: Metrics::new(),
        };
        let running = projector::run(parts);
        self.note(format!("projector {place} stands"));
        self.projectors.borrow_mut().push((place, Projector { running, kv, bus, clock }));
    }

    pub(crate) fn kill_projector(&self, at: usize) {
        let (place, projector) = self.projectors.borrow_mut().remove(at);
        self.note(format!("projector {place} is killed"));
        projector.running.abort();
    }

    /// Starts the gateway of a machine, however long that takes.
    pub(crate) async fn start_gateway(&self, place: usize) {
        let machine = &self.machines[place];
        loop {
            let door = Door {
                switchboard: self.switchboard.clone(),
                clock: Arc::new(machine.clock.clone()),
                dice: self.dice.fork("door"),
                tally: self.tally.clone(),
                down_until_ms: Arc::clone(&machine.upstairs_down_ms),
                hostile: Arc::clone(&self.hostile),
                token: self.join_token.expose().to_owned(),
                name: format!("gateway-{place}"),
                known_as: Arc::clone(&machine.known_as),
            };
            let parts = gateway::Parts {
                bus: Arc::new(Connection(Arc::clone(&machine.bus))),
                clock: Arc::new(machine.clock.clone()),
                config: machine.config.clone(),
                stop: CancellationToken::new(),
            };
            match gateway::embed(parts, Arc::new(door)).await {
                Ok(embedded) => {
                    self.note(format!("gateway {place} stands, {}", embedded.lane.epoch_id()));
                    let requests = Tasks::new("requests");
                    let running = Running { embedded, requests };
                    machine.epochs.borrow_mut().push(running.epoch());
                    *machine.running.borrow_mut() = Some(running);
                    return;
                }
                Err(error) => self.note(format!("gateway {place}: {error}")),
            }
            self.sleep(START_AGAIN_MS).await;
        }
    }

    fn number(&self) -> usize {
        self.next.replace(self.next.get() + 1)
    }
}

impl Machine {
    fn new(place: usize, bus: Arc<hostile_bus::Port>, dice: &Dice, token: &PlainSecret) -> Self {
        let mut builder = tempfile::Builder::new();
        builder.prefix("turnpike-life-");
        let memory = Path::new(MEMORY).is_dir();
        let folder = if memory { builder.tempdir_in(MEMORY) } else { builder.tempdir() };
        let folder = folder.unwrap();
        let config = json!({
            "name": format!("gateway-{place}"),
            "data": folder.path().join("data"),
            "cores": 1,
            "control": { "url": "http://control", "join_token": token.expose() },
            "keys": { "peppers": KEY, "provider_sealing": KEY },
        });
        // No two machines agree on the time of day.
        let skew_ms = dice.below(20_000);
        Self {
            place,
            bus,
            upstairs_down_ms: Arc::default(),
            clock: PausedClock::new(Timestamp(DAY.0 + skew_ms - 10_000)),
            set_back_ms: Cell::new(0),
            running: RefCell::default(),
            taken: Cell::new(false),
            epochs: RefCell::default(),
            config: serde_json::from_value(config).unwrap(),
            known_as: Arc::default(),
            _folder: folder,
        }
    }

    /// The gateway as requests see it, if it runs.
    pub(crate) fn serving(&self) -> Option<Serving> {
        let running = self.running.borrow();
        let Running { embedded, requests } = running.as_ref()?;
        let (core, lane) = (Arc::clone(&embedded.core), Rc::clone(&embedded.lane));
        let (leases, permits) = (Arc::clone(&embedded.leases), Arc::clone(&embedded.permits));
        let (place, requests) = (self.place, requests.clone());
        Some(Serving { place, core, leases, permits, lane, requests })
    }

    /// Loses the folder, perhaps with the name that the gateway was known by; says whose records
    /// stood in it.
    pub(crate) fn lose_folder(&self, also_name: bool) -> Vec<EpochId> {
        if also_name {
            *self.known_as.lock().unwrap() = None;
        }
        std::fs::remove_dir_all(&self.config.data).unwrap();
        self.epochs.take()
    }

    /// As whom the control plane knows it.
    pub(crate) fn known_as(&self) -> Option<GatewayId> {
        *self.known_as.lock().unwrap()
    }

    /// What the last run has saved of its mirror.
    pub(crate) fn saved(&self) -> Vec<turnpike_wire::snapshot::State> {
        gateway::saved_mirror(&self.config)
    }
}

impl Running {
    pub(crate) fn epoch(&self) -> EpochId {
        self.embedded.lane.epoch_id()
    }
}

fn control_options() -> ControlPlaneOptions {
    let options = json!({
        "keys": {
            "peppers": KEY,
            "provider_sealing": KEY,
            "vault_sealing": KEY,
            "signing": KEY,
        },
    });
    serde_json::from_value(options).unwrap()
}
