//! The API's description (OpenAPI 3.1.1), made of the table of routes.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use turnpike_wire::api::problem;
use turnpike_wire::api::propagation::Propagation;

use crate::auth::CSRF_HEADER;
use crate::http::route::{BASE, Gives, Param, Route, Shape, Spec, Verb, shape};

/// What stands in the name of a shape whose fields are all optional: that of a PATCH.
const CHANGES: &str = "Changes";

/// The document.
pub(crate) fn document(routes: &[Route]) -> Value {
    let mut schemas: BTreeMap<String, Value> = BTreeMap::new();
    keep(&mut schemas, &shape::<problem::Problem>());
    keep(&mut schemas, &shape::<Propagation>());
    let mut paths: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    for Route { spec, .. } in routes {
        let operation = operation(spec, &mut schemas);
        let path = paths.entry(format!("{BASE}{}", spec.path)).or_default();
        path.insert(spec.verb.name().to_owned(), operation);
    }
    let bearer = json!({ "type": "http", "scheme": "bearer", "description": "mk-tp-…" });
    let session = json!({ "type": "apiKey", "in": "cookie", "name": "tp_session" });
    json!({
        "openapi": "3.1.1",
        "info": {
            "title": "Turnpike management API",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Organisations, keys, limits and what was used. Errors are RFC 9457 \
                            problems; lists are read on with `cursor`.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "servers": [{ "url": "/" }],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": { "token": bearer, "session": session },
        },
    })
}

fn operation(spec: &Spec, schemas: &mut BTreeMap<String, Value>) -> Value {
    let mut operation = Map::new();
    let tag = spec.path.trim_start_matches("/orgs/{org}/").trim_start_matches('/');
    let tag = tag.split('/').next().unwrap_or_default();
    operation.insert("operationId".into(), json!(spec.id));
    operation.insert("tags".into(), json!([tag]));
    operation.insert("summary".into(), json!(spec.about));
    operation.insert("parameters".into(), parameters(spec));
    if let Some(body) = &spec.body {
        keep(schemas, body);
        operation.insert("requestBody".into(), request_body(spec, body, schemas));
    }
    let known = if spec.known { json!([{ "token": [] }, { "session": [] }]) } else { json!([]) };
    operation.insert("security".into(), known);
    operation.insert("responses".into(), responses(spec, schemas));
    Value::Object(operation)
}

fn parameters(spec: &Spec) -> Value {
    let text = || json!({ "type": "string" });
    let in_path = spec.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let in_path = in_path
        .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": text() }));
    let in_query = spec.query.iter().flat_map(|set| set.iter());
    let in_query = in_query.map(|Param { name, about, kind }| {
        let schema = json!({ "type": kind });
        json!({ "name": name, "in": "query", "description": about, "schema": schema })
    });
    let headers: &[(&str, &str)] = if spec.verb.is_safe() || !spec.known {
        &[]
    } else {
        &[
            ("Idempotency-Key", "The same key does the same thing once; another body is a 409."),
            ("If-Match", "The ETag that was seen; if it has changed since, 412."),
            (CSRF_HEADER, "Needed with a session cookie."),
        ]
    };
    let headers = headers.iter().map(|(name, about)| {
        json!({ "name": name, "in": "header", "description": about, "schema": text() })
    });
    in_path.chain(in_query).chain(headers).collect()
}

fn request_body(spec: &Spec, body: &Shape, schemas: &mut BTreeMap<String, Value>) -> Value {
    if !spec.streams.is_empty() {
        let each = spec.streams.iter().map(|kind| ((*kind).to_owned(), json!({})));
        let mut kinds: Map<String, Value> = each.collect();
        if let Some(first) = kinds.values_mut().next() {
            *first = json!({ "schema": reference(&body.name) });
        }
        return json!({ "required": true, "content": kinds });
    }
    if spec.verb != Verb::Patch {
        let required =
            schemas.get(&body.name).is_some_and(|schema| schema.get("required").is_some());
        return json!({ "required": required, "content": content("application/json", &body.name) });
    }
    let name = format!("{}{CHANGES}", body.name);
    if let Some(mut schema) = schemas.get(&body.name).cloned() {
        if let Some(fields) = schema.as_object_mut() {
            fields.remove("required");
        }
        schemas.insert(name.clone(), schema);
    }
    let mut both = content("application/merge-patch+json", &name);
    if let (Value::Object(both), Value::Object(plain)) =
        (&mut both, content("application/json", &name))
    {
        both.extend(plain);
    }
    json!({ "required": true, "content": both })
}

fn responses(spec: &Spec, schemas: &mut BTreeMap<String, Value>) -> Value {
    let (status, content) = match &spec.gives {
        Gives::Thing(thing) => {
            keep(schemas, thing);
            ("200", content("application/json", &thing.name))
        }
        Gives::Page(thing) => {
            keep(schemas, thing);
            let page = json!({
                "type": "object",
                "required": ["data", "next_cursor"],
                "properties": {
                    "data": { "type": "array", "items": reference(&thing.name) },
                    "next_cursor": { "type": ["string", "null"] },
                },
            });
            ("200", json!({ "application/json": { "schema": page } }))
        }
        Gives::Written { thing, created, secret } => {
            keep(schemas, thing);
            let mut more = Map::new();
            more.insert("propagation".into(), reference("Propagation"));
            if *secret {
                let about = "Shown this once; absent when an Idempotency-Key is used again.";
                more.insert("secret".into(), json!({ "type": "string", "description": about }));
            }
            let both = json!([reference(&thing.name), { "type": "object", "properties": more }]);
            let schema = json!({ "allOf": both });
            let status = if *created { "201" } else { "200" };
            (status, json!({ "application/json": { "schema": schema } }))
        }
        Gives::Other(kind) => ("200", json!({ (*kind): {} })),
    };
    let mut content = content;
    if let Value::Object(kinds) = &mut content {
        kinds.extend(spec.also.iter().map(|kind| ((*kind).to_owned(), json!({}))));
    }
    let problem = json!({
        "description": "The request was not carried out; `code` says why.",
        "content": { "application/problem+json": { "schema": reference("Problem") } },
    });
    let mut responses = Map::new();
    responses.insert(status.into(), json!({ "description": "Done.", "content": content }));
    responses.insert("default".into(), problem);
    Value::Object(responses)
}

fn content(kind: &str, name: &str) -> Value {
    json!({ kind: { "schema": reference(name) } })
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

fn keep(schemas: &mut BTreeMap<String, Value>, shape: &Shape) {
    for (name, schema) in &shape.schemas {
        schemas.insert(name.clone(), json!(schema));
    }
}
