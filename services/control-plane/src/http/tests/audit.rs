//! Events, the audit log, and the check of its chain.

use axum::http::StatusCode;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use turnpike_wire::chain::Chain;

use super::{House, request};

#[tokio::test(start_paused = true)]
async fn every_change_is_told_newest_first_and_without_secrets() {
    let house = House::new().await;
    let (ann, token) = house.person("ann", "admin").await;
    let line = format!("POST {}", house.path("/keys"));
    let key = house.call(&token, &line, Some(json!({ "name": "k" }))).await.json();
    let rest = format!("/keys/{}", key["id"].as_str().unwrap());
    house.post(&format!("{rest}/rotate"), json!({})).await;
    let log = house.get("/audit").await;
    let entries = log["data"].as_array().unwrap();
    let seqs: Vec<u64> = entries.iter().map(|entry| entry["seq"].as_u64().unwrap()).collect();
    assert!(seqs.windows(2).all(|pair| pair[0] == pair[1] + 1) && seqs.last() == Some(&1));
    assert_eq!(log["next_cursor"], Value::Null);
    let types: Vec<&str> = entries.iter().map(|it| it["type"].as_str().unwrap()).take(2).collect();
    assert_eq!(types, ["KeyRotated", "KeyCreated"]);
    let made = &entries[1];
    assert_eq!((&made["actor"]["kind"], &made["actor"]["name"]), (&json!("token"), &json!("ann")));
    assert!(made["command_id"].as_str().unwrap().starts_with("cmd_"));
    let text = log.to_string();
    for hidden in ["digest", "sealed", key["secret"].as_str().unwrap()] {
        assert!(!text.contains(hidden), "{hidden}");
    }
    for (query, count) in [
        ("?type=KeyCreated", 1),
        (&format!("?key={}", key["id"].as_str().unwrap()), 2),
        (&format!("?actor={ann}"), 2),
        ("?actor=system&type=OrgCreated", 1),
        ("?until=2026-11-20T00:00:00Z", 0),
        ("?from=2026-11-21T00:00:00Z&type=KeyRotated", 1),
    ] {
        let found = house.get(&format!("/audit{query}")).await;
        assert_eq!(found["data"].as_array().unwrap().len(), count, "{query}");
    }
    let line = format!("GET {}", house.path("/audit?type=KeyCreate"));
    assert_eq!(house.call(&house.operator, &line, None).await.pointers(), ["?type"]);
}

#[tokio::test(start_paused = true)]
async fn pages_and_exports_hold_everything() {
    let house = House::new().await;
    for number in 0..7 {
        house.key(&format!("k{number}")).await;
    }
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = house.get(&format!("/audit?limit=3{cursor}")).await;
        for entry in page["data"].as_array().unwrap() {
            seen.push(entry["seq"].as_u64().unwrap());
        }
        // What is written meanwhile does not move the pages.
        house.key(&format!("later{}", seen.len())).await;
        match page["next_cursor"].as_str() {
            None => break,
            Some(next) => cursor = format!("&cursor={next}"),
        }
    }
    let first = seen[0];
    assert_eq!(seen, (1..=first).rev().collect::<Vec<_>>());
    let line = format!("GET {}", house.path("/audit?format=ndjson&type=KeyCreated"));
    let got = house.call(&house.operator, &line, None).await;
    assert_eq!(got.headers["content-type"], "application/x-ndjson");
    let lines: Vec<Value> =
        got.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.len() > 7 && lines.iter().all(|line| line["type"] == "KeyCreated"));
}

#[tokio::test(start_paused = true)]
async fn the_chain_is_verified_and_its_first_bad_place_named() {
    use turnpike_store::kv::{Batch, Scan, Write};

    let house = House::new().await;
    for number in 0..5 {
        house.key(&format!("k{number}")).await;
    }
    let good = house.get("/audit/verify").await;
    let head = house.app.streams().organisation(house.org, |state| state.head).await.unwrap();
    assert_eq!((&good["ok"], &good["first_bad"]), (&json!(true), &Value::Null));
    assert_eq!(good["checked"], head.seq);
    assert_eq!(good["head_hash"], turnpike_wire::hex::write(&head.hash));
    // One letter of a stored name is changed below everything.
    let kv = house.app.streams().kv();
    let snapshot = kv.snapshot().await.unwrap();
    let all = Scan { begin: vec![0].into(), end: vec![255].into(), limit: 10_000, reverse: false };
    let rows = snapshot.scan(all).await.unwrap();
    let needle = b"KeyCreated";
    let found = rows.into_iter().find_map(|(key, value)| {
        let at = value.windows(needle.len()).position(|part| part == needle)?;
        Some((key, value, at))
    });
    let (key, value, at) = found.unwrap();
    let mut changed = value.to_vec();
    let name = changed.len() - at;
    let place = changed.windows(2).position(|part| part == b"k0").unwrap_or(name);
    changed[place] = b'q';
    let writes = vec![Write::Put { key, value: changed.into() }];
    kv.commit(Batch { read_at: snapshot.version(), unchanged: Vec::new(), writes }).await.unwrap();
    let bad = house.get("/audit/verify").await;
    assert_eq!(bad["ok"], false, "{bad}");
    let first_bad = bad["first_bad"].as_u64().unwrap();
    assert_eq!(bad["checked"].as_u64().unwrap() + 1, first_bad);
    assert!((1..=head.seq).contains(&first_bad));
}

#[tokio::test(start_paused = true)]
async fn events_are_read_behind_a_seq() {
    let house = House::new().await;
    house.key("a").await;
    let all = house.get("/events").await;
    let events = all["data"].as_array().unwrap();
    assert_eq!((&events[0]["seq"], &events[0]["type"]), (&json!(1), &json!("OrgCreated")));
    for pair in events.windows(2) {
        assert_eq!(pair[0]["hash"], pair[1]["prev_hash"]);
    }
    let behind = house.get("/events?after=2&limit=1").await;
    assert_eq!(behind["data"][0]["seq"], 3);
    let cursor = behind["next_cursor"].as_str().unwrap();
    let next = house.get(&format!("/events?cursor={cursor}")).await;
    assert_eq!(next["data"][0]["seq"], 4);
    let (_, member) = house.person("max", "member").await;
    let line = format!("GET {}", house.path("/events"));
    house.call(&member, &line, None).await.problem(StatusCode::FORBIDDEN, "forbidden");
}

#[tokio::test(start_paused = true)]
async fn events_are_followed_from_where_the_caller_was_until_the_server_stops() {
    let house = House::new().await;
    let head = house.app.streams().organisation(house.org, |state| state.head.seq).await.unwrap();
    let last = (head - 1).to_string();
    let headers = [("accept", "text/event-stream"), ("last-event-id", last.as_str())];
    let line = format!("GET {}", house.path("/events"));
    let response = house.open(request(&house.operator, &line, None, &headers)).await;
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut body = response.into_body();
    let mut next = async || {
        let frame = body.frame().await?.unwrap();
        Some(String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap())
    };
    let caught_up = next().await.unwrap();
    assert!(caught_up.starts_with(&format!("id: {head}\nevent: ")), "{caught_up}");
    house.key("news").await;
    let news = next().await.unwrap();
    assert!(news.contains("event: KeyCreated\ndata: {"), "{news}");
    assert_eq!(next().await.unwrap(), ": still here\n\n");
    house.stopping.cancel();
    assert_eq!(next().await, None);
}

#[tokio::test(start_paused = true)]
async fn a_token_that_is_taken_away_follows_no_longer() {
    let house = House::new().await;
    let viewer = house.post("/tokens", json!({ "name": "v", "role": "viewer" })).await.json();
    let headers = [("accept", "text/event-stream"), ("last-event-id", "1")];
    let line = format!("GET {}", house.path("/events"));
    let secret = viewer["secret"].as_str().unwrap();
    let mut body = house.open(request(secret, &line, None, &headers)).await.into_body();
    assert!(body.frame().await.is_some());
    let rest = format!("/tokens/{}", viewer["id"].as_str().unwrap());
    let line = format!("DELETE {}", house.path(&rest));
    assert_eq!(house.call(&house.operator, &line, None).await.status, 200);
    assert!(body.frame().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn the_chain_is_checked_elsewhere_and_against_what_was_noted() {
    let house = House::new().await;
    let noted = house.get("/audit/verify").await;
    let checkpoint = format!("{}:{}", noted["checked"], noted["head_hash"].as_str().unwrap());
    house.key("later").await;
    let still = house.get(&format!("/audit/verify?checkpoint={checkpoint}")).await;
    assert_eq!((&still["ok"], &still["first_bad"]), (&json!(true), &json!(null)));
    let (seq, hash) = checkpoint.split_once(':').unwrap();
    let forged = format!("{seq}:{}{}", "0".repeat(8), &hash[8..]);
    let rewritten = house.get(&format!("/audit/verify?checkpoint={forged}")).await;
    assert_eq!(rewritten["first_bad"], noted["checked"]);
    let ahead = house.get(&format!("/audit/verify?checkpoint=1000:{hash}")).await;
    assert_eq!(ahead["first_bad"].as_u64().unwrap(), still["checked"].as_u64().unwrap() + 1);

    let line = format!("GET {}", house.path("/audit/chain"));
    let headers = [("accept", "application/cbor-seq")];
    let response = house.open(request(&house.operator, &line, None, &headers)).await;
    assert_eq!(response.headers()["content-type"], "application/cbor-seq");
    let copy = response.into_body().collect().await.unwrap().to_bytes();
    let mut chain = Chain::new(None);
    chain.take_all(&copy);
    assert_eq!(serde_json::to_value(chain.verification()).unwrap(), still);
    let (_, member) = house.person("max", "member").await;
    house.call(&member, &line, None).await.problem(StatusCode::FORBIDDEN, "forbidden");
}
