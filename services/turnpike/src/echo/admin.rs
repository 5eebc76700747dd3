//! The port of its own: what was served, and the script for all requests.
//!
//! `GET /served` answers with [`super::served::Totals`], and `GET /served/requests` with those of
//! each request that was named by the header `x-turnpike-request-id` where scripts are obeyed. `PUT
//! /script` sets the script in its body (see [`super::script`]) for every later request without one
//! of its own, `DELETE /script` takes it away; both answer 204, or 404 where `echo` was not started
//! as scripted.

use std::sync::Arc;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::{Request, Response};

use super::connections::{Body, Broken};
use super::provider::Provider;
use super::script::Script;

/// Where the counts stand.
pub(super) const SERVED: &str = "/served";
/// A script is a line.
const MOST_SCRIPT_BYTES: usize = 4 * 1024;

/// Answers one call to the port.
///
/// # Errors
/// Never; the type is that of the port of the models.
pub(super) async fn answer(
    provider: Arc<Provider>,
    request: Request<Incoming>,
) -> Result<Response<Body>, Broken> {
    let (head, body) = request.into_parts();
    let (status, content) = match (head.method, head.uri.path()) {
        (Method::GET, SERVED) => match serde_json::to_vec(&provider.served.totals()) {
            Ok(totals) => (StatusCode::OK, Bytes::from(totals)),
            Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, Bytes::new()),
        },
        (Method::GET, "/served/requests") => match serde_json::to_vec(&provider.served.by_name()) {
            Ok(named) => (StatusCode::OK, Bytes::from(named)),
            Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, Bytes::new()),
        },
        (Method::PUT, "/script") => match read_script(body).await {
            Some(script) => (set(&provider, script), Bytes::new()),
            None => (StatusCode::BAD_REQUEST, Bytes::new()),
        },
        (Method::DELETE, "/script") => (set(&provider, Script::default()), Bytes::new()),
        _ => (StatusCode::NOT_FOUND, Bytes::new()),
    };
    let mut response =
        Response::new(Full::new(content).map_err(|never| match never {}).boxed_unsync());
    *response.status_mut() = status;
    if status == StatusCode::OK {
        let json = HeaderValue::from_static("application/json");
        response.headers_mut().insert(CONTENT_TYPE, json);
    }
    Ok(response)
}

fn set(provider: &Provider, script: Script) -> StatusCode {
    if provider.set_script(script) { StatusCode::NO_CONTENT } else { StatusCode::NOT_FOUND }
}

async fn read_script(body: Incoming) -> Option<Script> {
    let body = Limited::new(body, MOST_SCRIPT_BYTES).collect().await.ok()?.to_bytes();
    std::str::from_utf8(&body).ok()?.parse().ok()
}
