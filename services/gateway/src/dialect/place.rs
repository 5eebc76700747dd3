//! What a method and a URL mean, and in whose language they are answered.

use std::borrow::Cow;

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, Method};
use turnpike_domain::admit::Denial;

use super::{Call, Dialect, anthropic, gemini, openai};
use crate::{headers, query};

/// What a path means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target<'a> {
    /// A call to a provider, and the model where the path names it.
    Call(Call, Option<Cow<'a, str>>),
    /// The models that the key may call.
    Models,
    /// One of them.
    Model(Cow<'a, str>),
    /// What the key itself is.
    OwnKey,
    /// The MCP server of this name, whatever the method.
    Mcp(&'a str),
}

/// A request's place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place<'a> {
    /// Whose credentials are looked at, and whose words the answer has; known of unknown paths too.
    pub dialect: Dialect,
    /// What is there.
    pub target: Result<Target<'a>, Denial>,
}

/// What a method and a path (without query) mean. Paths that several dialects have, and those that
/// nobody has, belong to the dialect whose headers were sent.
#[must_use]
pub fn place<'a>(method: &Method, path: &'a str, sent: Sent<'_>) -> Place<'a> {
    let at = |dialect, needed: &Method, target| {
        let target = if method == needed { Ok(target) } else { Err(Denial::MethodNotAllowed) };
        Place { dialect, target }
    };
    if let Some(endpoint) = path.strip_prefix("/v1/").and_then(openai::Endpoint::at) {
        let target = Target::Call(Call::OpenAi(endpoint), None);
        return at(Dialect::OpenAi, &Method::POST, target);
    }
    if let Some(call) = anthropic::Call::at(path, sent.query) {
        let target = Target::Call(Call::Anthropic(call), None);
        return at(Dialect::Anthropic, &Method::POST, target);
    }
    if let Some((call, model)) = gemini::Call::at(path, sent.query) {
        let target = Target::Call(Call::Gemini(call), Some(model));
        return at(Dialect::Gemini, &Method::POST, target);
    }
    if let Some(rest) =
        path.strip_prefix("/mcp").filter(|rest| rest.is_empty() || rest.starts_with('/'))
    {
        return Place { dialect: Dialect::Mcp, target: mcp(method, rest) };
    }
    let dialect = by_prefix(method, path).unwrap_or_else(|| sent.dialect());
    match models_below(path) {
        // Something called on a model, but nothing that is known.
        Some(name) if is_called(method, name) => Place { dialect, target: Err(Denial::NotFound) },
        Some("") => at(dialect, &Method::GET, Target::Models),
        Some(name) => at(dialect, &Method::GET, Target::Model(query::decoded(name, false))),
        None if path == "/v1/key" => at(dialect, &Method::GET, Target::OwnKey),
        None => Place { dialect, target: Err(Denial::NotFound) },
    }
}

/// What stands behind `/mcp`: one segment, the name of a server.
fn mcp<'a>(method: &Method, rest: &'a str) -> Result<Target<'a>, Denial> {
    let server = rest.strip_prefix('/').filter(|name| !name.is_empty() && !name.contains('/'));
    let server = server.ok_or(Denial::NotFound)?;
    let known = [Method::POST, Method::GET, Method::DELETE].contains(method);
    if known { Ok(Target::Mcp(server)) } else { Err(Denial::MethodNotAllowed) }
}

/// What stands behind the list of models: nothing, or a name.
fn models_below(path: &str) -> Option<&str> {
    let lists = ["/v1/models", "/v1beta/models", "/anthropic/v1/models"];
    let rest = lists.into_iter().find_map(|list| path.strip_prefix(list))?;
    if rest.is_empty() { Some("") } else { rest.strip_prefix('/').filter(|name| !name.is_empty()) }
}

/// The dialect that alone has paths that begin so.
fn by_prefix(method: &Method, path: &str) -> Option<Dialect> {
    let begins = |prefix: &str| {
        path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    if begins("/v1/messages") || begins("/anthropic") {
        Some(Dialect::Anthropic)
    } else if begins("/v1beta") {
        Some(Dialect::Gemini)
    } else {
        (begins("/v1/models") && is_called(method, path)).then_some(Dialect::Gemini)
    }
}

/// A model's own name may have a colon; what is called on it is a POST.
fn is_called(method: &Method, path: &str) -> bool {
    *method == Method::POST && query::decoded(path, false).contains(':')
}

/// What tells the dialect of a path that several have.
#[derive(Clone, Copy, Debug)]
pub struct Sent<'a> {
    /// The request's headers.
    pub headers: &'a HeaderMap,
    /// Its query, without the question mark.
    pub query: &'a str,
}

impl Sent<'_> {
    fn dialect(self) -> Dialect {
        let has = |name: HeaderName| self.headers.contains_key(name);
        if has(headers::GOOGLE_KEY) || query::values(self.query, "key").next().is_some() {
            Dialect::Gemini
        } else if has(headers::ANTHROPIC_VERSION)
            || (has(headers::ANTHROPIC_KEY) && !has(AUTHORIZATION))
        {
            Dialect::Anthropic
        } else {
            Dialect::OpenAi
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn at<'a>(method: &Method, path: &'a str, header: Option<&'static str>) -> Place<'a> {
        let value = HeaderValue::from_static("x");
        let pair = header.map(|name| (http::HeaderName::from_static(name), value));
        place(method, path, Sent { headers: &HeaderMap::from_iter(pair), query: "" })
    }

    #[test]
    fn paths_and_methods_lead_to_their_targets() {
        let chat = Target::Call(Call::OpenAi(openai::Endpoint::ChatCompletions), None);
        let messages = anthropic::Call::at("/v1/messages", "").unwrap();
        let (generate, _) = gemini::Call::at("/v1/models/m:generateContent", "").unwrap();
        let generate = Target::Call(Call::Gemini(generate), Some("m".into()));
        let cases = [
            (Method::POST, "/v1/chat/completions", Ok(chat)),
            (Method::GET, "/v1/chat/completions", Err(Denial::MethodNotAllowed)),
            (
                Method::POST,
                "/anthropic/v1/messages",
                Ok(Target::Call(Call::Anthropic(messages), None)),
            ),
            (Method::GET, "/v1/messages", Err(Denial::MethodNotAllowed)),
            (Method::POST, "/v1/models/m:generateContent", Ok(generate.clone())),
            (Method::POST, "/v1/models/m%3AgenerateContent", Ok(generate)),
            (Method::POST, "/v1/models/m:fly", Err(Denial::NotFound)),
            (Method::POST, "/v1/models/m%3Afly", Err(Denial::NotFound)),
            (Method::GET, "/v1/models", Ok(Target::Models)),
            (Method::GET, "/v1/models/a/b", Ok(Target::Model("a/b".into()))),
            (Method::GET, "/v1/models/a%2Fb", Ok(Target::Model("a/b".into()))),
            (Method::GET, "/v1beta/models/a", Ok(Target::Model("a".into()))),
            (Method::GET, "/anthropic/v1/models", Ok(Target::Models)),
            (Method::GET, "/v1/models/", Err(Denial::NotFound)),
            (Method::GET, "/v1/modelsx", Err(Denial::NotFound)),
            (Method::GET, "/v1/key", Ok(Target::OwnKey)),
            (Method::POST, "/mcp/files", Ok(Target::Mcp("files"))),
            (Method::DELETE, "/mcp/files", Ok(Target::Mcp("files"))),
            (Method::PUT, "/mcp/files", Err(Denial::MethodNotAllowed)),
            (Method::POST, "/mcp/files/x", Err(Denial::NotFound)),
            (Method::POST, "/mcp/", Err(Denial::NotFound)),
            (Method::POST, "/mcpx/files", Err(Denial::NotFound)),
            (Method::POST, "/v2/key", Err(Denial::NotFound)),
            (Method::POST, "/v1/../v1/key", Err(Denial::NotFound)),
        ];
        for (method, path, want) in cases {
            assert_eq!(at(&method, path, None).target, want, "{method} {path}");
        }
    }

    #[test]
    fn the_dialect_is_known_of_every_path() {
        use Dialect::{Anthropic, Gemini, Mcp, OpenAi};
        let (get, post) = (Method::GET, Method::POST);
        let google = Some("x-goog-api-key");
        let cases = [
            (&post, "/v1/chat/completions", google, OpenAi),
            (&post, "/v1/messages", google, Anthropic),
            (&post, "/v1/messages/nothing", None, Anthropic),
            (&post, "/v1/messagesx", None, OpenAi),
            (&get, "/anthropic/nothing", None, Anthropic),
            (&post, "/v1beta/nothing", None, Gemini),
            (&post, "/v1/models/a:nothing", None, Gemini),
            (&post, "/v1/models/a%3anothing", None, Gemini),
            (&get, "/v1/models/ft:a:b", None, OpenAi),
            (&post, "/mcp/files", google, Mcp),
            (&get, "/mcp", None, Mcp),
            (&get, "/v1/models", google, Gemini),
            (&get, "/v1/models", Some("anthropic-version"), Anthropic),
            (&get, "/v1/models", Some("x-api-key"), Anthropic),
            (&get, "/v1/models", None, OpenAi),
            (&get, "/nothing", google, Gemini),
            (&get, "/nothing", None, OpenAi),
        ];
        for (method, path, header, want) in cases {
            assert_eq!(at(method, path, header).dialect, want, "{method} {path} {header:?}");
        }
        let by_query = Sent { headers: &HeaderMap::new(), query: "key=x" };
        assert_eq!(place(&get, "/v1/models", by_query).dialect, Gemini);
    }
}
