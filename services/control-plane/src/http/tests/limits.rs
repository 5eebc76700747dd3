//! Balances of the ledger, explanations, notices, and the release of what is lost.

use axum::http::StatusCode;
use serde_json::{Value, json};
use turnpike_domain::command::Command;
use turnpike_domain::id::{EpochId, GatewayId, KeyId, LeaseId, TokenId};
use turnpike_domain::ledger::{Standing, Word};
use turnpike_domain::limit::{Account, Unit};
use turnpike_domain::time::Window;
use turnpike_store::booking::{Ask, Booker, Delivery};
use turnpike_wire::authority::LeaseCall;
use turnpike_wire::heartbeat::Quarantine;
use turnpike_wire::spend::{Batch, Encoded};

use super::House;
use super::figures::booker;
use crate::order;

const GATEWAY: GatewayId = GatewayId(1);

/// Lets a gateway hold so much of a key's budget.
async fn hold(house: &House, booker: &mut Booker, key: KeyId, unit: Unit, total: i64) {
    let word = Word { n: 1, total, least: total };
    let lease = LeaseId(u128::try_from(total).unwrap());
    let call = LeaseCall { epoch: EpochId(1), lease, key, unit, word, token: None };
    let standing = Standing { fenced: false, gateways: 1 };
    let ask = Ask { org: house.org, gateway: GATEWAY, call, standing };
    let answers = booker.hear(&[ask], house.app.clock.now()).await.unwrap();
    assert_eq!((answers[0].total, &answers[0].refused), (total, &None));
}

/// A gateway of the organisation.
async fn join(house: &House) {
    let token = house.post("/gateways/tokens", json!({ "name": "t" })).await.json();
    let token: TokenId = token["id"].as_str().unwrap().parse().unwrap();
    let command = Command::JoinGateway { gateway: GATEWAY, name: "edge".into(), token };
    order::organisation(&house.app, house.org, command).await.unwrap();
}

/// The id of a key that was made.
pub(super) fn id(thing: &Value) -> KeyId {
    thing["id"].as_str().unwrap().parse().unwrap()
}

async fn capped(house: &House) -> KeyId {
    let limits = json!({ "cost_usd": "10.00", "tokens": 1_000, "reset": "daily" });
    id(&house.post("/keys", json!({ "name": "k", "limits": limits })).await.json())
}

#[tokio::test(start_paused = true)]
async fn what_is_held_and_lost_is_shown_of_keys_projects_and_wallets_and_can_be_released() {
    let house = House::new().await;
    join(&house).await;
    let limits = json!({ "cost_usd": "9.00" });
    let project = house.post("/projects", json!({ "name": "p", "limits": limits })).await.json();
    let key = capped(&house).await;
    house.patch(&format!("/keys/{key}"), json!({ "project_id": project["id"] })).await;
    let mut booker = booker(&house).await;
    hold(&house, &mut booker, key, Unit::Usd, 2_000_000_000).await;
    hold(&house, &mut booker, key, Unit::Tokens, 300).await;

    let usage = house.get(&format!("/keys/{key}")).await["usage"].clone();
    assert_eq!((&usage["held_cost_usd"], &usage["held_tokens"]), (&json!("2.00"), &json!(300)));
    assert_eq!((&usage["cost_usd"], &usage["lost_cost_usd"]), (&json!("0.00"), &json!("0.00")));
    assert_eq!(usage["resets_at"], "2026-11-22T00:00:00.000Z");
    let path = format!("/projects/{}", project["id"].as_str().unwrap());
    let of_project = house.get(&path).await["usage"].clone();
    assert_eq!(
        (&of_project["held_cost_usd"], &of_project["resets_at"]),
        (&json!("2.00"), &Value::Null)
    );
    let listed = house.get("/projects").await["data"][0]["usage"].clone();
    assert_eq!(listed, of_project);

    booker.lose(house.org, GATEWAY).await.unwrap();
    let keys = house.get("/keys").await;
    assert_eq!(keys["data"][0]["usage"]["lost_cost_usd"], "2.00");
    let wallet = house.get("/wallet").await;
    assert_eq!((&wallet["lost_usd"], &wallet["held_usd"]), (&json!("2.00"), &json!("0.00")));

    let notices = house.get("/notices").await;
    let lost = &notices["data"][0];
    assert_eq!((&lost["kind"], &lost["standing"]), (&json!("hold_lost"), &json!(true)));
    assert_eq!(
        (&lost["about"], &lost["data"]["amount"]),
        (&json!(key.to_string()), &json!("2.00"))
    );

    let release = format!("/gateways/{GATEWAY}/release");
    let body = json!({ "key_id": key.to_string(), "cost_usd": "0.50" });
    let (_, member) = house.person("max", "member").await;
    let line = format!("GET {}", house.path(&path));
    assert_eq!(house.call(&member, &line, None).await.json()["usage"], Value::Null);
    let released = house.post(&release, body).await;
    assert_eq!((released.status, &released.json()["cost_usd"]), (200, &json!("0.50")));
    let told = house.get("/notices").await;
    let kinds: Vec<&str> =
        told["data"].as_array().unwrap().iter().map(|it| it["kind"].as_str().unwrap()).collect();
    assert!(kinds.contains(&"hold_released"), "{kinds:?}");
}

#[tokio::test(start_paused = true)]
async fn a_record_that_nobody_can_read_stands_as_an_alarm() {
    let house = House::new().await;
    join(&house).await;
    let records = vec![Encoded(vec![0xff]), Encoded(vec![0xfe])];
    let batch = Batch { epoch: EpochId(1), first: 1, records, end: false };
    let delivery = Delivery { org: house.org, gateway: GATEWAY, batch, published: 0 };
    booker(&house).await.book(&[delivery], house.app.clock.now()).await.unwrap();
    let alarm = house.get("/notices").await["data"][0].clone();
    assert_eq!((&alarm["kind"], &alarm["severity"]), (&json!("record_put_aside"), &json!("alarm")));
    assert_eq!(
        (&alarm["about"], &alarm["data"]["records"]),
        (&json!(GATEWAY.to_string()), &json!(2))
    );
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_cannot_read_its_events_stands_as_an_alarm_until_it_can() {
    let house = House::new().await;
    join(&house).await;
    let path = format!("/gateways/{GATEWAY}");
    assert_eq!(house.get(&path).await["quarantine"], Value::Null);
    let told = async |told: Option<Quarantine>| {
        house.app.presence.told_of_quarantine(house.org, GATEWAY, told);
        let notices = house.get("/notices").await["data"].as_array().unwrap().clone();
        notices.into_iter().find(|notice| notice["kind"] == "gateway_quarantined")
    };
    let at = house.app.clock.now();
    let stands = Quarantine { events: 2, seq: Some(9), at, stands: true };
    let alarm = told(Some(stands)).await.unwrap();
    assert_eq!((&alarm["severity"], &alarm["standing"]), (&json!("alarm"), &json!(true)));
    assert_eq!(
        (&alarm["about"], &alarm["data"]["last_seq"]),
        (&json!(GATEWAY.to_string()), &json!(9))
    );
    let shown = house.get(&path).await["quarantine"].clone();
    assert_eq!((&shown["events"], &shown["stands"]), (&json!(2), &json!(true)));
    let healed = told(Some(Quarantine { stands: false, ..stands })).await.unwrap();
    assert_eq!(healed["severity"], "warning", "somebody should still ask why");
    assert_eq!(told(None).await, None, "a new run could read all");
}

#[tokio::test(start_paused = true)]
async fn a_member_is_not_told_what_others_have_used() {
    let house = House::new().await;
    model(&house).await;
    let limits = json!({ "cost_usd": "9.00" });
    let project = house.post("/projects", json!({ "name": "p", "limits": limits })).await.json();
    let (_, member) = house.person("max", "member").await;
    let body = json!({ "name": "own", "project_id": project["id"], "limits": limits });
    let line = format!("POST {}", house.path("/keys"));
    let own = id(&house.call(&member, &line, Some(body)).await.json());
    let path = format!("/keys/{own}/explain?model=m&max_output_tokens=9");
    let line = format!("GET {}", house.path(&path));
    let told = house.call(&member, &line, None).await.json()["levels"].clone();
    let all = house.get(&path).await["levels"].clone();
    assert_eq!(told[0], all[0]);
    assert_eq!((&told[1]["left"], &told[1]["used"]), (&Value::Null, &Value::Null));
    assert_eq!((&told[1]["fits"], &all[1]["left"]), (&json!(true), &json!("9.00")));
}

#[tokio::test(start_paused = true)]
async fn a_release_says_of_what_and_how_much_once() {
    let house = House::new().await;
    join(&house).await;
    let release = format!("/gateways/{GATEWAY}/release");
    let key = KeyId(1).to_string();
    for (body, pointers) in [
        (json!({}), ["/cost_usd"].as_slice()),
        (json!({ "cost_usd": "1.00", "tokens": 1 }), &["/tokens"]),
        (
            json!({ "key_id": key, "project_id": "prj_00000000000000000000000001", "tokens": 1 }),
            &["/project_id"],
        ),
        (json!({ "key_id": key, "tokens": 0 }), &["/amount"]),
    ] {
        assert_eq!(house.post(&release, body.clone()).await.pointers(), pointers, "{body}");
    }
    let (_, admin) = house.person("ann", "admin").await;
    let line = format!("POST {}", house.path(&release));
    let of_wallet = house.call(&admin, &line, Some(json!({ "cost_usd": "1.00" }))).await;
    of_wallet.problem(StatusCode::FORBIDDEN, "forbidden");
    let of_key = json!({ "key_id": key, "cost_usd": "1.00" });
    assert_eq!(house.call(&admin, &line, Some(of_key.clone())).await.status, 200);
    let other = format!("POST {}", house.path(&format!("/gateways/{}/release", GatewayId(9))));
    house.call(&admin, &other, Some(of_key)).await.problem(StatusCode::NOT_FOUND, "not_found");
}

/// A model that costs one USD per million tokens in, two out.
pub(super) async fn model(house: &House) {
    let prices = json!({ "input": "1.00", "output": "2.00" });
    let provider = json!({ "name": "up", "kind": "openai", "base_url": "https://up.example" });
    let made = house.call(&house.operator, "POST /providers", Some(provider)).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let body = json!({
        "name": "m", "context_window": 1_000_000, "max_output": 1_000_000, "prices": prices,
        "routes": [{ "provider": "up", "weight": 1 }],
    });
    let made = house.call(&house.operator, "POST /models", Some(body)).await;
    assert_eq!(made.status, 201, "{}", made.text);
}

/// What came of each check of that name.
pub(super) fn outcome<'a>(told: &'a Value, check: &str) -> Vec<&'a str> {
    let checks = told["checks"].as_array().unwrap().iter();
    let named = checks.filter(|it| it["check"] == check);
    named.map(|it| it["outcome"].as_str().unwrap()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_hypothetical_request_is_judged_by_every_check_in_order() {
    let house = House::new().await;
    model(&house).await;
    let limits = json!({ "cost_usd": "1.00", "requests_per_minute": 60, "tokens_per_minute": 50 });
    let scopes = json!({ "ips": ["10.0.0.0/8"] });
    let body = json!({ "name": "k", "limits": limits, "scopes": scopes });
    let key = id(&house.post("/keys", body).await.json());
    let ask = async |query: &str| house.get(&format!("/keys/{key}/explain?{query}")).await;

    let fits = ask("model=m&input_tokens=200000&max_output_tokens=100000&ip=10.1.2.3").await;
    assert_eq!(
        (&fits["admitted"], &fits["status"], &fits["code"]),
        (&json!(true), &json!(200), &Value::Null)
    );
    let order: Vec<&str> =
        fits["checks"].as_array().unwrap().iter().map(|it| it["check"].as_str().unwrap()).collect();
    let mut unique = order.clone();
    unique.dedup();
    assert_eq!(unique, ["credential", "path", "body", "model", "scopes", "rate", "money"]);
    assert_eq!(fits["reservation"]["cost_usd"], "0.40");
    let level = &fits["levels"][0];
    assert_eq!((&level["limit_source"], &level["left"]), (&json!("key.cost_usd"), &json!("1.00")));
    assert_eq!((&level["needed"], &level["fits"]), (&json!("0.40"), &json!(true)));
    let rate = &fits["rates"][1];
    assert_eq!(
        (&rate["limit_source"], &rate["id"]),
        (&json!("key.tokens_per_minute"), &json!(key.to_string()))
    );
    assert_eq!((&rate["limit"], &rate["needed"]), (&json!(50), &json!(50)));

    let large = ask("model=m&input_tokens=1000&max_output_tokens=900000").await;
    assert_eq!((&large["code"], &large["status"]), (&json!("api_key_quota_exceeded"), &json!(402)));
    assert_eq!(outcome(&large, "scopes"), ["passed", "passed", "open", "passed"]);
    assert_eq!(outcome(&large, "money"), ["refused"]);
    let settings = format!("PATCH {}", house.path(""));
    house.call(&house.operator, &settings, Some(json!({ "limit_status": 429 }))).await;
    assert_eq!(ask("model=m&max_output_tokens=900000").await["status"], 429);

    let elsewhere = ask("model=m&max_output_tokens=1&ip=192.0.2.1").await;
    assert_eq!(elsewhere["code"], "ip_not_allowed");
    let unknown = ask("model=x").await;
    assert_eq!(
        (&unknown["code"], &unknown["reservation"]),
        (&json!("model_not_found"), &Value::Null)
    );

    house.post(&format!("/keys/{key}/disable"), json!({})).await;
    let disabled = ask("model=x").await;
    assert_eq!((&disabled["code"], &disabled["status"]), (&json!("key_disabled"), &json!(401)));
    for (query, pointer) in
        [("", "?model"), ("?model=m&ip=x", "?ip"), ("?model=m&choices=0", "?choices")]
    {
        let line = format!("GET {}", house.path(&format!("/keys/{key}/explain{query}")));
        assert_eq!(house.call(&house.operator, &line, None).await.pointers(), [pointer]);
    }
}

#[tokio::test(start_paused = true)]
async fn an_explanation_clamps_as_gateways_do_and_tells_held_from_gone() {
    let house = House::new().await;
    model(&house).await;
    let limits = json!({ "cost_usd": "1.00", "fit": "clamp" });
    let key = id(&house.post("/keys", json!({ "name": "k", "limits": limits })).await.json());
    let ask = async |query: &str| house.get(&format!("/keys/{key}/explain?{query}")).await;
    let clamped = ask("model=m&input_tokens=200000").await["reservation"].clone();
    assert_eq!((&clamped["clamped"], &clamped["cost_usd"]), (&json!(true), &json!("1.00")));
    assert_eq!(clamped["output_tokens"], 400_000);

    let mut booker = booker(&house).await;
    hold(&house, &mut booker, key, Unit::Usd, 900_000_000).await;
    let held = ask("model=m&input_tokens=200000&max_output_tokens=0").await;
    assert_eq!(
        (&held["code"], &held["levels"][0]["held"]),
        (&json!("in_flight_budget_exhausted"), &json!("0.90"))
    );
}

#[tokio::test(start_paused = true)]
async fn notices_come_newest_first_and_members_see_those_of_their_own_keys() {
    let house = House::new().await;
    let (_, member) = house.person("max", "member").await;
    let line = format!("POST {}", house.path("/keys"));
    let limits = json!({ "cost_usd": "1.00", "alert_percent": [50] });
    let body = json!({ "name": "own", "limits": limits });
    let own = id(&house.call(&member, &line, Some(body)).await.json());
    let other = capped(&house).await;
    let (unit, window, revision) = (Unit::Usd, Window(0), 1);
    let raise = Command::RaiseAlert {
        account: Account::Key(own),
        unit,
        window,
        revision,
        percent: 50,
        settled: 600_000_000,
    };
    order::organisation(&house.app, house.org, raise).await.unwrap();
    let account = Account::Key(other);
    let (unit, settled, window) = (Unit::Tokens, 1_000, Window(super::DAY));
    let close = Command::CloseBudget { account, unit, window, revision, settled };
    order::organisation(&house.app, house.org, close).await.unwrap();

    let all = house.get("/notices").await;
    let kinds: Vec<&str> =
        all["data"].as_array().unwrap().iter().map(|it| it["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["quota_hit", "alert_raised"]);
    assert_eq!(all["data"][1]["says"], "50 % of the key own: 0.60 USD of 1.00 USD.");
    assert_eq!(all["next_cursor"], Value::Null);
    let first = house.get("/notices?limit=1").await;
    assert_eq!(first["data"].as_array().unwrap().len(), 1);
    let cursor = first["next_cursor"].as_str().unwrap();
    let second = house.get(&format!("/notices?limit=1&cursor={cursor}")).await;
    assert_eq!(second["data"][0], all["data"][1]);

    let line = format!("GET {}", house.path("/notices"));
    let mine = house.call(&member, &line, None).await.json();
    assert_eq!(mine["data"].as_array().unwrap().len(), 1);
    assert_eq!(mine["data"][0]["about"], own.to_string());
    assert_eq!(house.get(&format!("/keys/{other}")).await["status"], "exhausted");
    let told = house.get(&format!("/audit?type=QuotaHit&key={other}")).await;
    assert_eq!(told["data"].as_array().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_changed_limit_is_checked_whole() {
    let house = House::new().await;
    let key = capped(&house).await;
    let bad = json!({ "limits": { "alert_percent": [80, 50, 101], "requests_per_minute": 0 } });
    let pointers = ["/limits/requests_per_minute", "/limits/alert_percent"];
    assert_eq!(house.patch(&format!("/keys/{key}"), bad.clone()).await.pointers(), pointers);
    let project = house.post("/projects", json!({ "name": "p" })).await.json();
    let path = format!("/projects/{}", project["id"].as_str().unwrap());
    assert_eq!(house.patch(&path, bad).await.pointers(), pointers);
    let shape = json!({ "limits": { "alert_percent": [50, 256], "cost_usd": 5, "tokens": -1 } });
    let pointers = ["/limits/cost_usd", "/limits/tokens", "/limits/alert_percent/1"];
    assert_eq!(house.patch(&path, shape).await.pointers(), pointers);
}

#[tokio::test(start_paused = true)]
async fn a_repeated_top_up_adds_once_and_only_the_operator_adds() {
    let house = House::new().await;
    let line = format!("POST {}", house.path("/wallet/topups"));
    let top_up = async |token: &str, usd: &str| {
        let body = json!({ "amount_usd": usd, "note": "invoice 7" });
        house.call_with(token, &line, Some(body), &[("idempotency-key", "7")]).await
    };
    let first = top_up(&house.operator, "25.00").await;
    assert_eq!((first.status, &first.json()["note"]), (201, &json!("invoice 7")));
    assert_eq!(top_up(&house.operator, "25.00").await.json()["id"], first.json()["id"]);
    top_up(&house.operator, "26.00").await.problem(StatusCode::CONFLICT, "idempotency_conflict");
    let (_, owner) = house.person("o", "owner").await;
    top_up(&owner, "25.00").await.problem(StatusCode::FORBIDDEN, "forbidden");
    let wallet = house.get("/wallet").await;
    assert_eq!((&wallet["balance_usd"], &wallet["mode"]), (&json!("25.00"), &json!("off")));
    assert_eq!(house.get("/wallet/topups").await["data"].as_array().unwrap().len(), 1);
    let ledger = house.get("/wallet/ledger").await;
    assert_eq!(
        (&ledger["data"][0]["kind"], &ledger["data"][0]["amount_usd"]),
        (&json!("top_up"), &json!("25.00"))
    );
}
