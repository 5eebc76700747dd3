//! The description says of every route what the router does.

use std::collections::BTreeSet;

use axum::body::Body;
use axum::http::Request;
use serde_json::Value;

use super::House;
use crate::http::route::BASE;
use crate::http::routes;

/// Calls `visit` with every value in a tree of JSON.
fn walk(value: &Value, visit: &mut impl FnMut(&Value)) {
    visit(value);
    match value {
        Value::Array(items) => items.iter().for_each(|item| walk(item, visit)),
        Value::Object(fields) => fields.values().for_each(|field| walk(field, visit)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

async fn document() -> Value {
    let house = House::new().await;
    let request = Request::get("/api/openapi.json").body(Body::empty()).unwrap();
    let got = house.send(request).await;
    assert_eq!(got.status, 200);
    got.json()
}

#[tokio::test(start_paused = true)]
async fn every_route_is_described_and_nothing_else() {
    let document = document().await;
    let mut described = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            described.insert(format!("{method} {path}"));
        }
    }
    let routed: BTreeSet<String> = routes()
        .iter()
        .map(|route| format!("{} {BASE}{}", route.spec.verb.name(), route.spec.path))
        .collect();
    assert_eq!(routed, described);
    assert!(routed.len() > 50, "{}", routed.len());
}

#[tokio::test(start_paused = true)]
async fn the_document_holds_together() {
    let document = document().await;
    assert_eq!(document["openapi"], "3.1.1");
    let schemas = document["components"]["schemas"].as_object().unwrap();
    walk(&document, &mut |value| {
        if let Some(reference) = value.get("$ref").and_then(Value::as_str) {
            let name = reference.strip_prefix("#/components/schemas/").unwrap();
            assert!(schemas.contains_key(name), "{name} is not there");
        }
    });
    let mut ids = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let at = format!("{method} {path}");
            let id = operation["operationId"].as_str().unwrap();
            assert!(ids.insert(id.to_owned()), "{id} stands twice");
            assert!(!operation["summary"].as_str().unwrap().is_empty(), "{at}");
            assert!(operation["responses"]["default"].is_object(), "{at}");
            let parameters = operation["parameters"].as_array().unwrap();
            let in_path = parameters.iter().filter(|parameter| parameter["in"] == "path");
            let in_path: Vec<_> = in_path.map(|it| it["name"].as_str().unwrap()).collect();
            let in_text: Vec<_> =
                path.split('/').filter_map(|it| it.strip_prefix('{')?.strip_suffix('}')).collect();
            assert_eq!(in_path, in_text, "{at}");
            for parameter in parameters {
                assert!(parameter["schema"].is_object(), "{at}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn shapes_are_those_of_the_contract() {
    let document = document().await;
    let schemas = &document["components"]["schemas"];
    assert_eq!(schemas["KeyForm"]["required"], serde_json::json!(["name"]));
    assert!(schemas["KeyFormChanges"].get("required").is_none());
    assert_eq!(schemas["OrgForm"]["required"], serde_json::json!(["name"]));
    assert_eq!(schemas["Time"]["format"], "date-time");
    let key = schemas["Key"]["properties"].as_object().unwrap();
    for field in [
        "id",
        "name",
        "owner_id",
        "project_id",
        "preview",
        "status",
        "status_reason",
        "plan_id",
        "expires_at",
        "limits",
        "scopes",
        "metadata",
        "legacy",
        "created_at",
        "rotated_at",
        "last_used_at",
        "requests",
        "traffic_share",
        "usage",
    ] {
        assert!(key.contains_key(field), "{field}");
    }
    let made = &document["paths"]["/api/v1/orgs/{org}/keys"]["post"]["responses"]["201"];
    let fields = &made["content"]["application/json"]["schema"]["allOf"][1]["properties"];
    assert!(fields["secret"].is_object() && fields["propagation"].is_object());
}
