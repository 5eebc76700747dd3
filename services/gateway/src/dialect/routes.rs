//! Every path that the gateway answers, for the book that describes them.

use super::{Call, Dialect, anthropic, gemini, openai};

/// A path and what stands there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The method that it takes.
    pub method: &'static str,
    /// The path; `{model}` stands for a model's name, `{server}` for an MCP server's.
    pub path: String,
    /// Whose answers it has; `None`: that of the credential and the headers that are sent.
    pub dialect: Option<Dialect>,
    /// The call to a provider, if it is one.
    pub call: Option<Call>,
}

/// All of them, in the order of the book.
#[must_use]
pub fn routes() -> Vec<Route> {
    let post = |path: String, call: Call| {
        let dialect = Some(call.dialect());
        Route { method: "POST", path, dialect, call: Some(call) }
    };
    let get =
        |path: &str, dialect| Route { method: "GET", path: path.to_owned(), dialect, call: None };
    let mut routes = Vec::new();
    for endpoint in openai::Endpoint::ALL {
        routes.push(post(endpoint.path().to_owned(), Call::OpenAi(endpoint)));
    }
    for prefix in ["", "/anthropic"] {
        let calls = anthropic::Endpoint::ALL.into_iter();
        let paths = calls.map(|endpoint| format!("{prefix}{}", endpoint.path()));
        routes.extend(paths.filter_map(|path| {
            let call = anthropic::Call::at(&path, "")?;
            Some(post(path, Call::Anthropic(call)))
        }));
    }
    for version in ["/v1beta", "/v1"] {
        let calls = gemini::Endpoint::ALL.into_iter();
        let paths =
            calls.map(|endpoint| format!("{version}/models/{{model}}{}", endpoint.method()));
        routes.extend(paths.filter_map(|path| {
            let (call, _) = gemini::Call::at(&path, "")?;
            Some(post(path, Call::Gemini(call)))
        }));
    }
    routes.push(get("/v1/models", None));
    routes.push(get("/v1/models/{model}", None));
    for list in ["/anthropic/v1/models", "/anthropic/v1/models/{model}"] {
        routes.push(get(list, Some(Dialect::Anthropic)));
    }
    for list in ["/v1beta/models", "/v1beta/models/{model}"] {
        routes.push(get(list, Some(Dialect::Gemini)));
    }
    routes.push(get("/v1/key", None));
    for method in ["POST", "GET", "DELETE"] {
        let path = "/mcp/{server}".to_owned();
        routes.push(Route { method, path, dialect: Some(Dialect::Mcp), call: None });
    }
    routes
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, Method};

    use super::*;
    use crate::dialect::{Sent, Target, place};

    #[test]
    fn each_leads_to_its_place() {
        let headers = HeaderMap::new();
        for route in routes() {
            let method: Method = route.method.parse().unwrap();
            let place = place(&method, &route.path, Sent { headers: &headers, query: "" });
            assert_eq!(place.dialect, route.dialect.unwrap_or(Dialect::OpenAi), "{}", route.path);
            let call = match place.target.unwrap() {
                Target::Call(call, _) => Some(call),
                Target::Models | Target::Model(_) | Target::OwnKey | Target::Mcp(_) => None,
            };
            assert_eq!(call, route.call, "{}", route.path);
        }
    }
}
