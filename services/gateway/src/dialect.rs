//! The languages that callers and providers speak: a closed set, one module each.

pub mod anthropic;
mod figures;
pub mod gemini;
pub mod mcp;
pub mod openai;
mod place;
mod routes;

use std::borrow::Cow;

use bytes::Bytes;
use http::HeaderMap;
use memchr::memmem;
use turnpike_domain::admit::Denial;
use turnpike_domain::id::RequestId;
use turnpike_domain::meter::Usage;
use turnpike_domain::state::ProviderKind;

pub use place::{Place, Sent, Target, place};
pub use routes::{Route, routes};

use crate::field::{Name, Search};
use crate::peek::{self, NotARequest, OutputField, Peek};
use crate::sse::{self, Event, Fate};

/// The field of an answer of OpenAI's and Anthropic's that holds its usage.
static USAGE: Name = Name::new("usage", || memmem::Finder::new("\"usage\""));

/// A language of requests, answers and errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// OpenAI, and what is compatible with it.
    OpenAi,
    /// Anthropic.
    Anthropic,
    /// Google's Gemini.
    Gemini,
    /// MCP.
    Mcp,
}

/// A call that goes to a provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// One of OpenAI's.
    OpenAi(openai::Endpoint),
    /// One of Anthropic's.
    Anthropic(anthropic::Call),
    /// One of Gemini's.
    Gemini(gemini::Call),
}

/// What a meter saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Report {
    /// The provider's word, if it made sense.
    pub usage: Option<Usage>,
    /// The provider's word made no sense, in part or at all.
    pub malformed: bool,
    /// Output tokens counted as they passed, where the dialect lets us count.
    pub counted_output: Option<u64>,
}

/// Reads the usage out of one stream as it passes.
#[derive(Debug)]
pub enum StreamMeter {
    /// OpenAI's events.
    OpenAi(openai::StreamMeter),
    /// Anthropic's events.
    Anthropic(anthropic::StreamMeter),
    /// Gemini's events.
    Gemini(gemini::StreamMeter),
}

/// A refusal or failure as the caller is told of it.
#[derive(Debug)]
pub struct Problem<'a> {
    /// The rule.
    pub denial: Denial,
    /// The status of the answer; that of a used-up budget is the organisation's choice.
    pub status: u16,
    /// A sentence for a person.
    pub message: &'a str,
    /// The request.
    pub request: RequestId,
    /// After how many seconds the same request may pass, if that is known.
    pub retry_after_s: Option<u32>,
    /// The figures behind it, as a JSON object.
    pub metadata: serde_json::Value,
    /// What an answer in JSON-RPC needs besides.
    pub reply: Option<&'a mcp::Reply>,
}

impl Dialect {
    /// Its name for people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::OpenAi => "OpenAI",
            Self::Anthropic => "Anthropic",
            Self::Gemini => "Gemini",
            Self::Mcp => "MCP",
        }
    }

    /// The kind of provider that speaks it; MCP servers are no providers of models.
    #[must_use]
    pub const fn spoken_by(self) -> Option<ProviderKind> {
        match self {
            Self::OpenAi => Some(ProviderKind::OpenAi),
            Self::Anthropic => Some(ProviderKind::Anthropic),
            Self::Gemini => Some(ProviderKind::Gemini),
            Self::Mcp => None,
        }
    }

    /// Whether its SDKs pass over a comment in a stream, as the standard asks of them.
    #[must_use]
    pub const fn takes_comments(self) -> bool {
        match self {
            Self::OpenAi | Self::Anthropic => true,
            Self::Gemini | Self::Mcp => false,
        }
    }

    /// The body of an error answer, as this dialect's SDKs read it.
    #[must_use]
    pub fn error_body(self, problem: &Problem<'_>) -> Bytes {
        match self {
            Self::OpenAi => openai::error_body(problem),
            Self::Anthropic => anthropic::error_body(problem),
            Self::Gemini => gemini::error_body(problem),
            Self::Mcp => mcp::error_body(problem),
        }
    }
}

impl Call {
    /// Whose call it is.
    #[must_use]
    pub const fn dialect(self) -> Dialect {
        match self {
            Self::OpenAi(_) => Dialect::OpenAi,
            Self::Anthropic(_) => Dialect::Anthropic,
            Self::Gemini(_) => Dialect::Gemini,
        }
    }

    /// The kind of provider that it goes to.
    #[must_use]
    pub const fn provider_kind(self) -> ProviderKind {
        match self {
            Self::OpenAi(_) => ProviderKind::OpenAi,
            Self::Anthropic(_) => ProviderKind::Anthropic,
            Self::Gemini(_) => ProviderKind::Gemini,
        }
    }

    /// The path and query at the provider, below its base URL, for the model that is called
    /// `model` there.
    #[must_use]
    pub fn upstream_path(self, model: &str) -> Cow<'static, str> {
        match self {
            Self::OpenAi(endpoint) => Cow::Borrowed(endpoint.path()),
            Self::Anthropic(call) => Cow::Borrowed(call.path()),
            Self::Gemini(call) => Cow::Owned(call.path(model)),
        }
    }

    /// Reads what matters of a request; `model` is the one that its path names, if it does.
    ///
    /// # Errors
    /// [`NotARequest`].
    pub fn peek<'a>(
        self,
        model: Option<&'a str>,
        headers: &HeaderMap,
        body: &'a [u8],
    ) -> Result<Peek<'a>, NotARequest> {
        match self {
            Self::OpenAi(endpoint) if endpoint.takes_form() => peek::peek_form(headers, body),
            Self::OpenAi(endpoint) => peek::openai(body, endpoint.default_model()),
            Self::Anthropic(_) => peek::anthropic(body),
            Self::Gemini(call) => {
                peek::gemini(model.ok_or(NotARequest::NoModel)?, call.streams(), body)
            }
        }
    }

    /// Whether an answer is made of output tokens.
    #[must_use]
    pub const fn makes_output(self) -> bool {
        match self {
            Self::OpenAi(endpoint) => endpoint.makes_output(),
            Self::Anthropic(call) => !call.is_free(),
            Self::Gemini(call) => call.makes_output(),
        }
    }

    /// Whether providers take nothing for it: it is counted as a request, and costs nothing.
    #[must_use]
    pub const fn is_free(self) -> bool {
        match self {
            Self::OpenAi(_) => false,
            Self::Anthropic(call) => call.is_free(),
            Self::Gemini(call) => call.is_free(),
        }
    }

    /// The field of its body that says the most output tokens of an answer, if it has one that may
    /// be left out.
    #[must_use]
    pub const fn output_field(self) -> Option<OutputField> {
        match self {
            Self::OpenAi(endpoint) => endpoint.output_field(),
            Self::Anthropic(_) => None,
            Self::Gemini(call) if call.makes_output() => Some(OutputField::GenerationConfig),
            Self::Gemini(_) => None,
        }
    }

    /// Whether a stream of it has to be asked for its usage.
    #[must_use]
    pub const fn takes_include_usage(self) -> bool {
        match self {
            Self::OpenAi(endpoint) => endpoint.streams_chunks(),
            Self::Anthropic(_) | Self::Gemini(_) => false,
        }
    }

    /// Whether its JSON comes piece by piece, as it is made.
    #[must_use]
    pub const fn streams_json(self) -> bool {
        match self {
            Self::OpenAi(_) | Self::Anthropic(_) => false,
            Self::Gemini(call) => call.streams_json(),
        }
    }

    /// Looks for the field of a JSON answer that holds its usage.
    #[must_use]
    pub fn usage_search(self) -> Search {
        match self {
            Self::OpenAi(_) | Self::Anthropic(_) => Search::in_object(&USAGE),
            Self::Gemini(call) if call.streams_json() => Search::in_list(&gemini::USAGE),
            Self::Gemini(_) => Search::in_object(&gemini::USAGE),
        }
    }

    /// Reads the usage of a JSON answer from the value of its field. `is_whole`: the answer came to
    /// its end.
    #[must_use]
    pub fn read_answer(self, usage_field: Option<&[u8]>, is_whole: bool) -> Report {
        if self.is_free() {
            return Report { counted_output: Some(0), ..Report::default() };
        }
        let Some(raw) = usage_field.filter(|raw| *raw != b"null") else {
            return Report::default();
        };
        match self {
            Self::OpenAi(endpoint) => openai::read_usage(endpoint, raw),
            Self::Anthropic(_) => anthropic::read_usage(raw),
            Self::Gemini(call) => gemini::read_usage(call, raw, is_whole),
        }
    }

    /// Whether its body holds a recording, which some providers charge by the second.
    #[must_use]
    pub const fn takes_recording(self) -> bool {
        match self {
            Self::OpenAi(endpoint) => endpoint.takes_form(),
            Self::Anthropic(_) | Self::Gemini(_) => false,
        }
    }

    /// Whether a plain text that answers it is its output: a transcription is.
    #[must_use]
    pub const fn counts_text(self) -> bool {
        self.takes_recording()
    }

    /// The event of a stream that tells of an error, as this dialect's SDKs read it.
    #[must_use]
    pub fn error_event(self, problem: &Problem<'_>) -> Bytes {
        match self {
            Self::OpenAi(endpoint) => openai::error_event(endpoint, problem),
            Self::Anthropic(_) => sse::event(Some("error"), &anthropic::error_body(problem)),
            Self::Gemini(_) => sse::event(None, &gemini::error_body(problem)),
        }
    }

    /// A meter for a streamed answer. `hides_usage`: the caller did not ask for the usage chunk.
    #[must_use]
    pub fn stream_meter(self, hides_usage: bool) -> StreamMeter {
        match self {
            Self::OpenAi(endpoint) => {
                StreamMeter::OpenAi(openai::StreamMeter::new(endpoint, hides_usage))
            }
            Self::Anthropic(_) => StreamMeter::Anthropic(anthropic::StreamMeter::default()),
            Self::Gemini(_) => StreamMeter::Gemini(gemini::StreamMeter::default()),
        }
    }
}

impl StreamMeter {
    /// Whether events may be taken out of this stream.
    #[must_use]
    pub const fn drops_events(&self) -> bool {
        match self {
            Self::OpenAi(meter) => meter.drops_events(),
            Self::Anthropic(_) | Self::Gemini(_) => false,
        }
    }

    /// Reads an event, and says whether the caller gets it.
    pub fn judge(&mut self, event: &Event<'_>) -> Fate {
        match self {
            Self::OpenAi(meter) => meter.judge(event),
            Self::Anthropic(meter) => meter.judge(event),
            Self::Gemini(meter) => meter.judge(event),
        }
    }

    /// What was seen so far.
    #[must_use]
    pub fn report(&self) -> Report {
        match self {
            Self::OpenAi(meter) => meter.report(),
            Self::Anthropic(meter) => meter.report(),
            Self::Gemini(meter) => meter.report(),
        }
    }
}

#[cfg(test)]
pub(crate) fn problem(denial: Denial, status: u16) -> Problem<'static> {
    Problem {
        denial,
        status,
        message: "a sentence",
        request: RequestId(1),
        retry_after_s: None,
        metadata: serde_json::json!({"retryable": false, "limit": 7, "held": null}),
        reply: None,
    }
}
