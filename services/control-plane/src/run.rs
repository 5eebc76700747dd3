//! Running a control plane: its parts started in order, and stopped in order.

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderValue, Version, header};
use axum::middleware::Next;
use axum::response::Response;
use axum::{Router, middleware};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use turnpike_bus::seam::Bus;
use turnpike_runtime::clock::{Clock, SharedClock};
use turnpike_runtime::metrics::Metrics;
use turnpike_runtime::probes::Probes;
use turnpike_runtime::serve::{ListenError, listen_as_told};
use turnpike_runtime::tasks::Tasks;
use turnpike_store::error::StoreError;
use turnpike_store::execute::{ExecuteError, Executor};
use turnpike_store::kv::Kv;
use turnpike_store::streams::Streams;
use turnpike_store::{incarnation, log};

use crate::app::App;
use crate::bootstrap::{self, BootstrapError, FirstStart, Shown};
use crate::config::ControlPlaneOptions;
use crate::copies::Copies;
use crate::directory::Directory;
use crate::presence::Presence;
use crate::tail::Tail;
use crate::{console, http, internal, keeper, receipts, relay, tail};

/// How often stored snapshots are looked after.
const SAVE_EVERY_MS: u64 = 30_000;
/// Tries of a step of the start that the store fails: it recovers within seconds, and what fails
/// for longer is for whoever starts processes again.
const STARTS: u32 = 10;
/// The wait between two of them.
const START_AGAIN_MS: u64 = 1_000;

/// What a control plane is made of; chosen in `main`.
#[derive(Clone)]
pub struct Parts {
    /// The store.
    pub kv: Arc<dyn Kv>,
    /// The bus.
    pub bus: Arc<dyn Bus>,
    /// The time.
    pub clock: SharedClock,
    /// The options, checked.
    pub options: ControlPlaneOptions,
}

/// A control plane at work.
pub struct Running {
    /// The shared parts, for whoever embeds it.
    pub app: Arc<App>,
    /// Where the management API listens.
    pub address: SocketAddr,
    /// Where health and metrics listen.
    pub admin_address: SocketAddr,
    /// Ready or not.
    pub probes: Probes,
    tasks: Tasks,
    /// Cancelled some time before the tasks are: each connection then ends behind its next answer.
    leaving: CancellationToken,
}

/// Why a control plane did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An address cannot be listened on.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The first start did not end.
    #[error("the first start did not end: {0}")]
    FirstStart(#[from] BootstrapError),
    /// A key is missing or misshapen.
    #[error("the keys of the house cannot be used: one {0}")]
    Keys(String),
}

/// Builds the shared parts and brings the directory in step. Starts nothing.
///
/// # Errors
/// [`StartError`].
pub async fn build(parts: Parts) -> Result<(Arc<App>, turnpike_domain::id::Position), StartError> {
    let Parts { kv, bus, clock, options } = parts;
    let keys = options.keys.open().map_err(StartError::Keys)?;
    let incarnation = incarnation::ensure(&*kv, clock.now()).await?;
    let streams = Arc::new(Streams::new(Arc::clone(&kv)));
    let app = Arc::new(App {
        executor: Executor::new(streams, clock.clone()),
        bus,
        keys,
        directory: Directory::default(),
        presence: Presence::new(clock.clone()),
        tail: Tail::new(clock.clone()),
        copies: Copies::default(),
        clock,
        options,
        incarnation,
    });
    let snapshot = kv.snapshot().await.map_err(StoreError::from)?;
    let from = log::last_position(&*snapshot).await?;
    app.refresh_all().await?;
    Ok((app, from))
}

/// Starts a control plane. It serves when this answers.
///
/// # Errors
/// [`StartError`].
pub async fn run(parts: Parts) -> Result<Running, StartError> {
    let clock = parts.clock.clone();
    let (app, from) = insist(&*clock, async || build(parts.clone()).await).await?;
    insist(&*clock, async || Ok(first_start(&app).await?)).await?;
    let (listener, address) = listen_as_told("listen", app.options.listen)?;
    let (admin, admin_address) = listen_as_told("admin_listen", app.options.admin_listen)?;
    let probes = Probes::new(Metrics::new());
    let tasks = Tasks::new("control-plane");
    work(&app, &tasks, from);
    let (keep, stopping) = (keeper::keep(Arc::clone(&app)), tasks.stopping());
    tasks.spawn("keeper", async move {
        stopping.run_until_cancelled(keep).await;
    });
    let api = http::router(Arc::clone(&app), tasks.stopping());
    let routes = api.merge(internal::router(Arc::clone(&app))).merge(console::router());
    let leaving = CancellationToken::new();
    let last = middleware::from_fn_with_state(leaving.clone(), last_answer);
    serve_http(&tasks, listener, routes.layer(last));
    probes.serve(admin, &tasks);
    probes.set_ready(true, "serving");
    Ok(Running { app, address, admin_address, probes, tasks, leaving })
}

/// Takes a step again that the store has failed and that may pass the next time.
async fn insist<T>(
    clock: &dyn Clock,
    step: impl AsyncFn() -> Result<T, StartError>,
) -> Result<T, StartError> {
    for _ in 1..STARTS {
        match step().await {
            Err(error) if may_pass(&error) => {
                tracing::warn!(%error, "the start waits for the store");
                clock.sleep(START_AGAIN_MS).await;
            }
            done => return done,
        }
    }
    step().await
}

fn may_pass(error: &StartError) -> bool {
    match error {
        StartError::Store(error)
        | StartError::FirstStart(
            BootstrapError::Store(error) | BootstrapError::Execute(ExecuteError::Store(error)),
        ) => match error {
            StoreError::Read(_) | StoreError::Commit(_) | StoreError::Contended => true,
            StoreError::Corrupt { .. } | StoreError::Fenced => false,
        },
        StartError::Listen(_)
        | StartError::Keys(_)
        | StartError::FirstStart(
            BootstrapError::Execute(ExecuteError::Refused(_) | ExecuteError::IdempotencyConflict)
            | BootstrapError::Password(_)
            | BootstrapError::HandOver(_),
        ) => false,
    }
}

/// Makes what a new house needs, if the operator said where to write the credentials.
async fn first_start(app: &App) -> Result<(), BootstrapError> {
    let options = &app.options.first_start;
    if options.write_to.is_empty() {
        return Ok(());
    }
    let folder = std::path::Path::new(&options.write_to);
    let failed = |error: io::Error| {
        let file = folder.display();
        io::Error::new(error.kind(), format!("{file} (option first_start.write_to): {error}"))
    };
    std::fs::create_dir_all(folder).map_err(failed)?;
    let wanted = FirstStart {
        organisation: options.organisation.clone(),
        owner_email: options.owner_email.clone(),
    };
    let made = bootstrap::first_start(app, &wanted, |shown, text| {
        let name = match shown {
            Shown::OwnerPassword => "owner-password",
            Shown::ManagementToken => "management-token",
            Shown::JoinToken => "join-token",
        };
        let mut file = std::fs::OpenOptions::new();
        file.write(true).create(true).truncate(true).mode(0o600);
        let mut file = file.open(folder.join(name)).map_err(failed)?;
        file.write_all(text.as_bytes()).map_err(failed)?;
        file.sync_all().map_err(failed)
    });
    let made = made.await?;
    tracing::info!(org = %made.org, "the first organisation stands");
    Ok(())
}

impl Running {
    /// Takes requests until everybody has noticed, finishes those that are open, gives up its roles
    /// and stops, within the configured time.
    pub async fn stop(self) {
        self.probes.leave("stopping");
        self.leaving.cancel();
        let (clock, drain_ms) = (&self.app.clock, self.app.options.drain_ms);
        clock.sleep(self.app.options.notice_ms).await;
        if !self.tasks.drain(&**clock, drain_ms).await {
            tracing::warn!(drain_ms, "requests were cut off");
        }
    }
}

/// What gateways call, for whoever embeds a control plane without sockets.
pub fn gateway_routes(app: &Arc<App>) -> Router {
    internal::router(Arc::clone(app))
}

/// Starts the work behind the API: relay, heartbeats, receipts, directory, stored snapshots. `from`
/// is what [`build`] has answered.
pub fn work(app: &Arc<App>, tasks: &Tasks, from: turnpike_domain::id::Position) {
    let stop = tasks.stopping();
    let until = |stop: CancellationToken, work| async move {
        stop.run_until_cancelled_owned(work).await;
    };
    tasks.spawn("tail", until(stop.clone(), Box::pin(tail::follow(Arc::clone(app), from)) as Work));
    tasks.spawn("receipts", until(stop.clone(), Box::pin(receipts::listen(Arc::clone(app)))));
    let heartbeats = receipts::listen_to_heartbeats(Arc::clone(app));
    tasks.spawn("heartbeats", until(stop.clone(), Box::pin(heartbeats)));
    tasks.spawn("snapshots", until(stop.clone(), Box::pin(save(Arc::clone(app)))));
    tasks.spawn("relay", relay::run(Arc::clone(app), stop));
}

type Work = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

/// Saves snapshots of streams that have moved far.
async fn save(app: Arc<App>) {
    loop {
        app.clock.sleep(SAVE_EVERY_MS).await;
        let mut streams = app.directory.organisations();
        streams.push(turnpike_domain::id::OrgId::PLATFORM);
        for org in streams {
            if let Err(error) = app.streams().save(org, app.clock.now()).await {
                tracing::warn!(%org, %error, "a snapshot was not saved");
            }
        }
    }
}

/// Ends a connection behind its answer where this control plane is about to leave. HTTP/2 has no
/// such header, and says it by itself when the tasks stop.
async fn last_answer(
    State(leaving): State<CancellationToken>,
    request: Request,
    next: Next,
) -> Response {
    let one_at_a_time = request.version() < Version::HTTP_2;
    let mut answer = next.run(request).await;
    if one_at_a_time && leaving.is_cancelled() {
        answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    answer
}

fn serve_http(tasks: &Tasks, listener: TcpListener, routes: Router) {
    let stopping = tasks.stopping();
    let service = routes.into_make_service_with_connect_info::<SocketAddr>();
    tasks.spawn("api", async move {
        let served = axum::serve(listener, service);
        let served = served.with_graceful_shutdown(stopping.cancelled_owned());
        if let Err(error) = served.await {
            tracing::error!(%error, "the management API failed");
        }
    });
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use turnpike_domain::time::Timestamp;
    use turnpike_runtime::clock::PausedClock;
    use turnpike_store::kv::ReadError;

    use super::*;

    /// How a step that first fails `times` times ends, and how often it was taken.
    async fn taken(times: u32, error: impl Fn() -> StartError) -> (Result<(), StartError>, u32) {
        let count = AtomicU32::new(0);
        let step = async || {
            if count.fetch_add(1, Ordering::Relaxed) < times { Err(error()) } else { Ok(()) }
        };
        let ended = insist(&PausedClock::new(Timestamp(0)), step).await;
        (ended, count.into_inner())
    }

    #[tokio::test(start_paused = true)]
    async fn a_start_waits_for_a_store_that_fails_and_for_nothing_else() {
        let away = || StartError::Store(ReadError::Unavailable("on purpose".into()).into());
        assert!(matches!(taken(3, away).await, (Ok(()), 4)));
        assert!(matches!(taken(STARTS, away).await, (Err(StartError::Store(_)), STARTS)));
        let lost = || StartError::FirstStart(BootstrapError::Store(StoreError::Contended));
        assert!(matches!(taken(1, lost).await, (Ok(()), 2)));
        let wrong = || StartError::Keys("signing".into());
        assert!(matches!(taken(1, wrong).await, (Err(StartError::Keys(_)), 1)));
    }
}
