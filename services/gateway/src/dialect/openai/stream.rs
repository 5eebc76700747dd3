//! Reads OpenAI's streams: the usage of their last events, and how many deltas passed.

use std::fmt;

use memchr::memmem;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::{Endpoint, usage};
use crate::dialect::Report;
use crate::dialect::figures::object;
use crate::sse::{Event, Fate};

/// Reads one stream.
#[derive(Debug)]
pub struct StreamMeter {
    endpoint: Endpoint,
    hides_usage: bool,
    report: Report,
    deltas: u64,
}

/// A chunk of chat completions or completions.
#[derive(Deserialize)]
struct Chunk<'a> {
    #[serde(default)]
    choices: Option<Vec<Choice>>,
    #[serde(borrow, default)]
    usage: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Choice {
    #[serde(default)]
    delta: Option<Output>,
    #[serde(default, deserialize_with = "has_output")]
    text: bool,
}

/// Whether a delta holds anything but the role.
#[derive(Clone, Copy)]
struct Output(bool);

/// An event of responses, images, speech or transcriptions.
#[derive(Deserialize)]
struct Typed<'a> {
    #[serde(borrow, default)]
    usage: Option<&'a RawValue>,
    #[serde(borrow, default)]
    response: Option<Response<'a>>,
}

#[derive(Deserialize)]
struct Response<'a> {
    #[serde(borrow, default)]
    usage: Option<&'a RawValue>,
}

impl StreamMeter {
    /// A meter for a stream of `endpoint`; `hides_usage` if the caller did not ask for the usage
    /// chunk, so that it has to be taken out.
    #[must_use]
    pub fn new(endpoint: Endpoint, hides_usage: bool) -> Self {
        Self { endpoint, hides_usage, report: Report::default(), deltas: 0 }
    }

    /// Whether events may be taken out of this stream.
    #[must_use]
    pub const fn drops_events(&self) -> bool {
        self.hides_usage
    }

    /// Reads an event, and says whether the caller gets it.
    pub fn judge(&mut self, event: &Event<'_>) -> Fate {
        if self.endpoint.streams_chunks() { self.chunk(event) } else { self.typed(event) }
    }

    /// What was seen so far.
    #[must_use]
    pub fn report(&self) -> Report {
        let counts = self.endpoint.makes_output() && self.endpoint.counts_deltas();
        Report { counted_output: counts.then_some(self.deltas), ..self.report }
    }

    fn chunk(&mut self, event: &Event<'_>) -> Fate {
        let Some(chunk) = object::<Chunk<'_>>(&event.data) else { return Fate::Forward };
        let choices = chunk.choices.unwrap_or_default();
        let outputs = choices
            .iter()
            .filter(|choice| choice.text || choice.delta.is_some_and(|output| output.0));
        self.deltas = outputs.fold(self.deltas, |deltas, _| deltas.saturating_add(1));
        let Some(raw) = chunk.usage else { return Fate::Forward };
        self.report = usage::read(self.endpoint, raw.get().as_bytes());
        if self.hides_usage && choices.is_empty() { Fate::Drop } else { Fate::Forward }
    }

    fn typed(&mut self, event: &Event<'_>) -> Fate {
        if is_delta(event) {
            self.deltas = self.deltas.saturating_add(1);
        } else if memmem::find(&event.data, b"\"usage\"").is_some() {
            let typed = object::<Typed<'_>>(&event.data);
            let raw = typed.and_then(|typed| {
                typed.usage.or_else(|| typed.response.and_then(|response| response.usage))
            });
            if let Some(raw) = raw {
                self.report = usage::read(self.endpoint, raw.get().as_bytes());
            }
        }
        Fate::Forward
    }
}

/// Whether the event is a piece of output: its name, or the type in its data, ends so.
fn is_delta(event: &Event<'_>) -> bool {
    #[derive(Deserialize)]
    struct Kind<'a> {
        #[serde(borrow, default, rename = "type")]
        kind: Option<&'a str>,
    }
    if event.name.is_empty() {
        let kind = object::<Kind<'_>>(&event.data).and_then(|kind| kind.kind);
        return kind.is_some_and(|kind| kind.ends_with(".delta"));
    }
    event.name.ends_with(b".delta")
}

fn has_output<'de, D: Deserializer<'de>>(from: D) -> Result<bool, D::Error> {
    <&RawValue>::deserialize(from).map(is_output)
}

fn is_output(raw: &RawValue) -> bool {
    !matches!(raw.get(), "null" | "\"\"" | "[]" | "{}")
}

impl<'de> Deserialize<'de> for Output {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(field_identifier, rename_all = "snake_case")]
        enum Name {
            Role,
            #[serde(other)]
            Other,
        }
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Output;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a delta")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Output, A::Error> {
                let mut output = false;
                while let Some(name) = map.next_key()? {
                    match name {
                        Name::Role => drop(map.next_value::<IgnoredAny>()?),
                        Name::Other => output |= is_output(map.next_value()?),
                    }
                }
                Ok(Output(output))
            }
        }
        from.deserialize_map(Fields)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use turnpike_domain::meter::Usage;

    use super::*;
    use crate::testing::{cut, scanned};

    const CHAT: &str = concat!(
        "data: {\"choices\":[],\"prompt_filter_results\":[],\"usage\":null}\n\n",
        "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n",
        "data: {\"choices\":[{\"delta\":{\"content\":\"\\\"usage\\\"\"}}],\"usage\":null}\n\n",
        "data: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":0}]}}]}\n\n",
        "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n",
        "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2}}\n\n",
        "data: [DONE]\n\n",
    );

    fn run(endpoint: Endpoint, hides_usage: bool, pieces: &[&[u8]]) -> (String, Report) {
        let mut meter = StreamMeter::new(endpoint, hides_usage);
        let drops = meter.drops_events();
        let out = scanned(pieces, drops, |event| meter.judge(event));
        (out, meter.report())
    }

    fn used(input: u64, output: u64) -> Option<Usage> {
        Some(Usage { input, output, ..Usage::default() })
    }

    #[test]
    fn the_usage_chunk_is_read_and_hidden_from_those_who_did_not_ask() {
        let (out, report) = run(Endpoint::ChatCompletions, false, &[CHAT.as_bytes()]);
        assert_eq!(out, CHAT);
        assert_eq!((report.usage, report.counted_output), (used(3, 2), Some(2)));

        let (out, report) = run(Endpoint::ChatCompletions, true, &[CHAT.as_bytes()]);
        let chunk = CHAT.split_inclusive("\n\n").nth(5).unwrap();
        assert_eq!(out, CHAT.replace(chunk, ""));
        assert_eq!(report.usage, used(3, 2));
    }

    #[test]
    fn a_stream_cut_off_leaves_what_was_counted() {
        let begun: String = CHAT.split_inclusive("\n\n").take(3).collect();
        let (_, report) = run(Endpoint::ChatCompletions, true, &[begun.as_bytes()]);
        assert_eq!((report.usage, report.counted_output), (None, Some(1)));
        let text = b"data: {\"choices\":[{\"text\":\"a\"},{\"text\":\"\"}]}\n\n";
        let (_, report) = run(Endpoint::Completions, true, &[text]);
        assert_eq!(report.counted_output, Some(1));
    }

    #[test]
    fn the_last_event_of_a_response_carries_its_usage() {
        let stream = concat!(
            "event: response.output_text.delta\ndata: {\"delta\":\"a\"}\n\n",
            "data: {\"type\":\"response.output_text.delta\",\"delta\":\"usage\"}\n\n",
            "event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{",
            "\"output\":[{\"usage\":1}],\"usage\":{\"input_tokens\":7,\"output_tokens\":2,",
            "\"output_tokens_details\":{\"reasoning_tokens\":1}}}}\n\n",
        );
        let (out, report) = run(Endpoint::Responses, false, &[stream.as_bytes()]);
        assert_eq!(out, stream);
        let usage = Usage { input: 7, output: 2, reasoning: 1, ..Usage::default() };
        assert_eq!((report.usage, report.counted_output), (Some(usage), Some(2)));
    }

    #[test]
    fn a_response_that_did_not_complete_tells_its_usage_too() {
        for end in ["incomplete", "failed"] {
            let stream = format!(
                "event: response.created\ndata: {{\"response\":{{\"usage\":null}}}}\n\n\
                 event: response.{end}\ndata: {{\"type\":\"response.{end}\",\"response\":\
                 {{\"usage\":{{\"input_tokens\":7,\"output_tokens\":2}}}}}}\n\n"
            );
            let (out, report) = run(Endpoint::Responses, false, &[stream.as_bytes()]);
            assert_eq!((out, report.usage), (stream, used(7, 2)), "{end}");
        }
        let sound = b"data: {\"type\":\"speech.audio.done\",\"usage\":{\"input_tokens\":7,\
                      \"output_tokens\":2}}\n\n";
        let (_, report) = run(Endpoint::Speech, false, &[sound]);
        assert_eq!((report.usage, report.counted_output), (used(7, 2), None));
    }

    #[test]
    fn hostile_usage_is_flagged() {
        let stream =
            b"data: {\"choices\":[],\"usage\":{\"prompt_tokens\":-3,\"completion_tokens\":2}}\n\n";
        let (out, report) = run(Endpoint::ChatCompletions, true, &[stream]);
        assert_eq!((out.as_str(), report.usage, report.malformed), ("", None, true));
        let (_, report) =
            run(Endpoint::ChatCompletions, true, &[b"data: {\"usage\":[]}\n\ndata: {\n\n"]);
        assert_eq!((report.usage, report.malformed), (None, true));
    }

    proptest! {
        #[test]
        fn where_the_chunks_are_cut_changes_neither_bytes_nor_usage(
            places in prop::collection::vec(any::<usize>(), 0..20),
            hides_usage in any::<bool>(),
        ) {
            let pieces = cut(CHAT.as_bytes(), &places);
            let whole = run(Endpoint::ChatCompletions, hides_usage, &[CHAT.as_bytes()]);
            prop_assert_eq!(run(Endpoint::ChatCompletions, hides_usage, &pieces), whole);
        }
    }
}
