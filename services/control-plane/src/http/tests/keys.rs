//! The life of a key through the API.

use axum::http::StatusCode;
use serde_json::{Value, json};
use turnpike_domain::secret::SecretKind;
use turnpike_wire::secret;

use super::House;

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_key_needs_only_a_name_and_shows_its_secret_once() {
    let house = House::new().await;
    let made = house.post("/keys", json!({ "name": "first" })).await;
    assert_eq!(made.status, 201);
    let key = made.json();
    let path = house.path(&format!("/keys/{}", text(&key["id"])));
    assert_eq!(made.headers["location"], format!("/api/v1{path}"));
    let plain = text(&key["secret"]);
    assert_eq!(secret::parse(plain).unwrap().kind, SecretKind::Model);
    let shown = house.get(&format!("/keys/{}", text(&key["id"]))).await;
    assert!(shown.get("secret").is_none());
    let preview = text(&shown["preview"]);
    let (head, tail) = preview.split_once('…').unwrap();
    assert!(plain.starts_with(head) && plain.ends_with(tail) && preview.len() < 24);
    let expected = json!({
        "status": "active", "status_reason": null, "project_id": null, "expires_at": null,
        "metadata": null, "legacy": false, "rotated_at": null, "last_used_at": null,
        "requests": 0, "traffic_share": 0.0, "created_at": "2026-11-21T00:00:00.000Z",
    });
    for (field, value) in expected.as_object().unwrap() {
        assert_eq!(shown[field], *value, "{field}");
    }
    let limits = json!({
        "cost_usd": null, "tokens": null, "reset": "none", "requests_per_minute": null,
        "tokens_per_minute": null, "alert_percent": null, "fit": "reject",
    });
    assert_eq!(shown["limits"], limits);
    let mcp = json!({ "enabled": false, "mode": "allow_all", "servers": null, "tools": null });
    let scopes = json!({ "models": null, "providers": null, "ips": null, "mcp": mcp });
    assert_eq!(shown["scopes"], scopes);
    let usage = &shown["usage"];
    assert_eq!((&usage["cost_usd"], &usage["held_cost_usd"]), (&json!("0.00"), &json!("0.00")));
}

#[tokio::test(start_paused = true)]
async fn all_properties_are_kept_as_they_were_given() {
    let house = House::new().await;
    let project = house.post("/projects", json!({ "name": "p" })).await.json();
    let limits = json!({
        "cost_usd": "25.00", "tokens": 1_000_000, "reset": "monthly", "requests_per_minute": 60,
        "tokens_per_minute": 90_000, "alert_percent": [50, 80, 100], "fit": "clamp",
    });
    let scopes = json!({
        "models": ["echo-1", "openai/gpt-5"], "providers": ["echo"],
        "ips": ["10.0.0.0/8", "192.0.2.7", "2001:db8::/32"],
        "mcp": {
            "enabled": true, "mode": "allow_list", "servers": ["files"],
            "tools": { "files": ["read", "write"] },
        },
    });
    let body = json!({
        "name": "full", "project_id": project["id"], "expires_at": "2027-01-31T02:00:00+02:00",
        "limits": limits, "scopes": scopes, "metadata": { "team": "a", "nested": { "n": 1 } },
    });
    let made = house.post("/keys", body.clone()).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let key = made.json();
    assert_eq!(key["expires_at"], "2027-01-31T00:00:00.000Z");
    for field in ["project_id", "limits", "metadata"] {
        assert_eq!(key[field], body[field], "{field}");
    }
    assert_eq!(key["scopes"]["mcp"], scopes["mcp"]);
    assert_eq!(key["scopes"]["models"], scopes["models"]);
    let mut ips: Vec<&str> = key["scopes"]["ips"].as_array().unwrap().iter().map(text).collect();
    ips.sort_unstable();
    assert_eq!(ips, ["10.0.0.0/8", "192.0.2.7", "2001:db8::/32"]);
    assert_eq!(key["usage"]["resets_at"], "2026-12-01T00:00:00.000Z");
}

#[tokio::test(start_paused = true)]
async fn a_patch_changes_parts_and_null_takes_away() {
    let house = House::new().await;
    let body = json!({
        "name": "a", "limits": { "cost_usd": "5.00", "tokens": 100 },
        "scopes": {
            "models": ["m"],
            "mcp": { "enabled": true, "tools": { "s": ["t"], "u": ["v"] } },
        },
        "metadata": { "keep": 1, "drop": 2 },
    });
    let key = house.post("/keys", body).await.json();
    let rest = format!("/keys/{}", text(&key["id"]));
    let patch = json!({
        "limits": { "cost_usd": "7.50", "reset": "daily" },
        "scopes": { "ips": ["10.0.0.1"], "models": null, "mcp": { "tools": { "s": null } } },
        "metadata": { "drop": null, "new": 3 },
        "expires_at": "2027-01-01T00:00:00Z",
    });
    let got = house.patch(&rest, patch).await;
    assert_eq!(got.status, 200, "{}", got.text);
    let now = got.json();
    let limits = &now["limits"];
    assert_eq!(
        (&limits["cost_usd"], &limits["tokens"], &limits["reset"]),
        (&json!("7.50"), &json!(100), &json!("daily"))
    );
    assert_eq!(now["scopes"]["models"], Value::Null);
    assert_eq!(now["scopes"]["ips"], json!(["10.0.0.1"]));
    let mcp = &now["scopes"]["mcp"];
    assert_eq!((&mcp["enabled"], &mcp["tools"]), (&json!(true), &json!({ "u": ["v"] })));
    assert_eq!(now["metadata"], json!({ "keep": 1, "new": 3 }));
    let got =
        house.patch(&rest, json!({ "limits": null, "expires_at": null, "metadata": null })).await;
    let now = got.json();
    assert_eq!((&now["limits"]["cost_usd"], &now["expires_at"]), (&Value::Null, &Value::Null));
    assert_eq!(now["metadata"], Value::Null);
    for (patch, pointer) in [
        (json!({ "secret": "sk-…" }), "/secret"),
        (json!({ "status": "active" }), "/status"),
        (json!({ "what": null }), "/what"),
        (json!({ "limits": { "what": null } }), "/limits/what"),
        (json!({ "name": null }), "/name"),
        (json!({ "plan_id": null }), "/plan_id"),
        (json!({ "scopes": { "models": [] } }), "/scopes/models"),
        (json!([]), ""),
    ] {
        assert_eq!(house.patch(&rest, patch.clone()).await.pointers(), [pointer], "{patch}");
    }
}

#[tokio::test(start_paused = true)]
async fn partial_changes_at_the_same_time_both_take_effect() {
    let house = House::new().await;
    let key = house.key("a").await;
    let rest = format!("/keys/{}", text(&key["id"]));
    let changes = (1..=8_u64).map(|number| {
        let field = ["cost_usd", "tokens", "requests_per_minute", "tokens_per_minute"];
        let (name, value) = match number % 4 {
            0 => (field[0], json!(format!("{number}.00"))),
            place => (field[usize::try_from(place).unwrap()], json!(number)),
        };
        house.patch(&rest, json!({ "limits": { name: value } }))
    });
    let all = futures_util::future::join_all(changes).await;
    assert!(all.iter().all(|got| got.status == 200), "{all:?}");
    let limits = house.get(&rest).await["limits"].clone();
    for field in ["cost_usd", "tokens", "requests_per_minute", "tokens_per_minute"] {
        assert!(!limits[field].is_null(), "{field} was lost: {limits}");
    }
}

#[tokio::test(start_paused = true)]
async fn stopping_and_bringing_back() {
    let house = House::new().await;
    let key = house.key("a").await;
    let rest = format!("/keys/{}", text(&key["id"]));
    let act = async |action: &str, body: Value| {
        let got = house.post(&format!("{rest}/{action}"), body).await;
        assert_eq!(got.status, 200, "{action}: {}", got.text);
        got.json()
    };
    assert_eq!(act("disable", json!({})).await["status"], "inactive");
    assert_eq!(act("enable", json!({})).await["status"], "active");
    let revoked = act("revoke", json!({ "reason": "unused" })).await;
    assert_eq!(
        (&revoked["status"], &revoked["status_reason"]),
        (&json!("revoked"), &json!("unused"))
    );
    assert_eq!(act("activate", json!({})).await["status"], "active");
    act("revoke", json!({ "reason": "compromised" })).await;
    let back = act("activate", json!({ "rotate": true })).await;
    assert_eq!(back["status"], "active");
    assert_ne!(back["secret"], key["secret"]);
    let rotated = act("rotate", json!({ "overlap_seconds": 60 })).await;
    assert_ne!(rotated["secret"], back["secret"]);
    assert_eq!((&rotated["id"], rotated["rotated_at"].is_null()), (&key["id"], false));
    let long = house.post(&format!("{rest}/rotate"), json!({ "overlap_seconds": 86_401 })).await;
    assert_eq!(long.pointers(), ["/overlap_seconds"]);
    let stray = house.post(&format!("{rest}/disable"), json!({ "why": 1 })).await;
    assert_eq!(stray.pointers(), ["/why"]);
    house.patch(&rest, json!({ "expires_at": "2026-11-21T00:00:01Z" })).await;
    house.clock.step_day(2_000);
    assert_eq!(house.get(&rest).await["status"], "expired");
    let line = format!("DELETE {}", house.path(&rest));
    let gone = house.call(&house.operator, &line, None).await;
    assert_eq!(gone.json(), json!({ "id": key["id"], "deleted": true }));
    let got = house.call(&house.operator, &line, None).await;
    got.problem(StatusCode::NOT_FOUND, "not_found");
    // The name is free again.
    house.key("a").await;
}

#[tokio::test(start_paused = true)]
async fn secrets_are_read_again_only_where_the_organisation_keeps_them() {
    let house = House::new().await;
    let before = house.key("before").await;
    let reveal = |key: &Value| format!("/keys/{}/reveal", text(&key["id"]));
    let once = house.post(&reveal(&before), json!({})).await;
    once.problem(StatusCode::CONFLICT, "state_conflict");
    assert_eq!(house.patch("", json!({ "secret_reveal": "recoverable" })).await.status, 200);
    let after = house.key("after").await;
    let got = house.post(&reveal(&after), json!({})).await;
    assert_eq!((got.status, &got.json()["secret"]), (200, &after["secret"]));
    let old = house.post(&reveal(&before), json!({})).await;
    old.problem(StatusCode::CONFLICT, "state_conflict");
    let audit = house.get("/audit?type=SecretRevealed").await;
    assert_eq!(audit["data"].as_array().unwrap().len(), 1);
    assert_eq!(audit["data"][0]["data"]["key_id"], after["id"]);
}

#[tokio::test(start_paused = true)]
async fn wait_applied_tells_who_is_behind() {
    use turnpike_domain::command::PlatformCommand;
    use turnpike_domain::id::{EpochId, GatewayId, Position};

    let house = House::new().await;
    let token = house.app.streams().platform(|state| *state.tokens.keys().next().unwrap()).await;
    let token = token.unwrap();
    for number in [1, 2] {
        let (gateway, name) = (GatewayId(number), "g".into());
        let join = PlatformCommand::JoinGateway { gateway, name, token };
        crate::order::platform(&house.app, join).await.unwrap();
    }
    let unheard = house.post("/keys?wait=applied&timeout_ms=200", json!({ "name": "a" })).await;
    let unheard = unheard.json()["propagation"].clone();
    assert_eq!((&unheard["online"], &unheard["applied"]), (&json!(2), &json!(0)));
    assert_eq!(unheard["missing"].as_array().unwrap().len(), 2, "they may be serving: no proof");
    let hear = |number, position| {
        let (id, epoch) = (GatewayId(number), EpochId(1));
        house.app.presence.hear(house.org, id, epoch, Position(position), Default::default());
    };
    hear(1, u128::MAX >> 32);
    hear(2, 1);
    let made = house.post("/keys?wait=applied&timeout_ms=200", json!({ "name": "b" })).await;
    assert_eq!(made.status, 201, "the status stays what it would be");
    let reach = made.json()["propagation"].clone();
    assert!(reach["position"].is_number());
    assert_eq!((&reach["online"], &reach["applied"]), (&json!(2), &json!(1)));
    assert_eq!(reach["missing"], json!([GatewayId(2).to_string()]));
    hear(2, u128::MAX >> 32);
    let id = made.json()["id"].clone();
    let all = house.get(&format!("/keys/{}/propagation", text(&id))).await;
    assert_eq!((&all["applied"], &all["missing"]), (&json!(2), &json!([])));
    let listed = house.get("/gateways").await;
    assert!(listed["data"].as_array().unwrap().iter().all(|it| it["online"] == true));
}
