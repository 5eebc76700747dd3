//! Gemini's dialect: its endpoints, its usage, its errors.

mod stream;
mod usage;

use std::borrow::Cow;
use std::fmt::Write;

use bytes::Bytes;
use memchr::memmem;
use serde_json::{Value, json};
use turnpike_domain::admit::Denial;

pub use stream::StreamMeter;

use super::{Problem, Report};
use crate::field::Name;
use crate::query;

/// The field of an answer that holds its usage.
pub(super) static USAGE: Name =
    Name::new("usageMetadata", || memmem::Finder::new("\"usageMetadata\""));
/// Who gives the reasons of our errors (google.rpc.ErrorInfo).
const DOMAIN: &str = "turnpike.dev";

/// What is called on a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// `:generateContent`
    Generate,
    /// `:streamGenerateContent`
    Stream,
    /// `:countTokens`
    CountTokens,
    /// `:embedContent`
    Embed,
    /// `:batchEmbedContents`
    EmbedBatch,
}

/// A version of Google's API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    One,
    OneBeta,
}

/// A call, with what its URL says beside the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    endpoint: Endpoint,
    version: Version,
    /// `?alt=sse`: a stream of events instead of a JSON list.
    as_events: bool,
}

impl Endpoint {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Generate, Self::Stream, Self::CountTokens, Self::Embed, Self::EmbedBatch];

    /// What stands behind the model's name.
    #[must_use]
    pub const fn method(self) -> &'static str {
        match self {
            Self::Generate => ":generateContent",
            Self::Stream => ":streamGenerateContent",
            Self::CountTokens => ":countTokens",
            Self::Embed => ":embedContent",
            Self::EmbedBatch => ":batchEmbedContents",
        }
    }
}

impl Version {
    const ALL: [Self; 2] = [Self::One, Self::OneBeta];

    const fn path(self) -> &'static str {
        match self {
            Self::One => "/v1/",
            Self::OneBeta => "/v1beta/",
        }
    }
}

impl Call {
    /// The call at a path with a query, and the model that it is made on: all that stands between
    /// `models/` and the last colon, however the path is escaped.
    #[must_use]
    pub fn at<'a>(path: &'a str, query: &str) -> Option<(Self, Cow<'a, str>)> {
        let mut versions = Version::ALL.into_iter();
        let (version, rest) =
            versions.find_map(|version| Some((version, path.strip_prefix(version.path())?)))?;
        let called = query::decoded(rest.strip_prefix("models/")?, false);
        let mut all = Endpoint::ALL.into_iter();
        let (endpoint, length) = all
            .find_map(|endpoint| Some((endpoint, called.strip_suffix(endpoint.method())?.len())))?;
        let model = match called {
            Cow::Borrowed(text) => Cow::Borrowed(text.get(..length)?),
            Cow::Owned(mut text) => {
                text.truncate(length);
                Cow::Owned(text)
            }
        };
        let as_events = query::values(query, "alt").any(|value| value == "sse");
        Some((Self { endpoint, version, as_events }, model))
    }

    /// The path and query at the provider. A route may name a model that is not below `models/`.
    #[must_use]
    pub fn path(self, model: &str) -> String {
        let mut path = self.version.path().to_owned();
        if !model.starts_with("models/") && !model.starts_with("tunedModels/") {
            path.push_str("models/");
        }
        for byte in model.bytes() {
            // RFC 3986, 3.3: what a path may hold without an escape.
            if byte.is_ascii_alphanumeric() || b"-._~/:@!$&'()*+,;=".contains(&byte) {
                path.push(char::from(byte));
            } else {
                // Writing to a string cannot fail.
                let _ = write!(path, "%{byte:02X}");
            }
        }
        path.push_str(self.endpoint.method());
        if self.as_events {
            path.push_str("?alt=sse");
        }
        path
    }

    /// Whether an answer is made of output tokens.
    #[must_use]
    pub const fn makes_output(self) -> bool {
        match self.endpoint {
            Endpoint::Generate | Endpoint::Stream => true,
            Endpoint::CountTokens | Endpoint::Embed | Endpoint::EmbedBatch => false,
        }
    }

    /// Google takes nothing for counting.
    #[must_use]
    pub const fn is_free(self) -> bool {
        match self.endpoint {
            Endpoint::CountTokens => true,
            Endpoint::Generate | Endpoint::Stream | Endpoint::Embed | Endpoint::EmbedBatch => false,
        }
    }

    /// Whether the answer comes piece by piece.
    #[must_use]
    pub const fn streams(self) -> bool {
        match self.endpoint {
            Endpoint::Stream => true,
            Endpoint::Generate | Endpoint::CountTokens | Endpoint::Embed | Endpoint::EmbedBatch => {
                false
            }
        }
    }

    /// Whether it comes so as a list of JSON objects.
    #[must_use]
    pub const fn streams_json(self) -> bool {
        self.streams() && !self.as_events
    }
}

/// Reads the raw usage of an answer. Of a stream that was cut off, early objects may tell the
/// prompt's tokens alone: they are no word about the output that has passed.
pub(super) fn read_usage(call: Call, raw: &[u8], is_whole: bool) -> Report {
    let report = usage::read(raw);
    let is_early = call.streams() && !is_whole;
    let tells = report.usage.filter(|usage| usage.output > 0 || !is_early);
    Report { usage: tells, ..report }
}

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
    // Google's SDK for Node keeps no headers of an error.
    details.push(json!({
        "@type": "type.googleapis.com/google.rpc.RequestInfo",
        "requestId": problem.request.to_string(),
    }));
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
    fn paths_name_the_model_and_what_is_called_on_it() {
        let path = |path, query| {
            let (call, model) = Call::at(path, query)?;
            Some((call.path(&model), model.into_owned()))
        };
        for whole in [
            "/v1beta/models/m:generateContent",
            "/v1/models/a/b:c:countTokens",
            "/v1/models/m:embedContent",
        ] {
            assert_eq!(path(whole, "key=x&alt=json").unwrap().0, whole);
        }
        let (up, model) = path("/v1beta/models/a%2Fb%20:streamGenerateContent", "alt=sse").unwrap();
        assert_eq!(
            (up.as_str(), model.as_str()),
            ("/v1beta/models/a/b%20:streamGenerateContent?alt=sse", "a/b ")
        );
        for escaped in ["/v1/models/m%3AgenerateContent", "/v1/models/%6d%3agenerate%43ontent"] {
            let (up, model) = path(escaped, "").unwrap();
            assert_eq!((up.as_str(), model.as_str()), ("/v1/models/m:generateContent", "m"));
        }
        let (call, _) = Call::at("/v1beta/models/m:batchEmbedContents", "").unwrap();
        assert_eq!(call.path("tunedModels/t"), "/v1beta/tunedModels/t:batchEmbedContents");
        assert_eq!(call.path("models/m?x#y"), "/v1beta/models/m%3Fx%23y:batchEmbedContents");
        for nothing in [
            "/v1beta/models/m:fly",
            "/v1beta/models/m%253AgenerateContent",
            "/v1beta/models/m",
            "/v1beta/tunedModels/m:generateContent",
            "/v2/models/m:generateContent",
        ] {
            assert_eq!(path(nothing, ""), None, "{nothing}");
        }
    }

    #[test]
    fn of_a_list_that_was_cut_off_only_what_tells_of_the_output_counts() {
        let (stream, _) = Call::at("/v1beta/models/m:streamGenerateContent", "").unwrap();
        let early = br#"{"promptTokenCount":3}"#;
        assert_eq!(read_usage(stream, early, false), Report::default());
        assert!(read_usage(stream, early, true).usage.is_some());
        let later = br#"{"promptTokenCount":3,"candidatesTokenCount":1}"#;
        assert!(read_usage(stream, later, false).usage.is_some());
    }

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
                    {"@type": "type.googleapis.com/google.rpc.RequestInfo",
                     "requestId": "req_00000000000000000000000001"},
                ],
            }})
        );
    }
}
