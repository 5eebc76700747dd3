//! The languages that callers and providers speak: a closed set, one module each.

pub mod openai;

use bytes::Bytes;
use http::Method;
use turnpike_domain::admit::Denial;
use turnpike_domain::meter::Usage;
use turnpike_domain::state::ProviderKind;

use crate::peek::OutputField;
use crate::sse::{Event, Fate};

/// A language of requests, answers and errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// OpenAI, and what is compatible with it.
    OpenAi,
}

/// A call that costs: it goes to a provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// One of OpenAI's.
    OpenAi(openai::Endpoint),
}

/// What a path means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target<'a> {
    /// A call to a provider.
    Call(Call),
    /// The models that the key may call.
    Models,
    /// One of them.
    Model(&'a str),
    /// What the key itself is.
    OwnKey,
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
    /// A sentence for a person.
    pub message: &'a str,
    /// The figures behind it, as a JSON object.
    pub metadata: serde_json::Value,
}

/// What a method and a path (without query) mean.
///
/// # Errors
/// [`Denial::NotFound`] or [`Denial::MethodNotAllowed`].
pub fn target<'a>(method: &Method, path: &'a str) -> Result<Target<'a>, Denial> {
    let rest = path.strip_prefix("/v1/").ok_or(Denial::NotFound)?;
    let (needed, target) = if let Some(endpoint) = openai::Endpoint::at(rest) {
        (Method::POST, Target::Call(Call::OpenAi(endpoint)))
    } else if rest == "models" {
        (Method::GET, Target::Models)
    } else if rest == "key" {
        (Method::GET, Target::OwnKey)
    } else if let Some(name) = rest.strip_prefix("models/").filter(|name| !name.is_empty()) {
        (Method::GET, Target::Model(name))
    } else {
        return Err(Denial::NotFound);
    };
    if *method == needed { Ok(target) } else { Err(Denial::MethodNotAllowed) }
}

impl Dialect {
    /// The kind of provider that speaks it.
    #[must_use]
    pub const fn spoken_by(self) -> ProviderKind {
        match self {
            Self::OpenAi => ProviderKind::OpenAi,
        }
    }

    /// The body of an error answer, as this dialect's SDKs read it.
    #[must_use]
    pub fn error_body(self, problem: &Problem<'_>) -> Bytes {
        match self {
            Self::OpenAi => openai::error_body(problem),
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
mod tests {
    use super::*;

    #[test]
    fn paths_and_methods_lead_to_their_targets() {
        let chat = Target::Call(Call::OpenAi(openai::Endpoint::ChatCompletions));
        let cases = [
            (Method::POST, "/v1/chat/completions", Ok(chat)),
            (Method::GET, "/v1/chat/completions", Err(Denial::MethodNotAllowed)),
            (Method::GET, "/v1/models", Ok(Target::Models)),
            (Method::GET, "/v1/models/a/b", Ok(Target::Model("a/b"))),
            (Method::GET, "/v1/models/", Err(Denial::NotFound)),
            (Method::GET, "/v1/key", Ok(Target::OwnKey)),
            (Method::POST, "/v2/key", Err(Denial::NotFound)),
            (Method::POST, "/v1/../v1/key", Err(Denial::NotFound)),
        ];
        for (method, path, want) in cases {
            assert_eq!(target(&method, path), want, "{method} {path}");
        }
    }
}
