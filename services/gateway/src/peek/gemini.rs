//! The same reading of Gemini's bodies, whose model the path names.
//!
//! Google takes every field in camel case and in snake case (ProtoJSON, "Field names"); a body that
//! gives one in both is refused, as one that gives it twice.

use std::borrow::Cow;
use std::ops::Range;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::nested::Nested;
use super::{NotARequest, Peek, Spelling, opening, parsed, place, present};

/// The raw fields.
#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(borrow, default)]
    model: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "generationConfig", alias = "generation_config")]
    #[serde(deserialize_with = "present")]
    config: Option<&'a RawValue>,
    #[serde(borrow, default)]
    tools: Option<&'a RawValue>,
    #[serde(default, rename = "cachedContent", alias = "cached_content")]
    cached: Option<IgnoredAny>,
    /// Of a batch of embeddings.
    #[serde(borrow, default)]
    requests: Option<Vec<Inner<'a>>>,
    /// Of a count of tokens.
    #[serde(borrow, default)]
    #[serde(rename = "generateContentRequest", alias = "generate_content_request")]
    counted: Option<Inner<'a>>,
}

/// A request within a request.
#[derive(Deserialize)]
struct Inner<'a> {
    #[serde(borrow, default)]
    model: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Config<'a> {
    #[serde(borrow, default, rename = "maxOutputTokens", alias = "max_output_tokens")]
    #[serde(deserialize_with = "present")]
    max_output: Option<&'a RawValue>,
    #[serde(default, rename = "candidateCount", alias = "candidate_count")]
    candidates: Option<u64>,
}

/// A tool that is the caller's own; every other brings content that the body does not hold.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OwnTool {
    #[serde(rename = "functionDeclarations", alias = "function_declarations")]
    _functions: IgnoredAny,
}

/// Parts whose tokens are not bounded by their bytes, or stand elsewhere (Gemini API reference,
/// "Part").
const OUTSIDE_NEEDLES: [&[u8]; 4] =
    [b"\"fileData\"", b"\"file_data\"", b"\"inlineData\"", b"\"inline_data\""];

/// Reads a body that goes to `model`. `streams`: the path says that the answer does.
///
/// # Errors
/// Names what makes it unusable, in a sentence for the caller.
pub fn gemini<'a>(model: &'a str, streams: bool, body: &'a [u8]) -> Result<Peek<'a>, NotARequest> {
    let opening = opening(body)?;
    let fields: Fields<'_> = parsed(body)?;
    let requests = fields.requests.unwrap_or_default();
    let inner = requests.iter().chain(&fields.counted).filter_map(|inner| inner.model);
    let mut more_models_at = Vec::new();
    for raw in fields.model.into_iter().chain(inner) {
        more_models_at.push(same_model(body, raw, model)?);
    }
    let config = fields.config.map_or(Ok(Settings::default()), |raw| settings(body, raw))?;
    let holds = |needle: &&[u8]| memchr::memmem::find(body, needle).is_some();
    Ok(Peek {
        model: Cow::Borrowed(model),
        stream: streams,
        // The usage is always there, and nothing of it is taken out.
        wants_usage: true,
        max_output_tokens: config.max_output,
        prompts: u64::try_from(requests.len()).unwrap_or(u64::MAX).max(1),
        answers: config.candidates.unwrap_or(1).max(1),
        refers_elsewhere: fields.cached.is_some()
            || fields.tools.is_some_and(|tools| !are_own(tools))
            || OUTSIDE_NEEDLES.iter().any(holds),
        needles: &[],
        spelling: Spelling::Resource,
        model_at: 0..0,
        more_models_at,
        nested: config.max_output_at,
        empty_maxima: Vec::new(),
        opening,
    })
}

/// The place of a model's name, which must be that of the path: two readers of the body could
/// disagree on which one counts.
fn same_model(body: &[u8], raw: &RawValue, model: &str) -> Result<Range<usize>, NotARequest> {
    let name: Cow<'_, str> = serde_json::from_str(raw.get())?;
    let bare = name.strip_prefix("models/").unwrap_or(&name);
    if bare == model { Ok(place(body, raw)) } else { Err(NotARequest::OtherModel) }
}

/// What `generationConfig` says.
struct Settings {
    max_output: Option<u64>,
    candidates: Option<u64>,
    max_output_at: Nested,
}

impl Default for Settings {
    fn default() -> Self {
        Self { max_output: None, candidates: None, max_output_at: Nested::Whole }
    }
}

fn settings(body: &[u8], raw: &RawValue) -> Result<Settings, NotARequest> {
    let text = raw.get();
    if text == "null" {
        let max_output_at = Nested::Object(place(body, raw));
        return Ok(Settings { max_output_at, ..Settings::default() });
    }
    if !text.starts_with('{') {
        return Err(NotARequest::NoObject("generationConfig"));
    }
    let config: Config<'_> = serde_json::from_str(text)?;
    let given = config.max_output.map(|raw| serde_json::from_str::<Option<u64>>(raw.get()));
    let max_output = given.transpose()?.flatten();
    let max_output_at = match config.max_output {
        None => Nested::first_of(body, raw),
        Some(empty) if max_output.is_none() => Nested::Value(place(body, empty)),
        Some(_) => Nested::Nowhere,
    };
    Ok(Settings { max_output, candidates: config.candidates, max_output_at })
}

fn are_own(tools: &RawValue) -> bool {
    serde_json::from_str::<Vec<OwnTool>>(tools.get()).is_ok()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::peek::{Edits, OutputField};

    fn read(body: &str) -> Result<Peek<'_>, NotARequest> {
        gemini("m", false, body.as_bytes())
    }

    fn edited(body: &str, edits: Edits<'_>) -> String {
        let bytes = Bytes::copy_from_slice(body.as_bytes());
        let out = gemini("m", false, &bytes).unwrap().edited(&bytes, edits);
        String::from_utf8(out.to_vec()).unwrap()
    }

    #[test]
    fn both_spellings_are_read() {
        for body in [
            r#"{"contents":[],"generationConfig":{"maxOutputTokens":12,"candidateCount":3}}"#,
            r#"{"contents":[],"generation_config":{"max_output_tokens":12,"candidate_count":3}}"#,
        ] {
            let read = read(body).unwrap();
            assert_eq!((&*read.model, read.max_output_tokens, read.answers), ("m", Some(12), 3));
            assert!(!read.names_outside_content(body.as_bytes()));
        }
        let plain = read(r#"{"generationConfig":{"candidateCount":0}}"#).unwrap();
        assert_eq!((plain.max_output_tokens, plain.answers, plain.prompts), (None, 1, 1));
        let batch = read(r#"{"requests":[{"model":"models/m"},{}]}"#).unwrap();
        assert_eq!(batch.prompts, 2);
    }

    #[test]
    fn what_two_readers_could_read_differently_is_refused() {
        for body in [
            r#"{"generationConfig":{},"generation_config":{}}"#,
            r#"{"generationConfig":{"maxOutputTokens":1,"max_output_tokens":9}}"#,
            r#"{"generationConfig":{"maxOutputTokens":"1"}}"#,
            r#"{"generationConfig":{"maxOutputTokens":1e3}}"#,
            r#"{"generationConfig":{"candidateCount":-1}}"#,
            r#"{"requests":{}}"#,
        ] {
            assert!(matches!(read(body), Err(NotARequest::Json(_))), "{body}");
        }
        for body in [
            r#"{"model":"models/dear"}"#,
            r#"{"requests":[{"model":"models/m"},{"model":"models/dear"}]}"#,
            r#"{"generateContentRequest":{"model":"dear"}}"#,
        ] {
            assert!(matches!(read(body), Err(NotARequest::OtherModel)), "{body}");
        }
        assert!(matches!(read("[]"), Err(NotARequest::NotAnObject)));
        let list = read(r#"{"generationConfig":[]}"#);
        assert!(matches!(list, Err(NotARequest::NoObject(_))));
    }

    #[test]
    fn an_output_maximum_is_spliced_wherever_it_belongs() {
        let cases = [
            (r#"{"a":1}"#, r#"{"generationConfig":{"maxOutputTokens":17},"a":1}"#),
            ("{}", r#"{"generationConfig":{"maxOutputTokens":17}}"#),
            (
                r#"{"a":1,"generation_config":null}"#,
                r#"{"a":1,"generation_config":{"maxOutputTokens":17}}"#,
            ),
            (r#"{"generationConfig":{ }}"#, r#"{"generationConfig":{"maxOutputTokens":17 }}"#),
            (
                r#"{"generation_config":{"topK":1}}"#,
                r#"{"generation_config":{"maxOutputTokens":17,"topK":1}}"#,
            ),
            (
                r#"{"generationConfig":{"max_output_tokens":null}}"#,
                r#"{"generationConfig":{"max_output_tokens":17}}"#,
            ),
        ];
        let max_output = Some((OutputField::GenerationConfig, 17));
        for (body, want) in cases {
            assert_eq!(edited(body, Edits { max_output, ..Edits::default() }), want);
        }
    }

    #[test]
    fn a_model_is_renamed_wherever_a_body_repeats_it() {
        let rename = |model| Edits { model: Some(model), ..Edits::default() };
        let batch = r#"{"requests":[{"model":"models/m","content":{}},{"model":"m"},{}]}"#;
        assert_eq!(
            edited(batch, rename("their")),
            r#"{"requests":[{"model":"models/their","content":{}},{"model":"models/their"},{}]}"#
        );
        let tuned = edited(r#"{"model":"models/m"}"#, rename("tunedModels/t"));
        assert_eq!(tuned, r#"{"model":"tunedModels/t"}"#);
        assert_eq!(edited(r#"{"contents":[]}"#, rename("their")), r#"{"contents":[]}"#);
    }

    #[test]
    fn content_that_the_bytes_do_not_bound_is_noticed() {
        let outside = [
            r#"{"contents":[{"parts":[{"fileData":{"fileUri":"x"}}]}]}"#,
            r#"{"contents":[{"parts":[{"inline_data":{"data":"x"}}]}]}"#,
            r#"{"cachedContent":"cachedContents/x"}"#,
            r#"{"cached_content":"cachedContents/x"}"#,
            r#"{"tools":[{"functionDeclarations":[]},{"googleSearch":{}}]}"#,
            r#"{"tools":{"google_search":{}}}"#,
            r#"{"contents":[{"parts":[{"f\u0069leData":{}}]}]}"#,
        ];
        let inside = [
            r#"{"contents":[{"parts":[{"text":"a fileData"}]}],"cachedContent":null}"#,
            r#"{"tools":[{"functionDeclarations":[{"name":"googleSearch"}]}]}"#,
            r#"{"tools":[{"function_declarations":[]}]}"#,
        ];
        for (bodies, want) in [(&outside[..], true), (&inside[..], false)] {
            for body in bodies {
                let found = read(body).unwrap().names_outside_content(body.as_bytes());
                assert_eq!(found, want, "{body}");
            }
        }
    }

    proptest! {
        #[test]
        fn no_body_makes_the_reader_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = gemini("m", true, &body);
        }
    }
}
