//! Builds a gateway, runs it, and takes it down in order.

mod cores;
mod embedded;
mod folder;
mod known;
mod standing;
#[cfg(test)]
mod tests;

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use turnpike_bus::seam::Bus;
use turnpike_domain::id::GatewayId;
use turnpike_runtime::clock::{SharedClock, deadline};
use turnpike_runtime::connector::{Connector, ConnectorOptions};
use turnpike_runtime::entropy;
use turnpike_runtime::metrics::Metrics;
use turnpike_runtime::probes::Probes;
use turnpike_runtime::serve::{ListenError, listen_as_told};
use turnpike_runtime::tasks::Tasks;

use crate::config::Config;
use crate::core::Core;
use crate::mirror::{Loaded, load};
use crate::outbox::OutboxMetrics;
use crate::upstairs::{HttpUpstairs, Joined, Upstairs, UpstairsError};
use cores::CoresParts;
use folder::Folder;
use standing::Standing;

pub use embedded::{Embedded, embed, saved_mirror};
pub use known::known_as;

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
    /// A file of the data folder.
    #[error("{what} in {} cannot be used (option data)", folder.display())]
    Data {
        /// What could not be used.
        what: &'static str,
        /// The folder.
        folder: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// An address cannot be listened on.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The machine gives no more threads.
    #[error("no threads could be started")]
    Threads(#[source] io::Error),
    /// Peppers or sealing keys cannot be used.
    #[error("the option {0}")]
    Keys(String),
    /// The data folder is another gateway's.
    #[error("the option id is {chosen}, but the data folder belongs to {remembered}")]
    OtherId {
        /// What the operator chose.
        chosen: GatewayId,
        /// Who the last run was.
        remembered: GatewayId,
    },
    /// The HTTP client could not be made.
    #[error("the HTTP client could not be made: {0}")]
    Client(String),
    /// The control plane does not take the join token, or it was asked to end before it could join.
    #[error(transparent)]
    Join(#[from] UpstairsError),
}

/// With a mirror on disk a gateway waits no longer than this until it is known to be complete.
const FRESH_MS: u64 = 3_000;

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
    let folder = Folder::open(&parts.config.data);
    let folder = folder.map_err(data(&parts.config.data, "the lock"))?;
    let token = parts.config.control.join_token.clone();
    let loaded = load(&parts.config.data, &token);
    // The operator names the control plane: it may stand inside the walls.
    let options = ConnectorOptions { allow_private: true, ..ConnectorOptions::default() };
    let connector = Connector::new(&options, Arc::clone(&parts.clock));
    let connector = connector.map_err(|error| StartError::Client(error.to_string()))?;
    let client = connector.client().map_err(|error| StartError::Client(error.to_string()))?;
    // A new one proposes its id: a first join whose answer was lost is then found to be its own.
    let new = || GatewayId(entropy::id(parts.clock.now()));
    let known_as = known_as(&parts.config)?.unwrap_or_else(new);
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
    let (metrics, tasks) = (Metrics::new(), Tasks::new("gateway"));
    let probes = Probes::new(metrics.clone());
    probes.set_open(false);
    let admin_addr = admin(&probes, &tasks, parts.config.admin)?;
    let (config, stop) = (parts.config.clone(), parts.stop.clone());
    let watched = (&probes, &metrics);
    let knows_keys = loaded.is_some();
    let standing = Standing::begin(parts, folder, loaded, upstairs, watched, tasks).await?;
    let caught_up = async {
        probes.ready().await;
        standing.core.in_step().await;
    };
    let caught_up = stop.run_until_cancelled(caught_up);
    if knows_keys {
        // What came from the disk may hold secrets that were stopped since. Where the control plane
        // answers, that is found out before anybody is served.
        deadline(&*Arc::clone(standing.core.clock()), FRESH_MS, caught_up).await;
    } else {
        // Without a single key every answer would be a refusal: callers are better off elsewhere.
        caught_up.await;
    }
    let Standing { core, leases, joined, epoch, older, room, spool, board, .. } = standing;
    let Standing { permits, route, tasks, upstairs, folder, healths, .. } = standing;
    let cores = cores::start(CoresParts {
        core: Arc::clone(&core),
        leases,
        permits,
        cores: config.cores(),
        listen: config.serve.listen,
        spool,
        epoch,
        older,
        room,
        route,
        board,
        healths,
        outbox_metrics: OutboxMetrics::new(&metrics),
        stop: stop.clone(),
    });
    let (gateway_addr, cores) = cores.await?;
    probes.set_open(true);
    let (id, clock) = (joined.gateway, Arc::clone(core.clock()));
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
        _folder: folder,
    })
}

impl Running {
    /// Waits until the gateway was told to end and has ended: first the requests, then their
    /// records, then everything else.
    pub async fn join(self) {
        self.stop.cancelled().await;
        self.probes.leave("draining");
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
    let (listener, address) = listen_as_told("admin", at)?;
    probes.serve(listener, tasks);
    Ok(address)
}

fn data(folder: &Path, what: &'static str) -> impl Fn(io::Error) -> StartError {
    move |source| StartError::Data { what, folder: folder.to_owned(), source }
}
