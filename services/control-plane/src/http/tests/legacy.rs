//! Legacy keys through the API: imported in bulk, migrated, finished.

use axum::body::Body;
use axum::http::{Request, StatusCode};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use turnpike_wire::hex;

use super::{Got, House, request};

const CSV: &str = "text/csv";
const LINES: &str = "application/x-ndjson";

fn sha256(text: &str) -> String {
    hex::write(&Sha256::digest(text))
}

/// A file as it is sent.
fn upload(house: &House, token: &str, query: &str, kind: &str, file: &str) -> Request<Body> {
    let line = format!("POST {}{query}", house.path("/keys/import"));
    let mut request = request(token, &line, None, &[("content-type", kind)]);
    *request.body_mut() = Body::from(file.to_owned());
    request
}

async fn import(house: &House, query: &str, kind: &str, file: &str) -> Value {
    let got = house.send(upload(house, &house.operator, query, kind, file)).await;
    assert_eq!(got.status, 200, "{}", got.text);
    got.json()
}

/// The figures of a report: rows, accepted, refused.
fn figures(report: &Value) -> [u64; 3] {
    ["rows", "accepted", "refused"].map(|name| report[name].as_u64().unwrap())
}

fn told(report: &Value) -> Vec<(u64, &str, &str)> {
    let errors = report["errors"].as_array().unwrap().iter();
    let text = |error: &'_ Value, name: &str| error[name].as_str().unwrap().to_owned();
    let errors = errors.map(|error| (error["line"].as_u64().unwrap(), error));
    errors
        .map(|(line, error)| {
            let (field, message) = (text(error, "field"), text(error, "message"));
            (line, &*field.leak(), &*message.leak())
        })
        .collect()
}

#[tokio::test(start_paused = true)]
async fn a_table_and_lines_become_keys_that_are_marked() {
    let house = House::new().await;
    let table = format!(
        "name,secret,sha256,limits,metadata\n\
         plain,acme-plain-0001,,,\n\
         hashed,,{},\"{{\"\"cost_usd\"\":\"\"5.00\"\"}}\",\"{{\"\"team\"\":\"\"a\"\"}}\"\n",
        sha256("acme-hashed-0001").to_uppercase()
    );
    let report = import(&house, "", CSV, &table).await;
    assert_eq!((figures(&report), &report["dry_run"]), ([2, 2, 0], &json!(false)));
    let end = "2027-01-01T00:00:00Z";
    let line = json!({ "name": "line", "secret": "acme-line-0001", "expires_at": end });
    let more = import(&house, "", LINES, &line.to_string()).await;
    assert_eq!(figures(&more), [1, 1, 0]);

    let listed = house.get("/keys?sort=name").await;
    let keys = listed["data"].as_array().unwrap();
    let marked: Vec<_> = keys.iter().filter(|key| key["legacy"] == true).collect();
    assert_eq!(marked.len(), 3);
    let by_name = |name: &str| *marked.iter().find(|key| key["name"] == name).unwrap();
    assert_eq!(by_name("plain")["preview"], "acm…01");
    assert_eq!(by_name("hashed")["preview"], "imported as SHA-256");
    assert_eq!(by_name("plain")["limits"]["cost_usd"], Value::Null);
    assert_eq!(by_name("hashed")["limits"]["cost_usd"], "5.00");
    assert_eq!(by_name("hashed")["metadata"], json!({ "team": "a" }));
    assert_eq!(by_name("line")["expires_at"], "2027-01-01T00:00:00.000Z");
    assert_eq!(report["keys"][0]["id"], by_name("plain")["id"]);
    let only = house.get("/keys?legacy=false").await;
    assert!(only["data"].as_array().unwrap().iter().all(|key| key["legacy"] == false));
    assert_eq!(house.get("/keys?legacy=true").await["data"].as_array().unwrap().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn every_refused_row_is_told_by_line_and_field() {
    let house = House::new().await;
    let plan = house.key("taken").await["plan_id"].clone();
    let (other, token) = house.other_org("other").await;
    let line = json!({ "name": "theirs", "secret": "acme-theirs-0001", "plan_id": plan });
    let mut theirs = upload(&house, &token, "", LINES, &line.to_string());
    *theirs.uri_mut() = format!("/api/v1/orgs/{other}/keys/import").parse().unwrap();
    assert_eq!(figures(&house.send(theirs).await.json()), [1, 1, 0]);
    import(&house, "", LINES, "{\"name\":\"mine\",\"secret\":\"acme-mine-0001\"}").await;

    let ours = house.key("ours").await["secret"].as_str().unwrap().to_owned();
    let row = |rest: Value| {
        let mut row = json!({ "name": "n", "secret": "acme-fresh-0001" });
        row.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        row.to_string()
    };
    let cases = [
        ("{".to_owned(), "", "must be a JSON object"),
        ("[]".to_owned(), "", "must be a JSON object"),
        ("\u{7f}".repeat(40_000), "", "has more than 32768 bytes"),
        (json!({ "secret": "acme-fresh-0001" }).to_string(), "/name", "must be given"),
        (json!({ "name": "n" }).to_string(), "/secret", "must be given as a text"),
        (row(json!({ "name": "taken" })), "/name", "is taken"),
        (row(json!({ "name": "" })), "/name", "must not be empty"),
        (row(json!({ "secret": "short" })), "/secret", "must have 8 to 1024 bytes"),
        (row(json!({ "secret": "white space" })), "/secret", "may contain only visible"),
        (row(json!({ "secret": ours })), "/secret", "begins like Turnpike's own"),
        (row(json!({ "secret": "acme-mine-0001" })), "/secret", "is the secret of key_"),
        (row(json!({ "secret": "acme-theirs-0001" })), "/secret", "cannot be imported"),
        (row(json!({ "sha256": sha256("x") })), "/sha256", "must not be given beside"),
        (
            json!({ "name": "n", "sha256": "abc" }).to_string(),
            "/sha256",
            "must be the SHA-256 of the secret",
        ),
        (row(json!({ "owner_id": "mem_01h455vb4pex5vsknk084sn02q" })), "/owner_id", "must be a"),
        (row(json!({ "plan_id": "pln_01h455vb4pex5vsknk084sn02q" })), "/plan_id", "must be a"),
        (row(json!({ "expires_at": "2020-01-01T00:00:00Z" })), "/expires_at", "must be in"),
        (row(json!({ "limits": { "cost_usd": "-1" } })), "/limits/cost_usd", ""),
        (row(json!({ "scopes": { "models": [] } })), "/scopes/models", "must not be empty"),
        (row(json!({ "colour": "red" })), "/colour", "is not a field of this"),
    ];
    let file: String = cases.iter().map(|(row, _, _)| format!("{row}\n")).collect();
    let report = import(&house, "", LINES, &file).await;
    let count = u64::try_from(cases.len()).unwrap();
    assert_eq!(figures(&report), [count, 0, count], "{report}");
    let told = told(&report);
    for (line, (row, field, message)) in (1..).zip(&cases) {
        let found = told.iter().filter(|error| error.0 == line);
        let found: Vec<_> = found.map(|(_, field, message)| (*field, *message)).collect();
        assert!(
            found.iter().any(|it| it.0 == *field && it.1.starts_with(message)),
            "{row}: {found:?}"
        );
    }
    let text = report.to_string();
    assert!(!text.contains("acme-") && !text.contains(&other), "{text}");
}

#[tokio::test(start_paused = true)]
async fn rows_of_one_file_are_judged_one_after_the_other() {
    let house = House::new().await;
    let file = "name,secret\na,acme-0000001\na,acme-0000002\nb,acme-0000001\nc,acme-0000003\n";
    let dry = import(&house, "?dry_run=true", CSV, file).await;
    assert_eq!((figures(&dry), &dry["dry_run"]), ([4, 2, 2], &json!(true)));
    assert_eq!(dry["keys"][0]["id"], Value::Null);
    assert_eq!(house.get("/keys?legacy=true").await["data"], json!([]));
    let report = import(&house, "", CSV, file).await;
    assert_eq!(figures(&report), [4, 2, 2]);
    let errors = told(&report);
    assert_eq!(errors[0].0, 3);
    assert_eq!(errors[1], (4, "/secret", "is the secret of an earlier row"));
}

#[tokio::test(start_paused = true)]
async fn a_repetition_imports_nothing_twice_and_another_file_conflicts() {
    let house = House::new().await;
    let file: String = std::iter::once("name,secret\n".to_owned())
        .chain((0..450).map(|n| format!("n{n},acme-{n:08}\n")))
        .chain(["n1,acme-again\n".to_owned()])
        .collect();
    let send = |file: String| {
        let mut request = upload(&house, &house.operator, "", CSV, &file);
        request.headers_mut().insert("idempotency-key", "once".parse().unwrap());
        house.send(request)
    };
    let first = send(file.clone()).await.json();
    assert_eq!(figures(&first), [451, 450, 1]);
    let seq = house.get("/audit?limit=1").await["data"][0]["seq"].clone();
    let second = send(file.clone()).await.json();
    assert_eq!(first, second);
    assert_eq!(house.get("/audit?limit=1").await["data"][0]["seq"], seq);
    let other = send(file.replace("acme-00000003", "acme-00009003")).await;
    other.problem(StatusCode::CONFLICT, "idempotency_conflict");
    // What was refused then is not imported now, although it could be.
    let freed = first["keys"][1]["id"].as_str().unwrap();
    let line = format!("DELETE {}", house.path(&format!("/keys/{freed}")));
    assert_eq!(house.call(&house.operator, &line, None).await.status, 200);
    let third = send(file).await.json();
    assert_eq!(figures(&third), [451, 450, 1]);
    assert!(told(&third)[0].2.starts_with("was refused when this Idempotency-Key"), "{third}");
}

#[tokio::test(start_paused = true)]
async fn only_admins_import_and_only_what_can_be_read() {
    let house = House::new().await;
    let file = "name,secret\na,acme-0000001\n";
    for (role, status) in [("viewer", 403), ("member", 403), ("admin", 200)] {
        let (_, token) = house.person(role, role).await;
        let got = house.send(upload(&house, &token, "", CSV, file)).await;
        assert_eq!(got.status, status, "{role}: {}", got.text);
    }
    let (other, _) = house.other_org("other").await;
    let (_, token) = house.person("ann", "admin").await;
    let mut foreign = upload(&house, &token, "", CSV, file);
    *foreign.uri_mut() = format!("/api/v1/orgs/{other}/keys/import").parse().unwrap();
    house.send(foreign).await.problem(StatusCode::NOT_FOUND, "not_found");

    let send = |query: &'static str, kind: &'static str, file: &'static str| {
        house.send(upload(&house, &house.operator, query, kind, file))
    };
    let xml = send("", "application/xml", "{}").await;
    xml.problem(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type");
    assert_eq!(send("?dry_run=yes", CSV, "").await.pointers(), ["?dry_run"]);
    assert_eq!(send("", CSV, "name,secrets\n").await.pointers(), ["/secrets"]);
    assert_eq!(send("", CSV, "name,name\n").await.pointers(), ["/name"]);
    assert_eq!(figures(&send("", CSV, "").await.json()), [0, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn progress_is_told_line_by_line() {
    let house = House::new().await;
    let rows: String =
        (0..401).map(|n| format!("{{\"name\":\"n{n}\",\"secret\":\"acme-{n:08}\"}}\n")).collect();
    let mut request = upload(&house, &house.operator, "", LINES, &rows);
    request.headers_mut().insert("accept", LINES.parse().unwrap());
    let got: Got = house.send(request).await;
    assert_eq!(got.headers["content-type"], LINES);
    let lines: Vec<Value> =
        got.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (report, progress) = lines.split_last().unwrap();
    let rows: Vec<_> = progress.iter().map(|line| line["progress"]["rows"].as_u64()).collect();
    assert_eq!(rows, [Some(200), Some(400), Some(401)]);
    assert_eq!(figures(&report["report"]), [401, 401, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_legacy_key_becomes_a_full_one() {
    let house = House::new().await;
    let report = import(&house, "", CSV, "name,secret\nold,acme-old-0001\n").await;
    let path = format!("/keys/{}/migrate", report["keys"][0]["id"].as_str().unwrap());
    let state = |shown: &Value| shown["state"].as_str().unwrap().to_owned();
    assert_eq!(state(&house.get(&path).await), "legacy");
    let early = house.post(&path, json!({ "finish": true })).await;
    early.problem(StatusCode::CONFLICT, "state_conflict");

    let begun = house.post(&path, json!({})).await.json();
    assert!(begun["secret"].as_str().unwrap().starts_with("sk-tp-"));
    assert_eq!(begun["legacy"], true);
    let shown = house.get(&path).await;
    assert_eq!(state(&shown), "migrating");
    let secrets = shown["secrets"].as_array().unwrap();
    let legacy: Vec<_> = secrets.iter().map(|secret| secret["legacy"] == true).collect();
    assert_eq!((legacy, &secrets[1]["preview"]), (vec![false, true], &json!("ac…01")));
    assert_eq!((&secrets[0]["requests"], &secrets[0]["last_used_at"]), (&json!(0), &Value::Null));
    house.post(&path, json!({})).await.problem(StatusCode::CONFLICT, "state_conflict");
    assert_eq!(house.post(&path, json!({ "done": true })).await.pointers(), ["/done"]);

    let finished = house.post(&path, json!({ "finish": true })).await.json();
    assert_eq!((&finished["legacy"], finished.get("secret")), (&json!(false), None));
    assert_eq!(state(&house.get(&path).await), "full");
    // The secret is free again.
    let again = import(&house, "", CSV, "name,secret\nnew,acme-old-0001\n").await;
    assert_eq!(figures(&again), [1, 1, 0], "{again}");
    let types = house.get("/audit?limit=4").await;
    let types: Vec<_> = types["data"].as_array().unwrap().iter().map(|it| &it["type"]).collect();
    assert_eq!(types[..3], ["KeyImported", "KeyMigrated", "KeyMigrated"]);
}

#[tokio::test(start_paused = true)]
async fn a_json_list_or_one_row_becomes_keys_too() {
    const JSON: &str = "application/json";
    let house = House::new().await;
    let row = |name: &str, secret: &str| json!({ "name": name, "secret": secret });
    let list = json!([row("a", "acme-list-0001"), 7, row("b", "acme-list-0001"), {}]);
    let report = import(&house, "", JSON, &list.to_string()).await;
    assert_eq!(figures(&report), [4, 1, 3]);
    let errors = report["errors"].as_array().unwrap().iter();
    let lines: Vec<u64> = errors.map(|error| error["line"].as_u64().unwrap()).collect();
    assert_eq!(lines, [2, 3, 4, 4]);
    let one = import(&house, "", JSON, &row("c", "acme-one-0001").to_string()).await;
    assert_eq!(figures(&one), [1, 1, 0]);
    assert_eq!(figures(&import(&house, "", JSON, "[]").await), [0, 0, 0]);
    for (body, status, code) in [
        ("[", StatusCode::BAD_REQUEST, "invalid_json"),
        ("7", StatusCode::UNPROCESSABLE_ENTITY, "validation_failed"),
    ] {
        let got = house.send(upload(&house, &house.operator, "", JSON, body)).await;
        got.problem(status, code);
    }
}
