//! What the gateway itself answers: refusals, the models of a key, the key.

mod models;

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use serde_json::{Value, json};
use turnpike_domain::admit::Figures;
use turnpike_domain::id::RequestId;
use turnpike_domain::time::Timestamp;
use turnpike_wire::api::key::{LimitsForm, ScopesForm};
use turnpike_wire::decision::amount;
use turnpike_wire::time::rfc3339;

pub use models::Catalogue;

use crate::body::{Cut, Relay};
use crate::core::{Denied, Entry};
use crate::dialect::{Call, Dialect, Problem};
use crate::headers;
use crate::lease::Left;
use crate::permit::RateLeft;
use crate::phase::{Observer, Site, Watch};

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// The body of an answer.
pub struct Outgoing(Kind);

enum Kind {
    Whole(Full<Bytes>),
    Stream(Box<Relay<Observer>>),
    Mcp(Box<Relay<Watch>>),
}

impl Outgoing {
    /// A body that is here.
    #[must_use]
    pub fn whole(bytes: Bytes) -> Self {
        Self(Kind::Whole(Full::new(bytes)))
    }

    /// A body that is still coming.
    #[must_use]
    pub fn stream(relay: Relay<Observer>) -> Self {
        Self(Kind::Stream(Box::new(relay)))
    }

    /// An MCP server's answer that is still coming.
    #[must_use]
    pub fn mcp(relay: Relay<Watch>) -> Self {
        Self(Kind::Mcp(Box::new(relay)))
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        match &mut self.get_mut().0 {
            Kind::Whole(bytes) => {
                Pin::new(bytes).poll_frame(context).map_err(|never| match never {})
            }
            Kind::Stream(relay) => Pin::new(relay.as_mut()).poll_frame(context),
            Kind::Mcp(relay) => Pin::new(relay.as_mut()).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Whole(bytes) => bytes.is_end_stream(),
            Kind::Stream(relay) => relay.is_end_stream(),
            Kind::Mcp(relay) => relay.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Whole(bytes) => bytes.size_hint(),
            Kind::Stream(relay) => relay.size_hint(),
            Kind::Mcp(relay) => relay.size_hint(),
        }
    }
}

/// A refusal of `request`, in the words of the caller's dialect; `decision` is the id that explains
/// it.
#[must_use]
pub fn denied(
    dialect: Dialect,
    denied: &Denied,
    request: RequestId,
    decision: &str,
) -> Response<Outgoing> {
    let status = denied.status();
    let retryable = denied.denial.retryable();
    let body = dialect.error_body(&problem(denied, request, decision));
    let mut response = Response::new(Outgoing::whole(body));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or_default();
    let map = response.headers_mut();
    map.insert(CONTENT_TYPE, JSON);
    map.insert(headers::ERROR_CODE, HeaderValue::from_static(denied.denial.code()));
    if dialect == Dialect::Mcp {
        challenge(status, map);
    }
    // SDKs go by the status: they would never retry a 402 and always a 429, whichever the
    // organisation chose for money, and always a 408.
    if matches!(denied.denial.status(), 402 | 408) {
        let again = if retryable { "true" } else { "false" };
        map.insert(headers::SHOULD_RETRY, HeaderValue::from_static(again));
    }
    if let Some(quotas) = &denied.quotas {
        quotas.tell(dialect, || denied.at, map);
    }
    if let Some(seconds) = denied.retry_after_s {
        map.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// How a stream tells its reader that it ends too early, as an event of the call's dialect.
#[must_use]
pub fn error_event(call: Call, denied: &Denied, request: RequestId, decision: &str) -> Bytes {
    call.error_event(&problem(denied, request, decision))
}

fn problem<'a>(denied: &'a Denied, request: RequestId, decision: &str) -> Problem<'a> {
    Problem {
        denial: denied.denial,
        status: denied.status(),
        message: &denied.message,
        request,
        retry_after_s: denied.retry_after_s,
        metadata: metadata(denied, decision),
        reply: denied.reply.as_deref(),
    }
}

/// What HTTP asks for beside a status, and MCP's clients read: RFC 9110, 11.6.1 and 15.5.6.
fn challenge(status: u16, map: &mut HeaderMap) {
    match status {
        401 => map.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer")),
        405 => map.insert(ALLOW, HeaderValue::from_static("POST, GET, DELETE")),
        _ => None,
    };
}

/// What stands behind a refusal; the limit's figures are there if a limit stood against it.
fn metadata(denied: &Denied, decision: &str) -> Value {
    let mut metadata = json!({
        "retryable": denied.denial.retryable(),
        "decision_id": decision,
    });
    let Some(figures) = denied.figures.as_deref() else { return metadata };
    let amount = |known: Option<i64>| amount(figures.source, known);
    metadata["limit_source"] = Value::from(figures.source.name());
    metadata["limit"] = amount(figures.limit);
    metadata["used"] = amount(figures.used);
    metadata["held"] = amount(figures.held);
    metadata["resets_at"] = Value::from(figures.resets_at.map(rfc3339));
    metadata
}

/// What the key is, what limits it and what is left.
#[must_use]
pub async fn own_key(site: &Site, entry: &Entry) -> Response<Outgoing> {
    let (core, now) = (&site.core, site.core.now());
    let [cost, tokens] = site.leases.look(entry, now).await.map(|left| left.map(left_object));
    let rates = site.permits.look(entry).map(|left| left.map(|left| rate_object(left, now)));
    let [requests_rate, tokens_rate] = rates;
    let (key, profile) = (&entry.key, &entry.key.profile);
    success(&json!({
        "id": key.id.to_string(),
        "token_id": entry.token.as_ref().map(|token| token.claims.token.to_string()),
        "name": profile.name,
        "organisation_id": entry.org_id().to_string(),
        "project_id": profile.project.map(|project| project.to_string()),
        "status": key.status(core.now(), entry.used_up.is_some()).name(),
        "expires_at": profile.expires_at.map(rfc3339),
        "limits": LimitsForm::from(&profile.limits),
        "scopes": ScopesForm::from(&profile.scopes),
        "left": {
            "cost_usd": cost,
            "tokens": tokens,
            "requests_per_minute": requests_rate,
            "tokens_per_minute": tokens_rate,
        },
    }))
}

/// What is left of the tightest budget in one unit; all of it `null` while nobody can say.
fn left_object(left: Left) -> Value {
    let figures = left.figures;
    let told = |of: fn(&Figures) -> Option<i64>| {
        figures.as_ref().map(|figures| amount(figures.source, of(figures)))
    };
    let left = figures.as_ref().map(|figures| amount(figures.source, left.left));
    json!({
        "limit_source": figures.map(|figures| figures.source.name()),
        "limit": told(|figures| figures.limit),
        "used": told(|figures| figures.used),
        "held": told(|figures| figures.held),
        "left": left,
        "resets_at": figures.and_then(|figures| figures.resets_at).map(rfc3339),
    })
}

/// What is left of the tightest rate of one kind; `null` while this gateway was not told.
fn rate_object(rate: RateLeft, now: Timestamp) -> Value {
    let RateLeft { source, limit, left, reset_ms } = rate;
    let resets_at = (reset_ms > 0).then(|| rfc3339(now.plus_ms(reset_ms)));
    json!({
        "limit_source": source.name(),
        "limit": limit,
        "used": left.map(|left| limit.saturating_sub(left)),
        "left": left,
        "resets_at": resets_at,
    })
}

fn success(body: &Value) -> Response<Outgoing> {
    let mut response = Response::new(Outgoing::whole(Bytes::from(body.to_string())));
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    response
}
