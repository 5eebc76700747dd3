//! Which call a method and a path mean.

use http::{HeaderMap, Method};
use serde_json::{Value, json};

use super::model::Model;
use super::refusal::Dialect;

/// A call that `echo` answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// The list of models.
    Models(Dialect),
    /// One model.
    Model(Dialect, String),
    /// OpenAI chat completions.
    Chat,
    /// OpenAI completions.
    Completions,
    /// OpenAI responses.
    Responses,
    /// OpenAI embeddings.
    Embeddings,
    /// OpenAI images.
    Images,
    /// OpenAI speech.
    Speech,
    /// OpenAI transcriptions.
    Transcriptions,
    /// OpenAI moderations.
    Moderations,
    /// Anthropic messages.
    Messages,
    /// Anthropic's count of tokens.
    MessageTokens,
    /// Gemini's generation of content by a model.
    Generate {
        /// The model's name.
        model: String,
        /// How the answer is sent.
        form: Form,
    },
    /// Gemini's count of tokens for a model.
    ContentTokens(String),
    /// Gemini's embedding of one content by a model.
    EmbedContent(String),
    /// Gemini's embedding of many contents by a model.
    EmbedContents(String),
}

/// How Gemini sends an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// All at once.
    Whole,
    /// As server-sent events (`alt=sse`).
    Events,
    /// As one JSON array, element by element.
    Array,
}

impl Dialect {
    /// The list of models.
    #[must_use]
    pub(super) fn list(self) -> Value {
        let models: Vec<_> = Model::ALL.into_iter().map(|model| self.describe(model)).collect();
        match self {
            Self::OpenAi => json!({"object": "list", "data": models}),
            Self::Anthropic => json!({
                "data": models, "has_more": false,
                "first_id": Model::One.name(), "last_id": Model::Unpriced.name(),
            }),
            Self::Gemini => json!({"models": models}),
        }
    }

    /// One model.
    #[must_use]
    pub(super) fn describe(self, model: Model) -> Value {
        let name = model.name();
        match self {
            Self::OpenAi => {
                json!({"id": name, "object": "model", "created": 0, "owned_by": "turnpike"})
            }
            Self::Anthropic => json!({
                "type": "model", "id": name, "display_name": name,
                "created_at": "1970-01-01T00:00:00Z",
            }),
            Self::Gemini => json!({
                "name": format!("models/{name}"), "version": "1", "displayName": name,
                "supportedGenerationMethods": [
                    "generateContent", "streamGenerateContent", "countTokens",
                    "embedContent", "batchEmbedContents",
                ],
            }),
        }
    }
}

/// The dialect of a path, whether or not there is something at it.
#[must_use]
pub(super) fn dialect(path: &str, headers: &HeaderMap) -> Dialect {
    let is_gemini = path.starts_with("/v1beta/")
        || (path.starts_with("/v1/models/") && path.contains(':'))
        || headers.contains_key("x-goog-api-key");
    if is_gemini {
        Dialect::Gemini
    } else if path.starts_with("/anthropic/")
        || path.starts_with("/v1/messages")
        || headers.contains_key("anthropic-version")
    {
        Dialect::Anthropic
    } else {
        Dialect::OpenAi
    }
}

/// The call at `path`; `None` where there is none for this method.
#[must_use]
pub(super) fn find(method: &Method, path: &str, query: &str, dialect: Dialect) -> Option<Route> {
    let path = path.strip_prefix("/anthropic").unwrap_or(path);
    let below = path.strip_prefix("/v1/").or_else(|| path.strip_prefix("/v1beta/"))?;
    let model = below.strip_prefix("models/");
    if *method == Method::GET {
        return match model {
            Some(name) => Some(Route::Model(dialect, name.to_owned())),
            None if below == "models" => Some(Route::Models(dialect)),
            None => None,
        };
    }
    if *method != Method::POST {
        return None;
    }
    if let Some((model, call)) = model.and_then(|rest| rest.split_once(':')) {
        return gemini(model.to_owned(), call, query);
    }
    match below {
        "chat/completions" => Some(Route::Chat),
        "completions" => Some(Route::Completions),
        "responses" => Some(Route::Responses),
        "embeddings" => Some(Route::Embeddings),
        "images/generations" => Some(Route::Images),
        "audio/speech" => Some(Route::Speech),
        "audio/transcriptions" => Some(Route::Transcriptions),
        "moderations" => Some(Route::Moderations),
        "messages" => Some(Route::Messages),
        "messages/count_tokens" => Some(Route::MessageTokens),
        _ => None,
    }
}

fn gemini(model: String, call: &str, query: &str) -> Option<Route> {
    match call {
        "generateContent" => Some(Route::Generate { model, form: Form::Whole }),
        "streamGenerateContent" => {
            let is_sse = query.split('&').any(|pair| pair == "alt=sse");
            let form = if is_sse { Form::Events } else { Form::Array };
            Some(Route::Generate { model, form })
        }
        "countTokens" => Some(Route::ContentTokens(model)),
        "embedContent" => Some(Route::EmbedContent(model)),
        "batchEmbedContents" => Some(Route::EmbedContents(model)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_mean_calls_in_their_dialect() {
        let model = || "echo-1".to_owned();
        let cases = [
            ("GET", "/v1/models", "", Some(Route::Models(Dialect::OpenAi))),
            ("GET", "/v1/models/echo-1", "", Some(Route::Model(Dialect::OpenAi, model()))),
            ("GET", "/v1beta/models", "", Some(Route::Models(Dialect::Gemini))),
            ("POST", "/v1/chat/completions", "", Some(Route::Chat)),
            ("GET", "/v1/chat/completions", "", None),
            ("POST", "/v1/messages", "", Some(Route::Messages)),
            ("POST", "/anthropic/v1/messages/count_tokens", "", Some(Route::MessageTokens)),
            (
                "POST",
                "/v1beta/models/echo-1:streamGenerateContent",
                "key=1&alt=sse",
                Some(Route::Generate { model: model(), form: Form::Events }),
            ),
            (
                "POST",
                "/v1/models/echo-1:streamGenerateContent",
                "",
                Some(Route::Generate { model: model(), form: Form::Array }),
            ),
            ("POST", "/v1beta/models/echo-1:fly", "", None),
            ("POST", "/chat/completions", "", None),
            ("DELETE", "/v1/models/echo-1", "", None),
        ];
        for (method, path, query, expected) in cases {
            let method: Method = method.parse().unwrap();
            let dialect = dialect(path, &HeaderMap::new());
            assert_eq!(find(&method, path, query, dialect), expected, "{method} {path}");
        }
    }
}
