//! Anthropic's dialect: its endpoints, its usage, its errors.

mod stream;
mod usage;

use bytes::Bytes;
use serde_json::json;
use turnpike_domain::admit::Denial;

pub use stream::StreamMeter;

use super::{Problem, Report};
use crate::query;

/// The calls of Anthropic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// `/v1/messages`
    Messages,
    /// `/v1/messages/count_tokens`
    CountTokens,
}

/// A call, with what its query says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    endpoint: Endpoint,
    /// `?beta=true`, which the SDKs' beta clients send.
    is_beta: bool,
}

impl Endpoint {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Messages, Self::CountTokens];

    /// The path, here and at the provider; here also below `/anthropic`.
    #[must_use]
    pub const fn path(self) -> &'static str {
        match self {
            Self::Messages => "/v1/messages",
            Self::CountTokens => "/v1/messages/count_tokens",
        }
    }
}

impl Call {
    /// The call at a path with a query.
    #[must_use]
    pub fn at(path: &str, query: &str) -> Option<Self> {
        let path = path.strip_prefix("/anthropic").unwrap_or(path);
        let endpoint = Endpoint::ALL.into_iter().find(|endpoint| endpoint.path() == path)?;
        let is_beta = query::values(query, "beta").any(|value| value == "true");
        Some(Self { endpoint, is_beta })
    }

    /// The path and query at the provider.
    #[must_use]
    pub const fn path(self) -> &'static str {
        match (self.endpoint, self.is_beta) {
            (Endpoint::Messages, false) => "/v1/messages",
            (Endpoint::Messages, true) => "/v1/messages?beta=true",
            (Endpoint::CountTokens, false) => "/v1/messages/count_tokens",
            (Endpoint::CountTokens, true) => "/v1/messages/count_tokens?beta=true",
        }
    }

    /// Anthropic takes nothing for counting.
    #[must_use]
    pub const fn is_free(self) -> bool {
        match self.endpoint {
            Endpoint::Messages => false,
            Endpoint::CountTokens => true,
        }
    }
}

/// Reads the raw usage of a whole message.
pub(super) fn read_usage(raw: &[u8]) -> Report {
    let mut figures = usage::Figures::default();
    figures.take(raw);
    figures.report()
}

/// Anthropic's envelope.
///
/// Source: Anthropic API reference, "Errors": the type goes with the status, the SDKs choose their
/// exception by the status and show type, message and `request_id`.
pub(super) fn error_body(problem: &Problem<'_>) -> Bytes {
    let body = json!({
        "type": "error",
        "error": {
            "type": error_type(problem),
            "message": problem.message,
            "details": {"error_code": problem.denial.code(), "metadata": problem.metadata},
        },
        "request_id": problem.request.to_string(),
    });
    Bytes::from(body.to_string())
}

fn error_type(problem: &Problem<'_>) -> &'static str {
    // An organisation may have its budgets refused as rates are.
    if problem.status == 429 {
        return "rate_limit_error";
    }
    match problem.denial {
        Denial::Unauthorized
        | Denial::WrongCredentialKind
        | Denial::KeyDisabled
        | Denial::KeyExpired
        | Denial::KeyRevoked => "authentication_error",
        Denial::BillingShortfall | Denial::QuotaExceeded | Denial::InFlightBudgetExhausted => {
            "billing_error"
        }
        Denial::ModelNotAllowed
        | Denial::ProviderNotAllowed
        | Denial::IpNotAllowed
        | Denial::McpNotAllowed => "permission_error",
        Denial::ModelNotFound | Denial::NotFound => "not_found_error",
        Denial::RequestTooLarge => "request_too_large",
        Denial::MethodNotAllowed | Denial::InvalidRequest => "invalid_request_error",
        Denial::RateLimited => "rate_limit_error",
        Denial::RequestTimeout | Denial::ProviderTimeout => "timeout_error",
        Denial::ProviderError | Denial::ControlPlaneStale | Denial::LimitAuthorityUnavailable => {
            "api_error"
        }
        Denial::Overloaded => "overloaded_error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::problem;

    #[test]
    fn paths_lead_to_calls_with_and_without_the_prefix() {
        let path = |path, query| Call::at(path, query).map(Call::path);
        assert_eq!(path("/v1/messages", "beta=true&key=x"), Some("/v1/messages?beta=true"));
        assert_eq!(path("/anthropic/v1/messages", ""), Some("/v1/messages"));
        let counts = Call::at("/anthropic/v1/messages/count_tokens", "").unwrap();
        assert_eq!((counts.path(), counts.is_free()), ("/v1/messages/count_tokens", true));
        for nothing in ["/anthropic", "/v1/messages/", "/messages", "/anthropic/anthropic"] {
            assert_eq!(path(nothing, ""), None, "{nothing}");
        }
    }

    #[test]
    fn an_error_has_the_shape_that_the_sdks_read() {
        let body = error_body(&problem(Denial::ModelNotFound, 404));
        let read: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(
            read,
            json!({
                "type": "error",
                "error": {"type": "not_found_error", "message": "a sentence", "details": {
                    "error_code": "model_not_found",
                    "metadata": {"retryable": false, "limit": 7, "held": null},
                }},
                "request_id": "req_00000000000000000000000001",
            })
        );
        let cases = [
            (Denial::QuotaExceeded, 402, "billing_error"),
            (Denial::QuotaExceeded, 429, "rate_limit_error"),
            (Denial::IpNotAllowed, 403, "permission_error"),
        ];
        for (denial, status, kind) in cases {
            assert_eq!(error_type(&problem(denial, status)), kind);
        }
    }
}
