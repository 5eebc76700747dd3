//! Gemini's `usageMetadata`, read as what it is: a stranger's figures.

use serde::Deserialize;
use serde_json::value::RawValue;
use turnpike_domain::meter::Usage;

use crate::dialect::Report;
use crate::dialect::figures::{count, object};

/// The object. What is 0 may be left out (proto3 JSON).
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Fields<'a> {
    #[serde(borrow, default)]
    prompt_token_count: Option<&'a RawValue>,
    #[serde(borrow, default)]
    candidates_token_count: Option<&'a RawValue>,
    #[serde(borrow, default)]
    thoughts_token_count: Option<&'a RawValue>,
    #[serde(borrow, default)]
    tool_use_prompt_token_count: Option<&'a RawValue>,
    #[serde(borrow, default)]
    cached_content_token_count: Option<&'a RawValue>,
    #[serde(borrow, default)]
    prompt_tokens_details: Option<&'a RawValue>,
    #[serde(borrow, default)]
    cache_tokens_details: Option<&'a RawValue>,
    #[serde(borrow, default)]
    candidates_tokens_details: Option<&'a RawValue>,
}

/// How many tokens one modality takes.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Share<'a> {
    #[serde(borrow, default)]
    modality: Option<&'a str>,
    #[serde(borrow, default)]
    token_count: Option<&'a RawValue>,
}

/// Tokens of the modalities that may have prices of their own.
#[derive(Clone, Copy, Default)]
struct Modalities {
    audio: u64,
    image: u64,
}

/// Reads a raw object.
///
/// The prompt's figure must be there, and no figure that counts by itself may make no sense; else
/// the report counts as malformed and says nothing. A bad finer figure is taken as 0, which charges
/// its tokens at the plain rate. Sound and images that came from the cache count as cached alone.
pub(super) fn read(raw: &[u8]) -> Report {
    let mut malformed = false;
    let usage = object::<Fields<'_>>(raw).and_then(|fields| {
        let whole = |raw: Option<&RawValue>| raw.map_or(Some(0), count);
        let prompt = fields.prompt_token_count.and_then(count)?;
        let tools = whole(fields.tool_use_prompt_token_count)?;
        let candidates = whole(fields.candidates_token_count)?;
        let thoughts = whole(fields.thoughts_token_count)?;
        let mut finer = |raw: Option<&RawValue>, read: fn(&RawValue) -> Option<Modalities>| {
            let known = raw.map_or(Some(Modalities::default()), read);
            malformed |= known.is_none();
            known.unwrap_or_default()
        };
        let input = finer(fields.prompt_tokens_details, modalities);
        let cached = finer(fields.cache_tokens_details, modalities);
        let output = finer(fields.candidates_tokens_details, modalities);
        let cached_input = whole(fields.cached_content_token_count);
        malformed |= cached_input.is_none();
        Some(Usage {
            input: prompt.saturating_add(tools),
            output: candidates.saturating_add(thoughts),
            cached_input: cached_input.unwrap_or_default(),
            cache_write: 0,
            reasoning: thoughts,
            audio_input: input.audio.saturating_sub(cached.audio),
            image_input: input.image.saturating_sub(cached.image),
            audio_output: output.audio,
            image_output: output.image,
            audio_seconds: 0,
        })
    });
    Report { usage, malformed: malformed || usage.is_none(), counted_output: None }
}

fn modalities(raw: &RawValue) -> Option<Modalities> {
    let shares: Vec<Share<'_>> = serde_json::from_str(raw.get()).ok()?;
    let mut known = Modalities::default();
    for share in shares {
        let tokens = share.token_count.map_or(Some(0), count)?;
        match share.modality {
            Some("AUDIO") => known.audio = known.audio.saturating_add(tokens),
            Some("IMAGE") => known.image = known.image.saturating_add(tokens),
            _ => {}
        }
    }
    Some(known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thoughts_are_output_and_tool_results_are_input() {
        let report = read(
            br#"{"promptTokenCount":100,"candidatesTokenCount":5,"thoughtsTokenCount":7,
                "toolUsePromptTokenCount":11,"cachedContentTokenCount":60,"totalTokenCount":123,
                "promptTokensDetails":[{"modality":"TEXT","tokenCount":50},
                    {"modality":"AUDIO","tokenCount":40},{"modality":"IMAGE","tokenCount":10}],
                "cacheTokensDetails":[{"modality":"AUDIO","tokenCount":30}],
                "candidatesTokensDetails":[{"modality":"IMAGE","tokenCount":3},{}]}"#,
        );
        let usage = Usage {
            input: 111,
            output: 12,
            cached_input: 60,
            reasoning: 7,
            audio_input: 10,
            image_input: 10,
            image_output: 3,
            ..Usage::default()
        };
        assert_eq!(report, Report { usage: Some(usage), ..Report::default() });
        let blocked = read(br#"{"promptTokenCount":9,"totalTokenCount":9}"#);
        assert_eq!(blocked.usage, Some(Usage { input: 9, ..Usage::default() }));
    }

    #[test]
    fn figures_that_make_no_sense_are_flagged_and_never_believed() {
        for raw in [
            r#"{"promptTokenCount":-1,"candidatesTokenCount":5}"#,
            r#"{"promptTokenCount":1.5}"#,
            r#"{"promptTokenCount":"1"}"#,
            r#"{"candidatesTokenCount":5}"#,
            r#"{"promptTokenCount":1,"promptTokenCount":2}"#,
            r#"{"promptTokenCount":1,"thoughtsTokenCount":-2}"#,
            r#"{"promptTokenCount":1,"toolUsePromptTokenCount":[]}"#,
            "[1,2]",
            "7",
            "{",
        ] {
            let report = read(raw.as_bytes());
            assert_eq!((report.usage, report.malformed), (None, true), "{raw}");
        }
    }

    #[test]
    fn huge_figures_are_kept_as_the_largest_and_bad_details_as_none() {
        let huge = read(
            br#"{"promptTokenCount":99999999999999999999999,"toolUsePromptTokenCount":7,
                "candidatesTokenCount":18446744073709551615,"thoughtsTokenCount":1}"#,
        );
        assert_eq!(huge.usage.map(|it| (it.input, it.output)), Some((u64::MAX, u64::MAX)));
        for details in [
            r#""cachedContentTokenCount":-2"#,
            r#""promptTokensDetails":{}"#,
            r#""promptTokensDetails":[{"modality":"AUDIO","tokenCount":-1}]"#,
        ] {
            let raw = format!(r#"{{"promptTokenCount":3,"candidatesTokenCount":1,{details}}}"#);
            let report = read(raw.as_bytes());
            assert_eq!(report.usage, Some(Usage { input: 3, output: 1, ..Usage::default() }));
            assert!(report.malformed, "{details}");
        }
    }
}
