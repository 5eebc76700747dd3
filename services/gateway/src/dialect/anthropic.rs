//! Anthropic's dialect: its endpoints, its usage, its errors.

use bytes::Bytes;
use serde_json::json;
use turnpike_domain::admit::Denial;

use super::Problem;

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
