//! MCP servers, the tools that they offer, and what keys may do with them.

use axum::http::StatusCode;
use serde_json::{Value, json};
use turnpike_domain::command::Command;
use turnpike_domain::id::McpServerId;
use turnpike_domain::state::{McpCatalogue, McpTool};
use turnpike_domain::time::Timestamp;

use super::DAY;
use super::House;

const URL: &str = "http://127.0.0.1:7091/mcp";

async fn register(house: &House, body: Value) -> Value {
    let made = house.post("/mcp-servers", body).await;
    assert_eq!(made.status, 201, "{}", made.text);
    made.json()
}

fn path(server: &Value) -> String {
    format!("/mcp-servers/{}", server["id"].as_str().unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_server_is_registered_changed_and_removed() {
    let house = House::new().await;
    let body = json!({
        "name": "files", "url": URL, "credential": "a-secret", "credential_header": "x-api-key",
        "headers": { "x-team": "search" }, "request_fee_usd": "0.001",
    });
    let made = register(&house, body).await;
    assert!(!made.to_string().contains("a-secret"));
    assert_eq!((&made["has_credential"], &made["enabled"]), (&json!(true), &json!(true)));
    assert_eq!((&made["tools"], &made["refreshed_at"]), (&Value::Null, &Value::Null));
    assert_eq!(house.get(&path(&made)).await, made);

    let changed = house.patch(&path(&made), json!({ "enabled": false, "headers": null })).await;
    assert_eq!(changed.status, 200, "{}", changed.text);
    let changed = changed.json();
    assert_eq!((&changed["enabled"], &changed["headers"]), (&json!(false), &json!({})));
    assert_eq!(changed["has_credential"], true);
    let neither = json!({ "credential": null, "credential_header": null });
    let without = house.patch(&path(&made), neither).await;
    assert_eq!(without.json()["has_credential"], false);

    let listed = house.get("/mcp-servers").await;
    assert_eq!(listed["data"].as_array().unwrap().len(), 1);
    let renamed = house.patch(&path(&made), json!({ "name": "other" })).await;
    renamed.problem(StatusCode::CONFLICT, "state_conflict");
    let twin = house.post("/mcp-servers", json!({ "name": "files", "url": URL })).await;
    twin.problem(StatusCode::CONFLICT, "name_taken");
    let audited = house.get("/audit?type=McpServerChanged").await;
    assert_eq!(audited["data"].as_array().unwrap().len(), 3);
    assert!(!audited.to_string().contains("a-secret"));

    let line = format!("DELETE {}", house.path(&path(&made)));
    assert_eq!(house.call(&house.operator, &line, None).await.status, 200);
    let gone = house.call(&house.operator, &line.replace("DELETE", "GET"), None).await;
    gone.problem(StatusCode::NOT_FOUND, "not_found");
}

#[tokio::test(start_paused = true)]
async fn mistakes_are_told_at_once_and_admins_alone_may_write() {
    let house = House::new().await;
    let body = json!({
        "name": "a/b", "url": "ftp://a", "credential_header": "Host", "request_fee_usd": "-1",
        "connect_timeout_ms": 0,
    });
    let wrong = house.post("/mcp-servers", body).await;
    let mut pointers = wrong.pointers();
    pointers.dedup();
    let all = ["/name", "/url", "/credential_header", "/connect_timeout_ms", "/request_fee_usd"];
    assert_eq!(pointers, all);
    let unknown = house.post("/mcp-servers", json!({ "name": "a", "url": URL, "tools": [] })).await;
    assert_eq!(unknown.pointers(), ["/tools"]);
    let made = register(&house, json!({ "name": "files", "url": URL })).await;
    let (_, member) = house.person("mia", "member").await;
    for (verb, rest) in [("POST", ""), ("PATCH", "x"), ("DELETE", "x"), ("POST", "/refresh")] {
        let below = match rest {
            "" => "/mcp-servers".to_owned(),
            "x" => path(&made),
            rest => path(&made) + rest,
        };
        let line = format!("{verb} {}", house.path(&below));
        let body = (verb != "DELETE").then(|| json!({}));
        let body =
            if below == "/mcp-servers" { Some(json!({"name": "x", "url": URL})) } else { body };
        house.call(&member, &line, body).await.problem(StatusCode::FORBIDDEN, "forbidden");
    }
    let line = format!("GET {}", house.path("/mcp-servers"));
    assert_eq!(house.call(&member, &line, None).await.status, 200);
}

#[tokio::test]
async fn a_server_inside_the_walls_is_not_asked() {
    let house = House::new().await;
    let made = register(&house, json!({ "name": "files", "url": URL })).await;
    let asked = house.post(&(path(&made) + "/refresh"), json!({})).await;
    asked.problem(StatusCode::CONFLICT, "state_conflict");
    assert!(asked.text.contains("private"), "{}", asked.text);
}

/// Gives a server a catalogue, as asking it does.
async fn offer(house: &House, server: &Value, tools: &[(&str, &str)]) {
    let id: McpServerId = server["id"].as_str().unwrap().parse().unwrap();
    let read = |state: &turnpike_domain::state::Organisation| state.mcp_servers[&id].spec.clone();
    let mut spec = house.app.streams().organisation(house.org, read).await.unwrap();
    let tool = |(name, description): &(&str, &str)| McpTool {
        name: (*name).into(),
        description: (*description).into(),
    };
    let tools = tools.iter().map(tool).collect();
    spec.catalogue = Some(McpCatalogue { at: Timestamp(DAY), tools });
    let command = Command::ChangeMcpServer { server: id, spec: Some(Box::new(spec)) };
    crate::order::organisation(&house.app, house.org, command).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn tools_are_searched_by_name_and_description() {
    let house = House::new().await;
    let made = register(&house, json!({ "name": "files", "url": URL })).await;
    offer(&house, &made, &[("write", "Writes a FILE."), ("read", "Reads."), ("stat", "")]).await;
    let shown = house.get(&path(&made)).await;
    assert_eq!(
        (&shown["tools"], &shown["refreshed_at"]),
        (&json!(3), &json!("2026-11-21T00:00:00.000Z"))
    );
    let names = async |query: &str| {
        let page = house.get(&format!("{}/tools{query}", path(&made))).await;
        let data = page["data"].as_array().unwrap().clone();
        data.iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names("").await, ["read", "stat", "write"]);
    assert_eq!(names("?search=file").await, ["write"]);
    assert_eq!(names("?search=A").await, ["read", "stat", "write"]);
    assert_eq!(names("?limit=1").await, ["read"]);
    let moved = house.patch(&path(&made), json!({ "url": "http://127.0.0.1:7092/mcp" })).await;
    assert_eq!(moved.json()["tools"], Value::Null);
}

#[tokio::test(start_paused = true)]
async fn explain_says_what_a_key_may_do_with_a_tool() {
    let house = House::new().await;
    register(&house, json!({ "name": "files", "url": URL, "request_fee_usd": "0.5" })).await;
    let mcp = json!({
        "enabled": true, "mode": "allow_list", "servers": ["files"], "tools": { "files": ["read"] },
    });
    let limits = json!({ "cost_usd": "0.4" });
    let body = json!({ "name": "agent", "scopes": { "mcp": mcp }, "limits": limits });
    let key = house.post("/keys", body).await.json()["id"].as_str().unwrap().to_owned();
    let explained = async |query: &str| house.get(&format!("/keys/{key}/explain?{query}")).await;
    let denied = explained("mcp_server=files&tool=write").await;
    assert_eq!((&denied["code"], &denied["status"]), (&json!("mcp_not_allowed"), &json!(403)));
    let unknown = explained("mcp_server=nowhere").await;
    assert_eq!(unknown["code"], "not_found");
    let dear = explained("mcp_server=files&tool=read").await;
    assert_eq!(
        (&dear["code"], &dear["reservation"]["cost_usd"]),
        (&json!("api_key_quota_exceeded"), &json!("0.50"))
    );
    let lists = explained("mcp_server=files").await;
    assert_eq!((&lists["admitted"], &lists["reservation"]), (&json!(true), &Value::Null));
    for query in ["", "?model=m&mcp_server=files", "?tool=read"] {
        let line = format!("GET {}{query}", house.path(&format!("/keys/{key}/explain")));
        assert_eq!(
            house.call(&house.operator, &line, None).await.pointers(),
            ["?model"],
            "{query}"
        );
    }
}
