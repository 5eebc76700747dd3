//! Reads Gemini's event streams: the usage of their latest event, and how many pieces passed.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::usage;
use crate::dialect::Report;
use crate::dialect::figures::object;
use crate::sse::{Event, Fate};

/// Reads one stream.
#[derive(Debug, Default)]
pub struct StreamMeter {
    /// By the latest event with usage: its figures are cumulative.
    report: Report,
    pieces: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Chunk<'a> {
    #[serde(borrow, default)]
    candidates: Option<Vec<Candidate<'a>>>,
    #[serde(borrow, default)]
    usage_metadata: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Candidate<'a> {
    #[serde(borrow, default)]
    content: Option<Content<'a>>,
}

#[derive(Deserialize)]
struct Content<'a> {
    #[serde(borrow, default)]
    parts: Option<&'a RawValue>,
}

impl StreamMeter {
    /// Reads an event. The caller gets all of them.
    pub fn judge(&mut self, event: &Event<'_>) -> Fate {
        let Some(chunk) = object::<Chunk<'_>>(&event.data) else { return Fate::Forward };
        let candidates = chunk.candidates.unwrap_or_default();
        let parts = candidates.iter().filter_map(|it| it.content.as_ref()?.parts);
        let pieces = parts.filter(|parts| is_output(parts));
        self.pieces = pieces.fold(self.pieces, |pieces, _| pieces.saturating_add(1));
        if let Some(raw) = chunk.usage_metadata {
            self.report = usage::read(raw.get().as_bytes());
        }
        Fate::Forward
    }

    /// What was seen so far. Early events may tell the prompt's tokens alone: they are no word
    /// about the output that has passed.
    #[must_use]
    pub fn report(&self) -> Report {
        let tells = self.report.usage.filter(|usage| usage.output > 0 || self.pieces == 0);
        Report { usage: tells, counted_output: Some(self.pieces), ..self.report }
    }
}

fn is_output(parts: &RawValue) -> bool {
    !matches!(parts.get(), "null" | "[]" | "[{}]" | "[{\"text\":\"\"}]" | "[{\"text\": \"\"}]")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use turnpike_domain::meter::Usage;

    use super::*;
    use crate::testing::{cut, scanned};

    const STREAM: &str = concat!(
        "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"usageMetadata\"}]}}],",
        "\"usageMetadata\":{\"promptTokenCount\":3,\"totalTokenCount\":3}}\r\n\r\n",
        "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"b\"}]}}],",
        "\"usageMetadata\":{\"promptTokenCount\":3,\"candidatesTokenCount\":1}}\r\n\r\n",
        "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"\"}]},",
        "\"finishReason\":\"STOP\"}],\"usageMetadata\":{\"promptTokenCount\":3,",
        "\"candidatesTokenCount\":2,\"thoughtsTokenCount\":4}}\r\n\r\n",
    );

    fn run(pieces: &[&[u8]]) -> (String, Report) {
        let mut meter = StreamMeter::default();
        let out = scanned(pieces, false, |event| meter.judge(event));
        (out, meter.report())
    }

    #[test]
    fn the_latest_usage_counts() {
        let (out, report) = run(&[STREAM.as_bytes()]);
        assert_eq!(out, STREAM);
        let usage = Usage { input: 3, output: 6, reasoning: 4, ..Usage::default() };
        assert_eq!((report.usage, report.counted_output), (Some(usage), Some(2)));
    }

    #[test]
    fn a_stream_cut_off_leaves_what_was_told_or_counted() {
        let events: Vec<&str> = STREAM.split_inclusive("\r\n\r\n").collect();
        let (_, report) = run(&[events[0].as_bytes()]);
        assert_eq!((report.usage, report.counted_output), (None, Some(1)));
        let (_, report) = run(&[events[0].as_bytes(), events[1].as_bytes()]);
        assert_eq!(report.usage.map(|usage| (usage.input, usage.output)), Some((3, 1)));
        let blocked = b"data: {\"promptFeedback\":{},\"usageMetadata\":{\"promptTokenCount\":3}}";
        let (_, report) = run(&[blocked]);
        assert_eq!(report.usage.map(|usage| (usage.input, usage.output)), Some((3, 0)));
    }

    #[test]
    fn hostile_usage_is_flagged() {
        let hostile = STREAM.replace("\"candidatesTokenCount\":2", "\"candidatesTokenCount\":-2");
        let (_, report) = run(&[hostile.as_bytes(), b"data: [1]\n\n", b"data: {\n\n"]);
        assert_eq!((report.usage, report.malformed), (None, true));
    }

    proptest! {
        #[test]
        fn where_the_chunks_are_cut_changes_neither_bytes_nor_usage(
            places in prop::collection::vec(any::<usize>(), 0..20),
        ) {
            let pieces = cut(STREAM.as_bytes(), &places);
            prop_assert_eq!(run(&pieces), run(&[STREAM.as_bytes()]));
        }
    }
}
