//! Gemini's dialect: its endpoints, its usage, its errors.

use bytes::Bytes;
use serde_json::{Value, json};
use turnpike_domain::admit::Denial;

use super::Problem;

/// Who gives the reasons of our errors (google.rpc.ErrorInfo).
const DOMAIN: &str = "turnpike.dev";

/// Google's envelope.
///
/// Source: Google AIP-193 and google/rpc/error_details.proto: a reason is our code in capitals, and
/// metadata is a map of texts.
pub(super) fn error_body(problem: &Problem<'_>) -> Bytes {
    let mut details = vec![json!({
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": problem.denial.code().to_ascii_uppercase(),
        "domain": DOMAIN,
        "metadata": texts(&problem.metadata),
    })];
    if let Some(seconds) = problem.retry_after_s {
        details.push(json!({
            "@type": "type.googleapis.com/google.rpc.RetryInfo",
            "retryDelay": format!("{seconds}s"),
        }));
    }
    let body = json!({"error": {
        "code": problem.status,
        "message": problem.message,
        "status": status_name(problem),
        "details": details,
    }});
    Bytes::from(body.to_string())
}

/// What is known of an object's fields, as texts.
fn texts(metadata: &Value) -> Value {
    let fields = metadata.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null());
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    fields.map(|(name, value)| (name.clone(), Value::from(text(value)))).collect()
}

/// The name of the error's canonical code (google/rpc/code.proto); 402 has none, and is nearest to
/// a quota.
fn status_name(problem: &Problem<'_>) -> &'static str {
    match problem.denial {
        Denial::Unauthorized
        | Denial::WrongCredentialKind
        | Denial::KeyDisabled
        | Denial::KeyExpired
        | Denial::KeyRevoked => "UNAUTHENTICATED",
        Denial::BillingShortfall
        | Denial::QuotaExceeded
        | Denial::InFlightBudgetExhausted
        | Denial::RateLimited => "RESOURCE_EXHAUSTED",
        Denial::ModelNotAllowed
        | Denial::ProviderNotAllowed
        | Denial::IpNotAllowed
        | Denial::McpNotAllowed => "PERMISSION_DENIED",
        Denial::ModelNotFound | Denial::NotFound => "NOT_FOUND",
        Denial::MethodNotAllowed | Denial::RequestTooLarge | Denial::InvalidRequest => {
            "INVALID_ARGUMENT"
        }
        Denial::RequestTimeout | Denial::ProviderTimeout => "DEADLINE_EXCEEDED",
        Denial::ProviderError
        | Denial::ControlPlaneStale
        | Denial::LimitAuthorityUnavailable
        | Denial::Overloaded => "UNAVAILABLE",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::problem;

    #[test]
    fn an_error_has_the_shape_that_the_sdks_read() {
        let body =
            error_body(&Problem { retry_after_s: Some(3), ..problem(Denial::RateLimited, 429) });
        let read: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(
            read,
            json!({"error": {
                "code": 429,
                "message": "a sentence",
                "status": "RESOURCE_EXHAUSTED",
                "details": [
                    {"@type": "type.googleapis.com/google.rpc.ErrorInfo",
                     "reason": "RATE_LIMITED", "domain": "turnpike.dev",
                     "metadata": {"retryable": "false", "limit": "7"}},
                    {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "3s"},
                ],
            }})
        );
    }
}
