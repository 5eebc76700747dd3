//! Problems: why a request was not carried out, as RFC 9457 has it.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use turnpike_domain::id::RequestId;
use turnpike_domain::refusal::{FieldError, Refusal};
use turnpike_store::error::StoreError;
use turnpike_store::execute::ExecuteError;
use turnpike_wire::api::problem as api;

/// Where the codes are described; the fragment is the code.
const TYPES: &str = "https://turnpike.dev/problems#";

/// The kinds of problems. Their names are part of the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    InvalidJson,
    Unauthorized,
    WrongCredentialKind,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    NotAcceptable,
    RequestTimeout,
    NameTaken,
    IdempotencyConflict,
    RotationRequired,
    StateConflict,
    EtagMismatch,
    RequestTooLarge,
    UnsupportedMediaType,
    ValidationFailed,
    RateLimited,
    Internal,
    StoreUnavailable,
}

/// Why a request was not carried out.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    pub(crate) code: Code,
    pub(crate) detail: String,
    pub(crate) errors: Vec<FieldError>,
    /// Seconds after which trying again makes sense.
    pub(crate) retry_after: Option<u64>,
}

impl Code {
    /// Status, name and title.
    const fn parts(self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::InvalidJson => (StatusCode::BAD_REQUEST, "invalid_json", "The body is not JSON"),
            Self::Unauthorized => {
                (StatusCode::UNAUTHORIZED, "unauthorized", "The caller is not known")
            }
            Self::WrongCredentialKind => {
                (StatusCode::UNAUTHORIZED, "wrong_credential_kind", "A credential of another place")
            }
            Self::Forbidden => (StatusCode::FORBIDDEN, "forbidden", "The role does not allow it"),
            Self::NotFound => (StatusCode::NOT_FOUND, "not_found", "Not found"),
            Self::MethodNotAllowed => {
                (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "Not with this method")
            }
            Self::NotAcceptable => {
                (StatusCode::NOT_ACCEPTABLE, "not_acceptable", "Not in the form asked for")
            }
            Self::RequestTimeout => {
                (StatusCode::REQUEST_TIMEOUT, "request_timeout", "The body did not arrive in time")
            }
            Self::NameTaken => (StatusCode::CONFLICT, "name_taken", "The name is taken"),
            Self::IdempotencyConflict => (
                StatusCode::CONFLICT,
                "idempotency_conflict",
                "The Idempotency-Key was used with another request",
            ),
            Self::RotationRequired => {
                (StatusCode::CONFLICT, "rotation_required", "A rotation is required")
            }
            Self::StateConflict => {
                (StatusCode::CONFLICT, "state_conflict", "The state does not allow it")
            }
            Self::EtagMismatch => {
                (StatusCode::PRECONDITION_FAILED, "etag_mismatch", "It has changed since")
            }
            Self::RequestTooLarge => {
                (StatusCode::PAYLOAD_TOO_LARGE, "request_too_large", "The body is too large")
            }
            Self::UnsupportedMediaType => {
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", "Not JSON")
            }
            Self::ValidationFailed => {
                (StatusCode::UNPROCESSABLE_ENTITY, "validation_failed", "The input is not valid")
            }
            Self::RateLimited => {
                (StatusCode::TOO_MANY_REQUESTS, "rate_limited", "Too many attempts")
            }
            Self::Internal => {
                (StatusCode::INTERNAL_SERVER_ERROR, "internal", "A fault of this server")
            }
            Self::StoreUnavailable => {
                (StatusCode::SERVICE_UNAVAILABLE, "store_unavailable", "The store is unavailable")
            }
        }
    }

    /// The name in the contract.
    pub(crate) const fn name(self) -> &'static str {
        self.parts().1
    }

    /// The HTTP status.
    pub(crate) const fn status(self) -> StatusCode {
        self.parts().0
    }
}

impl Problem {
    pub(crate) fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), errors: Vec::new(), retry_after: None }
    }

    pub(crate) fn unauthorized(detail: &str) -> Self {
        Self::new(Code::Unauthorized, detail)
    }

    pub(crate) fn not_found(noun: &'static str) -> Self {
        Refusal::NotFound { noun }.into()
    }

    pub(crate) fn invalid(errors: Vec<FieldError>) -> Self {
        Refusal::Invalid(errors).into()
    }

    /// One mistake of the input; `?name` points at a query parameter.
    pub(crate) fn field(pointer: &str, message: &str) -> Self {
        Refusal::field(pointer, message).into()
    }

    /// A fault of this server. What it is goes to the log, not to the caller.
    pub(crate) fn internal(error: &dyn std::fmt::Display) -> Self {
        tracing::error!(%error, "a request met a fault");
        Self::new(Code::Internal, "this is a fault of the server; its log tells more")
    }

    /// The answer. It names the request that it is for.
    pub(crate) fn answer(self, request: RequestId) -> Response {
        let (status, code, title) = self.code.parts();
        let errors = self.errors.into_iter();
        let errors =
            errors.map(|FieldError { pointer, message }| api::InputError { pointer, message });
        let body = api::Problem {
            r#type: format!("{TYPES}{code}"),
            title: title.into(),
            status: status.as_u16(),
            code: code.into(),
            detail: self.detail,
            request_id: request.to_string(),
            errors: errors.collect(),
        };
        let body = serde_json::to_vec(&body).unwrap_or_default();
        let mut response = (status, Body::from(body)).into_response();
        let headers = response.headers_mut();
        let json = HeaderValue::from_static("application/problem+json");
        headers.insert(header::CONTENT_TYPE, json);
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// The problem travels beside an empty response to the one place that knows the request's id.
impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.code.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let detail = refusal.to_string();
        let code = match &refusal {
            Refusal::Forbidden { .. } => Code::Forbidden,
            Refusal::NotFound { .. } => Code::NotFound,
            Refusal::NameTaken { .. } => Code::NameTaken,
            Refusal::RotationRequired => Code::RotationRequired,
            Refusal::StateConflict { .. } => Code::StateConflict,
            Refusal::VersionMismatch { .. } => Code::EtagMismatch,
            Refusal::Invalid(_) => Code::ValidationFailed,
        };
        let errors = if let Refusal::Invalid(errors) = refusal { errors } else { Vec::new() };
        Self { code, detail, errors, retry_after: None }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        tracing::warn!(%error, "the store did not answer a request");
        let detail = "the store could not be read or written: try again with the same \
                      Idempotency-Key";
        Self { retry_after: Some(1), ..Self::new(Code::StoreUnavailable, detail) }
    }
}

impl From<ExecuteError> for Problem {
    fn from(error: ExecuteError) -> Self {
        match error {
            ExecuteError::Refused(refusal) => refusal.into(),
            ExecuteError::Store(error) => error.into(),
            ExecuteError::IdempotencyConflict => {
                Self::new(Code::IdempotencyConflict, error.to_string())
            }
        }
    }
}
