//! Providers as they fare, and the ways to a model as they are explained.

use axum::http::StatusCode;
use serde_json::{Value, json};
use turnpike_domain::id::{GatewayId, OrgId, ProviderId};
use turnpike_domain::time::Timestamp;
use turnpike_wire::heartbeat::{CircuitState, ProviderHealth};

use super::House;

const CERTIFICATE: &str =
    include_str!("../../../../../shared/runtime/src/connector/testdata/certificate.pem");

async fn provider(house: &House, name: &str, kind: &str) -> ProviderId {
    let body = json!({ "name": name, "kind": kind, "base_url": "https://up.example" });
    let made = house.call(&house.operator, "POST /providers", Some(body)).await;
    assert_eq!(made.status, 201, "{}", made.text);
    made.json()["id"].as_str().unwrap().parse().unwrap()
}

fn says(house: &House, gateway: u128, provider: ProviderId, circuit: CircuitState) {
    let health = ProviderHealth {
        provider,
        circuit,
        since: Some(Timestamp(1_795_000_000_000)),
        in_flight: 2,
        calls: 10,
        errors: 5,
        p50_ms: Some(120),
    };
    let stream = OrgId::PLATFORM;
    house.app.presence.told_of_providers(stream, GatewayId(gateway), vec![health]);
}

#[tokio::test(start_paused = true)]
async fn a_provider_is_told_of_as_its_gateways_say() {
    let house = House::new().await;
    let id = provider(&house, "up", "openai").await;
    let line = format!("GET /providers/{id}");
    let health = async |token: &str| house.call(token, &line, None).await.json()["health"].clone();
    let down = async || -> Vec<Value> {
        let notices = house.get("/notices").await["data"].as_array().unwrap().clone();
        notices.into_iter().filter(|notice| notice["kind"] == "provider_down").collect()
    };
    let unknown = json!({ "status": "unknown", "gateways": [] });
    assert_eq!(health(&house.operator).await, unknown);
    says(&house, 1, id, CircuitState::Closed);
    assert_eq!(health(&house.operator).await["status"], "healthy");
    says(&house, 2, id, CircuitState::HalfOpen);
    assert_eq!(health(&house.operator).await["status"], "degraded");
    assert_eq!(down().await, [] as [Value; 0]);
    says(&house, 1, id, CircuitState::Open);
    let told = health(&house.operator).await;
    assert_eq!(told["status"], "down");
    let first = json!({
        "gateway_id": GatewayId(1).to_string(), "name": null, "circuit": "open",
        "since": "2026-11-18T11:06:40.000Z", "in_flight": 2, "calls_per_minute": 10,
        "errors_per_minute": 5, "p50_ms": 120,
    });
    assert_eq!(told["gateways"][0], first);
    let notice = &down().await[0];
    assert_eq!((&notice["severity"], &notice["standing"]), (&json!("alarm"), &json!(true)));
    assert_eq!(notice["about"], id.to_string());
    let (_, owner) = house.person("olga", "owner").await;
    assert_eq!(health(&owner).await, json!({ "status": "down", "gateways": [] }));
}

#[tokio::test(start_paused = true)]
async fn roots_that_cannot_be_used_are_refused_with_a_sentence() {
    let house = House::new().await;
    let id = provider(&house, "up", "openai").await;
    let line = format!("PATCH /providers/{id}");
    let set = async |roots: Value| {
        house.call(&house.operator, &line, Some(json!({ "tls_roots": roots }))).await
    };
    let torn = CERTIFICATE.replace("-----END", "----END");
    let no_root = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for roots in ["", "roots", &torn, no_root] {
        let refused = set(json!(roots)).await;
        let told = refused.problem(StatusCode::UNPROCESSABLE_ENTITY, "validation_failed");
        assert_eq!(told["errors"][0]["pointer"], "/tls_roots");
        let message = told["errors"][0]["message"].as_str().unwrap();
        assert!(message.starts_with("cannot be used: "), "{message}");
    }
    let changed = set(json!(CERTIFICATE)).await.json();
    assert_eq!(changed["tls_roots"], CERTIFICATE);
    assert_eq!(set(Value::Null).await.json()["tls_roots"], Value::Null);
}

#[tokio::test(start_paused = true)]
async fn every_way_is_explained_with_what_stands_in_it() {
    let house = House::new().await;
    for (name, kind) in [("a", "openai"), ("b", "openai"), ("c", "anthropic"), ("d", "openai")] {
        provider(&house, name, kind).await;
    }
    let id = provider(&house, "e", "openai").await;
    let off = json!({ "disabled": true });
    house.call(&house.operator, &format!("PATCH /providers/{id}"), Some(off)).await;
    let dear = json!({ "input": "10.00", "output": "20.00" });
    let model = json!({
        "name": "m", "context_window": 1_000_000, "max_output": 1_000,
        "routes": [
            { "provider": "a" }, { "provider": "b", "weight": 2, "prices": dear },
            { "provider": "c", "prices": dear }, { "provider": "d", "prices": dear },
            { "provider": "e", "prices": dear },
        ],
    });
    let made = house.call(&house.operator, "POST /models", Some(model)).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let scopes = json!({ "providers": ["a", "b", "c", "e"] });
    let body = json!({ "name": "k", "scopes": scopes, "limits": { "cost_usd": "1.00" } });
    let key = house.post("/keys", body).await.json()["id"].as_str().unwrap().to_owned();
    let line = house.path(&format!("/keys/{key}/explain?model=m&input_tokens=1000&dialect=openai"));
    let told = house.call(&house.operator, &format!("GET {line}"), None).await.json();
    let ways = told["ways"].as_array().unwrap().iter();
    let shown: Vec<_> =
        ways.map(|way| (way["provider"].as_str().unwrap(), &way["obstacle"])).collect();
    assert_eq!(
        shown,
        [
            ("a", &json!("unpriced")),
            ("b", &Value::Null),
            ("c", &json!("dialect")),
            ("d", &json!("provider_not_allowed")),
            ("e", &json!("disabled")),
        ]
    );
    // By the prices of the first way that can be taken: 1,000 in and 1,000 out.
    assert_eq!(told["reservation"]["cost_usd"], "0.03");
    assert_eq!(told["admitted"], true);
    let (_, owner) = house.person("olga", "owner").await;
    let seen = house.call(&owner, &format!("GET {line}"), None).await.json();
    assert_eq!((&seen["ways"], &seen["admitted"]), (&json!([]), &json!(true)));
}
