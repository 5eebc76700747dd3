//! Tests of the management API, in process, on a store in memory.

mod audit;
mod codes;
mod decisions;
mod description;
mod ephemeral;
mod figures;
mod keys;
mod legacy;
mod limits;
mod lists;
mod mcp;
mod people;
mod platform;
mod rates;
mod replays;
mod requests;
mod roles;
mod routing;
mod tenants;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;
use turnpike_bus::local::LocalBus;
use turnpike_domain::id::OrgId;
use turnpike_runtime::clock::{PausedClock, SharedClock};
use turnpike_runtime::tasks::Tasks;
use turnpike_store::kv::Kv;
use turnpike_store::memory::Memory;

use crate::app::App;
use crate::bootstrap::{FirstStart, Made, first_start};
use crate::config::ControlPlaneOptions;
use crate::run::{Parts, build};
use crate::tail;

/// 2026-11-21T00:00:00Z, a Saturday.
pub(crate) const DAY: u64 = 20_778 * 24 * 3_600_000;
/// A password that is long enough.
pub(super) const PASSWORD: &str = "correct horse battery";

/// A control plane with one organisation, as a first start leaves it.
pub(super) struct House {
    pub(super) app: Arc<App>,
    pub(super) clock: PausedClock,
    pub(super) stopping: CancellationToken,
    pub(super) org: OrgId,
    /// A management token of an operator.
    pub(super) operator: String,
    pub(super) first: Made,
    router: Router,
    _tasks: Tasks,
}

/// An answer.
#[derive(Debug)]
pub(super) struct Got {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) text: String,
}

impl House {
    pub(super) async fn new() -> Self {
        Self::on(Arc::new(Memory::new())).await
    }

    /// On a store of the caller's.
    pub(super) async fn on(kv: Arc<dyn Kv>) -> Self {
        let clock = PausedClock::new(turnpike_domain::time::Timestamp(DAY));
        let shared: SharedClock = Arc::new(clock.clone());
        let bus = Arc::new(LocalBus::new(shared.clone()));
        let (app, from) =
            build(Parts { kv, bus, clock: shared, options: options() }).await.unwrap();
        let tasks = Tasks::new("test");
        tasks.spawn("tail", tail::follow(Arc::clone(&app), from));
        let wanted =
            FirstStart { organisation: "acme".into(), owner_email: "owner@acme.example".into() };
        let first = first_start(&app, &wanted, |_, _| Ok(())).await.unwrap();
        let stopping = CancellationToken::new();
        let router = super::router(Arc::clone(&app), stopping.clone());
        let operator = first.management_token.as_ref().unwrap().expose().to_owned();
        Self { org: first.org, app, clock, stopping, operator, first, router, _tasks: tasks }
    }

    /// A path of the organisation.
    pub(super) fn path(&self, rest: &str) -> String {
        format!("/orgs/{}{rest}", self.org)
    }

    /// Sends a request as it is; `path` stands below the base.
    pub(super) async fn send(&self, request: Request<Body>) -> Got {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        // A copy of the stream is no text.
        let text = String::from_utf8_lossy(&bytes).into_owned();
        Got { status: parts.status.as_u16(), headers: parts.headers, text }
    }

    /// The response itself, for bodies that do not end.
    pub(super) async fn open(&self, request: Request<Body>) -> axum::response::Response {
        self.router.clone().oneshot(request).await.unwrap()
    }

    /// Calls as the holder of `token`, with more headers.
    pub(super) async fn call_with(
        &self,
        token: &str,
        line: &str,
        body: Option<Value>,
        headers: &[(&str, &str)],
    ) -> Got {
        self.send(request(token, line, body, headers)).await
    }

    /// Calls as the holder of `token`; `line` is method and path: `"GET /me"`.
    pub(super) async fn call(&self, token: &str, line: &str, body: Option<Value>) -> Got {
        self.call_with(token, line, body, &[]).await
    }

    /// As the operator, on a path of the organisation.
    pub(super) async fn get(&self, rest: &str) -> Value {
        let got = self.call(&self.operator, &format!("GET {}", self.path(rest)), None).await;
        assert_eq!(got.status, 200, "{rest}: {}", got.text);
        got.json()
    }

    /// As the operator, on a path of the organisation.
    pub(super) async fn post(&self, rest: &str, body: Value) -> Got {
        self.call(&self.operator, &format!("POST {}", self.path(rest)), Some(body)).await
    }

    /// As the operator, on a path of the organisation.
    pub(super) async fn patch(&self, rest: &str, body: Value) -> Got {
        self.call(&self.operator, &format!("PATCH {}", self.path(rest)), Some(body)).await
    }

    /// A new key of this name.
    pub(super) async fn key(&self, name: &str) -> Value {
        let got = self.post("/keys", json!({ "name": name })).await;
        assert_eq!(got.status, 201, "{}", got.text);
        got.json()
    }

    /// Another organisation, and the token of its owner.
    pub(super) async fn other_org(&self, name: &str) -> (String, String) {
        let got = self.call(&self.operator, "POST /orgs", Some(json!({ "name": name }))).await;
        assert_eq!(got.status, 201, "{}", got.text);
        let org = got.json()["id"].as_str().unwrap().to_owned();
        let body = json!({ "name": "owner", "role": "owner" });
        let line = format!("POST /orgs/{org}/tokens");
        let token = self.call(&self.operator, &line, Some(body)).await;
        (org, token.json()["secret"].as_str().unwrap().to_owned())
    }

    /// A person of this role who has joined; the answer is their id and a token of theirs.
    pub(super) async fn person(&self, name: &str, role: &str) -> (String, String) {
        let email = format!("{name}@acme.example");
        let body = json!({ "email": email, "name": name, "role": role });
        let invited = self.post("/members", body).await;
        assert_eq!(invited.status, 201, "{}", invited.text);
        let invited = invited.json();
        let body = json!({ "invitation": invited["secret"], "password": PASSWORD });
        let line = format!("POST {}", self.path("/members/accept"));
        let joined = self.call("", &line, Some(body)).await;
        assert_eq!(joined.status, 200, "{}", joined.text);
        let (cookie, csrf) = self.login(&email).await;
        let body = json!({ "name": name, "role": role });
        let headers = [("cookie", cookie.as_str()), ("x-turnpike-csrf", csrf.as_str())];
        let line = format!("POST {}", self.path("/tokens"));
        let made = self.call_with("", &line, Some(body), &headers).await;
        // A viewer makes no tokens; the operator makes one for them, which acts for nobody.
        let made = if made.status == 403 {
            self.post("/tokens", json!({ "name": name, "role": role })).await
        } else {
            made
        };
        assert_eq!(made.status, 201, "{}", made.text);
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        (text(&invited["id"]), text(&made.json()["secret"]))
    }

    /// Cookie and CSRF token of a new session.
    pub(super) async fn login(&self, email: &str) -> (String, String) {
        let body = json!({ "email": email, "password": PASSWORD });
        let got = self.call("", "POST /session", Some(body)).await;
        assert_eq!(got.status, 200, "{}", got.text);
        let cookie = got.headers["set-cookie"].to_str().unwrap();
        let cookie = cookie.split(';').next().unwrap().to_owned();
        (cookie, got.json()["csrf"].as_str().unwrap().to_owned())
    }
}

impl Got {
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("no JSON: {}", self.text))
    }

    /// Checks that this is a problem of a kind, in the form that all have; the answer is what it
    /// says.
    pub(super) fn problem(&self, status: StatusCode, code: &str) -> Value {
        assert_eq!(self.status, status.as_u16(), "{}", self.text);
        assert_eq!(self.headers["content-type"], "application/problem+json");
        let problem = self.json();
        assert_eq!(problem["code"], code, "{problem}");
        assert_eq!(problem["status"], status.as_u16());
        assert_eq!(problem["request_id"], self.headers["x-turnpike-request-id"].to_str().unwrap());
        assert!(problem["request_id"].as_str().unwrap().starts_with("req_"));
        assert!(problem["type"].as_str().unwrap().ends_with(code));
        let mistakes = problem["errors"].as_array().unwrap();
        assert_eq!(mistakes.is_empty(), code != "validation_failed", "{problem}");
        problem
    }

    /// The places of the mistakes that are told.
    pub(super) fn pointers(&self) -> Vec<String> {
        let problem = self.problem(StatusCode::UNPROCESSABLE_ENTITY, "validation_failed");
        let errors = problem["errors"].as_array().unwrap();
        errors.iter().map(|error| error["pointer"].as_str().unwrap().to_owned()).collect()
    }
}

/// A request to the API; no token, if it is empty.
pub(super) fn request(
    token: &str,
    line: &str,
    body: Option<Value>,
    headers: &[(&str, &str)],
) -> Request<Body> {
    let (method, path) = line.split_once(' ').unwrap();
    let mut request = Request::builder().method(method).uri(format!("/api/v1{path}"));
    if !token.is_empty() {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    if body.is_some() {
        request = request.header("content-type", "application/json");
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let body = body.map(|body| body.to_string()).unwrap_or_default();
    request.body(Body::from(body)).unwrap()
}

/// Options with keys of a test.
pub(crate) fn options() -> ControlPlaneOptions {
    let key = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
    let versioned = format!("1:{key}");
    let keys = json!({
        "peppers": versioned,
        "provider_sealing": versioned,
        "vault_sealing": versioned,
        "signing": versioned,
    });
    let keys = serde_json::from_value(keys).unwrap();
    ControlPlaneOptions { keys, max_body_bytes: 64 << 10, ..ControlPlaneOptions::default() }
}
