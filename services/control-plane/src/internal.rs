//! The internal API of gateways: join, snapshots, heads, signers, leave.

mod caller;

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use serde::Deserialize;
use tower_http::compression::CompressionLayer;
use turnpike_domain::command::{Command, PlatformCommand};
use turnpike_domain::id::{GatewayId, OrgId};
use turnpike_runtime::entropy;
use turnpike_store::error::StoreError;
use turnpike_store::execute::ExecuteError;
use turnpike_store::log;
use turnpike_wire::hex;
use turnpike_wire::join::{
    HEADS_PATH, HeadsReply, JOIN_PATH, JoinReply, JoinRequest, LEAVE_PATH, SIGNERS_PATH,
    SNAPSHOT_PATH, SignersReply, StreamHead,
};
use turnpike_wire::snapshot::framed;

use crate::app::App;
use crate::order;
use caller::{Caller, Holder};

/// Why a gateway was not answered.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("the join token is missing, unknown, deleted or expired")]
    Unauthorized,
    #[error("this gateway did not join with this token, or was fenced")]
    NotJoined,
    #[error("this gateway id joined with another token")]
    Taken,
    #[error("there is no such organisation in this gateway's scope")]
    NotFound,
    #[error(transparent)]
    Execute(#[from] ExecuteError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

#[derive(Deserialize)]
struct Which {
    org: Option<String>,
}

/// The routes.
pub(crate) fn router(app: Arc<App>) -> Router {
    Router::new()
        .route(JOIN_PATH, post(join))
        .route(SNAPSHOT_PATH, get(snapshot).layer(CompressionLayer::new()))
        .route(HEADS_PATH, get(heads))
        .route(SIGNERS_PATH, get(signers))
        .route(LEAVE_PATH, post(leave))
        .with_state(app)
}

async fn join(
    State(app): State<Arc<App>>,
    holder: Holder,
    Json(request): Json<JoinRequest>,
) -> Result<Json<JoinReply>, Failure> {
    let gateway = match request.gateway.as_deref().and_then(|id| id.parse().ok()) {
        Some(id) => own_or_new(&app, &holder, id).await?,
        None => GatewayId(entropy::id(app.clock.now())),
    };
    let name: Box<str> = request.name.into();
    let token = holder.0.id;
    match holder.0.org {
        OrgId::PLATFORM => {
            let command = PlatformCommand::JoinGateway { gateway, name, token };
            order::platform(&app, command).await?;
        }
        org => {
            let command = Command::JoinGateway { gateway, name, token };
            order::organisation(&app, org, command).await?;
        }
    }
    let org = holder.scope().map(|org| org.to_string());
    let verifying_keys = verifying_keys(&app);
    Ok(Json(JoinReply { gateway: gateway.to_string(), org, verifying_keys }))
}

/// The id that a gateway proposes: its own from before, or one that nobody has used, so that the
/// operator can name its NATS user before it joins for the first time.
async fn own_or_new(app: &App, holder: &Holder, id: GatewayId) -> Result<GatewayId, Failure> {
    let own = holder.gateway(app, id).await?.is_some();
    if own || !app.knows_gateway(id).await? { Ok(id) } else { Err(Failure::Taken) }
}

async fn leave(State(app): State<Arc<App>>, caller: Caller) -> Result<StatusCode, Failure> {
    let gateway = caller.gateway;
    match caller.holder.0.org {
        OrgId::PLATFORM => {
            order::platform(&app, PlatformCommand::LeaveGateway { gateway }).await?;
        }
        org => {
            order::organisation(&app, org, Command::LeaveGateway { gateway }).await?;
        }
    }
    Ok(StatusCode::NO_CONTENT)
}

async fn signers(State(app): State<Arc<App>>, _: Caller) -> Json<SignersReply> {
    Json(SignersReply { verifying_keys: verifying_keys(&app) })
}

async fn snapshot(
    State(app): State<Arc<App>>,
    caller: Caller,
    Query(which): Query<Which>,
) -> Result<Response, Failure> {
    let orgs = match which.org {
        Some(text) => vec![caller.one(&app, &text)?],
        None => caller.streams(&app),
    };
    let frames = stream::iter(orgs).then(move |org| {
        let app = Arc::clone(&app);
        async move {
            // A body that breaks off lacks its last frame: the gateway notices and asks again.
            let frames = app.copies.of(&app, org).await.map_err(std::io::Error::other)?;
            let each = (0..frames.len()).filter_map(move |place| {
                frames.get(place).map(|frame| Ok::<_, std::io::Error>(framed(frame)))
            });
            Ok::<_, std::io::Error>(stream::iter(each))
        }
    });
    Ok(Body::from_stream(frames.try_flatten()).into_response())
}

async fn heads(State(app): State<Arc<App>>, caller: Caller) -> Result<Json<HeadsReply>, Failure> {
    let store = app.streams().kv().snapshot().await.map_err(StoreError::from)?;
    let mut heads = Vec::new();
    for org in caller.streams(&app) {
        let head = log::head(&*store, org).await?;
        if head.seq > 0 {
            let (org, hash) = (org.to_string(), hex::write(&head.hash));
            heads.push(StreamHead { org, seq: head.seq, hash });
        }
    }
    let (incarnation, now_ms) = (app.incarnation.to_string(), Some(app.clock.now().0));
    Ok(Json(HeadsReply { incarnation, now_ms, heads }))
}

fn verifying_keys(app: &App) -> Vec<String> {
    app.keys.signing.signers().keys().map(|key| hex::write(&key.to_bytes())).collect()
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let (status, code) = match &self {
            Self::Unauthorized => (StatusCode::UNAUTHORIZED, "unauthorized"),
            Self::NotJoined | Self::Taken => (StatusCode::FORBIDDEN, "forbidden"),
            Self::NotFound => (StatusCode::NOT_FOUND, "not_found"),
            Self::Execute(ExecuteError::Refused(refusal)) => (StatusCode::CONFLICT, refusal.code()),
            Self::Execute(ExecuteError::IdempotencyConflict) => {
                (StatusCode::CONFLICT, "idempotency_conflict")
            }
            Self::Execute(ExecuteError::Store(_)) | Self::Store(_) => {
                (StatusCode::SERVICE_UNAVAILABLE, "store_unavailable")
            }
        };
        let body = serde_json::json!({ "code": code, "detail": self.to_string() });
        (status, Json(body)).into_response()
    }
}

#[cfg(test)]
mod tests;
