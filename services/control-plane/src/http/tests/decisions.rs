//! Decisions, as gateways seal them and people ask for them.

use axum::http::StatusCode;
use serde_json::{Value, json};
use turnpike_domain::admit::{Denial, Figures, LimitSource};
use turnpike_domain::command::Command;
use turnpike_domain::id::{GatewayId, KeyId, RequestId};
use turnpike_domain::limit::{Account, Unit};
use turnpike_domain::time::{Timestamp, Window};
use turnpike_wire::decision::Decision;
use turnpike_wire::seal::NONCE_BYTES;

use super::{DAY, House};
use crate::order;

/// What a gateway that knows all of this moment would seal.
pub(super) async fn decision(house: &House, key: &str, denial: Denial) -> Decision {
    let key: KeyId = key.parse().unwrap();
    let known = |state: &turnpike_domain::state::Organisation| {
        (state.head.seq, state.keys.get(&key).map_or(0, |key| key.seq))
    };
    let (seq, key_seq) = house.app.streams().organisation(house.org, known).await.unwrap();
    let platform_seq = house.app.streams().platform(|state| state.head.seq).await.unwrap();
    Decision {
        org: house.org,
        key,
        at: Timestamp(DAY),
        denial,
        status: denial.status(),
        gateway: GatewayId(7),
        request: RequestId(8),
        seq,
        platform_seq,
        key_seq,
        model: None,
        address: Some([192, 0, 2, 7].into()),
        server: None,
        tool: None,
        figures: None,
        token: None,
    }
}

pub(super) fn seal(house: &House, decision: &Decision) -> String {
    decision.seal(&house.app.keys.decision, &[3; NONCE_BYTES]).unwrap()
}

async fn explained(house: &House, decision: &Decision) -> Value {
    house.get(&format!("/decisions/{}", seal(house, decision))).await
}

fn id(thing: &Value) -> String {
    thing["id"].as_str().unwrap().to_owned()
}

#[tokio::test(start_paused = true)]
async fn a_stopped_key_names_the_event_that_stopped_it_also_after_it_works_again() {
    let house = House::new().await;
    let key = id(&house.key("k").await);
    let path = format!("/keys/{key}");
    house.post(&format!("{path}/revoke"), json!({ "reason": "unused" })).await;
    let revoked = decision(&house, &key, Denial::KeyRevoked).await;
    house.post(&format!("{path}/activate"), json!({})).await;
    house.patch(&path, json!({ "name": "renamed" })).await;

    let told = explained(&house, &revoked).await;
    assert_eq!((&told["code"], &told["status"]), (&json!("key_revoked"), &json!(401)));
    assert_eq!(told["retryable"], false);
    assert_eq!(told["rule"]["name"], "key.status");
    assert_eq!(
        (&told["event"]["type"], &told["rule"]["version"]),
        (&json!("KeyRevoked"), &told["event"]["seq"])
    );
    assert!(told["event"]["position"].is_number(), "{told}");
    assert_eq!((&told["key"]["status"], &told["key"]["name"]), (&json!("revoked"), &json!("k")));
    assert_eq!((&told["address"], &told["figures"]), (&json!("192.0.2.7"), &Value::Null));
    assert_eq!(told["key_id"], key);

    house.post(&format!("{path}/disable"), json!({})).await;
    let disabled = decision(&house, &key, Denial::KeyDisabled).await;
    // The key is gone by the time of the question.
    let line = format!("DELETE {}", house.path(&path));
    assert_eq!(house.call(&house.operator, &line, None).await.status, 200);
    let told = explained(&house, &disabled).await;
    assert_eq!(
        (&told["event"]["type"], &told["key"]["status"]),
        (&json!("KeyDisabled"), &json!("inactive"))
    );
}

#[tokio::test(start_paused = true)]
async fn a_used_up_limit_names_its_revision_its_figures_and_the_change_that_set_it() {
    let house = House::new().await;
    let limits = json!({ "cost_usd": "5.00", "reset": "daily" });
    let made = house.post("/keys", json!({ "name": "k", "limits": limits })).await.json();
    let path = format!("/keys/{}", id(&made));
    house.patch(&path, json!({ "limits": { "cost_usd": "7.00" } })).await;
    // Not a change of this limit.
    house.patch(&path, json!({ "limits": { "tokens": 9 } })).await;
    let refused = decision(&house, &id(&made), Denial::QuotaExceeded).await;
    let source = LimitSource::Budget(Account::Key(refused.key), Unit::Usd);
    let figures = Figures {
        limit: Some(7_000_000_000),
        used: Some(6_990_000_000),
        held: Some(0),
        resets_at: Some(Timestamp(DAY + 86_400_000)),
        revision: 2,
        ..Figures::of(source)
    };
    let told = explained(&house, &Decision { figures: Some(figures), ..refused }).await;
    assert_eq!(
        (&told["rule"]["name"], &told["rule"]["version"]),
        (&json!("key.cost_usd"), &json!(2))
    );
    let set_by = &told["rule"]["set_by"];
    assert_eq!(
        (&set_by["type"], &set_by["data"]["profile"]["limits"]["cost_usd"]),
        (&json!("KeyChanged"), &json!("7.00"))
    );
    assert_eq!(set_by, &told["event"]);
    assert_eq!(
        told["figures"],
        json!({
            "limit_source": "key.cost_usd",
            "limit": "7.00",
            "used": "6.99",
            "held": "0.00",
            "resets_at": "2026-11-22T00:00:00.000Z",
            "retry_after_ms": null,
        })
    );
    assert_eq!(told["key"]["limits"]["cost_usd"], "7.00");
}

#[tokio::test(start_paused = true)]
async fn scopes_plans_and_projects_are_told_apart() {
    let house = House::new().await;
    let scopes = json!({ "models": ["a"], "ips": ["10.0.0.0/8"] });
    let limits = json!({ "requests_per_minute": 60 });
    let project = house.post("/projects", json!({ "name": "p", "limits": limits })).await.json();
    let body = json!({ "name": "k", "scopes": scopes, "project_id": project["id"] });
    let key = id(&house.post("/keys", body).await.json());
    let of = async |denial: Denial, model: &str| {
        let decision = decision(&house, &key, denial).await;
        explained(&house, &Decision { model: Some(model.into()), ..decision }).await
    };
    let model = of(Denial::ModelNotAllowed, "b").await;
    assert_eq!(model["rule"]["name"], "key.scopes.models");
    assert_eq!((&model["event"]["type"], &model["model"]), (&json!("KeyCreated"), &json!("b")));
    let address = of(Denial::IpNotAllowed, "a").await;
    assert_eq!(address["rule"]["name"], "key.scopes.ips");

    let plans = house.call(&house.operator, "GET /plans", None).await.json();
    let plan = format!("PATCH /plans/{}", id(&plans["data"][0]));
    house.call(&house.operator, &plan, Some(json!({ "models": ["z"] }))).await;
    let plan = of(Denial::ModelNotAllowed, "a").await;
    assert_eq!(plan["rule"]["name"], "plan.models");
    assert_eq!(plan["event"]["type"], "PlanChanged");

    let project = project["id"].as_str().unwrap().parse().unwrap();
    let source = LimitSource::RequestRate(Account::Project(project));
    let figures = Some(Figures { limit: Some(60), used: Some(60), ..Figures::of(source) });
    let limited = decision(&house, &key, Denial::RateLimited).await;
    let rate = explained(&house, &Decision { figures, ..limited }).await;
    assert_eq!(rate["rule"]["name"], "project.requests_per_minute");
    assert_eq!(
        (&rate["event"]["type"], &rate["figures"]["limit"]),
        (&json!("ProjectCreated"), &json!(60))
    );
    assert_eq!((&rate["status"], &rate["retryable"]), (&json!(429), &json!(true)));
}

#[tokio::test(start_paused = true)]
async fn only_those_who_may_see_the_key_are_told() {
    let house = House::new().await;
    let (_, member) = house.person("max", "member").await;
    let line = format!("POST {}", house.path("/keys"));
    let own = house.call(&member, &line, Some(json!({ "name": "own" }))).await.json();
    let own = seal(&house, &decision(&house, &id(&own), Denial::IpNotAllowed).await);
    let foreign = id(&house.key("k").await);
    let foreign = seal(&house, &decision(&house, &foreign, Denial::IpNotAllowed).await);
    let ask =
        async |token: &str, path: String| house.call(token, &format!("GET {path}"), None).await;
    let path = |id: &str| house.path(&format!("/decisions/{id}"));
    assert_eq!(ask(&member, path(&own)).await.status, 200);
    ask(&member, path(&foreign)).await.problem(StatusCode::NOT_FOUND, "not_found");
    assert_eq!(ask(&house.operator, path(&foreign)).await.status, 200);

    let (other, owner) = house.other_org("other").await;
    let crossed = ask(&owner, format!("/orgs/{other}/decisions/{foreign}")).await;
    crossed.problem(StatusCode::NOT_FOUND, "not_found");
    for wrong in
        ["dec_", "dec_0000", "dec_01h455vb4pex5vsknk084sn02q", &foreign[..foreign.len() - 1]]
    {
        let got = ask(&house.operator, path(wrong)).await;
        got.problem(StatusCode::NOT_FOUND, "not_found");
    }
}

#[tokio::test(start_paused = true)]
async fn an_empty_wallet_names_what_made_it_the_limit_and_what_closed_it() {
    let house = House::new().await;
    let key = id(&house.key("k").await);
    let settings = format!("PATCH {}", house.path(""));
    house.call(&house.operator, &settings, Some(json!({ "wallet": "prepaid" }))).await;
    let (account, unit, window) = (Account::Wallet, Unit::Usd, Window(0));
    let close = async |revision| {
        let command = Command::CloseBudget { account, unit, window, revision, settled: 1 };
        order::organisation(&house.app, house.org, command).await.unwrap();
    };
    let refused = async |revision| {
        let refused = decision(&house, &key, Denial::BillingShortfall).await;
        let figures = Figures { revision, ..Figures::of(LimitSource::Budget(account, unit)) };
        explained(&house, &Decision { figures: Some(figures), ..refused }).await
    };
    close(1).await;
    let empty = refused(1).await;
    assert_eq!(empty["rule"]["set_by"]["type"], "OrgSettingsChanged");
    assert_eq!(
        (&empty["event"]["type"], &empty["rule"]["name"]),
        (&json!("WalletExhausted"), &json!("wallet"))
    );
    house.post("/wallet/topups", json!({ "amount_usd": "0.000000001" })).await;
    close(2).await;
    let again = refused(2).await;
    assert_eq!(again["rule"]["set_by"]["type"], "WalletToppedUp");
    assert_eq!(again["event"]["data"]["revision"], 2);
}
