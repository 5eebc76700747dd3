//! A gateway without ports, with one lane on the caller's thread: for a house that is simulated.

use std::rc::Rc;
use std::sync::Arc;

use turnpike_domain::id::GatewayId;
use turnpike_runtime::clock::deadline;
use turnpike_runtime::metrics::Metrics;
use turnpike_runtime::probes::Probes;
use turnpike_runtime::tasks::Tasks;
use turnpike_wire::snapshot::State;

use super::folder::Folder;
use super::standing::Standing;
use super::{END_MS, Parts, StartError, data};
use crate::config::Config;
use crate::core::Core;
use crate::lane::Lane;
use crate::lease::Leases;
use crate::mirror::load;
use crate::outbox::{Outbox, OutboxMetrics, Teller};
use crate::permit::Permits;
use crate::upstairs::{Joined, Upstairs};

/// How long the outbox may take to end; it bounds itself below this.
const OUTBOX_END_MS: u64 = 10_000;

/// A gateway at work; its caller is the network.
pub struct Embedded {
    /// What requests read.
    pub core: Arc<Core>,
    /// The budgets that requests reserve from.
    pub leases: Arc<Leases>,
    /// The rates that requests take permits of.
    pub permits: Arc<Permits>,
    /// The way to the spool.
    pub lane: Rc<Lane>,
    /// Who it is.
    pub id: GatewayId,
    joined: Joined,
    upstairs: Arc<dyn Upstairs>,
    tasks: Tasks,
    sending: Tasks,
    _folder: Folder,
}

/// Starts a gateway on the current `LocalSet`, with the caller's own way to the control plane.
///
/// # Errors
/// [`StartError`].
pub async fn embed(parts: Parts, upstairs: Arc<dyn Upstairs>) -> Result<Embedded, StartError> {
    let folder = Folder::open(&parts.config.data);
    let folder = folder.map_err(data(&parts.config.data, "the lock"))?;
    let loaded = load(&parts.config.data, &parts.config.control.join_token);
    let (metrics, tasks) = (Metrics::new(), Tasks::new("gateway"));
    let probes = Probes::new(metrics.clone());
    let watched = (&probes, &metrics);
    let standing = Standing::begin(parts, folder, loaded, upstairs, watched, tasks).await?;
    let Standing { core, leases, joined, epoch, older, room, spool, board, .. } = standing;
    let Standing { permits, route, tasks, upstairs, folder, .. } = standing;
    let clock = Arc::clone(core.clock());
    let lane = Lane::create(Arc::clone(&clock), &spool, epoch, room.clone());
    let lane = Rc::new(lane.map_err(data(&spool, "the spool"))?);
    let teller = Teller { board, core: Arc::clone(&core), lane: 0 };
    let counted = OutboxMetrics::new(&metrics);
    let outbox = Outbox::new(Rc::clone(&lane), room, route, clock, counted, teller);
    let sending = Tasks::new("outbox");
    sending.spawn_local("outbox", outbox.with_older(older).run(sending.stopping()));
    let id = joined.gateway;
    Ok(Embedded {
        core,
        leases,
        permits,
        lane,
        id,
        joined,
        upstairs,
        tasks,
        sending,
        _folder: folder,
    })
}

impl Embedded {
    /// Ends in order: records, mirror, good-bye. No request may be open.
    pub async fn end(self) {
        let clock = Arc::clone(self.core.clock());
        self.sending.drain(&*clock, OUTBOX_END_MS).await;
        self.tasks.drain(&*clock, END_MS).await;
        // The control plane also learns from silence that it is gone.
        let _ = deadline(&*clock, END_MS, self.upstairs.leave(&self.joined)).await;
    }

    /// Drops everything at once, as a crash does.
    pub fn abort(self) {
        self.sending.abort();
        self.tasks.abort();
    }
}

/// The streams that a gateway has saved on its disk; none if there is nothing to be believed.
#[must_use]
pub fn saved_mirror(config: &Config) -> Vec<State> {
    let loaded = load(&config.data, &config.control.join_token);
    let streams = loaded.map(|loaded| loaded.streams).unwrap_or_default();
    streams.into_iter().map(|snapshot| snapshot.state).collect()
}
