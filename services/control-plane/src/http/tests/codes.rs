//! Each code of the contract, by a request that gets it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::body::Body;
use axum::http::{Request, StatusCode};
use bytes::Bytes;
use futures_util::stream;
use serde_json::json;
use turnpike_store::kv::{Batch, BoxFuture, CommitError, Committed, Kv, ReadError, Snapshot};
use turnpike_store::memory::Memory;

use super::{House, request};

/// A store that can be cut off.
struct Cut {
    below: Memory,
    off: Arc<AtomicBool>,
}

impl Kv for Cut {
    fn snapshot(&self) -> BoxFuture<'_, Result<Arc<dyn Snapshot>, ReadError>> {
        if self.off.load(Ordering::SeqCst) {
            return Box::pin(async { Err(ReadError::Unavailable("cut off".into())) });
        }
        self.below.snapshot()
    }

    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<Committed, CommitError>> {
        self.below.commit(batch)
    }

    fn watch(&self, key: Bytes) -> BoxFuture<'static, ()> {
        self.below.watch(key)
    }
}

#[tokio::test(start_paused = true)]
async fn status_400_invalid_json() {
    let house = House::new().await;
    let line = format!("POST {}", house.path("/keys"));
    let mut broken = request(&house.operator, &line, Some(json!({})), &[]);
    *broken.body_mut() = Body::from("{\"name\":\n oops}");
    let got = house.send(broken).await;
    let problem = got.problem(StatusCode::BAD_REQUEST, "invalid_json");
    assert!(problem["detail"].as_str().unwrap().contains("line 2"), "{problem}");
}

#[tokio::test(start_paused = true)]
async fn status_401_unauthorized_and_wrong_credential_kind() {
    let house = House::new().await;
    let key = house.key("a").await["secret"].as_str().unwrap().to_owned();
    let join = house.first.join_token.as_ref().unwrap().expose();
    let mut mistyped = house.operator.clone();
    mistyped.replace_range(10..11, if &mistyped[10..11] == "A" { "B" } else { "A" });
    for token in ["", "x", mistyped.as_str()] {
        let got = house.call(token, "GET /me", None).await;
        got.problem(StatusCode::UNAUTHORIZED, "unauthorized");
        assert_eq!(got.headers["www-authenticate"], "Bearer");
    }
    for (token, place) in [(key.as_str(), "gateway"), (join, "gateway")] {
        let got = house.call(token, "GET /me", None).await;
        let problem = got.problem(StatusCode::UNAUTHORIZED, "wrong_credential_kind");
        assert!(problem["detail"].as_str().unwrap().contains(place), "{problem}");
    }
    // A well-formed token that was never made.
    let stranger = turnpike_wire::secret::mint(
        turnpike_domain::secret::SecretKind::Management,
        &[7; turnpike_wire::secret::ENTROPY_BYTES],
    );
    house
        .call(stranger.expose(), "GET /me", None)
        .await
        .problem(StatusCode::UNAUTHORIZED, "unauthorized");
    let basic = [("authorization", "Basic eDp5")];
    house
        .call_with("", "GET /me", None, &basic)
        .await
        .problem(StatusCode::UNAUTHORIZED, "unauthorized");
    let two = [("authorization", "Bearer x")];
    let got = house.call_with(&house.operator, "GET /me", None, &two).await;
    got.problem(StatusCode::UNAUTHORIZED, "unauthorized");
}

#[tokio::test(start_paused = true)]
async fn status_403_forbidden() {
    let house = House::new().await;
    let viewer = house.post("/tokens", json!({ "name": "v", "role": "viewer" })).await.json();
    let viewer = viewer["secret"].as_str().unwrap();
    let line = format!("POST {}", house.path("/keys"));
    // The role is told before the mistakes of the input.
    for body in [json!({ "name": "a" }), json!({ "name": 1, "limits": { "cost_usd": 1 } })] {
        let got = house.call(viewer, &line, Some(body)).await;
        got.problem(StatusCode::FORBIDDEN, "forbidden");
    }
}

#[tokio::test(start_paused = true)]
async fn status_404_not_found_also_for_what_is_anothers() {
    let house = House::new().await;
    let (other, owner) = house.other_org("other").await;
    let key = house.key("a").await["id"].as_str().unwrap().to_owned();
    let none = "org_7zzzzzzzzzzzzzzzzzzzzzzzzz";
    let lines = [
        format!("GET /orgs/{}", house.org),
        format!("GET /orgs/{}/keys", house.org),
        format!("GET /orgs/{}/keys/{key}", house.org),
        format!("GET /orgs/{other}/keys/{key}"),
        format!("PATCH /orgs/{other}/keys/{key}"),
        format!("DELETE /orgs/{}/keys/{key}", house.org),
        format!("GET /orgs/{none}/keys"),
        "GET /orgs/org_00000000000000000000000000/keys".to_owned(),
        "GET /orgs/what/keys".to_owned(),
        format!("GET /orgs/{other}/keys/what"),
        "GET /nothing".to_owned(),
    ];
    for line in lines {
        house.call(&owner, &line, None).await.problem(StatusCode::NOT_FOUND, "not_found");
    }
    let line = format!("GET /orgs/{none}/keys");
    house.call(&house.operator, &line, None).await.problem(StatusCode::NOT_FOUND, "not_found");
    let elsewhere = Request::get("/api/v2/orgs").body(Body::empty()).unwrap();
    house.send(elsewhere).await.problem(StatusCode::NOT_FOUND, "not_found");
}

#[tokio::test(start_paused = true)]
async fn status_405_with_allow_and_options() {
    let house = House::new().await;
    let got = house.call(&house.operator, "PUT /me", None).await;
    got.problem(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed");
    assert_eq!(got.headers["allow"], "GET,HEAD");
    let line = format!("OPTIONS {}", house.path("/keys"));
    let got = house.call("", &line, None).await;
    assert_eq!((got.status, got.headers["allow"].to_str().unwrap()), (204, "GET,HEAD,POST"));
    let got = house.call(&house.operator, "HEAD /me", None).await;
    assert_eq!((got.status, got.text.as_str()), (200, ""));
}

#[tokio::test(start_paused = true)]
async fn status_406_when_nothing_fits() {
    let house = House::new().await;
    for (accept, status) in [
        ("text/html", 406),
        ("application/json;q=0", 406),
        ("text/html, application/*;q=0.1", 200),
        ("*/*", 200),
    ] {
        let got = house.call_with(&house.operator, "GET /me", None, &[("accept", accept)]).await;
        assert_eq!(got.status, status, "{accept}");
    }
    let got = house.call_with(&house.operator, "GET /me", None, &[("accept", "image/png")]).await;
    got.problem(StatusCode::NOT_ACCEPTABLE, "not_acceptable");
}

#[tokio::test(start_paused = true)]
async fn status_409_of_each_kind() {
    let house = House::new().await;
    let key = house.key("a").await["id"].as_str().unwrap().to_owned();
    let conflict = StatusCode::CONFLICT;
    house.post("/keys", json!({ "name": "a" })).await.problem(conflict, "name_taken");

    let line = format!("POST {}", house.path("/keys"));
    let named = [("idempotency-key", "once")];
    let body = |name: &str| Some(json!({ "name": name }));
    assert_eq!(house.call_with(&house.operator, &line, body("b"), &named).await.status, 201);
    let again = house.call_with(&house.operator, &line, body("c"), &named).await;
    again.problem(conflict, "idempotency_conflict");

    let revoke = json!({ "reason": "compromised" });
    assert_eq!(house.post(&format!("/keys/{key}/revoke"), revoke).await.status, 200);
    let activate = house.post(&format!("/keys/{key}/activate"), json!({})).await;
    activate.problem(conflict, "rotation_required");
    let rotate = house.post(&format!("/keys/{key}/rotate"), json!({})).await;
    rotate.problem(conflict, "state_conflict");
}

#[tokio::test(start_paused = true)]
async fn status_412_etag_mismatch() {
    let house = House::new().await;
    let made = house.post("/keys", json!({ "name": "a" })).await;
    let (key, etag) = (made.json(), made.headers["etag"].to_str().unwrap().to_owned());
    let line = format!("PATCH {}", house.path(&format!("/keys/{}", key["id"].as_str().unwrap())));
    let body = |name: &str| Some(json!({ "name": name }));
    let first = house.call_with(&house.operator, &line, body("b"), &[("if-match", &etag)]).await;
    assert_eq!(first.status, 200, "{}", first.text);
    assert_ne!(first.headers["etag"], etag.as_str());
    for stale in [etag.as_str(), "\"what\"", "W/\"3\""] {
        let got = house.call_with(&house.operator, &line, body("c"), &[("if-match", stale)]).await;
        got.problem(StatusCode::PRECONDITION_FAILED, "etag_mismatch");
    }
    let any = house.call_with(&house.operator, &line, body("c"), &[("if-match", "*")]).await;
    assert_eq!(any.status, 200, "{}", any.text);
    let now = any.headers["etag"].to_str().unwrap();
    let weak = format!("W/{now}");
    let got = house.call_with(&house.operator, &line, body("d"), &[("if-match", &weak)]).await;
    got.problem(StatusCode::PRECONDITION_FAILED, "etag_mismatch");
    let several = format!("{etag}, \"what,ever\" ,{now}");
    let one = house.call_with(&house.operator, &line, body("d"), &[("if-match", &several)]).await;
    assert_eq!(one.status, 200, "{}", one.text);
    let delete = line.replace("PATCH", "DELETE");
    let got = house.call_with(&house.operator, &delete, None, &[("if-match", &several)]).await;
    got.problem(StatusCode::PRECONDITION_FAILED, "etag_mismatch");
    let now = one.headers["etag"].to_str().unwrap();
    let lines = [("if-match", etag.as_str()), ("if-match", now)];
    let gone = house.call_with(&house.operator, &delete, None, &lines).await;
    assert!(gone.status < 300, "{}", gone.text);
}

#[tokio::test(start_paused = true)]
async fn status_413_and_415() {
    let house = House::new().await;
    let line = format!("POST {}", house.path("/keys"));
    let large = json!({ "name": "x".repeat(70 << 10) });
    let got = house.call(&house.operator, &line, Some(large)).await;
    got.problem(StatusCode::PAYLOAD_TOO_LARGE, "request_too_large");
    for kind in ["text/plain", "application/merge-patch+json", ""] {
        let mut other = request(&house.operator, &line, None, &[("content-type", kind)]);
        *other.body_mut() = Body::from("{\"name\":\"a\"}");
        let got = house.send(other).await;
        got.problem(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type");
    }
}

#[tokio::test(start_paused = true)]
async fn status_422_tells_all_mistakes_at_once() {
    let house = House::new().await;
    let body = json!({
        "name": "",
        "frobnicate": true,
        "limits": { "cost_usd": 5, "requests_per_minute": 0, "alert_percent": [80, 50] },
        "scopes": { "models": [], "ips": ["10.0.0.0/40"], "mcp": { "servers": [] } },
        "metadata": "text",
        "expires_at": "2020-01-01T00:00:00Z",
    });
    let got = house.post("/keys", body).await;
    let mut pointers = got.pointers();
    pointers.sort();
    let expected = [
        "/expires_at",
        "/frobnicate",
        "/limits/alert_percent",
        "/limits/cost_usd",
        "/limits/requests_per_minute",
        "/metadata",
        "/name",
        "/scopes/ips/0",
        "/scopes/mcp/servers",
        "/scopes/models",
    ];
    assert_eq!(pointers, expected, "{}", got.text);
    assert!(got.text.contains("use null for no restriction, or disable the key"));
    assert!(got.text.contains("decimal string"));
}

#[tokio::test(start_paused = true)]
async fn status_422_for_what_a_query_does_not_know() {
    let house = House::new().await;
    for (query, pointer) in [
        ("?statsu=active", "?statsu"),
        ("?limit=0", "?limit"),
        ("?limit=1001", "?limit"),
        ("?limit=1&limit=2", "?limit"),
        ("?cursor=x", "?cursor"),
        ("?sort=secret", "?sort"),
        ("?status=gone", "?status"),
        ("?owner=me", "?owner"),
    ] {
        let line = format!("GET {}", house.path(&format!("/keys{query}")));
        let got = house.call(&house.operator, &line, None).await;
        assert_eq!(got.pointers(), [pointer], "{query}");
    }
    let line = format!("POST {}", house.path("/keys?wait=forever"));
    let got = house.call(&house.operator, &line, Some(json!({ "name": "a" }))).await;
    assert_eq!(got.pointers(), ["?wait"]);
}

#[tokio::test(start_paused = true)]
async fn status_429_rate_limited() {
    let house = House::new().await;
    let body = || Some(json!({ "email": "owner@acme.example", "password": "a wrong password" }));
    for _ in 0..10 {
        let got = house.call("", "POST /session", body()).await;
        got.problem(StatusCode::UNAUTHORIZED, "unauthorized");
    }
    let got = house.call("", "POST /session", body()).await;
    got.problem(StatusCode::TOO_MANY_REQUESTS, "rate_limited");
    assert!(got.headers.contains_key("retry-after"));
}

#[tokio::test(start_paused = true)]
async fn status_408_request_timeout() {
    let house = House::new().await;
    let line = format!("POST {}", house.path("/keys"));
    let mut slow = request(&house.operator, &line, Some(json!({})), &[]);
    *slow.body_mut() = Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
    let got = house.send(slow).await;
    got.problem(StatusCode::REQUEST_TIMEOUT, "request_timeout");
}

#[tokio::test(start_paused = true)]
async fn status_503_store_unavailable() {
    let off = Arc::new(AtomicBool::new(false));
    let house = House::on(Arc::new(Cut { below: Memory::new(), off: Arc::clone(&off) })).await;
    off.store(true, Ordering::SeqCst);
    for line in ["GET /me".to_owned(), format!("GET {}", house.path("/keys"))] {
        let got = house.call(&house.operator, &line, None).await;
        got.problem(StatusCode::SERVICE_UNAVAILABLE, "store_unavailable");
        assert_eq!(got.headers["retry-after"], "1");
    }
    off.store(false, Ordering::SeqCst);
    assert_eq!(house.call(&house.operator, "GET /me", None).await.status, 200);
}
