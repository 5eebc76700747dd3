//! Why `echo` does not serve a request, in the words of each dialect.

use bytes::Bytes;
use http::StatusCode;
use serde_json::{Value, json};

/// Whose API a request speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// OpenAI's.
    OpenAi,
    /// Anthropic's.
    Anthropic,
    /// Google's Gemini.
    Gemini,
}

/// Why a request is not served.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    /// The request cannot be understood.
    #[error("{0}")]
    Invalid(&'static str),
    /// `echo` has no such model.
    #[error("there is no model {0:?} here; there are echo-1, echo-slow and echo-unpriced")]
    UnknownModel(String),
    /// There is no such path, or not with this method.
    #[error("there is nothing at this path for this method")]
    NotFound,
    /// The body is larger than `echo` reads.
    #[error("the body is too large")]
    TooLarge,
    /// A script asks for this status.
    #[error("scripted")]
    Scripted(StatusCode),
}

impl Refusal {
    /// The status of the answer.
    #[must_use]
    pub(super) const fn status(&self) -> StatusCode {
        match self {
            Self::Invalid(_) => StatusCode::BAD_REQUEST,
            Self::UnknownModel(_) | Self::NotFound => StatusCode::NOT_FOUND,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Scripted(status) => *status,
        }
    }

    /// The body of the answer, in the dialect's envelope.
    #[must_use]
    pub(super) fn body(&self, dialect: Dialect) -> Bytes {
        let status = self.status();
        let message = self.to_string();
        let body = match dialect {
            Dialect::OpenAi => json!({"error": {
                "message": message, "type": open_ai_type(status),
                "param": null, "code": self.open_ai_code(),
            }}),
            Dialect::Anthropic => json!({"type": "error", "request_id": null, "error": {
                "type": anthropic_type(status), "message": message,
            }}),
            Dialect::Gemini => json!({"error": {
                "code": status.as_u16(), "message": message, "status": gemini_status(status),
            }}),
        };
        Bytes::from(body.to_string())
    }

    fn open_ai_code(&self) -> Value {
        match self {
            Self::UnknownModel(_) => json!("model_not_found"),
            Self::Invalid(_) | Self::NotFound | Self::TooLarge | Self::Scripted(_) => Value::Null,
        }
    }
}

fn open_ai_type(status: StatusCode) -> &'static str {
    match status.as_u16() {
        429 => "rate_limit_error",
        500.. => "server_error",
        _ => "invalid_request_error",
    }
}

fn anthropic_type(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 => "authentication_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        529 => "overloaded_error",
        500.. => "api_error",
        _ => "invalid_request_error",
    }
}

fn gemini_status(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 => "UNAUTHENTICATED",
        403 => "PERMISSION_DENIED",
        404 => "NOT_FOUND",
        429 => "RESOURCE_EXHAUSTED",
        503 => "UNAVAILABLE",
        504 => "DEADLINE_EXCEEDED",
        500.. => "INTERNAL",
        _ => "INVALID_ARGUMENT",
    }
}
