//! What every answer gets: the request's id, its problem in words, headers against caches and
//! guesses of browsers, and a line in the log.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use futures_util::FutureExt as _;
use turnpike_domain::id::RequestId;
use turnpike_runtime::entropy;

use super::Api;
use crate::problem::Problem;

/// The header that names the request.
pub(crate) const REQUEST_ID: &str = "x-turnpike-request-id";

/// Serves one request.
pub(crate) async fn finish(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    let clock = &api.app.clock;
    let (id, began_us) = (RequestId(entropy::id(clock.now())), clock.boot_us());
    let method = request.method().clone();
    // The route, not the path: paths name things, and queries may hold what people search for.
    let route = request.extensions().get::<MatchedPath>().cloned();
    let served = AssertUnwindSafe(next.run(request)).catch_unwind().await;
    let fault = |_| Problem::internal(&"a handler panicked").into_response();
    let mut response = served.unwrap_or_else(fault);
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        let allow = response.headers_mut().remove(header::ALLOW);
        response = problem.answer(id);
        if let Some(allow) = allow {
            response.headers_mut().insert(header::ALLOW, allow);
        }
    }
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(&id.to_string()) {
        headers.insert(REQUEST_ID, value);
    }
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let took_us = clock.boot_us().saturating_sub(began_us);
    let (status, route) = (response.status().as_u16(), route.as_ref().map(MatchedPath::as_str));
    tracing::info!(request = %id, %method, route, status, took_us, "served");
    response
}
