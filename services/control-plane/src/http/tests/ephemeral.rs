//! Tokens made from keys through the API.

use axum::http::StatusCode;
use serde_json::{Value, json};
use turnpike_domain::ephemeral::Claims;
use turnpike_wire::ephemeral::verify;

use super::House;

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

/// What a token says, if this control plane has signed it.
fn claims(house: &House, shown: &Value) -> Claims {
    verify(text(&shown["secret"]), house.app.keys.signing.signers()).unwrap()
}

async fn tokens(house: &House) -> String {
    format!("/keys/{}/ephemeral", text(&house.key("parent").await["id"]))
}

#[tokio::test(start_paused = true)]
async fn a_token_is_shown_once_and_says_what_was_asked_for() {
    let house = House::new().await;
    let rest = tokens(&house).await;
    let body = json!({
        "name": "job", "expires_in_seconds": 60, "cost_usd": "0.50", "tokens": 900,
        "scopes": { "models": ["echo-1"], "ips": ["10.0.0.0/8"] },
    });
    let made = house.post(&rest, body).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let token = made.json();
    let place = format!("/api/v1{}/{}", house.path(&rest), text(&token["id"]));
    assert_eq!(made.headers["location"], place);
    let said = claims(&house, &token);
    assert_eq!((said.org, said.token.to_string()), (house.org, text(&token["id"]).to_owned()));
    assert_eq!(said.expires_at.0 - said.issued_at.0, 60_000);
    assert_eq!(said.cost_cap.unwrap().to_string(), "0.50");
    assert_eq!(said.token_cap, Some(900));
    assert!(said.attenuation.models.holds("echo-1") && !said.attenuation.models.holds("echo-2"));

    let page = house.get(&rest).await;
    let listed = &page["data"][0];
    assert!(listed.get("secret").is_none() && page["next_cursor"].is_null());
    let scopes =
        json!({ "models": ["echo-1"], "providers": null, "ips": ["10.0.0.0/8"], "mcp": null });
    let used = json!({
        "requests": 0, "cost_usd": "0.00", "tokens": 0, "held_cost_usd": "0.00", "held_tokens": 0,
    });
    for (field, value) in [
        ("name", json!("job")),
        ("status", json!("active")),
        ("revoked", json!(false)),
        ("cost_usd", json!("0.50")),
        ("tokens", json!(900)),
        ("scopes", scopes),
        ("used", used),
        ("created_at", json!("2026-11-21T00:00:00.000Z")),
        ("expires_at", json!("2026-11-21T00:01:00.000Z")),
    ] {
        assert_eq!(listed[field], value, "{field}");
    }
    let plain = house.post(&rest, json!({})).await;
    assert_eq!(plain.json()["expires_at"], "2026-11-21T01:00:00.000Z", "an hour");
    assert_eq!(house.get(&format!("{rest}?limit=1")).await["data"].as_array().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_text_of_a_token_is_in_no_event_and_no_replay() {
    let house = House::new().await;
    let rest = tokens(&house).await;
    let line = format!("POST {}", house.path(&rest));
    let named = [("idempotency-key", "once")];
    let body = || Some(json!({ "cost_usd": "1.00" }));
    let first = house.call_with(&house.operator, &line, body(), &named).await.json();
    let again = house.call_with(&house.operator, &line, body(), &named).await;
    assert_eq!((again.status, &again.json()["id"]), (201, &first["id"]), "{}", again.text);
    assert!(again.json().get("secret").is_none());
    let other = house.call_with(&house.operator, &line, Some(json!({})), &named).await;
    other.problem(StatusCode::CONFLICT, "idempotency_conflict");
    let events = house.get("/events").await.to_string();
    assert!(events.contains("EphemeralIssued"));
    assert!(!events.contains(&text(&first["secret"])[10..40]), "{events}");
}

#[tokio::test(start_paused = true)]
async fn a_request_beyond_the_key_names_the_field() {
    let house = House::new().await;
    let body = json!({
        "name": "parent", "limits": { "cost_usd": "1.00" }, "scopes": { "models": ["a"] },
        "expires_at": "2026-11-21T00:10:00Z",
    });
    let key = house.post("/keys", body).await.json();
    let rest = format!("/keys/{}/ephemeral", text(&key["id"]));
    let many: Vec<String> = (0..300).map(|number| format!("model-{number}")).collect();
    for (body, pointers) in [
        (json!({ "scopes": { "models": ["b"] } }), vec!["/scopes/models"]),
        (json!({ "scopes": { "models": [] } }), vec!["/scopes/models"]),
        (json!({ "scopes": { "models": many } }), vec!["/scopes", "/scopes/models"]),
        (json!({ "scopes": { "mcp": { "enabled": true } } }), vec!["/scopes/mcp"]),
        (json!({ "cost_usd": "1.01" }), vec!["/cost_usd"]),
        (json!({ "expires_in_seconds": 601 }), vec!["/expires_in_seconds"]),
        (json!({ "expires_in_seconds": 0 }), vec!["/expires_in_seconds"]),
        (json!({ "what": 1 }), vec!["/what"]),
    ] {
        assert_eq!(house.post(&rest, body.clone()).await.pointers(), pointers, "{body}");
    }
    let shorter = house.post(&rest, json!({})).await.json();
    assert_eq!(shorter["expires_at"], "2026-11-21T00:10:00.000Z", "with its key");
    house.post(&format!("/keys/{}/disable", text(&key["id"])), json!({})).await;
    let off = house.post(&rest, json!({})).await;
    off.problem(StatusCode::CONFLICT, "state_conflict");
}

#[tokio::test(start_paused = true)]
async fn a_token_is_revoked_by_name_or_with_its_key() {
    let house = House::new().await;
    let rest = tokens(&house).await;
    let one = house.post(&rest, json!({})).await.json();
    let two = house.post(&rest, json!({})).await.json();
    let line = format!("DELETE {}/{}", house.path(&rest), text(&one["id"]));
    let gone = house.call(&house.operator, &line, None).await;
    assert_eq!(gone.json(), json!({ "id": one["id"], "deleted": true }));
    assert_eq!(house.call(&house.operator, &line, None).await.status, 200, "and again");
    let status = async |of: &Value| {
        let page = house.get(&rest).await;
        let mut all = page["data"].as_array().unwrap().iter();
        all.find(|token| token["id"] == of["id"]).unwrap()["status"].clone()
    };
    assert_eq!((status(&one).await, status(&two).await), (json!("revoked"), json!("active")));
    let rotate = rest.replace("ephemeral", "rotate");
    house.post(&rotate, json!({ "overlap_seconds": 60 })).await;
    assert_eq!(status(&two).await, json!("revoked"), "bound to the generation");
    let missing = format!("DELETE {}/eph_01h455vb4pex5vsknk084sn02q", house.path(&rest));
    let missing = house.call(&house.operator, &missing, None).await;
    missing.problem(StatusCode::NOT_FOUND, "not_found");
}

#[tokio::test(start_paused = true)]
async fn a_key_can_be_made_for_one_token() {
    let house = House::new().await;
    let body = json!({ "name": "job", "kind": "ephemeral", "expires_in_seconds": 30 });
    let made = house.post("/keys", body).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let key = made.json();
    let said = claims(&house, &key);
    assert_eq!(said.key.to_string(), text(&key["id"]));
    assert_eq!(key["kind"], "ephemeral");
    assert_eq!(key["expires_at"], "2026-11-21T00:00:30.000Z");
    let (head, tail) = text(&key["preview"]).split_once('…').unwrap();
    assert!(text(&key["secret"]).starts_with(head) && text(&key["secret"]).ends_with(tail));
    let rest = format!("/keys/{}", text(&key["id"]));
    let listed = house.get(&format!("{rest}/ephemeral")).await;
    assert_eq!(listed["data"][0]["id"], said.token.to_string());
    let rotated = house.post(&format!("{rest}/rotate"), json!({})).await;
    rotated.problem(StatusCode::CONFLICT, "state_conflict");
    assert!(house.key("plain").await.get("kind").is_none());
    for (body, pointer) in [
        (json!({ "name": "a", "expires_in_seconds": 30 }), "/expires_in_seconds"),
        (
            json!({ "name": "a", "kind": "ephemeral", "expires_at": "2027-01-01T00:00:00Z" }),
            "/expires_at",
        ),
        (
            json!({ "name": "a", "kind": "ephemeral", "expires_in_seconds": 86_401 }),
            "/expires_in_seconds",
        ),
        (json!({ "name": "a", "kind": "other" }), "/kind"),
    ] {
        assert_eq!(house.post("/keys", body.clone()).await.pointers(), [pointer], "{body}");
    }
    house.clock.step_day(30_000);
    assert_eq!(house.get(&rest).await["status"], "expired");
}

#[tokio::test(start_paused = true)]
async fn members_delegate_their_own_keys_and_tokens_do_not_manage() {
    let house = House::new().await;
    let (_, member) = house.person("max", "member").await;
    let foreign = tokens(&house).await;
    let line = format!("POST {}", house.path(&foreign));
    house.call(&member, &line, None).await.problem(StatusCode::NOT_FOUND, "not_found");
    let keys = format!("POST {}", house.path("/keys"));
    let own = house.call(&member, &keys, Some(json!({ "name": "own" }))).await.json();
    let rest = house.path(&format!("/keys/{}/ephemeral", text(&own["id"])));
    let made = house.call(&member, &format!("POST {rest}"), None).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let line = format!("DELETE {rest}/{}", text(&made.json()["id"]));
    assert_eq!(house.call(&member, &line, None).await.status, 200);
    let token = made.json();
    let tried = house.call(text(&token["secret"]), "GET /me", None).await;
    tried.problem(StatusCode::UNAUTHORIZED, "wrong_credential_kind");
}
