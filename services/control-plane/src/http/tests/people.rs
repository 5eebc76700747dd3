//! Members, sessions and tokens.

use axum::http::StatusCode;
use serde_json::json;

use super::{House, PASSWORD};

#[tokio::test(start_paused = true)]
async fn an_invited_person_accepts_logs_in_and_out() {
    let house = House::new().await;
    let invite = json!({ "email": "Ann@Acme.example", "name": "Ann", "role": "admin" });
    let invited = house.post("/members", invite).await;
    assert_eq!(invited.status, 201, "{}", invited.text);
    let invited = invited.json();
    assert_eq!(
        (&invited["email"], &invited["state"]),
        (&json!("ann@acme.example"), &json!("invited"))
    );
    let line = format!("POST {}", house.path("/members/accept"));
    let weak = json!({ "invitation": invited["secret"], "password": "short" });
    assert_eq!(house.call("", &line, Some(weak)).await.pointers(), ["/password"]);
    let answer = json!({ "invitation": invited["secret"], "password": PASSWORD });
    let joined = house.call("", &line, Some(answer.clone())).await;
    assert_eq!(
        (joined.status, &joined.json()["state"]),
        (200, &json!("joined")),
        "{}",
        joined.text
    );
    let twice = house.call("", &line, Some(answer)).await;
    twice.problem(StatusCode::UNAUTHORIZED, "unauthorized");

    let (cookie, csrf) = house.login("ANN@acme.example").await;
    let with = [("cookie", cookie.as_str())];
    let me = house.call_with("", "GET /me", None, &with).await.json();
    assert_eq!((&me["role"], &me["member"]["name"]), (&json!("admin"), &json!("Ann")));
    assert_eq!(me["csrf"], csrf);
    let keys = format!("POST {}", house.path("/keys"));
    let body = || Some(json!({ "name": "mine" }));
    let forged = house.call_with("", &keys, body(), &with).await;
    forged.problem(StatusCode::FORBIDDEN, "forbidden");
    let both = [("cookie", cookie.as_str()), ("x-turnpike-csrf", csrf.as_str())];
    let made = house.call_with("", &keys, body(), &both).await;
    assert_eq!((made.status, &made.json()["owner_id"]), (201, &me["member"]["id"]));

    let out = house.call_with("", "DELETE /session", None, &both).await;
    assert!(out.headers["set-cookie"].to_str().unwrap().contains("Max-Age=0"));
    house.clock.step_day(13 * 3_600_000);
    let ended = house.call_with("", "GET /me", None, &with).await;
    ended.problem(StatusCode::UNAUTHORIZED, "unauthorized");
}

#[tokio::test(start_paused = true)]
async fn cookies_are_hidden_from_scripts_and_other_sites() {
    let house = House::new().await;
    house.person("bob", "member").await;
    let body = json!({ "email": "bob@acme.example", "password": PASSWORD });
    let got = house.call("", "POST /session", Some(body)).await;
    let cookie = got.headers["set-cookie"].to_str().unwrap();
    for part in ["HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=43200"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    assert_eq!(got.headers["cache-control"], "no-store");
    let (name, value) = cookie.split(';').next().unwrap().split_once('=').unwrap();
    let mut forged = value.to_owned();
    let place = forged.len() / 2;
    forged.replace_range(place..=place, if &forged[place..=place] == "A" { "B" } else { "A" });
    let forged = format!("{name}={forged}");
    let got = house.call_with("", "GET /me", None, &[("cookie", &forged)]).await;
    got.problem(StatusCode::UNAUTHORIZED, "unauthorized");
}

#[tokio::test(start_paused = true)]
async fn wrong_logins_do_not_tell_what_was_wrong() {
    let house = House::new().await;
    house.person("bob", "member").await;
    let mut answers = Vec::new();
    for (email, password) in
        [("bob@acme.example", "not the password"), ("nobody@acme.example", PASSWORD)]
    {
        let body = json!({ "email": email, "password": password });
        let got = house.call("", "POST /session", Some(body)).await;
        let problem = got.problem(StatusCode::UNAUTHORIZED, "unauthorized");
        answers.push(problem["detail"].clone());
    }
    assert_eq!(answers[0], answers[1]);
}

#[tokio::test(start_paused = true)]
async fn roles_are_never_given_above_the_own_and_removal_stops_at_once() {
    let house = House::new().await;
    let (_, owner) = house.person("olga", "owner").await;
    let (member, token) = house.person("max", "member").await;
    let forbidden = StatusCode::FORBIDDEN;
    let tokens = format!("POST {}", house.path("/tokens"));
    let above = json!({ "name": "t", "role": "admin" });
    house.call(&token, &tokens, Some(above)).await.problem(forbidden, "forbidden");
    let above = json!({ "name": "t", "role": "operator" });
    house.call(&owner, &tokens, Some(above)).await.problem(forbidden, "forbidden");
    let line = format!("PATCH {}", house.path(&format!("/members/{member}")));
    let role = |role: &str| Some(json!({ "role": role }));
    house.call(&token, &line, role("owner")).await.problem(forbidden, "forbidden");
    house.call(&owner, &line, role("operator")).await.problem(forbidden, "forbidden");
    assert_eq!(house.call(&owner, &line, role("viewer")).await.status, 200);
    // The member's own token is bound by the new role at once.
    let keys = format!("POST {}", house.path("/keys"));
    let made = house.call(&token, &keys, Some(json!({ "name": "a" }))).await;
    made.problem(forbidden, "forbidden");
    let line = format!("DELETE {}", house.path(&format!("/members/{member}")));
    assert_eq!(house.call(&owner, &line, None).await.status, 200);
    let gone = house.call(&token, "GET /me", None).await;
    gone.problem(StatusCode::UNAUTHORIZED, "unauthorized");
}

#[tokio::test(start_paused = true)]
async fn tokens_end_when_they_expire_or_are_deleted() {
    let house = House::new().await;
    let body = json!({ "name": "t", "role": "admin", "expires_at": "2026-11-21T01:00:00Z" });
    let brief = house.post("/tokens", body).await.json();
    let secret = brief["secret"].as_str().unwrap();
    assert_eq!(house.call(secret, "GET /me", None).await.status, 200);
    house.clock.step_day(3_600_000);
    let got = house.call(secret, "GET /me", None).await;
    got.problem(StatusCode::UNAUTHORIZED, "unauthorized");
    let lasting = house.post("/tokens", json!({ "name": "u", "role": "admin" })).await.json();
    let secret = lasting["secret"].as_str().unwrap();
    assert_eq!(house.call(secret, "GET /me", None).await.json()["token_id"], lasting["id"]);
    let line =
        format!("DELETE {}", house.path(&format!("/tokens/{}", lasting["id"].as_str().unwrap())));
    assert_eq!(house.call(&house.operator, &line, None).await.status, 200);
    let got = house.call(secret, "GET /me", None).await;
    got.problem(StatusCode::UNAUTHORIZED, "unauthorized");
    let listed = house.get("/tokens").await;
    let names: Vec<_> = listed["data"].as_array().unwrap().iter().map(|it| &it["name"]).collect();
    assert_eq!(names, ["first start", "t"]);
    assert!(listed["data"][0].get("secret").is_none());
}

#[tokio::test(start_paused = true)]
async fn operators_see_which_peppers_are_needed() {
    let house = House::new().await;
    let (_, owner) = house.person("olga", "owner").await;
    let before = house.call(&house.operator, "GET /peppers", None).await.json();
    house.key("k").await;
    let body = json!({ "email": "new@acme.example", "name": "new", "role": "member" });
    assert_eq!(house.post("/members", body).await.status, 201);
    let after = house.call(&house.operator, "GET /peppers", None).await.json();
    let [before, after] = [before, after].map(|page| page["data"][0].clone());
    assert_eq!((&after["version"], &after["newest"]), (&json!(1), &json!(true)));
    assert_eq!(after["configured"], true);
    let more = |field: &str| after[field].as_u64().unwrap() - before[field].as_u64().unwrap();
    assert_eq!(["keys", "tokens", "invitations"].map(more), [1, 0, 1]);
    let refused = house.call(&owner, "GET /peppers", None).await;
    refused.problem(StatusCode::FORBIDDEN, "forbidden");
}
