//! OpenAI's usage objects, read as what they are: a stranger's figures.

use serde::Deserialize;
use serde_json::value::RawValue;
use turnpike_domain::meter::Usage;

use super::Endpoint;
use crate::dialect::Report;
use crate::dialect::figures::{count, object, seconds};

/// The object, in the forms of chat completions (`prompt_tokens`), of responses and images
/// (`input_tokens`) and of transcriptions (`input_token_details`).
#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(borrow, default, alias = "input_tokens")]
    prompt_tokens: Option<&'a RawValue>,
    #[serde(borrow, default, alias = "output_tokens")]
    completion_tokens: Option<&'a RawValue>,
    #[serde(borrow, default, alias = "input_tokens_details", alias = "input_token_details")]
    prompt_tokens_details: Option<&'a RawValue>,
    #[serde(borrow, default, alias = "output_tokens_details", alias = "output_token_details")]
    completion_tokens_details: Option<&'a RawValue>,
}

#[derive(Deserialize, Default)]
struct Details<'a> {
    #[serde(borrow, default)]
    cached_tokens: Option<&'a RawValue>,
    #[serde(borrow, default)]
    audio_tokens: Option<&'a RawValue>,
    #[serde(borrow, default)]
    image_tokens: Option<&'a RawValue>,
    #[serde(borrow, default)]
    reasoning_tokens: Option<&'a RawValue>,
}

/// The form of transcriptions that are charged by the length of the recording.
#[derive(Deserialize)]
struct Duration<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(borrow, default)]
    seconds: Option<&'a RawValue>,
}

/// Reads a raw usage object.
///
/// One that tells seconds tells no tokens. Otherwise input and output must both be there where the
/// endpoint makes output; else the report counts as malformed and says nothing. A bad finer figure
/// is taken as 0, which charges its tokens at the plain rate.
pub(super) fn read(endpoint: Endpoint, raw: &[u8]) -> Report {
    if let Some(told) = duration(endpoint, raw) {
        let seconds = told.seconds.and_then(seconds);
        let usage = seconds.map(|audio_seconds| Usage { audio_seconds, ..Usage::default() });
        return Report { usage, malformed: usage.is_none(), counted_output: None };
    }
    let mut malformed = false;
    let usage = object::<Fields<'_>>(raw).and_then(|fields| {
        let input = fields.prompt_tokens.and_then(count)?;
        let output = match fields.completion_tokens {
            Some(tokens) => count(tokens)?,
            None if endpoint.makes_output() => return None,
            None => 0,
        };
        let mut details = |raw: Option<&'_ RawValue>| -> [u64; 4] {
            let Some(raw) = raw else { return [0; 4] };
            let Some(details) = object::<Details<'_>>(raw.get().as_bytes()) else {
                malformed = true;
                return [0; 4];
            };
            let finer = [
                details.cached_tokens,
                details.audio_tokens,
                details.image_tokens,
                details.reasoning_tokens,
            ];
            finer.map(|raw| match raw.map(count) {
                None => 0,
                Some(Some(tokens)) => tokens,
                Some(None) => {
                    malformed = true;
                    0
                }
            })
        };
        let [cached_input, audio_input, image_input, _] = details(fields.prompt_tokens_details);
        let [_, audio_output, image_output, reasoning] = details(fields.completion_tokens_details);
        Some(Usage {
            input,
            output,
            cached_input,
            cache_write: 0,
            reasoning,
            audio_input,
            audio_output,
            image_input,
            image_output,
            audio_seconds: 0,
        })
    });
    Report { usage, malformed: malformed || usage.is_none(), counted_output: None }
}

/// What is told in seconds, where that may be.
fn duration(endpoint: Endpoint, raw: &[u8]) -> Option<Duration<'_>> {
    let told: Duration<'_> = (endpoint == Endpoint::Transcriptions).then(|| object(raw))??;
    (told.kind == "duration").then_some(told)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chat(raw: &str) -> Report {
        read(Endpoint::ChatCompletions, raw.as_bytes())
    }

    #[test]
    fn every_form_of_the_object_is_read() {
        let report = chat(
            r#"{"prompt_tokens":10,"completion_tokens":5,"total_tokens":15,
                "prompt_tokens_details":{"cached_tokens":4,"audio_tokens":1},
                "completion_tokens_details":{"reasoning_tokens":2,"audio_tokens":0,"x":1}}"#,
        );
        let usage = Usage {
            input: 10,
            output: 5,
            cached_input: 4,
            audio_input: 1,
            reasoning: 2,
            ..Usage::default()
        };
        assert_eq!(report, Report { usage: Some(usage), ..Report::default() });

        let image =
            r#"{"input_tokens":7,"output_tokens":9,"input_tokens_details":{"image_tokens":3}}"#;
        let report = read(Endpoint::Images, image.as_bytes());
        let usage = Usage { input: 7, output: 9, image_input: 3, ..Usage::default() };
        assert_eq!(report.usage, Some(usage));

        let sound = br#"{"type":"tokens","input_tokens":14,"output_tokens":4,"total_tokens":18,
            "input_token_details":{"text_tokens":0,"audio_tokens":14}}"#;
        let usage = Usage { input: 14, output: 4, audio_input: 14, ..Usage::default() };
        assert_eq!(read(Endpoint::Transcriptions, sound).usage, Some(usage));

        let report = read(Endpoint::Embeddings, br#"{"prompt_tokens":8,"total_tokens":8}"#);
        assert_eq!(report.usage, Some(Usage { input: 8, ..Usage::default() }));
        assert!(!report.malformed);
    }

    #[test]
    fn seconds_are_whole_and_a_begun_one_counts() {
        let told = |seconds: &str| {
            let raw = format!(r#"{{"type":"duration","seconds":{seconds}}}"#);
            let report = read(Endpoint::Transcriptions, raw.as_bytes());
            assert_eq!(report.malformed, report.usage.is_none(), "{seconds}");
            report.usage.map(|usage| usage.audio_seconds)
        };
        for (text, seconds) in [("27", 27), ("27.0", 27), ("27.01", 28), ("0", 0), ("0.4", 1)] {
            assert_eq!(told(text), Some(seconds), "{text}");
        }
        for nonsense in ["-1", "1e3", "\"27\"", "null", "{}", "1.5e9"] {
            assert_eq!(told(nonsense), None, "{nonsense}");
        }
        let missing = read(Endpoint::Transcriptions, br#"{"type":"duration"}"#);
        assert_eq!((missing.usage, missing.malformed), (None, true));
        let elsewhere = chat(r#"{"type":"duration","seconds":27}"#);
        assert_eq!((elsewhere.usage, elsewhere.malformed), (None, true));
    }

    #[test]
    fn figures_that_make_no_sense_are_flagged_and_never_believed() {
        for raw in [
            r#"{"prompt_tokens":-1,"completion_tokens":5}"#,
            r#"{"prompt_tokens":1.5,"completion_tokens":5}"#,
            r#"{"prompt_tokens":"1","completion_tokens":5}"#,
            r#"{"prompt_tokens":1}"#,
            r#"{"prompt_tokens":1,"prompt_tokens":2,"completion_tokens":5}"#,
            r#"{"prompt_tokens":1,"input_tokens":2,"completion_tokens":5}"#,
            r#"{"completion_tokens":5}"#,
            "[1,2]",
            "7",
            "{",
        ] {
            let report = chat(raw);
            assert_eq!((report.usage, report.malformed), (None, true), "{raw}");
        }
    }

    #[test]
    fn huge_figures_are_kept_as_the_largest_and_bad_details_as_none() {
        let report = chat(r#"{"prompt_tokens":99999999999999999999999,"completion_tokens":1}"#);
        assert_eq!(report.usage.map(|usage| usage.input), Some(u64::MAX));
        let report = chat(
            r#"{"prompt_tokens":3,"completion_tokens":1,
                "prompt_tokens_details":{"cached_tokens":-2}}"#,
        );
        assert_eq!(report.usage, Some(Usage { input: 3, output: 1, ..Usage::default() }));
        assert!(report.malformed);
    }
}
