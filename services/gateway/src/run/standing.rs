//! What a gateway is before it opens a port: keys in step, a place for spend, a way upstairs.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use turnpike_bus::seam::Bus;
use turnpike_domain::id::{EpochId, GatewayId};
use turnpike_runtime::clock::{Clock, SharedClock, deadline};
use turnpike_runtime::entropy;
use turnpike_runtime::metrics::Metrics;
use turnpike_runtime::probes::Probes;
use turnpike_runtime::tasks::Tasks;
use turnpike_wire::seal::SealingKeys;
use turnpike_wire::secret::Peppers;

use super::folder::Folder;
use super::{Parts, StartError, data};
use crate::audit::Audit;
use crate::board::Board;
use crate::config::{Config, KeyOptions};
use crate::core::Core;
use crate::lane::{Epoch, Room, take_over_all};
use crate::lease::{LeaseMetrics, LeaseParts, Leases, Runs};
use crate::mirror::world::World;
use crate::mirror::{Disk, Loaded, Mirror, MirrorMetrics, MirrorParts, backoff_ms};
use crate::outbox::Route;
use crate::permit::{PermitParts, Permits};
use crate::receipts::Receipts;
use crate::upstairs::{Joined, Upstairs, UpstairsError};
use crate::upstream::health::{Healths, SAMPLE_MS};

/// With a mirror on disk a gateway waits no longer than this for the control plane to let it join.
const JOIN_MS: u64 = 3_000;

/// A gateway whose mirror and receipts are at work.
pub(super) struct Standing {
    pub(super) core: Arc<Core>,
    pub(super) leases: Arc<Leases>,
    pub(super) permits: Arc<Permits>,
    pub(super) joined: Joined,
    /// The first lane's epoch, which is the process's.
    pub(super) epoch: EpochId,
    /// What earlier runs have left, for the first lane.
    pub(super) older: Vec<Epoch>,
    pub(super) room: Room,
    /// Where this gateway's spool files stand.
    pub(super) spool: PathBuf,
    pub(super) route: Route,
    /// Has a place for every lane.
    pub(super) board: Board,
    /// How providers fare.
    pub(super) healths: Healths,
    pub(super) tasks: Tasks,
    pub(super) upstairs: Arc<dyn Upstairs>,
    pub(super) folder: Folder,
}

impl Standing {
    pub(super) async fn begin(
        parts: Parts,
        folder: Folder,
        loaded: Option<Loaded>,
        upstairs: Arc<dyn Upstairs>,
        (probes, metrics): (&Probes, &Metrics),
        tasks: Tasks,
    ) -> Result<Self, StartError> {
        let Parts { bus, clock, config, stop } = parts;
        let (peppers, sealing, decisions) = keys(&config.keys).map_err(StartError::Keys)?;
        let joined = join(&*upstairs, &*clock, probes, loaded.as_ref(), &stop).await?;
        let (serve, id) = (config.serve.clone(), joined.gateway);
        let core = Arc::new(Core::new(Arc::clone(&clock), serve, peppers, decisions, id));
        core.set_signers(joined.signers.clone());
        core.watch(metrics);

        let disk = Disk::open(&config.data, &config.control.join_token, joined.clone());
        let disk = disk.map_err(data(&config.data, "the mirror's folder"))?;
        // Before the first request: the spool belongs to whom the control plane knows by this id.
        let times = loaded.as_ref().map(|loaded| loaded.times).unwrap_or_default();
        disk.remember(times).map_err(data(&config.data, "the mirror's folder"))?;
        let world = world(&core, sealing, loaded, &*clock);
        let epoch = EpochId(entropy::id(clock.now()));
        let board = Board::new(config.cores());
        board.watch(&core, config.spool.max_bytes, metrics);
        let healths = watched(config.cores(), &clock, &tasks, metrics);
        let receipts = Receipts::new(board.clone(), healths.clone(), joined.org);
        send(&receipts, &bus, &clock, (joined.gateway, epoch), &tasks);
        let mirror = Mirror::new(MirrorParts {
            core: Arc::clone(&core),
            world,
            upstairs: Arc::clone(&upstairs),
            joined: joined.clone(),
            bus: Arc::clone(&bus),
            clock,
            disk,
            audit: Audit::open(&config.data).map_err(data(&config.data, "the audit log"))?,
            receipts,
            probes: probes.clone(),
            metrics: MirrorMetrics::new(metrics),
        });
        tasks.spawn("mirror", mirror.run(tasks.stopping()));

        let room = room(&config);
        let spool = folder.spool(joined.gateway).map_err(data(&config.data, "the spool"))?;
        let older = take_over_all(&spool.path, room.lane_bytes());
        let older = older.map_err(data(&config.data, "the spool"))?;
        let damaged =
            metrics.counter("spool_damaged_lines", "Stretches of the spool that were damaged");
        damaged.inc_by(older.iter().map(Epoch::damaged_lines).sum());
        let runs = Runs::of(&older, spool.torn);
        let route = Route { bus, gateway: joined.gateway, org: joined.org };
        let (permits, leases) = budgets(&core, &route, epoch, runs, (&tasks, metrics));
        Ok(Self {
            core,
            leases,
            permits,
            joined,
            epoch,
            older,
            room,
            spool: spool.path,
            route,
            board,
            healths,
            tasks,
            upstairs,
            folder,
        })
    }
}

/// What the lanes may keep on disk.
fn room(config: &Config) -> Room {
    Room::new(config.spool.max_bytes, u64::try_from(config.cores().get()).unwrap_or(u64::MAX))
}

/// Begins to send receipts.
fn send(
    receipts: &Receipts,
    bus: &Arc<dyn Bus>,
    clock: &SharedClock,
    sender: (GatewayId, EpochId),
    tasks: &Tasks,
) {
    let sending = receipts.clone();
    let sending = sending.run(Arc::clone(bus), Arc::clone(clock), sender, tasks.stopping());
    tasks.spawn("receipts", sending);
}

/// How providers fare, with nothing told yet.
fn watched(cores: NonZeroUsize, clock: &SharedClock, tasks: &Tasks, metrics: &Metrics) -> Healths {
    let healths = Healths::new(cores);
    healths.watch(metrics);
    let (sampled, clock, stopping) = (healths.clone(), Arc::clone(clock), tasks.stopping());
    tasks.spawn("health", async move {
        while stopping.run_until_cancelled(clock.sleep(SAMPLE_MS)).await.is_some() {
            sampled.sample(clock.boot_ms());
        }
    });
    healths
}

/// What checks secrets, opens credentials and seals decisions.
fn keys(keys: &KeyOptions) -> Result<(Peppers, SealingKeys, SealingKeys), String> {
    Ok((keys.peppers()?, keys.provider_sealing()?, keys.decisions()?))
}

/// What was known before, if anything was.
fn world(
    core: &Arc<Core>,
    sealing: SealingKeys,
    loaded: Option<Loaded>,
    clock: &dyn Clock,
) -> World {
    let mut world = World::new(Arc::clone(core), sealing);
    if let Some(Loaded { streams, times, .. }) = loaded {
        world.start_again(streams);
        // If nobody knows how old it is, it is as good as never fresh.
        if let Some(now) = times.mirror_at(clock.now()) {
            core.set_now(now);
            core.set_fresh_at(times.fresh_at);
        }
    }
    world
}

/// Begins to ask the authority for rates and budgets.
fn budgets(
    core: &Arc<Core>,
    route: &Route,
    run: EpochId,
    runs: Runs,
    (tasks, metrics): (&Tasks, &Metrics),
) -> (Arc<Permits>, Arc<Leases>) {
    let permits = PermitParts::new(core, Arc::clone(&route.bus), run);
    let permits = Permits::begin(permits, tasks, metrics);
    let leases = LeaseParts {
        core: Arc::clone(core),
        bus: Arc::clone(&route.bus),
        gateway: route.gateway,
        org: route.org,
        run,
        runs,
        permits: Arc::clone(&permits),
        metrics: LeaseMetrics::new(metrics),
    };
    let leases = Leases::begin(leases, tasks, metrics);
    (permits, leases)
}

/// Joins. A gateway that has a mirror on disk knows who it is, and does not need the control plane
/// to begin.
async fn join(
    upstairs: &dyn Upstairs,
    clock: &dyn Clock,
    probes: &Probes,
    loaded: Option<&Loaded>,
    stop: &CancellationToken,
) -> Result<Joined, StartError> {
    let mut failures = 0;
    let attempts = async {
        probes.set_ready(false, "waiting for the control plane to let it join");
        loop {
            match upstairs.join().await {
                Err(error @ (UpstairsError::Unreachable(_) | UpstairsError::Wrong(_))) => {
                    tracing::warn!(%error, "the gateway cannot join yet");
                }
                decided => {
                    probes.set_ready(false, "waiting for keys and for news of them");
                    return decided;
                }
            }
            clock.sleep(backoff_ms(failures)).await;
            failures += 1;
        }
    };
    let Some(loaded) = loaded else {
        let ended = || UpstairsError::Unreachable("it was asked to end before".to_owned());
        return Ok(stop.run_until_cancelled(attempts).await.ok_or_else(ended)??);
    };
    match deadline(clock, JOIN_MS, attempts).await {
        Some(decided) => Ok(decided?),
        None => Ok(loaded.joined.clone()),
    }
}
