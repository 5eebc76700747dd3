//! The languages that callers and providers speak: a closed set, one module each.

mod anthropic;
mod gemini;
pub mod openai;
mod place;

use bytes::Bytes;
use turnpike_domain::admit::Denial;
use turnpike_domain::id::RequestId;
use turnpike_domain::meter::Usage;
use turnpike_domain::state::ProviderKind;

pub use place::{Place, Sent, Target, place};

use crate::peek::OutputField;
use crate::sse::{Event, Fate};

/// A language of requests, answers and errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// OpenAI, and what is compatible with it.
    OpenAi,
    /// Anthropic.
    Anthropic,
    /// Google's Gemini.
    Gemini,
}

/// A call that costs: it goes to a provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// One of OpenAI's.
    OpenAi(openai::Endpoint),
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
}

impl Dialect {
    /// The kind of provider that speaks it.
    #[must_use]
    pub const fn spoken_by(self) -> ProviderKind {
        match self {
            Self::OpenAi => ProviderKind::OpenAi,
            Self::Anthropic => ProviderKind::Anthropic,
            Self::Gemini => ProviderKind::Gemini,
        }
    }

    /// The body of an error answer, as this dialect's SDKs read it.
    #[must_use]
    pub fn error_body(self, problem: &Problem<'_>) -> Bytes {
        match self {
            Self::OpenAi => openai::error_body(problem),
            Self::Anthropic => anthropic::error_body(problem),
            Self::Gemini => gemini::error_body(problem),
        }
    }
}

impl Call {
    /// Whose call it is.
    #[must_use]
    pub const fn dialect(self) -> Dialect {
        match self {
            Self::OpenAi(_) => Dialect::OpenAi,
        }
    }

    /// The path at the provider, below its base URL.
    #[must_use]
    pub const fn upstream_path(self) -> &'static str {
        match self {
            Self::OpenAi(endpoint) => endpoint.path(),
        }
    }

    /// Whether an answer is made of output tokens.
    #[must_use]
    pub const fn makes_output(self) -> bool {
        match self {
            Self::OpenAi(endpoint) => endpoint.makes_output(),
        }
    }

    /// The field of its body that says the most output tokens of an answer, if it has one.
    #[must_use]
    pub const fn output_field(self) -> Option<OutputField> {
        match self {
            Self::OpenAi(endpoint) => endpoint.output_field(),
        }
    }

    /// Whether its body is a form instead of JSON.
    #[must_use]
    pub const fn takes_form(self) -> bool {
        match self {
            Self::OpenAi(endpoint) => endpoint.takes_form(),
        }
    }

    /// Whether a stream of it has to be asked for its usage.
    #[must_use]
    pub const fn takes_include_usage(self) -> bool {
        match self {
            Self::OpenAi(endpoint) => endpoint.streams_chunks(),
        }
    }

    /// The top-level field of a whole answer that holds its usage.
    #[must_use]
    pub const fn usage_field(self) -> &'static str {
        match self {
            Self::OpenAi(_) => "usage",
        }
    }

    /// Reads the usage of a whole answer.
    #[must_use]
    pub fn read_answer(self, usage_field: Option<&[u8]>) -> Report {
        match self {
            Self::OpenAi(endpoint) => openai::read_answer(endpoint, usage_field),
        }
    }

    /// A meter for a streamed answer. `hides_usage`: the caller did not ask for the usage chunk.
    #[must_use]
    pub fn stream_meter(self, hides_usage: bool) -> StreamMeter {
        match self {
            Self::OpenAi(endpoint) => {
                StreamMeter::OpenAi(openai::StreamMeter::new(endpoint, hides_usage))
            }
        }
    }
}

impl StreamMeter {
    /// Whether events may be taken out of this stream.
    #[must_use]
    pub const fn drops_events(&self) -> bool {
        match self {
            Self::OpenAi(meter) => meter.drops_events(),
        }
    }

    /// Reads an event, and says whether the caller gets it.
    pub fn judge(&mut self, event: &Event<'_>) -> Fate {
        match self {
            Self::OpenAi(meter) => meter.judge(event),
        }
    }

    /// What was seen so far.
    #[must_use]
    pub fn report(&self) -> Report {
        match self {
            Self::OpenAi(meter) => meter.report(),
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
    }
}
