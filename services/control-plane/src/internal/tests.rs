//! Tests of joining, in process, on a store in memory.

use axum::http::Request;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;
use turnpike_bus::local::LocalBus;
use turnpike_runtime::clock::system;
use turnpike_runtime::config::Secret;
use turnpike_runtime::tasks::Tasks;
use turnpike_store::memory::Memory;
use turnpike_wire::join::GATEWAY_HEADER;
use turnpike_wire::sign::SigningKey;

use super::*;
use crate::bootstrap::{FirstStart, first_start};
use crate::config::ControlPlaneOptions;
use crate::run::{Parts, build};
use crate::{http, tail};

/// A control plane and the tokens that gateways join with: of the platform, and of two
/// organisations.
struct House {
    app: Arc<App>,
    routes: Router,
    platform: String,
    organisations: [String; 2],
    _tasks: Tasks,
}

impl House {
    async fn new() -> Self {
        let mut options = ControlPlaneOptions::default();
        let key = |text: String| Secret::from(secrecy::SecretString::from(text));
        options.keys.peppers = key(format!("1:{}", "07".repeat(32)));
        options.keys.provider_sealing = key(format!("1:{}", "08".repeat(32)));
        options.keys.vault_sealing = key(format!("1:{}", "09".repeat(32)));
        options.keys.signing = key(format!("1:{},2:{}", "0a".repeat(32), "0b".repeat(32)));
        let bus = Arc::new(LocalBus::new(system()));
        let parts = Parts { kv: Arc::new(Memory::new()), bus, clock: system(), options };
        let (app, from) = build(parts).await.unwrap();
        let tasks = Tasks::new("test");
        tasks.spawn("tail", tail::follow(Arc::clone(&app), from));
        let wanted =
            FirstStart { organisation: "one".into(), owner_email: "me@one.example".into() };
        let made = first_start(&app, &wanted, |_, _| Ok(())).await.unwrap();
        let operator = made.management_token.unwrap().expose().to_owned();
        let platform = made.join_token.unwrap().expose().to_owned();
        let api = http::router(Arc::clone(&app), CancellationToken::new());
        let routes = api.merge(router(Arc::clone(&app)));
        let organisations = [String::new(), String::new()];
        let mut house = Self { app, routes, platform, organisations, _tasks: tasks };
        let other = house.post(&operator, "/api/v1/orgs", json!({ "name": "other" })).await.1;
        let orgs = [made.org.to_string(), other["id"].as_str().unwrap().to_owned()];
        for (place, org) in orgs.iter().enumerate() {
            let path = format!("/api/v1/orgs/{org}/gateways/tokens");
            let token = house.post(&operator, &path, json!({ "name": "site" })).await.1;
            token["secret"].as_str().unwrap().clone_into(&mut house.organisations[place]);
        }
        house
    }

    async fn post(&self, token: &str, path: &str, body: Value) -> (StatusCode, Value) {
        let request = Request::post(path)
            .header(AUTHORIZATION, format!("Bearer {token}"))
            .header(CONTENT_TYPE, "application/json")
            .body(Body::from(body.to_string()))
            .unwrap();
        let response = self.routes.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&bytes).unwrap())
    }

    async fn signers(&self, token: &str, gateway: &str) -> (StatusCode, Value) {
        let request = Request::get(SIGNERS_PATH)
            .header(AUTHORIZATION, format!("Bearer {token}"))
            .header(GATEWAY_HEADER, gateway);
        let response = self.routes.clone().oneshot(request.body(Body::empty()).unwrap());
        let response = response.await.unwrap();
        let status = response.status();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&bytes).unwrap())
    }

    /// The id under which a gateway has joined that proposes `id`, or the refusal.
    async fn join(&self, token: &str, id: Option<&str>) -> Result<String, StatusCode> {
        let body = json!({ "name": "gate", "gateway": id });
        let (status, answer) = self.post(token, JOIN_PATH, body).await;
        if !status.is_success() {
            return Err(status);
        }
        Ok(answer["gateway"].as_str().unwrap().to_owned())
    }

    fn fresh_id(&self) -> String {
        GatewayId(entropy::id(self.app.clock.now())).to_string()
    }
}

#[tokio::test]
async fn a_gateway_keeps_the_id_that_it_was_given_or_that_nobody_has_used() {
    let house = House::new().await;
    let [one, _] = &house.organisations;
    for token in [&house.platform, one] {
        let given = house.join(token, None).await.unwrap();
        assert_eq!(house.join(token, Some(&given)).await, Ok(given.clone()));
        let chosen = house.fresh_id();
        assert_eq!(house.join(token, Some(&chosen)).await, Ok(chosen.clone()));
        assert_eq!(house.join(token, Some(&chosen)).await, Ok(chosen.clone()));
        assert_ne!(house.join(token, None).await, Ok(chosen));
    }
}

#[tokio::test]
async fn an_id_that_joined_with_another_token_is_refused() {
    let house = House::new().await;
    let [one, other] = &house.organisations;
    let tokens = [&house.platform, one, other];
    for mine in tokens {
        let id = house.join(mine, None).await.unwrap();
        for foreign in tokens.into_iter().filter(|token| *token != mine) {
            assert_eq!(house.join(foreign, Some(&id)).await, Err(StatusCode::FORBIDDEN));
        }
        assert_eq!(house.join(mine, Some(&id)).await, Ok(id));
    }
}

#[tokio::test]
async fn who_has_joined_learns_all_keys_that_count() {
    let house = House::new().await;
    let [one, other] = &house.organisations;
    let body = json!({ "name": "gate", "gateway": null });
    let (_, joined) = house.post(one, JOIN_PATH, body).await;
    let mut expected = [10, 11].map(|byte| SigningKey::from_seed(&[byte; 32]).verifying_key());
    expected.sort_by_key(|key| key.id());
    let expected = json!(expected.map(|key| hex::write(&key.to_bytes())));
    assert_eq!(joined["verifying_keys"], expected);
    let gateway = joined["gateway"].as_str().unwrap();
    let (status, told) = house.signers(one, gateway).await;
    assert_eq!((status, &told["verifying_keys"]), (StatusCode::OK, &expected));
    assert_eq!(house.signers(other, gateway).await.0, StatusCode::FORBIDDEN);
    assert_eq!(house.signers("", gateway).await.0, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn gateways_that_ask_at_once_share_a_snapshot_that_began_after_they_asked() {
    let house = House::new().await;
    let (app, org) = (&*house.app, house.app.directory.organisations()[0]);
    let ask = || app.copies.of(app, org);
    let stream = app.copies.stream(org);
    // As while another one is encoded.
    let held = stream.latest.lock().await;
    let (first, second, ()) = tokio::join!(ask(), ask(), async { drop(held) });
    let (first, second) = (first.unwrap(), second.unwrap());
    assert!(Arc::ptr_eq(&first, &second), "it began after both had asked");
    let later = ask().await.unwrap();
    assert!(!Arc::ptr_eq(&second, &later), "something may have happened since");
    house.join(&house.organisations[0], None).await.unwrap();
    let changed = ask().await.unwrap();
    assert_ne!(*later, *changed);
}
