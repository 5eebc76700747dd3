//! The management API: routes, and what stands around all of them.

pub(crate) mod ask;
mod audit;
mod balances;
mod body;
mod cursor;
mod decisions;
mod events;
mod execute;
mod figures;
mod finish;
mod gateways;
mod keys;
mod mcp_servers;
mod members;
mod models;
mod notices;
mod orgs;
mod peppers;
mod plans;
mod projects;
mod providers;
mod release;
mod reply;
mod requests;
pub(crate) mod route;
mod secrets;
mod session;
mod stream;
mod tokens;
mod usage;
mod wallet;

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Router, middleware};
use bytes::Bytes;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::auth::session::Sessions;
use crate::auth::throttle::Throttle;
use crate::auth::turns::Turns;
use crate::openapi;
use crate::problem::{Code, Problem};
use figures::FigureCache;
use reply::JSON;
use route::Route;

/// Where the API's description stands.
const DOCUMENT_PATH: &str = "/api/openapi.json";

/// What handlers share beside the [`App`].
pub(crate) struct Api {
    pub(crate) app: Arc<App>,
    pub(crate) sessions: Sessions,
    pub(crate) passwords: Turns,
    pub(crate) throttle: Throttle,
    pub(crate) figures: FigureCache,
    /// Places for streams that are followed.
    pub(crate) followers: Arc<Semaphore>,
    /// Places for imports.
    pub(crate) importers: Arc<Semaphore>,
    /// Ends what would otherwise be followed for ever.
    pub(crate) stopping: CancellationToken,
    document: Bytes,
}

/// The routes of the management API. `stopping` ends the streams among them.
pub(crate) fn router(app: Arc<App>, stopping: CancellationToken) -> Router {
    let routes = routes();
    let document = openapi::document(&routes);
    let secure = app.options.public_url.starts_with("https://");
    let api = Arc::new(Api {
        sessions: Sessions::new(app.keys.session.clone(), secure),
        passwords: Turns::new(),
        throttle: Throttle::new(),
        figures: FigureCache::default(),
        followers: Arc::new(Semaphore::new(events::MAX_FOLLOWERS)),
        importers: Arc::new(Semaphore::new(keys::import::MAX_IMPORTS)),
        stopping,
        document: serde_json::to_vec(&document).unwrap_or_default().into(),
        app,
    });
    let mount = |router, route: Route| route.mount(router);
    routes
        .into_iter()
        .fold(Router::new(), mount)
        .route(DOCUMENT_PATH, axum::routing::get(describe))
        .fallback(nothing)
        .method_not_allowed_fallback(other_method)
        .layer(middleware::from_fn_with_state(Arc::clone(&api), finish::finish))
        .with_state(api)
}

/// All routes, in the order of the description.
pub(crate) fn routes() -> Vec<Route> {
    let resources = [
        session::routes(),
        orgs::routes(),
        members::routes(),
        projects::routes(),
        keys::routes(),
        tokens::routes(),
        gateways::routes(),
        release::routes(),
        providers::routes(),
        mcp_servers::routes(),
        wallet::routes(),
        events::routes(),
        audit::routes(),
        decisions::routes(),
        notices::routes(),
        requests::routes(),
        usage::routes(),
        plans::routes(),
        models::routes(),
        peppers::routes(),
    ];
    resources.into_iter().flatten().collect()
}

async fn describe(State(api): State<Arc<Api>>) -> Response {
    let json = HeaderValue::from_static(JSON);
    ([(header::CONTENT_TYPE, json)], Body::from(api.document.clone())).into_response()
}

async fn nothing() -> Problem {
    Problem::new(Code::NotFound, "nothing stands at this path")
}

async fn other_method(method: Method) -> Response {
    if method == Method::OPTIONS {
        return StatusCode::NO_CONTENT.into_response();
    }
    let detail = format!("this path does not take {method}; the header Allow tells what it takes");
    Problem::new(Code::MethodNotAllowed, detail).into_response()
}

#[cfg(test)]
pub(crate) mod tests;
