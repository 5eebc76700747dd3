//! The models that a key may call, as each dialect's SDKs read them.

use std::net::IpAddr;

use http::Response;
use serde_json::{Value, json};
use turnpike_domain::admit::{Denial, Offer, offer};
use turnpike_domain::event::ModelSpec;

use super::{Outgoing, success};
use crate::core::{Core, Entry};
use crate::dialect::{Dialect, gemini};
use crate::query;

/// The most models on a page where the caller does not ask for fewer: Anthropic's and Google's own
/// limit. OpenAI's list has no pages.
const MOST_MODELS: usize = 1_000;
/// When a model was made is the operator's business: the epoch, as Anthropic gives for "unknown".
const UNKNOWN_TIME: &str = "1970-01-01T00:00:00Z";

/// What a key finds in a dialect.
pub struct Catalogue<'a> {
    /// What the mirror knows.
    pub core: &'a Core,
    /// The key.
    pub entry: &'a Entry,
    /// Where it is used.
    pub address: IpAddr,
    /// Whose words, and whose providers.
    pub dialect: Dialect,
}

/// The part of a list that was asked for.
#[derive(Default)]
struct Page<'a> {
    names: Vec<&'a str>,
    /// More stand behind it.
    has_more: bool,
}

impl Catalogue<'_> {
    /// The models that can be called in the dialect; `query` is the request's.
    #[must_use]
    pub fn list(&self, query: &str) -> Response<Outgoing> {
        let platform = self.core.platform();
        let names = platform.models.keys().map(|name| &**name);
        let names: Vec<&str> = names.filter(|name| self.has(name)).collect();
        let page = self.page(names, query);
        let describe = |name: &&str| Some(self.describe(name, &platform.models.get(*name)?.spec));
        let data: Vec<Value> = page.names.iter().filter_map(describe).collect();
        let (first, last) = (page.names.first(), page.names.last());
        success(&match self.dialect {
            Dialect::OpenAi | Dialect::Mcp => json!({"object": "list", "data": data}),
            Dialect::Anthropic => json!({
                "data": data, "has_more": page.has_more, "first_id": first, "last_id": last,
            }),
            Dialect::Gemini => match last.filter(|_| page.has_more) {
                Some(last) => json!({"models": data, "nextPageToken": last}),
                None => json!({"models": data}),
            },
        })
    }

    /// One model, if it can be called.
    ///
    /// # Errors
    /// [`Denial::ModelNotFound`]: a model that the key may not call is none to it.
    pub fn one(&self, name: &str) -> Result<Response<Outgoing>, Denial> {
        let platform = self.core.platform();
        let model = platform.models.get(name).filter(|_| self.has(name));
        let model = model.ok_or(Denial::ModelNotFound)?;
        Ok(success(&self.describe(name, &model.spec)))
    }

    fn has(&self, name: &str) -> bool {
        let (platform, entry) = (self.core.platform(), self.entry);
        let kind = self.dialect.spoken_by();
        let speaks = |offer: &Offer<'_>| kind.is_some_and(|kind| offer.speaks(kind).is_ok());
        offer(&platform, &entry.org.organisation, &entry.key, name, self.address)
            .is_ok_and(|offer| speaks(&offer))
    }

    /// A parameter that cannot be read is as good as none: a list is no place to fail.
    fn page<'a>(&self, names: Vec<&'a str>, asked: &str) -> Page<'a> {
        let value = |name| query::values(asked, name).next();
        let (most, after, before) = match self.dialect {
            Dialect::OpenAi | Dialect::Mcp => return Page { names, has_more: false },
            Dialect::Anthropic => (value("limit"), value("after_id"), value("before_id")),
            Dialect::Gemini => (value("pageSize"), value("pageToken"), None),
        };
        let most = most.and_then(|most| most.parse().ok()).unwrap_or(MOST_MODELS);
        let most = most.clamp(1, MOST_MODELS);
        let mut names = names;
        if let Some(before) = before {
            names.retain(|name| **name < *before);
            let surplus = names.len().saturating_sub(most);
            return Page { names: names.split_off(surplus), has_more: surplus > 0 };
        }
        if let Some(after) = after {
            names.retain(|name| **name > *after);
        }
        let has_more = names.len() > most;
        names.truncate(most);
        Page { names, has_more }
    }

    fn describe(&self, name: &str, spec: &ModelSpec) -> Value {
        let (window, output) = (spec.context_window, spec.max_output);
        match self.dialect {
            Dialect::OpenAi | Dialect::Mcp => {
                json!({"id": name, "object": "model", "created": 0, "owned_by": "turnpike"})
            }
            Dialect::Anthropic => json!({
                "type": "model", "id": name, "display_name": name, "created_at": UNKNOWN_TIME,
                "lifecycle": "active", "deprecated_at": null, "retires_at": null, "line": null,
                "capabilities": null, "max_input_tokens": window, "max_tokens": output,
            }),
            Dialect::Gemini => json!({
                "name": format!("models/{name}"), "version": "1", "displayName": name,
                "inputTokenLimit": window, "outputTokenLimit": output,
                "supportedGenerationMethods": gemini_methods(),
            }),
        }
    }
}

/// What a provider of a model gives of them is the provider's business.
fn gemini_methods() -> Vec<&'static str> {
    let all = gemini::Endpoint::ALL.into_iter();
    all.map(|endpoint| endpoint.method().trim_start_matches(':')).collect()
}
