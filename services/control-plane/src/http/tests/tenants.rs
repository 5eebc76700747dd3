//! Two tenants at every route (T25), and fields that are nobody's to send at every write (T26).

use std::collections::BTreeSet;

use serde_json::{Value, json};
use turnpike_domain::id::OrgId;

use super::House;
use super::roles::{ROLES, Things, body};
use crate::http::route::{Route, Verb};
use crate::http::routes;

/// The routes of organisations, with a line for each as `org` would call it.
fn lines(things: &Things, org: &str) -> Vec<(Route, String)> {
    let known = routes().into_iter().filter(|route| route.spec.known);
    let of_orgs = known.filter(|route| route.spec.path.contains("{org}"));
    let line = |route: Route| {
        let verb = route.spec.verb.name().to_uppercase();
        let line = format!("{verb} {}", things.fill(org, route.spec.path));
        (route, line)
    };
    of_orgs.map(line).collect()
}

async fn head(house: &House, org: OrgId) -> u64 {
    house.app.streams().organisation(org, |state| state.head.seq).await.unwrap()
}

/// T25. Bounds: 2 organisations, every route, the ids of either under the path of either, tokens of
/// each role but the operator's, which is of the platform.
#[tokio::test(start_paused = true)]
#[expect(clippy::print_stdout, reason = "the figures of the target")]
async fn t25_nothing_crosses_from_one_organisation_to_another() {
    let house = House::new().await;
    let things = Things::new(&house).await;
    let (other, owner) = house.other_org("other").await;
    let (ours, theirs) = (house.org, other.parse::<OrgId>().unwrap());
    let mut tokens = vec![("owner", owner)];
    for role in ROLES.into_iter().filter(|role| !["owner", "operator"].contains(role)) {
        let made = json!({ "name": role, "role": role });
        let line = format!("POST /orgs/{other}/tokens");
        let made = house.call(&tokens[0].1, &line, Some(made)).await.json();
        tokens.push((role, made["secret"].as_str().unwrap().to_owned()));
    }
    let before = (head(&house, ours).await, head(&house, theirs).await);
    let (mut calls, mut crossings) = (0, Vec::new());
    for (role, token) in &tokens {
        // Under the path of the one, nothing is there.
        for (route, line) in lines(&things, &ours.to_string()) {
            let got = house.call(token, &line, body(route.spec.id)).await;
            calls += 1;
            if got.status != 404 || got.text.contains("acme") {
                crossings.push(format!("{role} {line}: {}", got.status));
            }
        }
        // Under the path of the other, the things of the one are not there.
        for (route, line) in lines(&things, &other) {
            if route.spec.path.matches('{').count() < 2 {
                continue;
            }
            let got = house.call(token, &line, body(route.spec.id)).await;
            calls += 1;
            let refused = got.status == 404 || got.status == 403 && *role != "owner";
            // What is the operator's alone is refused before anything is looked for.
            let alone = ["fenceGateway", "releaseLostHolds"].contains(&route.spec.id);
            let platforms = got.status == 403 && alone;
            if !refused && !platforms || got.text.contains("acme") {
                crossings.push(format!("{role} {line}: {}", got.status));
            }
        }
    }
    println!("T25: {calls} calls of {} roles, {} crossings", tokens.len(), crossings.len());
    assert_eq!(crossings, Vec::<String>::new());
    assert!(calls > 300, "{calls}");
    assert_eq!((head(&house, ours).await, head(&house, theirs).await), before, "no event");
}

/// Every name of a property in the API's description.
fn names(document: &Value) -> BTreeSet<String> {
    let schemas = document["components"]["schemas"].as_object().unwrap().values();
    let fields = schemas.filter_map(|schema| schema["properties"].as_object());
    let mut names: BTreeSet<String> = fields.flat_map(|fields| fields.keys().cloned()).collect();
    names.extend(["org_id", "is_admin", "__proto__", "digest", "generation"].map(str::to_owned));
    names
}

/// T26, the part of mass assignment. Bounds: every write, every property that any shape has and
/// this one has not, as an owner.
#[tokio::test(start_paused = true)]
#[expect(clippy::print_stdout, reason = "the figures of the target")]
async fn t26_no_write_takes_a_field_that_is_not_its_own() {
    let house = House::new().await;
    let things = Things::new(&house).await;
    let document = crate::openapi::document(&routes());
    let (names, org) = (names(&document), house.org.to_string());
    let before = head(&house, house.org).await;
    let (mut calls, mut escalations) = (0, Vec::new());
    for route in routes().iter().filter(|route| route.spec.known && !route.spec.verb.is_safe()) {
        let spec = &route.spec;
        if spec.verb == Verb::Delete || !spec.streams.is_empty() {
            continue;
        }
        let own: BTreeSet<String> = spec.body.iter().flat_map(fields).collect();
        let line = format!("{} {}", spec.verb.name().to_uppercase(), things.fill(&org, spec.path));
        for name in names.difference(&own) {
            let mut sent = body(spec.id).unwrap_or_else(|| json!({}));
            sent[name] = json!("operator");
            let got = house.call(&house.operator, &line, Some(sent)).await;
            calls += 1;
            // What is not there is told before what is wrong with the call.
            let told = got.status == 422 && got.pointers().contains(&format!("/{name}"));
            if !told && got.status != 404 {
                escalations.push(format!("{line} {name}: {} {}", got.status, got.text));
            }
        }
    }
    println!("T26: {calls} fields, {} escalations", escalations.len());
    assert_eq!(escalations, Vec::<String>::new());
    assert!(calls > 3_000, "{calls}");
    assert_eq!(head(&house, house.org).await, before, "no event");
}

fn fields(shape: &crate::http::route::Shape) -> Vec<String> {
    let schema = shape.schemas.iter().find(|(name, _)| *name == shape.name);
    let schema = schema.map(|(_, schema)| json!(schema)).unwrap_or_default();
    let fields = schema["properties"].as_object();
    fields.map(|fields| fields.keys().cloned().collect()).unwrap_or_default()
}
