//! What one core serves with.

use std::num::NonZeroUsize;
use std::rc::Rc;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::core::Core;
use crate::lane::Lane;
use crate::lease::Leases;
use crate::permit::Permits;
use crate::upstream::health::Healths;

/// The parts of one core, made on its own runtime.
pub struct CoreParts {
    /// What all cores share.
    pub core: Arc<Core>,
    /// The budgets that all cores reserve from.
    pub leases: Arc<Leases>,
    /// The rates that all cores take permits of.
    pub permits: Arc<Permits>,
    /// This core's way to the spool.
    pub lane: Rc<Lane>,
    /// This core's listener on the shared port.
    pub listener: TcpListener,
    /// How many cores share the port and every limit of the process.
    pub cores: NonZeroUsize,
    /// Which of them this is, from 0.
    pub number: usize,
    /// How providers fare.
    pub healths: Healths,
    /// Cancelled when no more requests are to be taken.
    pub stop: CancellationToken,
}
