//! Connections to providers: a pool of its own for each core, so that a request takes no lock.

mod answer;
mod broken;
mod connection;
mod framing;
mod head;
mod origin;
#[cfg(test)]
mod tests;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::rc::Rc;

use bytes::Bytes;
use http::{Request, Response};
use turnpike_domain::id::ProviderId;
use turnpike_domain::state::ProviderSpec;
use turnpike_runtime::clock::{SharedClock, deadline};
use turnpike_runtime::connector::{ConnectError, Connector, Transport};
use turnpike_runtime::tasks::Tasks;

use crate::phase::admit::Admitted;

pub use answer::AnswerBody;
pub use broken::Broken;
use connection::{Connection, Failed, Patience};
use head::AnswerHead;
pub use origin::{NotAnOrigin, Origin};

/// Idle connections are closed after this time, in milliseconds: below the 60 s after which common
/// providers and load balancers close theirs, so that a request seldom meets a closing one.
const IDLE_TIMEOUT_MS: u64 = 50_000;
/// How often idle connections are looked through, in milliseconds.
const SWEEP_MS: u64 = 5_000;
/// Idle connections that one core keeps for one provider; a burst above it is not kept.
const MAX_IDLE: usize = 512;

/// Why a provider gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// As many requests as the provider's setting allows are running.
    #[error("the provider has as many requests as its setting allows")]
    Busy,
    /// No connection; nothing was sent.
    #[error("the provider could not be reached")]
    Connect(#[from] ConnectError),
    /// No connection in time; nothing was sent.
    #[error("the provider could not be reached in time")]
    ConnectTimeout,
    /// The connection failed before it was used; nothing was sent.
    #[error("the connection to the provider could not be used")]
    Unused(#[source] Broken),
    /// The connection failed before the head of an answer; the provider may have worked.
    #[error("the provider closed the connection without an answer")]
    Lost(#[source] Broken),
    /// No head of an answer in time; the provider may have worked.
    #[error("the provider did not answer in time")]
    AnswerTimeout,
}

impl Failure {
    /// Whether the provider may have got the request.
    #[must_use]
    pub const fn sent(&self) -> bool {
        match self {
            Self::Lost(_) | Self::AnswerTimeout => true,
            Self::Busy | Self::Connect(_) | Self::ConnectTimeout | Self::Unused(_) => false,
        }
    }

    /// Whether time ran out.
    #[must_use]
    pub const fn is_timeout(&self) -> bool {
        match self {
            Self::ConnectTimeout | Self::AnswerTimeout => true,
            Self::Busy | Self::Connect(_) | Self::Unused(_) | Self::Lost(_) => false,
        }
    }
}

/// The connections of one core.
pub struct Pool {
    remotes: RefCell<HashMap<ProviderId, Rc<Remote>>>,
    shared: Rc<Shared>,
}

/// What every remote of a pool uses.
struct Shared {
    connector: Connector,
    clock: SharedClock,
    tasks: Tasks,
    /// How many cores share a provider's limits.
    cores: u32,
}

/// One provider, as one core sees it.
pub struct Remote {
    base_url: Box<str>,
    origin: Origin,
    /// Latest last: the warmest connection is used again, the others may grow old.
    idle: RefCell<Vec<Idle>>,
    running: Cell<u32>,
    shared: Rc<Shared>,
}

struct Idle {
    connection: Connection,
    since_ms: u64,
}

/// How long to wait, and how many may run; from the provider's settings.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// For a connection, in milliseconds.
    pub connect_timeout_ms: u64,
    /// For the head of the answer, in milliseconds.
    pub answer_timeout_ms: u64,
    /// Requests at a time from one gateway; 0: no limit.
    pub max_concurrency: u32,
}

impl From<&ProviderSpec> for Bounds {
    fn from(spec: &ProviderSpec) -> Self {
        Self {
            connect_timeout_ms: spec.connect_timeout_ms,
            answer_timeout_ms: spec.answer_timeout_ms,
            max_concurrency: spec.max_concurrency,
        }
    }
}

impl Pool {
    /// An empty pool for one of `cores` cores, whose idle connections are closed in time. Must be
    /// called on the core's own runtime.
    #[must_use]
    pub fn new(
        connector: Connector,
        clock: SharedClock,
        tasks: Tasks,
        cores: NonZeroUsize,
    ) -> Rc<Self> {
        let cores = u32::try_from(cores.get()).unwrap_or(u32::MAX);
        let shared = Rc::new(Shared { connector, clock, tasks, cores });
        let pool = Rc::new(Self { remotes: RefCell::default(), shared });
        let swept = Rc::downgrade(&pool);
        let (clock, stopping) = (pool.shared.clock.clone(), pool.shared.tasks.stopping());
        pool.shared.tasks.spawn_local("sweep", async move {
            while stopping.run_until_cancelled(clock.sleep(SWEEP_MS)).await.is_some() {
                let Some(pool) = swept.upgrade() else { return };
                pool.sweep(clock.boot_ms());
            }
        });
        pool
    }

    /// The provider at `base_url`; one whose URL has changed starts with no connections.
    ///
    /// # Errors
    /// [`NotAnOrigin`] if the URL cannot be called.
    pub fn remote(&self, id: ProviderId, base_url: &str) -> Result<Rc<Remote>, NotAnOrigin> {
        let mut remotes = self.remotes.borrow_mut();
        if let Some(remote) = remotes.get(&id).filter(|remote| *remote.base_url == *base_url) {
            return Ok(Rc::clone(remote));
        }
        let remote = Rc::new(Remote {
            base_url: base_url.into(),
            origin: base_url.parse()?,
            idle: RefCell::default(),
            running: Cell::new(0),
            shared: Rc::clone(&self.shared),
        });
        remotes.insert(id, Rc::clone(&remote));
        Ok(remote)
    }

    fn sweep(&self, now_ms: u64) {
        let mut remotes = self.remotes.borrow_mut();
        remotes.retain(|_, remote| {
            let mut idle = remote.idle.borrow_mut();
            idle.retain_mut(|idle| {
                now_ms.saturating_sub(idle.since_ms) < IDLE_TIMEOUT_MS && idle.connection.is_quiet()
            });
            // A provider that is gone leaves nothing behind.
            !idle.is_empty() || remote.running.get() > 0
        });
    }
}

/// One of the requests that may run at a time.
struct Slot(Rc<Remote>);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.running.set(self.0.running.get().saturating_sub(1));
    }
}

impl Remote {
    /// Sends a request to `path` and waits for the head of the answer. What was admitted is told
    /// before the first byte can leave.
    ///
    /// A request is sent again, on a fresh connection, only if the kept connection had closed
    /// before any of it was written: a provider never works twice for one request.
    ///
    /// # Errors
    /// [`Failure`], which knows whether the provider may have got the request.
    pub async fn send(
        self: &Rc<Self>,
        admitted: &Admitted,
        path: &str,
        request: Request<Bytes>,
        bounds: Bounds,
    ) -> Result<Response<AnswerBody>, Failure> {
        let slot = self.slot(bounds.max_concurrency).ok_or(Failure::Busy)?;
        let mut kept = self.take_idle();
        loop {
            let fresh = kept.is_none();
            let connection = match kept.take() {
                Some(connection) => connection,
                // Apart, because it needs much room, and few requests need it.
                None => Box::pin(self.connect(bounds.connect_timeout_ms)).await?,
            };
            admitted.sent();
            match self.exchange(connection, path, &request, bounds).await {
                Err(Refused::Unsent(_)) if !fresh => {}
                exchanged => return Ok(exchanged?.into_answer(slot)),
            }
        }
    }

    fn slot(self: &Rc<Self>, max_concurrency: u32) -> Option<Slot> {
        let most = max_concurrency.div_ceil(self.shared.cores);
        let running = self.running.get();
        if max_concurrency > 0 && running >= most {
            return None;
        }
        self.running.set(running.saturating_add(1));
        Some(Slot(Rc::clone(self)))
    }

    /// The latest idle connection that is still open.
    fn take_idle(&self) -> Option<Connection> {
        let mut idle = self.idle.borrow_mut();
        while let Some(Idle { mut connection, since_ms }) = idle.pop() {
            let age_ms = self.shared.clock.boot_ms().saturating_sub(since_ms);
            if age_ms < IDLE_TIMEOUT_MS && connection.is_quiet() {
                return Some(connection);
            }
        }
        None
    }

    async fn connect(&self, timeout_ms: u64) -> Result<Connection, Failure> {
        let Shared { connector, clock, .. } = &*self.shared;
        let (host, port) = self.origin.address();
        let transport = if self.origin.is_secure() { Transport::Tls } else { Transport::Plain };
        let opening = connector.connect(host, port, transport);
        let opened = deadline(&**clock, timeout_ms, opening).await;
        Ok(Connection::new(opened.ok_or(Failure::ConnectTimeout)??))
    }

    async fn exchange(
        &self,
        mut connection: Connection,
        path: &str,
        request: &Request<Bytes>,
        bounds: Bounds,
    ) -> Result<Exchanged, Refused> {
        let (headers, body) = (request.headers(), request.body());
        head::write(&mut connection.head, &self.origin, path, headers, body.len());
        let patience = Patience { clock: &*self.shared.clock, limit_ms: bounds.answer_timeout_ms };
        match connection.exchange(body, patience).await {
            Ok(head) => Ok(Exchanged { connection, head }),
            Err(Failed { written: false, why }) => Err(Refused::Unsent(why)),
            Err(Failed { why: Broken::Silent, .. }) => Err(Refused::Failed(Failure::AnswerTimeout)),
            Err(Failed { why, .. }) => Err(Refused::Failed(Failure::Lost(why))),
        }
    }

    /// Takes a connection back whose answer has been read to its end.
    fn keep(&self, connection: Connection) {
        let mut idle = self.idle.borrow_mut();
        if connection.read.is_empty() && idle.len() < MAX_IDLE {
            idle.push(Idle { connection, since_ms: self.shared.clock.boot_ms() });
        }
    }
}

/// A connection that has the head of an answer.
struct Exchanged {
    connection: Connection,
    head: AnswerHead,
}

impl Exchanged {
    fn into_answer(self, slot: Slot) -> Response<AnswerBody> {
        let Self { connection, head: AnswerHead { answer, framing, keeps, .. } } = self;
        answer.map(|()| AnswerBody::new(connection, slot, framing, keeps))
    }
}

/// How an exchange went wrong.
enum Refused {
    /// Nothing of the request was written.
    Unsent(Broken),
    /// For good.
    Failed(Failure),
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Unsent(why) => Self::Unused(why),
            Refused::Failed(failure) => failure,
        }
    }
}
