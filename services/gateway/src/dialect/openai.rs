//! OpenAI's dialect: its endpoints, its usage, its errors.

mod stream;
mod usage;

use bytes::Bytes;
use serde_json::{Value, json};
use turnpike_domain::admit::Denial;

pub use stream::StreamMeter;

use super::{Problem, Report};
use crate::peek::OutputField;
use crate::sse;

/// The calls of OpenAI that cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// `/v1/chat/completions`
    ChatCompletions,
    /// `/v1/completions`
    Completions,
    /// `/v1/responses`
    Responses,
    /// `/v1/embeddings`
    Embeddings,
    /// `/v1/images/generations`
    Images,
    /// `/v1/audio/speech`
    Speech,
    /// `/v1/audio/transcriptions`
    Transcriptions,
    /// `/v1/moderations`
    Moderations,
}

impl Endpoint {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::ChatCompletions,
        Self::Completions,
        Self::Responses,
        Self::Embeddings,
        Self::Images,
        Self::Speech,
        Self::Transcriptions,
        Self::Moderations,
    ];

    /// The endpoint at a path, given without the `/v1/` before it.
    #[must_use]
    pub fn at(rest: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|endpoint| endpoint.path().strip_prefix("/v1/") == Some(rest))
    }

    /// The path, here and at the provider.
    #[must_use]
    pub const fn path(self) -> &'static str {
        match self {
            Self::ChatCompletions => "/v1/chat/completions",
            Self::Completions => "/v1/completions",
            Self::Responses => "/v1/responses",
            Self::Embeddings => "/v1/embeddings",
            Self::Images => "/v1/images/generations",
            Self::Speech => "/v1/audio/speech",
            Self::Transcriptions => "/v1/audio/transcriptions",
            Self::Moderations => "/v1/moderations",
        }
    }

    /// Whether its answers are made of output tokens.
    #[must_use]
    pub const fn makes_output(self) -> bool {
        match self {
            Self::Embeddings | Self::Moderations => false,
            Self::ChatCompletions
            | Self::Completions
            | Self::Responses
            | Self::Images
            | Self::Speech
            | Self::Transcriptions => true,
        }
    }

    /// Whether a stream of it takes `stream_options.include_usage`, and is made of chunks with
    /// `choices`.
    #[must_use]
    pub const fn streams_chunks(self) -> bool {
        matches!(self, Self::ChatCompletions | Self::Completions)
    }

    /// Whether the events of a stream stand for tokens: text does, images and sound do not.
    #[must_use]
    pub const fn counts_deltas(self) -> bool {
        matches!(self, Self::ChatCompletions | Self::Completions | Self::Responses)
    }

    /// The field of its body that says the most output tokens of an answer, if it has one. Of the
    /// two that chat completions take, `max_tokens` is deprecated and refused by newer models.
    #[must_use]
    pub const fn output_field(self) -> Option<OutputField> {
        match self {
            Self::ChatCompletions => Some(OutputField::MaxCompletionTokens),
            Self::Completions => Some(OutputField::MaxTokens),
            Self::Responses => Some(OutputField::MaxOutputTokens),
            Self::Embeddings
            | Self::Images
            | Self::Speech
            | Self::Transcriptions
            | Self::Moderations => None,
        }
    }

    /// The model of a body that names none.
    ///
    /// Source: OpenAI API reference, "Create moderation".
    #[must_use]
    pub const fn default_model(self) -> Option<&'static str> {
        match self {
            Self::Moderations => Some("omni-moderation-latest"),
            Self::ChatCompletions
            | Self::Completions
            | Self::Responses
            | Self::Embeddings
            | Self::Images
            | Self::Speech
            | Self::Transcriptions => None,
        }
    }

    /// Whether its body is a form instead of JSON: it carries a file.
    #[must_use]
    pub const fn takes_form(self) -> bool {
        matches!(self, Self::Transcriptions)
    }
}

/// Reads the raw usage of a whole answer.
pub(super) fn read_usage(endpoint: Endpoint, raw: &[u8]) -> Report {
    usage::read(endpoint, raw)
}

/// OpenAI's envelope.
///
/// Source: OpenAI API reference, "Error codes"; its SDKs read `message`, `type`, `param`, `code`.
pub(super) fn error_body(problem: &Problem<'_>) -> Bytes {
    Bytes::from(json!({"error": error(problem)}).to_string())
}

/// The event of a stream that tells of an error. The SDKs raise whatever has an `error`; where
/// events have types, this one's is `error` too.
///
/// Source: the `Stream` of OpenAI's SDKs.
pub(super) fn error_event(endpoint: Endpoint, problem: &Problem<'_>) -> Bytes {
    if endpoint.streams_chunks() {
        return sse::event(None, &error_body(problem));
    }
    let typed = json!({"type": "error", "error": error(problem)});
    sse::event(Some("error"), typed.to_string().as_bytes())
}

fn error(problem: &Problem<'_>) -> Value {
    json!({
        "message": problem.message,
        "type": error_type(problem.denial),
        "param": if problem.denial == Denial::ModelNotFound { Some("model") } else { None },
        "code": problem.denial.code(),
        "metadata": problem.metadata,
    })
}

const fn error_type(denial: Denial) -> &'static str {
    match denial {
        Denial::Unauthorized
        | Denial::WrongCredentialKind
        | Denial::KeyDisabled
        | Denial::KeyExpired
        | Denial::KeyRevoked => "authentication_error",
        Denial::BillingShortfall | Denial::QuotaExceeded | Denial::InFlightBudgetExhausted => {
            "insufficient_quota"
        }
        Denial::ModelNotAllowed
        | Denial::ProviderNotAllowed
        | Denial::IpNotAllowed
        | Denial::McpNotAllowed => "permission_error",
        Denial::ModelNotFound
        | Denial::NotFound
        | Denial::MethodNotAllowed
        | Denial::RequestTooLarge
        | Denial::RequestTimeout
        | Denial::InvalidRequest => "invalid_request_error",
        Denial::RateLimited => "rate_limit_error",
        Denial::ProviderError
        | Denial::ProviderTimeout
        | Denial::ControlPlaneStale
        | Denial::LimitAuthorityUnavailable
        | Denial::Overloaded => "server_error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::problem;

    #[test]
    fn every_path_leads_to_its_endpoint_and_no_other_does() {
        for endpoint in Endpoint::ALL {
            assert_eq!(Endpoint::at(&endpoint.path()["/v1/".len()..]), Some(endpoint));
        }
        for rest in ["", "chat", "chat/completions/", "/v1/embeddings"] {
            assert_eq!(Endpoint::at(rest), None, "{rest}");
        }
    }

    #[test]
    fn an_error_has_the_shape_that_the_sdks_read() {
        let body = error_body(&problem(Denial::ModelNotFound, 404));
        let read: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(
            read,
            json!({"error": {"message": "a sentence", "type": "invalid_request_error",
                "param": "model", "code": "model_not_found",
                "metadata": {"retryable": false, "limit": 7, "held": null}}})
        );
    }
}
