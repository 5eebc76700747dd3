//! The control plane in the house: its process, and the way that gateways take to it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use axum::body::{Body, Bytes};
use http::{Method, Request};
use http_body_util::BodyExt as _;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;
use turnpike_bus::seam::{BoxFuture, Bus};
use turnpike_control_plane::app::App;
use turnpike_control_plane::config::ControlPlaneOptions;
use turnpike_control_plane::run::{self, Parts};
use turnpike_domain::id::{GatewayId, OrgId};
use turnpike_domain::time::Timestamp;
use turnpike_gateway::upstairs::{Heads, Joined, Upstairs, UpstairsError};
use turnpike_runtime::clock::{PausedClock, SharedClock};
use turnpike_runtime::tasks::Tasks;
use turnpike_store::kv::Kv;
use turnpike_tests::chance::{Dice, Fault, Tally};
use turnpike_tests::{hostile_bus, hostile_kv};
use turnpike_wire::heartbeat::MovedHead;
use turnpike_wire::hex;
use turnpike_wire::join::{
    GATEWAY_HEADER, HEADS_PATH, HeadsReply, JOIN_PATH, JoinReply, JoinRequest, LEAVE_PATH,
    SIGNERS_PATH, SNAPSHOT_PATH, SignersReply,
};
use turnpike_wire::sign::{Signers, VerifyingKey};
use turnpike_wire::snapshot::{Assembly, Snapshot, Splitter};

/// Lost answers of the control plane in ten thousand.
const ANSWER_LOST: u64 = 200;
/// The longest way of a call.
const CALL_MS: u64 = 20;
/// How long a call waits before it gives up.
const GIVE_UP_MS: u64 = 1_000;
/// The largest answer.
const MAX_BYTES: usize = 1 << 20;

/// One control plane.
pub(crate) struct Control {
    pub(crate) app: Arc<App>,
    pub(crate) tasks: Tasks,
    pub(crate) kv: Arc<hostile_kv::Port>,
    pub(crate) bus: Arc<hostile_bus::Port>,
    killed: CancellationToken,
    router: axum::Router,
}

impl Control {
    /// Starts one; the store may refuse it.
    pub(crate) async fn start(
        kv: Arc<hostile_kv::Port>,
        bus: Arc<hostile_bus::Port>,
        clock: &PausedClock,
        options: ControlPlaneOptions,
    ) -> Result<Self, String> {
        let clock: SharedClock = Arc::new(clock.clone());
        let parts = Parts {
            kv: Arc::clone(&kv) as Arc<dyn Kv>,
            bus: Arc::new(hostile_bus::Connection(Arc::clone(&bus))) as Arc<dyn Bus>,
            clock,
            options,
        };
        let (app, from) = run::build(parts).await.map_err(|error| error.to_string())?;
        let tasks = Tasks::new("control plane");
        run::work(&app, &tasks, from);
        let router = run::gateway_routes(&app);
        Ok(Self { app, tasks, kv, bus, killed: CancellationToken::new(), router })
    }

    /// Ends it as a crash does.
    pub(crate) fn kill(self) {
        self.killed.cancel();
        self.tasks.abort();
    }
}

/// The control planes that answer; what stands before them sends a call to any.
#[derive(Clone, Default)]
pub(crate) struct Switchboard(Arc<Mutex<Vec<(usize, axum::Router, CancellationToken)>>>);

impl Switchboard {
    pub(crate) fn add(&self, place: usize, control: &Control) {
        let entry = (place, control.router.clone(), control.killed.clone());
        self.0.lock().unwrap().push(entry);
    }

    pub(crate) fn remove(&self, place: usize) {
        self.0.lock().unwrap().retain(|(at, ..)| *at != place);
    }

    fn any(&self, dice: &Dice) -> Option<(axum::Router, CancellationToken)> {
        let entries = self.0.lock().unwrap();
        dice.pick(&entries).map(|(_, router, killed)| (router.clone(), killed.clone()))
    }
}

/// One gateway's way to the control plane: HTTP without sockets.
pub(crate) struct Door {
    pub(crate) switchboard: Switchboard,
    pub(crate) clock: SharedClock,
    pub(crate) dice: Dice,
    pub(crate) tally: Tally,
    /// Until when nobody can be reached.
    pub(crate) down_until_ms: Arc<AtomicU64>,
    /// Whether answers are lost by chance.
    pub(crate) hostile: Arc<AtomicBool>,
    pub(crate) token: String,
    pub(crate) name: String,
    pub(crate) known_as: Arc<Mutex<Option<GatewayId>>>,
}

impl Door {
    async fn call(&self, request: Request<Body>) -> Result<Bytes, UpstairsError> {
        self.clock.sleep(self.dice.below(CALL_MS)).await;
        if self.down_until_ms.load(Ordering::Relaxed) > self.clock.boot_ms() {
            self.clock.sleep(GIVE_UP_MS).await;
            return Err(unreachable("on purpose"));
        }
        let Some((router, killed)) = self.switchboard.any(&self.dice) else {
            return Err(unreachable("nobody listens"));
        };
        let answer = killed.run_until_cancelled(answer(router, request)).await;
        let answer = answer.ok_or_else(|| unreachable("it died"))?;
        let lost = self.hostile.load(Ordering::Relaxed) && self.dice.happens(ANSWER_LOST);
        if lost {
            self.tally.count(Fault::AnswerLost);
            self.clock.sleep(GIVE_UP_MS).await;
            return Err(unreachable("the answer was lost"));
        }
        answer
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        joined: Option<&Joined>,
        body: Body,
    ) -> Request<Body> {
        let mut request = Request::builder().method(method).uri(path);
        request = request.header("authorization", format!("Bearer {}", self.token));
        request = request.header("content-type", "application/json");
        if let Some(joined) = joined {
            request = request.header(GATEWAY_HEADER, joined.gateway.to_string());
        }
        request.body(body).unwrap()
    }

    async fn take_part(&self) -> Result<Joined, UpstairsError> {
        let known = self.known_as.lock().unwrap().map(|id| id.to_string());
        let ask = JoinRequest { name: self.name.clone(), gateway: known };
        let body = Body::from(serde_json::to_vec(&ask).unwrap());
        let bytes = self.call(self.request(Method::POST, JOIN_PATH, None, body)).await?;
        let reply: JoinReply = serde_json::from_slice(&bytes).map_err(wrong)?;
        let gateway = reply.gateway.parse().map_err(wrong)?;
        *self.known_as.lock().unwrap() = Some(gateway);
        Ok(Joined {
            gateway,
            org: reply.org.map(|org| org.parse()).transpose().map_err(wrong)?,
            signers: signers(&reply.verifying_keys)?,
        })
    }

    async fn fetch(
        &self,
        joined: &Joined,
        org: Option<OrgId>,
    ) -> Result<Vec<Snapshot>, UpstairsError> {
        let query = org.map(|org| format!("?org={org}")).unwrap_or_default();
        let path = format!("{SNAPSHOT_PATH}{query}");
        let request = self.request(Method::GET, &path, Some(joined), Body::empty());
        let bytes = self.call(request).await?;
        let (mut splitter, mut snapshots) = (Splitter::default(), Vec::new());
        let mut assembly = Assembly::new(joined.signers.clone());
        splitter.push(&bytes);
        while let Some(frame) = splitter.next_frame().map_err(wrong)? {
            if let Some(snapshot) = assembly.take(frame).map_err(wrong)? {
                snapshots.push(snapshot);
                assembly = Assembly::new(joined.signers.clone());
            }
        }
        Ok(snapshots)
    }

    async fn ask_heads(&self, joined: &Joined) -> Result<Heads, UpstairsError> {
        let request = self.request(Method::GET, HEADS_PATH, Some(joined), Body::empty());
        let bytes = self.call(request).await?;
        let reply: HeadsReply = serde_json::from_slice(&bytes).map_err(wrong)?;
        let head = |head: turnpike_wire::join::StreamHead| {
            let hash = hex::read(&head.hash).ok_or_else(|| wrong("a hash"))?;
            Ok(MovedHead { org: head.org.parse().map_err(wrong)?, seq: head.seq, hash })
        };
        let heads = reply.heads.into_iter().map(head).collect::<Result<_, UpstairsError>>()?;
        let now = reply.now_ms.map(Timestamp);
        Ok(Heads { incarnation: reply.incarnation.parse().map_err(wrong)?, now, heads })
    }
}

fn signers(texts: &[String]) -> Result<Signers, UpstairsError> {
    let key = |text: &String| {
        let bytes = hex::read(text).ok_or_else(|| wrong("a key"))?;
        VerifyingKey::from_bytes(&bytes).map_err(wrong)
    };
    texts.iter().map(key).collect::<Result<Vec<_>, _>>().map(Signers::new)
}

impl Upstairs for Door {
    fn join(&self) -> BoxFuture<'_, Result<Joined, UpstairsError>> {
        Box::pin(self.take_part())
    }

    fn snapshot<'a>(
        &'a self,
        joined: &'a Joined,
        org: Option<OrgId>,
    ) -> BoxFuture<'a, Result<Vec<Snapshot>, UpstairsError>> {
        Box::pin(self.fetch(joined, org))
    }

    fn heads<'a>(&'a self, joined: &'a Joined) -> BoxFuture<'a, Result<Heads, UpstairsError>> {
        Box::pin(self.ask_heads(joined))
    }

    fn signers<'a>(&'a self, joined: &'a Joined) -> BoxFuture<'a, Result<Signers, UpstairsError>> {
        Box::pin(async move {
            let request = self.request(Method::GET, SIGNERS_PATH, Some(joined), Body::empty());
            let reply: SignersReply =
                serde_json::from_slice(&self.call(request).await?).map_err(wrong)?;
            signers(&reply.verifying_keys)
        })
    }

    fn leave<'a>(&'a self, joined: &'a Joined) -> BoxFuture<'a, Result<(), UpstairsError>> {
        Box::pin(async move {
            let request = self.request(Method::POST, LEAVE_PATH, Some(joined), Body::empty());
            self.call(request).await.map(drop)
        })
    }
}

async fn answer(router: axum::Router, request: Request<Body>) -> Result<Bytes, UpstairsError> {
    let response = router.oneshot(request).await.map_err(wrong)?;
    let status = response.status();
    let body = http_body_util::Limited::new(response.into_body(), MAX_BYTES);
    let body = body.collect().await.map_err(unreachable)?.to_bytes();
    match status.as_u16() {
        200..=299 => Ok(body),
        401 | 403 => Err(UpstairsError::Refused),
        500..=599 => Err(unreachable(status)),
        _ => Err(wrong(status)),
    }
}

fn unreachable(why: impl ToString) -> UpstairsError {
    UpstairsError::Unreachable(why.to_string())
}

fn wrong(why: impl ToString) -> UpstairsError {
    UpstairsError::Wrong(why.to_string())
}
