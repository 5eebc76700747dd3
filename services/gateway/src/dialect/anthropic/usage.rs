//! Anthropic's usage objects, read as what they are: a stranger's figures.

use serde::Deserialize;
use serde_json::value::RawValue;
use turnpike_domain::meter::Usage;

use crate::dialect::Report;
use crate::dialect::figures::{count, object};

/// The object of a message and of `message_start`, and the later one of `message_delta`, whose
/// figures are cumulative.
#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(borrow, default)]
    input_tokens: Option<&'a RawValue>,
    #[serde(borrow, default)]
    output_tokens: Option<&'a RawValue>,
    #[serde(borrow, default)]
    cache_creation_input_tokens: Option<&'a RawValue>,
    #[serde(borrow, default)]
    cache_read_input_tokens: Option<&'a RawValue>,
    #[serde(borrow, default)]
    cache_creation: Option<&'a RawValue>,
    #[serde(borrow, default)]
    output_tokens_details: Option<&'a RawValue>,
}

/// What was written to the cache, by how long it stays there.
#[derive(Deserialize)]
struct Written<'a> {
    #[serde(borrow, default)]
    ephemeral_5m_input_tokens: Option<&'a RawValue>,
    #[serde(borrow, default)]
    ephemeral_1h_input_tokens: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct OutputDetails<'a> {
    #[serde(borrow, default)]
    thinking_tokens: Option<&'a RawValue>,
}

/// What the usage objects of one answer have said so far: a later figure takes the place of an
/// earlier one.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Figures {
    input: Option<u64>,
    output: Option<u64>,
    cache_read: u64,
    cache_write: u64,
    thinking: u64,
    /// A figure that counts by itself made no sense: the rest would be too little.
    unusable: bool,
    /// A figure that is only a part of another made no sense.
    malformed: bool,
}

impl Figures {
    /// Takes the next object.
    pub(super) fn take(&mut self, raw: &[u8]) {
        let Some(fields) = object::<Fields<'_>>(raw) else {
            self.unusable = true;
            return;
        };
        self.input = self.figure(fields.input_tokens).or(self.input);
        self.output = self.figure(fields.output_tokens).or(self.output);
        self.cache_read = self.figure(fields.cache_read_input_tokens).unwrap_or(self.cache_read);
        let written = self.figure(fields.cache_creation_input_tokens);
        let written = written.or_else(|| self.written(fields.cache_creation));
        self.cache_write = written.unwrap_or(self.cache_write);
        self.take_thinking(fields.output_tokens_details);
    }

    /// A figure that counts by itself.
    fn figure(&mut self, raw: Option<&RawValue>) -> Option<u64> {
        let tokens = raw.map(count)?;
        self.unusable |= tokens.is_none();
        tokens
    }

    /// Both kinds of writing have one price here.
    fn written(&mut self, raw: Option<&RawValue>) -> Option<u64> {
        let Some(written) = object::<Written<'_>>(raw?.get().as_bytes()) else {
            self.unusable = true;
            return None;
        };
        let short = self.figure(written.ephemeral_5m_input_tokens).unwrap_or_default();
        let long = self.figure(written.ephemeral_1h_input_tokens).unwrap_or_default();
        Some(short.saturating_add(long))
    }

    fn take_thinking(&mut self, details: Option<&RawValue>) {
        let Some(raw) = details else { return };
        let details = object::<OutputDetails<'_>>(raw.get().as_bytes());
        match details.map(|details| details.thinking_tokens.map(count)) {
            Some(None) => {}
            Some(Some(Some(tokens))) => self.thinking = tokens,
            Some(Some(None)) | None => self.malformed = true,
        }
    }

    /// What is to be settled: input and output must both be there. `input_tokens` is what neither
    /// came from the cache nor went into it.
    pub(super) fn report(&self) -> Report {
        let usage = self.input.zip(self.output).filter(|_| !self.unusable);
        let usage = usage.map(|(input, output)| Usage {
            input: input.saturating_add(self.cache_read).saturating_add(self.cache_write),
            output,
            cached_input: self.cache_read,
            cache_write: self.cache_write,
            reasoning: self.thinking,
            ..Usage::default()
        });
        Report { usage, malformed: self.malformed || usage.is_none(), counted_output: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(objects: &[&str]) -> Report {
        let mut figures = Figures::default();
        for raw in objects {
            figures.take(raw.as_bytes());
        }
        figures.report()
    }

    #[test]
    fn cached_tokens_are_input_and_a_later_object_replaces_what_it_names() {
        let whole = r#"{"input_tokens":10,"output_tokens":5,"cache_creation_input_tokens":7,
            "cache_read_input_tokens":20,"service_tier":"standard",
            "cache_creation":{"ephemeral_5m_input_tokens":3,"ephemeral_1h_input_tokens":4},
            "server_tool_use":{"web_search_requests":1},
            "output_tokens_details":{"thinking_tokens":2}}"#;
        let usage = Usage {
            input: 37,
            output: 5,
            cached_input: 20,
            cache_write: 7,
            reasoning: 2,
            ..Usage::default()
        };
        assert_eq!(read(&[whole]), Report { usage: Some(usage), ..Report::default() });
        let later = r#"{"output_tokens":9,"cache_read_input_tokens":null}"#;
        let usage = Usage { output: 9, ..usage };
        assert_eq!(read(&[whole, later]).usage, Some(usage));
        let split = r#"{"input_tokens":1,"output_tokens":1,"cache_creation_input_tokens":null,
            "cache_creation":{"ephemeral_5m_input_tokens":3,"ephemeral_1h_input_tokens":4}}"#;
        assert_eq!(read(&[split]).usage.map(|usage| usage.cache_write), Some(7));
    }

    #[test]
    fn figures_that_make_no_sense_are_flagged_and_never_believed() {
        for raw in [
            r#"{"input_tokens":-1,"output_tokens":5}"#,
            r#"{"input_tokens":1.5,"output_tokens":5}"#,
            r#"{"input_tokens":"1","output_tokens":5}"#,
            r#"{"input_tokens":1}"#,
            r#"{"output_tokens":1}"#,
            r#"{"input_tokens":1,"input_tokens":2,"output_tokens":5}"#,
            r#"{"input_tokens":1,"output_tokens":5,"cache_read_input_tokens":-9}"#,
            r#"{"input_tokens":1,"output_tokens":5,"cache_creation":[1]}"#,
            r#"{"input_tokens":1,"output_tokens":5,
                "cache_creation":{"ephemeral_5m_input_tokens":-3}}"#,
            "[1,2]",
            "7",
            "{",
        ] {
            let report = read(&[raw]);
            assert_eq!((report.usage, report.malformed), (None, true), "{raw}");
        }
        let good = r#"{"input_tokens":3,"output_tokens":1}"#;
        assert_eq!(read(&[good, r#"{"output_tokens":-1}"#]).usage, None);
    }

    #[test]
    fn huge_figures_are_kept_as_the_largest_and_bad_details_as_none() {
        let huge = r#"{"input_tokens":99999999999999999999999,"output_tokens":1,
            "cache_read_input_tokens":18446744073709551615}"#;
        assert_eq!(read(&[huge]).usage.map(|usage| usage.input), Some(u64::MAX));
        let report = read(&[r#"{"input_tokens":3,"output_tokens":1,
            "output_tokens_details":{"thinking_tokens":-2}}"#]);
        assert_eq!(report.usage, Some(Usage { input: 3, output: 1, ..Usage::default() }));
        assert!(report.malformed);
    }
}
