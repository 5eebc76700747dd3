//! Reads Anthropic's streams: the usage that their first and last events share, and how many deltas
//! passed.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::usage::Figures;
use crate::dialect::Report;
use crate::dialect::figures::object;
use crate::sse::{Event, Fate};

/// Reads one stream.
#[derive(Debug, Default)]
pub struct StreamMeter {
    figures: Figures,
    /// The last event with usage has come: what `message_start` says of the output is its
    /// beginning.
    is_told: bool,
    deltas: u64,
}

#[derive(Deserialize)]
struct Start<'a> {
    #[serde(borrow, default)]
    message: Option<Delta<'a>>,
}

#[derive(Deserialize)]
struct Delta<'a> {
    #[serde(borrow, default)]
    usage: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Kind<'a> {
    #[serde(borrow, default, rename = "type")]
    kind: Option<&'a str>,
}

impl StreamMeter {
    /// Reads an event. The caller gets all of them, errors too.
    pub fn judge(&mut self, event: &Event<'_>) -> Fate {
        match kind(event) {
            b"content_block_delta" => self.deltas = self.deltas.saturating_add(1),
            b"message_start" => {
                let start = object::<Start<'_>>(&event.data).and_then(|start| start.message);
                if let Some(raw) = start.and_then(|message| message.usage) {
                    self.figures.take(raw.get().as_bytes());
                }
            }
            b"message_delta" => {
                if let Some(raw) = object::<Delta<'_>>(&event.data).and_then(|delta| delta.usage) {
                    self.figures.take(raw.get().as_bytes());
                    self.is_told = true;
                }
            }
            _ => {}
        }
        Fate::Forward
    }

    /// What was seen so far.
    #[must_use]
    pub fn report(&self) -> Report {
        let told = if self.is_told { self.figures.report() } else { Report::default() };
        Report { counted_output: Some(self.deltas), ..told }
    }
}

/// What an event is: its name, which says the same as the type in its data.
fn kind<'a>(event: &'a Event<'_>) -> &'a [u8] {
    if !event.name.is_empty() {
        return event.name;
    }
    let kind = object::<Kind<'_>>(&event.data).and_then(|kind| kind.kind);
    kind.unwrap_or_default().as_bytes()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use turnpike_domain::meter::Usage;

    use super::*;
    use crate::testing::{cut, scanned};

    const STREAM: &str = concat!(
        "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"content\":[],",
        "\"usage\":{\"input_tokens\":3,\"cache_read_input_tokens\":4,\"output_tokens\":1}}}\n\n",
        "event: ping\ndata: {\"type\":\"ping\"}\n\n",
        "event: content_block_delta\ndata: {\"type\":\"content_block_delta\"}\n\n",
        "data: {\"type\":\"content_block_delta\",\"delta\":{\"text\":\"message_delta\"}}\n\n",
        "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{},",
        "\"usage\":{\"output_tokens\":2}}\n\n",
        "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
    );

    fn run(pieces: &[&[u8]]) -> (String, Report) {
        let mut meter = StreamMeter::default();
        let out = scanned(pieces, false, |event| meter.judge(event));
        (out, meter.report())
    }

    #[test]
    fn usage_is_split_over_the_first_event_and_the_last() {
        let (out, report) = run(&[STREAM.as_bytes()]);
        assert_eq!(out, STREAM);
        let usage = Usage { input: 7, cached_input: 4, output: 2, ..Usage::default() };
        assert_eq!((report.usage, report.counted_output), (Some(usage), Some(2)));
    }

    #[test]
    fn a_stream_cut_off_leaves_what_was_counted_and_an_error_passes() {
        let begun: String = STREAM.split_inclusive("\n\n").take(4).collect();
        let error = "event: error\ndata: {\"type\":\"error\",\"error\":{}}\n\n";
        let (out, report) = run(&[begun.as_bytes(), error.as_bytes()]);
        assert_eq!(out, begun + error);
        assert_eq!((report.usage, report.counted_output), (None, Some(2)));
        assert!(!report.malformed);
    }

    #[test]
    fn hostile_usage_is_flagged() {
        let hostile = STREAM.replace("\"output_tokens\":2", "\"output_tokens\":-2");
        let (_, report) = run(&[hostile.as_bytes()]);
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
