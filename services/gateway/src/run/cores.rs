//! The cores of a gateway: each a thread with its lane, its outbox and its listener.

use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use turnpike_domain::id::EpochId;
use turnpike_runtime::serve::ListenError;
use turnpike_runtime::tasks::{self, Tasks};
use turnpike_runtime::{entropy, per_core, serve};

use super::{StartError, data};
use crate::board::Board;
use crate::core::Core;
use crate::lane::{Epoch, Lane, Room};
use crate::lease::Leases;
use crate::outbox::{Outbox, OutboxMetrics, Route, Teller};
use crate::parts::CoreParts;
use crate::permit::Permits;
use crate::server;
use crate::upstream::health::Healths;

/// How long the outbox may take to end; it bounds itself below this.
const OUTBOX_END_MS: u64 = 10_000;

/// What all cores are made of.
pub(super) struct CoresParts {
    pub(super) core: Arc<Core>,
    pub(super) leases: Arc<Leases>,
    pub(super) permits: Arc<Permits>,
    pub(super) cores: NonZeroUsize,
    pub(super) listen: SocketAddr,
    pub(super) spool: PathBuf,
    /// The first lane's epoch, which is the process's.
    pub(super) epoch: EpochId,
    /// What earlier runs have left, for the first lane.
    pub(super) older: Vec<Epoch>,
    pub(super) room: Room,
    pub(super) route: Route,
    pub(super) board: Board,
    pub(super) healths: Healths,
    pub(super) outbox_metrics: OutboxMetrics,
    pub(super) stop: CancellationToken,
}

/// Cores that run.
pub(super) struct Running {
    cores: per_core::Cores,
}

/// What the threads share.
struct Shared {
    parts: CoresParts,
    older: Mutex<Vec<Epoch>>,
    address: SocketAddr,
    begun: mpsc::Sender<Result<(), StartError>>,
}

/// Starts the cores; answers when each of them listens.
pub(super) async fn start(mut parts: CoresParts) -> Result<(SocketAddr, Running), StartError> {
    // The port is chosen once, and kept until every core has it.
    let first = serve::listen_shared(parts.listen).map_err(port(parts.listen))?;
    let address = first.local_addr().map_err(port(parts.listen))?;
    let cores = parts.cores;
    let older = Mutex::new(std::mem::take(&mut parts.older));
    let (begun, mut told) = mpsc::channel(cores.get());
    let shared = Arc::new(Shared { parts, older, address, begun });
    let running = per_core::start(cores, move |number| run(Arc::clone(&shared), number));
    let running = running.map_err(StartError::Threads)?;
    for _ in 0..cores.get() {
        let ended = || Err(StartError::Threads(io::Error::other("a core has ended")));
        told.recv().await.unwrap_or_else(ended)?;
    }
    drop(first);
    Ok((address, Running { cores: running }))
}

impl Running {
    /// Waits until every core has drained.
    pub(super) async fn join(self) {
        // A panic in a core is counted where it happened.
        let _ = tasks::blocking("join cores", || self.cores.join()).await;
    }
}

async fn run(shared: Arc<Shared>, number: usize) {
    let (core, stop) = (Arc::clone(&shared.parts.core), shared.parts.stop.clone());
    let begun = begin(&shared, number);
    let (parts, outbox) = match begun {
        Ok(begun) => begun,
        Err(error) => {
            // Only a start that was given up does not listen.
            let _ = shared.begun.send(Err(error)).await;
            return;
        }
    };
    let _ = shared.begun.send(Ok(())).await;
    let sending = Tasks::new("outbox");
    sending.spawn_local("outbox", outbox.run(sending.stopping()));
    if let Err(error) = server::serve_core(parts).await {
        tracing::error!(%error, core = number, "a core cannot serve");
        stop.cancel();
    }
    sending.drain(&**core.clock(), OUTBOX_END_MS).await;
}

fn begin(shared: &Shared, number: usize) -> Result<(CoreParts, Outbox), StartError> {
    let parts = &shared.parts;
    let clock = Arc::clone(parts.core.clock());
    let listener = serve::listen_shared(shared.address).map_err(port(shared.address))?;
    let epoch = if number == 0 { parts.epoch } else { EpochId(entropy::id(clock.now())) };
    let lane = Lane::create(Arc::clone(&clock), &parts.spool, epoch, parts.room.clone());
    let lane = Rc::new(lane.map_err(data(&parts.spool, "the spool"))?);
    let (route, metrics) = (parts.route.clone(), parts.outbox_metrics.clone());
    let (core, board, room) = (Arc::clone(&parts.core), parts.board.clone(), parts.room.clone());
    let teller = Teller { board, core, lane: number };
    let mut outbox = Outbox::new(Rc::clone(&lane), room, route, clock, metrics, teller);
    if number == 0 {
        let mut older = shared.older.lock().unwrap_or_else(PoisonError::into_inner);
        outbox = outbox.with_older(std::mem::take(&mut *older));
    }
    let parts = CoreParts {
        core: Arc::clone(&parts.core),
        leases: Arc::clone(&parts.leases),
        permits: Arc::clone(&parts.permits),
        lane,
        listener,
        cores: parts.cores,
        number,
        healths: parts.healths.clone(),
        stop: parts.stop.clone(),
    };
    Ok((parts, outbox))
}

fn port(address: SocketAddr) -> impl Fn(io::Error) -> StartError {
    move |source| StartError::Listen(ListenError { address, option: "serve.listen", source })
}
