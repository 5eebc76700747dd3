//! Connections to providers: a pool of its own for each core, so that a request takes no lock.

mod answer;
mod broken;
pub mod circuit;
mod connection;
mod framing;
mod head;
pub mod health;
mod origin;
mod pass;
#[cfg(test)]
mod tests;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Response};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use turnpike_domain::id::{OrgId, ProviderId};
use turnpike_domain::state::ProviderSpec;
use turnpike_runtime::clock::{SharedClock, deadline};
use turnpike_runtime::connector::{ConnectError, Connector, TlsError, Transport};
use turnpike_runtime::tasks::Tasks;

pub use answer::AnswerBody;
pub use broken::Broken;
use circuit::Window;
use connection::{Connection, Failed, Patience};
use head::AnswerHead;
pub use head::{Lines, Outbound};
use health::{Health, Healths, Shares};
pub use origin::{NotAnOrigin, Origin};
pub use pass::Pass;

/// Idle connections are closed after this time, in milliseconds: below the 60 s after which common
/// providers and load balancers close theirs, so that a request seldom meets a closing one.
const IDLE_TIMEOUT_MS: u64 = 50_000;
/// How often idle connections are looked through, in milliseconds.
const SWEEP_MS: u64 = 5_000;
/// Idle connections that one core keeps for one provider; a burst above it is not kept.
const MAX_IDLE: usize = 512;

/// How long a request waits for one of the requests that a provider's setting allows to end, in
/// milliseconds: a burst passes, and another way is not kept waiting.
const PLACE_MS: u64 = 500;

/// Why a provider gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// As many requests as the provider's setting allows are running.
    #[error("the provider has as many requests as its setting allows")]
    Busy,
    /// Before there was a connection the right to the call had ended; nothing was sent.
    #[error("the request waited too long for the provider")]
    Withdrawn,
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
            Self::Busy
            | Self::Withdrawn
            | Self::Connect(_)
            | Self::ConnectTimeout
            | Self::Unused(_) => false,
        }
    }

    /// Whether time ran out.
    #[must_use]
    pub const fn is_timeout(&self) -> bool {
        match self {
            Self::ConnectTimeout | Self::AnswerTimeout => true,
            Self::Busy | Self::Withdrawn | Self::Connect(_) | Self::Unused(_) | Self::Lost(_) => {
                false
            }
        }
    }
}

/// Why a provider cannot be called at all.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// Its base URL is none.
    #[error(transparent)]
    Origin(#[from] NotAnOrigin),
    /// Its own roots cannot be used.
    #[error(transparent)]
    Roots(#[from] TlsError),
    /// One of its own headers is none.
    #[error("a header cannot be sent: {0}")]
    Header(#[from] http::Error),
}

/// A provider as its owner has described it.
#[derive(Clone, Copy, Debug)]
pub struct Described<'a> {
    /// Its id.
    pub id: ProviderId,
    /// Whose it is; `None`: the platform's.
    pub owner: Option<OrgId>,
    /// How it is called.
    pub spec: &'a ProviderSpec,
}

/// The right to one call. Only the rules give it, and it is told when the first byte may leave.
pub trait Right {
    /// The other side may get the request from now on, steady time `now_ms`. False: the right has
    /// ended while the request waited, and nothing is sent.
    #[must_use]
    fn sent(&self, now_ms: u64) -> bool;
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
    healths: Healths,
    /// The number of this core.
    core: usize,
}

/// One provider, as one core sees it.
pub struct Remote {
    origin: Origin,
    /// Trusts what the provider's owner trusts.
    connector: Connector,
    /// What this is made of: another description makes another.
    spec: ProviderSpec,
    headers: HeaderMap,
    health: Arc<Health>,
    /// The core whose counts these are.
    counts_on: usize,
    /// The latest calls of this core.
    window: Cell<Window>,
    /// The requests that may run at a time, over all cores; `None`: no limit.
    places: Option<Arc<Semaphore>>,
    /// Latest last: the warmest connection is used again, the others may grow old.
    idle: RefCell<Vec<Idle>>,
    running: Cell<u32>,
    shared: Rc<Shared>,
}

struct Idle {
    connection: Box<Connection>,
    since_ms: u64,
}

/// How long to wait; from the provider's settings.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// For a connection, in milliseconds.
    pub connect_timeout_ms: u64,
    /// For the head of the answer, in milliseconds.
    pub answer_timeout_ms: u64,
}

impl From<&ProviderSpec> for Bounds {
    fn from(spec: &ProviderSpec) -> Self {
        Self {
            connect_timeout_ms: spec.connect_timeout_ms,
            answer_timeout_ms: match spec.total_timeout_ms {
                0 => spec.answer_timeout_ms,
                total_ms => spec.answer_timeout_ms.min(total_ms),
            },
        }
    }
}

impl Pool {
    /// An empty pool for core number `core`, whose idle connections are closed in time. Must be
    /// called on the core's own runtime.
    #[must_use]
    pub fn new(
        connector: Connector,
        clock: SharedClock,
        tasks: Tasks,
        (healths, core): (Healths, usize),
    ) -> Rc<Self> {
        let shared = Rc::new(Shared { connector, clock, tasks, healths, core });
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

    /// A provider; one whose place, roots, headers or limits have changed starts with no
    /// connections.
    ///
    /// # Errors
    /// [`Unusable`].
    pub fn remote(&self, described: Described<'_>) -> Result<Rc<Remote>, Unusable> {
        let Described { id, owner, spec } = described;
        let mut remotes = self.remotes.borrow_mut();
        if let Some(remote) = remotes.get(&id).filter(|remote| stands(&remote.spec, spec)) {
            return Ok(Rc::clone(remote));
        }
        let Shared { connector, healths, core, .. } = &*self.shared;
        let roots = spec.tls_roots.as_deref();
        let connector = roots.map_or_else(|| Ok(connector.clone()), |it| connector.trusting(it))?;
        let (origin, headers) = (spec.base_url.parse()?, headers(spec)?);
        let Shares { health, places } = healths.of(id, owner, spec);
        let remote = Rc::new(Remote {
            origin,
            connector,
            spec: spec.clone(),
            headers,
            health,
            counts_on: *core,
            window: Cell::default(),
            places,
            idle: RefCell::default(),
            running: Cell::new(0),
            shared: Rc::clone(&self.shared),
        });
        remotes.insert(id, Rc::clone(&remote));
        Ok(remote)
    }

    /// Where the circuit of a provider stands.
    #[cfg(test)]
    pub(crate) fn circuit(&self, id: ProviderId) -> Option<circuit::State> {
        Some(self.remotes.borrow().get(&id)?.health.circuit.state())
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

/// Whether what is known of a provider, and the connections to it, are good for `new` as well.
fn stands(old: &ProviderSpec, new: &ProviderSpec) -> bool {
    *old.base_url == *new.base_url
        && old.max_concurrency == new.max_concurrency
        && old.max_failures == new.max_failures
        && old.tls_roots == new.tls_roots
        && old.headers == new.headers
}

/// A provider's own headers, as they are sent; most have none.
fn headers(spec: &ProviderSpec) -> Result<HeaderMap, http::Error> {
    let mut headers = HeaderMap::new();
    for (name, value) in &spec.headers {
        headers.insert(HeaderName::from_bytes(name.as_bytes())?, HeaderValue::from_str(value)?);
    }
    Ok(headers)
}

/// One of the requests that may run at a time.
struct Slot {
    remote: Rc<Remote>,
    _place: Option<OwnedSemaphorePermit>,
}

impl Slot {
    fn new(remote: &Rc<Remote>, place: Option<OwnedSemaphorePermit>) -> Self {
        remote.running.set(remote.running.get().saturating_add(1));
        if let Some(counts) = remote.health.counts(remote.counts_on) {
            counts.begin();
        }
        Self { remote: Rc::clone(remote), _place: place }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let Remote { running, health, counts_on, .. } = &*self.remote;
        running.set(running.get().saturating_sub(1));
        if let Some(counts) = health.counts(*counts_on) {
            counts.end();
        }
    }
}

impl Remote {
    /// The provider's own headers, as they are sent.
    pub(crate) const fn headers(&self) -> &HeaderMap {
        &self.headers
    }

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
        right: &impl Right,
        path: &str,
        request: Outbound,
        bounds: Bounds,
    ) -> Result<Response<AnswerBody>, Failure> {
        let slot = match &self.places {
            None => Slot::new(self, None),
            Some(places) => self.slot(places).await?,
        };
        let clock = &*self.shared.clock;
        let mut begun_ms = clock.boot_ms();
        let mut kept = self.take_idle(begun_ms);
        loop {
            let fresh = kept.is_none();
            let connection = match kept.take() {
                Some(connection) => connection,
                None => {
                    // Apart, because it needs much room, and few requests need it.
                    let opened = Box::pin(self.connect(bounds.connect_timeout_ms)).await?;
                    begun_ms = clock.boot_ms();
                    opened
                }
            };
            if !right.sent(begun_ms) {
                return Err(Failure::Withdrawn);
            }
            let patience = Patience { clock, begun_ms, limit_ms: bounds.answer_timeout_ms };
            match self.exchange(connection, path, &request, patience).await {
                Err(Refused::Unsent(_)) if !fresh => {}
                exchanged => return Ok(exchanged?.into_answer(slot)),
            }
        }
    }

    /// The right to send a request, if the provider's circuit lets it pass.
    ///
    /// # Errors
    /// The milliseconds after which it is worth asking again.
    pub fn pass(self: &Rc<Self>) -> Result<Pass, u64> {
        Pass::ask(self)
    }

    fn max_failures(&self) -> u32 {
        self.spec.max_failures
    }

    async fn slot(self: &Rc<Self>, places: &Arc<Semaphore>) -> Result<Slot, Failure> {
        let place = match Arc::clone(places).try_acquire_owned() {
            Ok(place) => place,
            Err(_) => {
                // Apart, because it needs much room, and few requests need it.
                let waiting = Box::pin(Arc::clone(places).acquire_owned());
                let place = deadline(&*self.shared.clock, PLACE_MS, waiting).await;
                place.and_then(Result::ok).ok_or(Failure::Busy)?
            }
        };
        Ok(Slot::new(self, Some(place)))
    }

    /// The latest idle connection that is still open `now_ms`.
    fn take_idle(&self, now_ms: u64) -> Option<Box<Connection>> {
        let mut idle = self.idle.borrow_mut();
        while let Some(Idle { mut connection, since_ms }) = idle.pop() {
            let age_ms = now_ms.saturating_sub(since_ms);
            if age_ms < IDLE_TIMEOUT_MS && connection.is_quiet() {
                return Some(connection);
            }
        }
        None
    }

    async fn connect(&self, timeout_ms: u64) -> Result<Box<Connection>, Failure> {
        let (connector, clock) = (&self.connector, &self.shared.clock);
        let (host, port) = self.origin.address();
        let transport = if self.origin.is_secure() { Transport::Tls } else { Transport::Plain };
        let opening = connector.connect(host, port, transport);
        let opened = deadline(&**clock, timeout_ms, opening).await;
        Ok(Box::new(Connection::new(opened.ok_or(Failure::ConnectTimeout)??)))
    }

    async fn exchange(
        &self,
        mut connection: Box<Connection>,
        path: &str,
        request: &Outbound,
        patience: Patience<'_>,
    ) -> Result<Exchanged, Refused> {
        head::write(&mut connection.head, &self.origin, path, request);
        match connection.exchange(&request.body, patience).await {
            Ok(head) => Ok(Exchanged { connection, head }),
            Err(Failed { written: false, why }) => Err(Refused::Unsent(why)),
            Err(Failed { why: Broken::Silent, .. }) => Err(Refused::Failed(Failure::AnswerTimeout)),
            Err(Failed { why, .. }) => Err(Refused::Failed(Failure::Lost(why))),
        }
    }

    /// Takes a connection back whose answer has been read to its end.
    fn keep(&self, connection: Box<Connection>) {
        let mut idle = self.idle.borrow_mut();
        if connection.read.is_empty() && idle.len() < MAX_IDLE {
            idle.push(Idle { connection, since_ms: self.shared.clock.boot_ms() });
        }
    }
}

/// A connection that has the head of an answer.
struct Exchanged {
    connection: Box<Connection>,
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
