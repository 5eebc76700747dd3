//! Usage and the request log, as they are booked.

use std::sync::Arc;

use serde_json::json;
use turnpike_domain::id::{EpochId, GatewayId, KeyId, ProviderId, RequestId};
use turnpike_domain::meter::Usage;
use turnpike_domain::money::NanoUsd;
use turnpike_domain::spend::{Source, Spend};
use turnpike_domain::time::{DAY_MS, HOUR_MS, Timestamp};
use turnpike_store::booking::{Booker, Delivery};
use turnpike_store::leader::Role;
use turnpike_wire::spend::{Batch, Encoded};

use super::{DAY, House};

pub(super) fn spend(number: u128, key: KeyId, model: &str, at: u64, status: u16) -> Spend {
    Spend {
        model: model.into(),
        provider: Some(ProviderId(1)),
        status,
        usage: Usage { input: 100, output: 10, ..Usage::default() },
        source: Source::Provider,
        price_version: 1,
        cost: NanoUsd(1_000_000_000),
        reserved: NanoUsd(2_000_000_000),
        reserved_tokens: 200,
        latency_ms: 5,
        unmetered: false,
        ..Spend::unused(RequestId((u128::from(at) << 80) | number), Timestamp(at), key, 1)
    }
}

/// The owner of the organisation's shard.
pub(super) async fn booker(house: &House) -> Booker {
    let kv = Arc::clone(house.app.streams().kv());
    let role = Role::new(Arc::clone(&kv), house.app.clock.clone(), "shard");
    let term = Arc::new(role.win().await.unwrap());
    Booker::new(kv, term, 0, Arc::clone(house.app.streams()))
}

pub(super) async fn book(house: &House, records: Vec<Spend>) {
    let mut booker = booker(house).await;
    let (org, gateway, epoch) = (house.org, GatewayId(1), EpochId(1));
    let records = records.iter().map(|it| Encoded(turnpike_wire::spend::encode(it))).collect();
    let batch = Batch { epoch, first: 1, records, end: false };
    let delivery = Delivery { org, gateway, batch, published: 0 };
    let booked = booker.book(&[delivery], house.app.clock.now()).await.unwrap();
    assert_eq!(booked.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn figures_are_those_that_were_booked() {
    let house = House::new().await;
    let project = house.post("/projects", json!({ "name": "p" })).await.json()["id"].clone();
    let limits = json!({ "cost_usd": "10.00", "reset": "daily" });
    let body = json!({
        "name": "a", "limits": limits, "project_id": project, "metadata": { "team": "red" },
    });
    let first = house.post("/keys", body).await.json();
    let second = house.key("b").await;
    let id = |key: &serde_json::Value| key["id"].as_str().unwrap().parse::<KeyId>().unwrap();
    let (one, two) = (id(&first), id(&second));
    let records = vec![
        spend(1, one, "m", DAY - DAY_MS, 200),
        spend(2, one, "m", DAY, 200),
        spend(3, one, "n", DAY + 1, 429),
        spend(4, two, "m", DAY + 2, 200),
    ];
    book(&house, records).await;
    // Figures are kept for a moment; past it they are those of the store.
    tokio::time::advance(std::time::Duration::from_secs(3)).await;

    let key = house.get(&format!("/keys/{one}")).await;
    assert_eq!((&key["requests"], &key["traffic_share"]), (&json!(3), &json!(75.0)));
    let usage = &key["usage"];
    assert_eq!((&usage["cost_usd"], &usage["tokens"]), (&json!("2.00"), &json!(220)));
    assert_eq!(usage["resets_at"], "2026-11-22T00:00:00.000Z");
    assert_eq!(key["last_used_at"], "2026-11-21T00:00:00.001Z");
    let sorted = house.get("/keys?sort=-requests").await;
    assert_eq!(
        (&sorted["data"][0]["name"], &sorted["data"][1]["requests"]),
        (&json!("a"), &json!(1))
    );
    assert_eq!(house.get("/wallet").await["settled_usd"], "4.00");
    let ledger = house.get("/wallet/ledger").await;
    assert_eq!(ledger["data"][0]["amount_usd"], "-3.00");

    let by_key = house.get("/usage?group_by=key").await;
    assert_eq!(by_key["data"].as_array().unwrap().len(), 2);
    assert_eq!(
        (&by_key["total"]["requests"], &by_key["total"]["cost_usd"]),
        (&json!(4), &json!("4.00"))
    );
    let by_day = house.get(&format!("/keys/{one}/usage")).await;
    let days = by_day["data"].as_array().unwrap();
    assert_eq!(
        (&days[0]["start"], &days[1]["requests"]),
        (&json!("2026-11-20T00:00:00.000Z"), &json!(2))
    );
    let query = "?group_by=project,model&from=2026-11-21T00:00:00Z";
    let whose = project.as_str().unwrap();
    let of_project = house.get(&format!("/usage{query}&project={whose}")).await;
    assert_eq!(
        (&of_project["data"][0]["model"], &of_project["data"][0]["project_id"]),
        (&json!("m"), &project)
    );
    assert_eq!(of_project["total"]["input_tokens"], 200);
    for query in ["?group_by=hour,day", "?group_by=x", "?group_by="] {
        let line = format!("GET {}", house.path(&format!("/usage{query}")));
        assert_eq!(house.call(&house.operator, &line, None).await.pointers(), ["?group_by"]);
    }
    let line = format!("GET {}", house.path("/usage?from=2020-01-01T00:00:00Z"));
    assert_eq!(house.call(&house.operator, &line, None).await.pointers(), ["?from"]);
}

#[tokio::test(start_paused = true)]
async fn requests_are_found_by_id_key_model_status_and_time_also_of_deleted_keys() {
    let house = House::new().await;
    let (_, member) = house.person("max", "member").await;
    let keys = house.path("/keys");
    let body = json!({ "name": "own", "metadata": { "team": "red" } });
    let own = house.call(&member, &format!("POST {keys}"), Some(body)).await.json();
    let own: KeyId = own["id"].as_str().unwrap().parse().unwrap();
    let other: KeyId = house.key("b").await["id"].as_str().unwrap().parse().unwrap();
    let records: Vec<Spend> = (0..7_u128)
        .map(|number| {
            let at = DAY + u64::try_from(number).unwrap() * HOUR_MS;
            let key = if number % 2 == 0 { own } else { other };
            spend(number, key, if number < 4 { "m" } else { "n" }, at, 200)
        })
        .collect();
    let last = records[6].request;
    book(&house, records).await;
    let count = async |query: &str| {
        house.get(&format!("/requests{query}")).await["data"].as_array().unwrap().len()
    };
    assert_eq!(count("").await, 7);
    assert_eq!(count(&format!("?key={own}")).await, 4);
    assert_eq!(count("?model=n").await, 3);
    assert_eq!(count("?status=429").await, 0);
    assert_eq!(count("?from=2026-11-21T02:00:00Z&until=2026-11-21T04:00:00Z").await, 2);
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = house.get(&format!("/requests?limit=2&model=m{cursor}")).await;
        seen.extend(page["data"].as_array().unwrap().iter().map(|it| it["at"].to_string()));
        match page["next_cursor"].as_str() {
            None => break,
            Some(next) => cursor = format!("&cursor={next}"),
        }
    }
    assert_eq!(seen.len(), 4);
    assert!(seen.windows(2).all(|pair| pair[0] > pair[1]), "{seen:?}");

    let shown = house.get(&format!("/requests/{last}")).await;
    assert_eq!(
        (&shown["key_name"], &shown["metadata"]),
        (&json!("own"), &json!({ "team": "red" }))
    );
    assert_eq!((&shown["cost_usd"], &shown["usage"]["input"]), (&json!("1.00"), &json!(100)));
    let mine = house.call(&member, &format!("GET {}", house.path("/requests")), None).await.json();
    assert_eq!(mine["data"].as_array().unwrap().len(), 4);
    let line = format!("DELETE {keys}/{own}");
    assert_eq!(house.call(&house.operator, &line, None).await.status, 200);
    assert_eq!(house.get(&format!("/requests/{last}")).await["key_name"], json!(null));
}
