//! The request log with refused requests in it, as callers of each role read it.

use serde_json::{Map, Value, json};
use turnpike_domain::admit::Denial;
use turnpike_domain::id::{KeyId, ProviderId};
use turnpike_domain::meter::Usage;
use turnpike_domain::money::NanoUsd;
use turnpike_domain::spend::Spend;
use turnpike_wire::api::import::table::fields;

use super::figures::{book, spend};
use super::{DAY, House};

fn refused(number: u128, key: KeyId, denial: Denial, repeats: u32) -> Spend {
    Spend {
        provider: None,
        usage: Usage::default(),
        cost: NanoUsd(0),
        reserved: NanoUsd(0),
        denial: Some(denial),
        unmetered: true,
        repeats,
        decision: Some("dec_1".into()),
        ..spend(number, key, "m", DAY, denial.status())
    }
}

fn id(key: &Value) -> KeyId {
    key["id"].as_str().unwrap().parse().unwrap()
}

/// The last event of a key.
async fn seq(house: &House, key: KeyId) -> u64 {
    let read = |state: &turnpike_domain::state::Organisation| state.keys[&key].seq;
    house.app.streams().organisation(house.org, read).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn refused_requests_are_found_by_class_and_code_and_counted_apart() {
    let house = House::new().await;
    let key = id(&house.key("a").await);
    let served = Spend { provider: Some(ProviderId(7)), ..spend(1, key, "m", DAY, 200) };
    let failed = Spend { denial: Some(Denial::ProviderError), ..spend(2, key, "m", DAY, 502) };
    let limited = refused(3, key, Denial::RateLimited, 4);
    let unknown = Spend { model: "".into(), ..refused(4, key, Denial::InvalidRequest, 0) };
    let limited_id = limited.request;
    book(&house, vec![served, failed, limited, unknown]).await;
    tokio::time::advance(std::time::Duration::from_secs(3)).await;

    let found = async |query: &str| -> Vec<u64> {
        let page = house.get(&format!("/requests{query}")).await;
        let numbers = page["data"].as_array().unwrap().iter().map(|it| it["number"].as_u64());
        numbers.map(Option::unwrap).collect()
    };
    assert_eq!(found("").await, [4, 3, 2, 1]);
    assert_eq!(found("?status=4xx").await, [4, 3]);
    assert_eq!(found("?status=502").await, [2]);
    assert_eq!(found("?code=rate_limited").await, [3]);
    assert_eq!(found("?code=provider_error&status=5xx").await, [2]);
    assert_eq!(found(&format!("?provider={}", ProviderId(7))).await, [1]);
    for query in ["?status=6xx", "?code=nothing", "?provider=x", "?format=xml"] {
        let line = format!("GET {}", house.path(&format!("/requests{query}")));
        let name = query.split('=').next().unwrap();
        assert_eq!(house.call(&house.operator, &line, None).await.pointers(), [name]);
    }

    let shown = house.get(&format!("/requests/{limited_id}")).await;
    assert_eq!((&shown["code"], &shown["decision_id"]), (&json!("rate_limited"), &json!("dec_1")));
    assert_eq!((&shown["admitted"], &shown["repeats"]), (&json!(false), &json!(4)));
    assert_eq!((&shown["provider_id"], &shown["cost_usd"]), (&json!(null), &json!("0.00")));
    assert_eq!(house.get("/requests?code=invalid_request").await["data"][0]["model"], json!(null));

    let usage = house.get("/usage?group_by=model").await;
    let total = &usage["total"];
    assert_eq!((&total["requests"], &total["refused_requests"]), (&json!(2), &json!(6)));
    assert_eq!(usage["data"][0]["model"], json!(null));
    assert_eq!(house.get(&format!("/keys/{key}")).await["requests"], 2, "admitted calls only");
}

#[tokio::test(start_paused = true)]
async fn a_request_shows_the_name_and_the_metadata_that_its_key_had_then() {
    let house = House::new().await;
    let body = json!({ "name": "first", "metadata": { "team": "red" } });
    let key = id(&house.post("/keys", body).await.json());
    let line =
        |verb: &str, rest: &str| format!("{verb} {}", house.path(&format!("/keys/{key}{rest}")));
    let mut records =
        vec![Spend { key_seq: seq(&house, key).await, ..spend(1, key, "m", DAY, 200) }];
    let change = json!({ "name": "second", "metadata": { "team": "blue" } });
    house.call(&house.operator, &line("PATCH", ""), Some(change)).await;
    records.push(Spend { key_seq: seq(&house, key).await, ..spend(2, key, "m", DAY, 200) });
    house.call(&house.operator, &line("POST", "/disable"), None).await;
    let mut denied = refused(3, key, Denial::KeyDisabled, 0);
    denied.key_seq = seq(&house, key).await;
    records.push(denied);
    let last = records[2].request;
    book(&house, records).await;

    let told = async || -> Vec<(Value, Value)> {
        let page = house.get("/requests").await;
        let rows = page["data"].as_array().unwrap().iter();
        rows.map(|it| (it["key_name"].clone(), it["metadata"]["team"].clone())).collect()
    };
    let wanted = [("second", "blue"), ("second", "blue"), ("first", "red")];
    let wanted = wanted.map(|(name, team)| (json!(name), json!(team)));
    assert_eq!(told().await, wanted);
    let deleted = house.call(&house.operator, &line("DELETE", ""), None).await;
    assert_eq!(deleted.status, 200);
    assert_eq!(told().await, wanted, "also of a deleted key");
    let shown = house.get(&format!("/requests/{last}")).await;
    assert_eq!((&shown["key_deleted"], &shown["key_name"]), (&json!(true), &json!("second")));
    assert_eq!(
        house.get(&format!("/requests?key={key}")).await["data"].as_array().unwrap().len(),
        3
    );
}

#[tokio::test(start_paused = true)]
async fn a_member_reads_and_exports_the_requests_of_their_own_keys_alone() {
    let house = House::new().await;
    let (_, member) = house.person("max", "member").await;
    let (_, stranger) = house.person("mia", "member").await;
    let keys = format!("POST {}", house.path("/keys"));
    let own = house.call(&member, &keys, Some(json!({ "name": "own" }))).await.json();
    let (own, other) = (id(&own), id(&house.key("b").await));
    let records: Vec<Spend> = (1..=480)
        .map(|number| spend(number, if number % 160 == 0 { own } else { other }, "m", DAY, 200))
        .collect();
    let (mine, foreign) = (records[159].request, records[0].request);
    book(&house, records).await;
    let get = async |who: &str, rest: &str| {
        let line = format!("GET {}", house.path(&format!("/requests{rest}")));
        house.call(who, &line, None).await
    };
    let page = get(&member, "").await.json();
    assert_eq!(page["data"].as_array().unwrap().len(), 3);
    assert_eq!(page["next_cursor"], json!(null), "their keys' own lists are read");
    assert_eq!(get(&stranger, "").await.json()["data"], json!([]));
    assert_eq!(get(&member, &format!("/{mine}")).await.status, 200);
    for (who, request) in [(&member, foreign), (&stranger, mine)] {
        assert_eq!(get(who, &format!("/{request}")).await.status, 404);
    }
    assert_eq!(get(&member, &format!("?key={other}")).await.json()["data"], json!([]));
    let lines = |text: String| text.lines().map(str::len).filter(|len| *len > 100).count();
    assert_eq!(lines(get(&member, "?format=ndjson").await.text), 3);
    assert_eq!(lines(get(&house.operator, "?format=ndjson").await.text), 480);
    assert_eq!(lines(get(&house.operator, "?format=ndjson&status=4xx").await.text), 0);
}

#[tokio::test(start_paused = true)]
async fn an_export_is_a_table_whose_cells_are_no_formulas() {
    let house = House::new().await;
    let body = json!({ "name": "a, \"b\"", "metadata": { "team": "red" } });
    let key = id(&house.post("/keys", body).await.json());
    let key_seq = seq(&house, key).await;
    let served = Spend { key_seq, failovers: 1, ..spend(1, key, "echo-1", DAY, 200) };
    let made_up = Spend { model: "=1+1".into(), ..refused(2, key, Denial::ModelNotFound, 0) };
    let made_up = Spend { key_seq, ..made_up };
    book(&house, vec![served, made_up]).await;

    let line = format!("GET {}", house.path("/requests?format=csv"));
    let answer = house.call(&house.operator, &line, None).await;
    let mut rows = answer.text.split("\r\n").map(|row| fields(row).unwrap());
    let names = rows.next().unwrap();
    let mut next = || -> Map<String, Value> {
        names.iter().cloned().zip(rows.next().unwrap().into_iter().map(Value::from)).collect()
    };
    let (refused, served) = (next(), next());
    assert_eq!((&refused["model"], &refused["code"]), (&json!("'=1+1"), &json!("model_not_found")));
    assert_eq!((&refused["admitted"], &refused["failovers"]), (&json!("false"), &json!("0")));
    assert_eq!((&served["key_name"], &served["model"]), (&json!("a, \"b\""), &json!("echo-1")));
    assert_eq!(served["metadata"], json!(r#"{"team":"red"}"#));
    assert_eq!((&served["failovers"], &served["code"]), (&json!("1"), &json!("")));
    let shown = house.get("/requests").await;
    let shown = shown["data"][1].as_object().unwrap();
    for name in shown.keys().filter(|name| !["usage", "epoch"].contains(&name.as_str())) {
        assert!(names.contains(name), "{name} is no column");
    }
    assert_eq!(shown["failovers"], 1);
}
