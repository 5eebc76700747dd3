//! Organisations, plans, models, providers, wallets and join tokens.

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::House;

#[tokio::test(start_paused = true)]
async fn settings_are_the_owners_and_plans_the_operators() {
    let house = House::new().await;
    let (_, owner) = house.person("olga", "owner").await;
    let line = format!("PATCH {}", house.path(""));
    let org = house.get("").await;
    assert_eq!((&org["limit_status"], &org["max_staleness_seconds"]), (&json!(402), &json!(600)));
    assert_eq!(
        (&org["secret_reveal"], &org["rate_fallback"], &org["wallet"]),
        (&json!("once"), &json!("share"), &json!("off"))
    );
    for (patch, field, value) in [
        (json!({ "limit_status": 429 }), "limit_status", json!(429)),
        (json!({ "max_staleness_seconds": 60 }), "max_staleness_seconds", json!(60)),
        (
            json!({ "max_staleness_seconds": "unbounded" }),
            "max_staleness_seconds",
            json!("unbounded"),
        ),
        (json!({ "name": "Acme" }), "name", json!("Acme")),
        (json!({ "rate_fallback": "deny" }), "rate_fallback", json!("deny")),
    ] {
        let got = house.call(&owner, &line, Some(patch)).await;
        assert_eq!((got.status, &got.json()[field]), (200, &value), "{}", got.text);
    }
    let plan = house.first.plan.to_string();
    for patch in [json!({ "wallet": "prepaid" }), json!({ "allowed_plans": [plan] })] {
        let got = house.call(&owner, &line, Some(patch.clone())).await;
        got.problem(StatusCode::FORBIDDEN, "forbidden");
        assert_eq!(house.patch("", patch).await.status, 200);
    }
    let org = house.get("").await;
    assert_eq!((&org["limit_status"], &org["allowed_plans"]), (&json!(429), &json!([plan])));
    let mixed = house.patch("", json!({ "allowed_plans": null, "name": "x" })).await.json();
    assert_eq!((&mixed["allowed_plans"], &mixed["name"]), (&Value::Null, &json!("x")));
    for (patch, pointer) in [
        (json!({ "limit_status": 500 }), "/limit_status"),
        (json!({ "max_staleness_seconds": 0 }), "/max_staleness_seconds"),
        (json!({ "allowed_plans": [], "default_plan": null }), "/allowed_plans"),
        (json!({ "wallet": "empty" }), "/wallet"),
    ] {
        assert_eq!(house.patch("", patch).await.pointers(), [pointer]);
    }
}

#[tokio::test(start_paused = true)]
async fn plans_bind_models_and_multiply_prices() {
    let house = House::new().await;
    let call = async |line: &str, body: Value| house.call(&house.operator, line, Some(body)).await;
    let body = json!({ "name": "gold", "models": ["m"], "multiplier": "1.25" });
    let made = call("POST /plans", body).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let plan = made.json();
    assert_eq!((&plan["models"], &plan["multiplier"]), (&json!(["m"]), &json!("1.25")));
    call("POST /plans", json!({ "name": "gold" }))
        .await
        .problem(StatusCode::CONFLICT, "name_taken");
    let line = format!("PATCH /plans/{}", plan["id"].as_str().unwrap());
    let changed = call(&line, json!({ "models": null, "multiplier": "0.5" })).await;
    assert_eq!(
        changed.json(),
        json!({ "id": plan["id"], "name": "gold", "models": null, "multiplier": "0.50" })
    );
    let key = house.post("/keys", json!({ "name": "k", "plan_id": plan["id"] })).await;
    assert_eq!((key.status, &key.json()["plan_id"]), (201, &plan["id"]));
    assert_eq!(
        call("POST /plans", json!({ "name": "x", "multiplier": 2 })).await.pointers(),
        ["/multiplier"]
    );
    let listed = house.call(&house.operator, "GET /plans", None).await.json();
    assert_eq!(listed["data"].as_array().unwrap().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn providers_keep_their_credentials_and_models_their_prices() {
    let house = House::new().await;
    let call = async |line: &str, body: Value| house.call(&house.operator, line, Some(body)).await;
    let body = json!({
        "name": "echo", "kind": "openai", "base_url": "https://echo.example/",
        "credential": "sk-upstream",
    });
    let made = call("POST /providers", body).await;
    assert_eq!(made.status, 201, "{}", made.text);
    assert!(!made.text.contains("sk-upstream"));
    let id = made.json()["id"].as_str().unwrap().to_owned();
    let sealed = async || {
        let find = |state: &turnpike_domain::state::Platform| {
            state.providers.values().next().and_then(|it| it.spec.credential.clone())
        };
        let sealed = house.app.streams().platform(find).await.unwrap()?;
        let plain = house.app.keys.provider.open(&sealed).unwrap();
        Some(String::from_utf8(plain.to_vec()).unwrap())
    };
    assert_eq!(sealed().await.as_deref(), Some("sk-upstream"));
    let line = format!("PATCH /providers/{id}");
    let changed = call(&line, json!({ "disabled": true })).await.json();
    assert_eq!((&changed["disabled"], &changed["has_credential"]), (&json!(true), &json!(true)));
    assert_eq!(sealed().await.as_deref(), Some("sk-upstream"));
    assert_eq!(call(&line, json!({ "credential": null })).await.json()["has_credential"], false);

    let model = json!({
        "name": "vendor/echo-1", "context_window": 8_192, "max_output": 4_096,
        "prices": { "input": "1.00", "output": "2.00", "cached_input": "0.10" },
        "routes": [{ "provider": "echo", "upstream_model": "echo-1" }],
    });
    let made = call("POST /models", model.clone()).await;
    assert_eq!(made.status, 201, "{}", made.text);
    call("POST /models", model).await.problem(StatusCode::CONFLICT, "name_taken");
    let line = "PATCH /models/vendor%2Fecho-1";
    let changed = call(line, json!({ "prices": { "output": "3.00" } })).await;
    let prices = &changed.json()["prices"];
    assert_eq!(
        (&prices["input"], &prices["output"], &prices["cached_input"]),
        (&json!("1.00"), &json!("3.00"), &json!("0.10"))
    );
    assert_eq!(call(line, json!({ "name": "x" })).await.pointers(), ["/name"]);
    let bad = json!({ "routes": [{ "provider": "none" }], "context_window": 0 });
    let mut pointers = call(line, bad).await.pointers();
    pointers.sort();
    assert_eq!(pointers, ["/context_window", "/routes/0/provider"]);
    let (_, owner) = house.person("olga", "owner").await;
    let seen = house.call(&owner, "GET /models/vendor%2Fecho-1", None).await.json();
    assert_eq!((&seen["routes"], &seen["prices"]["output"]), (&Value::Null, &json!("3.00")));
    let routed = house.call(&house.operator, &format!("DELETE /providers/{id}"), None).await;
    routed.problem(StatusCode::CONFLICT, "state_conflict");
}

#[tokio::test(start_paused = true)]
async fn an_organisation_has_providers_of_its_own() {
    let house = House::new().await;
    let (_, admin) = house.person("adam", "admin").await;
    let line = format!("POST {}", house.path("/providers"));
    let body = json!({
        "name": "mine", "kind": "anthropic", "base_url": "https://a.example", "serves": ["m"],
        "headers": { "x-team": "a" },
    });
    let made = house.call(&admin, &line, Some(body)).await;
    assert_eq!(made.status, 201, "{}", made.text);
    assert_eq!(made.json()["headers"], json!({ "x-team": "a" }));
    let (other, owner) = house.other_org("other").await;
    let id = made.json()["id"].as_str().unwrap().to_owned();
    let foreign = format!("GET /orgs/{other}/providers/{id}");
    house.call(&owner, &foreign, None).await.problem(StatusCode::NOT_FOUND, "not_found");
}

#[tokio::test(start_paused = true)]
async fn wallets_are_filled_by_operators() {
    let house = House::new().await;
    let (_, owner) = house.person("olga", "owner").await;
    let line = format!("POST {}", house.path("/wallet/topups"));
    let body = json!({ "amount_usd": "12.50", "note": "invoice 7" });
    let refused = house.call(&owner, &line, Some(body.clone())).await;
    refused.problem(StatusCode::FORBIDDEN, "forbidden");
    let named = [("idempotency-key", "invoice-7")];
    for _ in 0..2 {
        let made = house.call_with(&house.operator, &line, Some(body.clone()), &named).await;
        assert_eq!((made.status, &made.json()["amount_usd"]), (201, &json!("12.50")));
    }
    let wallet = house.get("/wallet").await;
    assert_eq!((&wallet["balance_usd"], &wallet["mode"]), (&json!("12.50"), &json!("off")));
    let ledger = house.get("/wallet/ledger").await;
    assert_eq!(
        (&ledger["data"][0]["kind"], &ledger["data"][0]["note"]),
        (&json!("top_up"), &json!("invoice 7"))
    );
    for amount in [json!(5), json!("0"), json!("-1.00"), json!("1.0000000001")] {
        let got = house.post("/wallet/topups", json!({ "amount_usd": amount })).await;
        assert_eq!(got.pointers(), ["/amount_usd"], "{amount}");
    }
}

#[tokio::test(start_paused = true)]
async fn join_tokens_are_for_one_organisation_or_all() {
    let house = House::new().await;
    let (_, admin) = house.person("adam", "admin").await;
    let line = format!("POST {}", house.path("/gateways/tokens"));
    let own = house.call(&admin, &line, Some(json!({ "name": "site" }))).await;
    assert_eq!((own.status, &own.json()["kind"]), (201, &json!("gateway")), "{}", own.text);
    assert!(own.json()["secret"].as_str().unwrap().starts_with("gk-tp-"));
    let all = json!({ "name": "all", "all_organisations": true });
    let refused = house.call(&admin, &line, Some(all.clone())).await;
    refused.problem(StatusCode::FORBIDDEN, "forbidden");
    let all = house.post("/gateways/tokens", all).await.json();
    assert_eq!(all["all_organisations"], true);
    assert_eq!(house.get("/gateways/tokens").await["data"].as_array().unwrap().len(), 3);
    for token in [&all["id"], &own.json()["id"]] {
        let rest = format!("/gateways/tokens/{}", token.as_str().unwrap());
        let line = format!("DELETE {}", house.path(&rest));
        assert_eq!(house.call(&house.operator, &line, None).await.status, 200);
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_organisation_has_a_plan_and_its_keys_need_only_a_name() {
    let house = House::new().await;
    let call = async |line: &str, body: Value| house.call(&house.operator, line, Some(body)).await;
    let (first, dear) = (house.first.plan.to_string(), json!({ "name": "dear" }));
    let dear = call("POST /plans", dear).await.json()["id"].clone();
    for (body, allowed, default) in [
        (json!({ "name": "a" }), Value::Null, json!(first)),
        (json!({ "name": "b", "default_plan": dear }), Value::Null, dear.clone()),
        (json!({ "name": "c", "allowed_plans": [dear] }), json!([dear]), dear.clone()),
    ] {
        let made = call("POST /orgs", body).await;
        let org = made.json();
        assert_eq!(made.status, 201, "{}", made.text);
        assert_eq!((&org["allowed_plans"], &org["default_plan"]), (&allowed, &default));
        let line = format!("POST /orgs/{}/keys", org["id"].as_str().unwrap());
        let key = call(&line, json!({ "name": "only a name" })).await;
        assert_eq!((key.status, &key.json()["plan_id"]), (201, &default), "{}", key.text);
    }
    let other = json!({ "name": "d", "allowed_plans": [dear], "default_plan": first });
    assert_eq!(call("POST /orgs", other).await.pointers(), ["/default_plan"]);
}

#[tokio::test(start_paused = true)]
async fn a_plan_that_is_used_stays() {
    let house = House::new().await;
    let call = async |line: &str, body: Value| house.call(&house.operator, line, Some(body)).await;
    let plan = call("POST /plans", json!({ "name": "gold" })).await.json()["id"].clone();
    let key = house.post("/keys", json!({ "name": "k", "plan_id": plan })).await.json();
    let delete = async |plan: &str| {
        house.call(&house.operator, &format!("DELETE /plans/{plan}"), None).await
    };
    let gold = plan.as_str().unwrap();
    for (plan, says) in [
        (gold, "keys: 1, organisations: 0"),
        (&*house.first.plan.to_string(), "keys: 0, organisations: 1"),
    ] {
        let told = delete(plan).await.problem(StatusCode::CONFLICT, "state_conflict");
        assert!(told["detail"].as_str().unwrap().contains(says), "{told}");
    }
    let line = format!("DELETE {}", house.path(&format!("/keys/{}", key["id"].as_str().unwrap())));
    assert_eq!(house.call(&house.operator, &line, None).await.status, 200);
    assert_eq!(delete(gold).await.status, 200);
    delete(gold).await.problem(StatusCode::NOT_FOUND, "not_found");
}
