//! The same Idempotency-Key does the same thing once (T34).

use std::collections::BTreeSet;

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::House;

#[tokio::test(start_paused = true)]
async fn a_repetition_answers_the_same_without_the_secret() {
    let house = House::new().await;
    let line = format!("POST {}", house.path("/keys"));
    let named = [("idempotency-key", "8e03978e-40d5-43e8-bc93-6894a57f9324")];
    let body = || Some(json!({ "name": "a" }));
    let first = house.call_with(&house.operator, &line, body(), &named).await;
    let again = house.call_with(&house.operator, &line, body(), &named).await;
    assert_eq!((first.status, again.status), (201, 201));
    let (first, mut again) = (first.json(), again.json());
    assert!(first["secret"].is_string() && again.get("secret").is_none());
    again["secret"] = first["secret"].clone();
    assert_eq!(first, again);
    assert_eq!(house.get("/keys").await["data"].as_array().unwrap().len(), 1);

    // Another caller's key of the same text is another one.
    let token = house.post("/tokens", json!({ "name": "t", "role": "owner" })).await.json();
    let token = token["secret"].as_str().unwrap();
    let other = house.call_with(token, &line, Some(json!({ "name": "b" })), &named).await;
    assert_eq!(other.status, 201, "{}", other.text);
}

/// T34. Bounds: creation and rotation, each 100 times at once with 20 of another body between.
#[tokio::test(start_paused = true)]
#[expect(clippy::print_stdout, reason = "the figures of the target")]
async fn t34_many_at_once_make_one_and_show_it_once() {
    let house = House::new().await;
    let key = house.key("a").await;
    let rotate = house.path(&format!("/keys/{}/rotate", key["id"].as_str().unwrap()));
    let same = [json!({ "name": "b" }), json!({ "overlap_seconds": 60 })];
    let other = [json!({ "name": "c" }), json!({ "overlap_seconds": 61 })];
    for (turn, (path, made)) in [(house.path("/keys"), 201), (rotate, 200)].iter().enumerate() {
        let line = format!("POST {path}");
        let name = format!("many {turn}");
        let named = [("idempotency-key", name.as_str())];
        let call = |place: usize| {
            let body = if place % 6 == 5 { &other[turn] } else { &same[turn] };
            house.call_with(&house.operator, &line, Some(body.clone()), &named)
        };
        let (done, refused): (Vec<_>, Vec<_>) =
            join_all((0..120).map(call)).await.into_iter().partition(|got| got.status == *made);
        assert_eq!((done.len(), refused.len()), (100, 20));
        for got in refused {
            got.problem(axum::http::StatusCode::CONFLICT, "idempotency_conflict");
        }
        let all: Vec<Value> = done.iter().map(super::Got::json).collect();
        let ids: BTreeSet<&str> = all.iter().map(|key| key["id"].as_str().unwrap()).collect();
        let secrets = all.iter().filter(|key| key.get("secret").is_some()).count();
        println!("T34: 120 calls, {} effect, {secrets} secret, 20 conflicts", ids.len());
        assert_eq!((ids.len(), secrets), (1, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn an_organisation_is_made_once_too() {
    let house = House::new().await;
    let named = [("idempotency-key", "org")];
    let body = |name: &str| Some(json!({ "name": name }));
    let first = house.call_with(&house.operator, "POST /orgs", body("x"), &named).await;
    let again = house.call_with(&house.operator, "POST /orgs", body("x"), &named).await;
    assert_eq!((first.status, again.status), (201, 201), "{}", again.text);
    assert_eq!(first.json()["id"], again.json()["id"]);
    let other = house.call_with(&house.operator, "POST /orgs", body("y"), &named).await;
    other.problem(axum::http::StatusCode::CONFLICT, "idempotency_conflict");
    let long = "x".repeat(256);
    let long = [("idempotency-key", long.as_str())];
    let got = house.call_with(&house.operator, "POST /orgs", body("z"), &long).await;
    assert_eq!(got.pointers(), ["Idempotency-Key"]);
}
