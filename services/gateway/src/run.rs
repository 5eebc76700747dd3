//! Builds a gateway, runs it, and takes it down in order.

mod cores;
mod folder;
#[cfg(test)]
mod tests;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use turnpike_bus::seam::Bus;
use turnpike_domain::id::{EpochId, GatewayId};
use turnpike_runtime::clock::{Clock, SharedClock, deadline};
use turnpike_runtime::connector::{Connector, ConnectorOptions};
use turnpike_runtime::metrics::Metrics;
use turnpike_runtime::probes::Probes;
use turnpike_runtime::tasks::Tasks;
use turnpike_runtime::{entropy, serve};

use crate::audit::Audit;
use crate::config::Config;
use crate::core::Core;
use crate::lane::{Room, take_over_all};
use crate::mirror::world::World;
use crate::mirror::{Disk, Loaded, Mirror, MirrorMetrics, MirrorParts, backoff_ms, load};
use crate::outbox::{OutboxMetrics, Route};
use crate::receipts::Receipts;
use crate::upstairs::{HttpUpstairs, Joined, Upstairs, UpstairsError};
use cores::CoresParts;
use folder::Folder;

/// With a mirror on disk a gateway waits no longer than this for the control plane to let it join.
const JOIN_MS: u64 = 3_000;
/// How long the mirror, the admin port and the good-bye may take at the end.
const END_MS: u64 = 5_000;

/// What `main` or `turnpike dev` passes in.
pub struct Parts {
    /// Carries messages.
    pub bus: Arc<dyn Bus>,
    /// The time.
    pub clock: SharedClock,
    /// The options in effect.
    pub config: Config,
    /// Cancelled when the gateway is to end.
    pub stop: CancellationToken,
}

/// Why a gateway did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A file or a port.
    #[error("{what}: {source}")]
    Machine {
        /// What could not be done.
        what: &'static str,
        /// The operating system's reason.
        source: io::Error,
    },
    /// Peppers or sealing keys cannot be used.
    #[error("the option {0}")]
    Keys(String),
    /// The HTTP client could not be made.
    #[error("the HTTP client could not be made: {0}")]
    Client(String),
    /// The control plane does not take the join token, or it was asked to end before it could join.
    #[error(transparent)]
    Join(#[from] UpstairsError),
}

/// A gateway that runs.
pub struct Running {
    /// Where callers connect.
    pub gateway_addr: SocketAddr,
    /// Where health and metrics are asked for.
    pub admin_addr: SocketAddr,
    /// Who it is.
    pub id: GatewayId,
    /// What its probes answer.
    pub probes: Probes,
    /// What requests read: for a house that lives in one process.
    pub core: Arc<Core>,
    clock: SharedClock,
    stop: CancellationToken,
    tasks: Tasks,
    cores: cores::Running,
    upstairs: Arc<dyn Upstairs>,
    joined: Joined,
    _folder: Folder,
}

/// Starts a gateway whose control plane is found over HTTP.
///
/// # Errors
/// [`StartError`].
pub async fn run(parts: Parts) -> Result<Running, StartError> {
    let folder = Folder::open(&parts.config.data).map_err(machine("the data folder"))?;
    let token = parts.config.control.join_token.clone();
    let loaded = load(&parts.config.data, &token);
    // The operator names the control plane: it may stand inside the walls.
    let options = ConnectorOptions { allow_private: true, ..ConnectorOptions::default() };
    let connector = Connector::new(&options, Arc::clone(&parts.clock));
    let connector = connector.map_err(|error| StartError::Client(error.to_string()))?;
    let client = connector.client().map_err(|error| StartError::Client(error.to_string()))?;
    let known_as = loaded.as_ref().map(|loaded| loaded.joined.gateway);
    let (url, name) = (&parts.config.control.url, &parts.config.name);
    let upstairs = Arc::new(HttpUpstairs::new(client, url, token, name, known_as));
    start(parts, folder, loaded, upstairs).await
}

async fn start(
    parts: Parts,
    folder: Folder,
    loaded: Option<Loaded>,
    upstairs: Arc<dyn Upstairs>,
) -> Result<Running, StartError> {
    let Parts { bus, clock, config, stop } = parts;
    let keys = &config.keys;
    let keys = keys.peppers().and_then(|peppers| Ok((peppers, keys.provider_sealing()?)));
    let (peppers, sealing) = keys.map_err(StartError::Keys)?;
    let (metrics, tasks) = (Metrics::new(), Tasks::new("gateway"));
    let probes = Probes::new(metrics.clone());
    let admin_addr = admin(&probes, &tasks, config.admin)?;
    let joined = join(&*upstairs, &*clock, loaded.as_ref(), &stop).await?;
    let serve = config.serve.clone();
    let core = Arc::new(Core::new(Arc::clone(&clock), serve, peppers, joined.gateway));
    core.watch(&metrics);

    let disk = Disk::open(&config.data, &config.control.join_token, joined);
    let disk = disk.map_err(machine("the mirror's folder"))?;
    // Before the first request: the spool belongs to whom the control plane knows by this id.
    let fresh_at = loaded.as_ref().map(|loaded| loaded.fresh_at).unwrap_or_default();
    disk.remember(fresh_at).map_err(machine("the mirror's folder"))?;
    let mut world = World::new(Arc::clone(&core), sealing);
    if let Some(Loaded { streams, fresh_at, .. }) = loaded {
        world.start_again(streams);
        core.set_fresh_at(fresh_at);
        // A clock that was set back must not make what is old fresh again.
        core.set_now(clock.now().max(fresh_at));
    }
    let epoch = EpochId(entropy::id(clock.now()));
    let receipts = Receipts::default();
    let sending = receipts.clone();
    let (sender, stopping) = ((joined.gateway, epoch), tasks.stopping());
    tasks.spawn("receipts", sending.run(Arc::clone(&bus), Arc::clone(&clock), sender, stopping));
    let mirror = Mirror::new(MirrorParts {
        core: Arc::clone(&core),
        world,
        upstairs: Arc::clone(&upstairs),
        joined,
        bus: Arc::clone(&bus),
        clock: Arc::clone(&clock),
        disk,
        audit: Audit::open(&config.data).map_err(machine("the audit log"))?,
        receipts,
        probes: probes.clone(),
        metrics: MirrorMetrics::new(&metrics),
    });
    tasks.spawn("mirror", mirror.run(tasks.stopping()));

    let lanes = u64::try_from(config.cores().get()).unwrap_or(u64::MAX);
    let room = Room::new(config.spool.max_bytes, lanes);
    let spool = folder.spool(joined.gateway).map_err(machine("the spool"))?;
    let older = take_over_all(&spool, room.lane_bytes()).map_err(machine("the spool"))?;
    let cores = cores::start(CoresParts {
        core: Arc::clone(&core),
        cores: config.cores(),
        listen: config.serve.listen,
        spool,
        epoch,
        older,
        room,
        route: Route { bus, gateway: joined.gateway, org: joined.org },
        outbox_metrics: OutboxMetrics::new(&metrics),
        stop: stop.clone(),
    });
    let (gateway_addr, cores) = cores.await.map_err(machine("the gateway's port"))?;
    let (id, _folder) = (joined.gateway, folder);
    Ok(Running {
        gateway_addr,
        admin_addr,
        id,
        probes,
        core,
        clock,
        stop,
        tasks,
        cores,
        upstairs,
        joined,
        _folder,
    })
}

impl Running {
    /// Waits until the gateway was told to end and has ended: first the requests, then their
    /// records, then everything else.
    pub async fn join(self) {
        self.stop.cancelled().await;
        self.probes.set_ready(false, "draining");
        self.cores.join().await;
        self.tasks.drain(&*self.clock, END_MS).await;
        match deadline(&*self.clock, END_MS, self.upstairs.leave(&self.joined)).await {
            Some(Ok(())) => tracing::info!("the gateway has left"),
            Some(Err(error)) => tracing::warn!(%error, "the control plane took no good-bye"),
            None => tracing::warn!("the control plane took no good-bye in time"),
        }
    }
}

fn admin(probes: &Probes, tasks: &Tasks, at: SocketAddr) -> Result<SocketAddr, StartError> {
    let listener = serve::listen(at).map_err(machine("the admin port"))?;
    let address = listener.local_addr().map_err(machine("the admin port"))?;
    let (probes, stopping) = (probes.clone(), tasks.stopping());
    tasks.spawn("admin", async move {
        if let Err(error) = probes.serve(listener, stopping).await {
            tracing::error!(%error, "the admin port has failed");
        }
    });
    Ok(address)
}

/// Joins. A gateway that has a mirror on disk knows who it is, and does not need the control plane
/// to begin.
async fn join(
    upstairs: &dyn Upstairs,
    clock: &dyn Clock,
    loaded: Option<&Loaded>,
    stop: &CancellationToken,
) -> Result<Joined, StartError> {
    let mut failures = 0;
    let attempts = async {
        loop {
            match upstairs.join().await {
                Err(error @ (UpstairsError::Unreachable(_) | UpstairsError::Wrong(_))) => {
                    tracing::warn!(%error, "the gateway cannot join yet");
                }
                decided => return decided,
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
        None => Ok(loaded.joined),
    }
}

fn machine(what: &'static str) -> impl Fn(io::Error) -> StartError {
    move |source| StartError::Machine { what, source }
}
