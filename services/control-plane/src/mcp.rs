//! Asks an MCP server for its tools, in whichever revision it speaks.

use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};
use turnpike_domain::state::{
    MAX_CATALOGUE_BYTES, MAX_MCP_TOOLS, MAX_TOOL_DESCRIPTION_BYTES, McpCatalogue, McpServerSpec,
    McpTool,
};
use turnpike_domain::text::tool_name_problem;
use turnpike_domain::time::Timestamp;
use turnpike_runtime::connector::{
    self, ClientError, Connector, ConnectorOptions, HttpClient, TlsError,
};

use crate::app::App;

/// The newest revision, in which each request stands for itself.
const NEWEST: &str = "2026-07-28";
/// The newest revision with sessions: what is tried first, because most servers speak it.
const WITH_SESSIONS: &str = "2025-11-25";
const VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
const METHOD: HeaderName = HeaderName::from_static("mcp-method");
const SESSION: HeaderName = HeaderName::from_static("mcp-session-id");
/// The most pages of a list: a server that always has another one is not followed.
const MAX_PAGES: usize = 20;
/// The most bytes of one answer.
const MAX_ANSWER_BYTES: usize = 8 << 20;

/// Why a server did not tell its tools.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CannotAsk {
    /// It could not be called.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// There is nothing to call it with.
    #[error("the roots of TLS cannot be read")]
    Tls(#[from] TlsError),
    /// Its name leads to where nobody may be called.
    #[error("{0}")]
    Walled(String),
    /// It did not answer, or broke off.
    #[error("it gave no answer")]
    Answer(#[from] reqwest::Error),
    /// It refused.
    #[error("it answered with status {0}")]
    Status(u16),
    /// It answered with an error of JSON-RPC.
    #[error("it answered with the error {0}")]
    Refused(i64),
    /// What it said is no answer to the question.
    #[error("its answer cannot be read")]
    Form,
    /// Its credential cannot stand in a header.
    #[error("its credential or a header of it cannot be sent")]
    Header,
}

/// The tools that the server offers now.
///
/// # Errors
/// [`CannotAsk`].
pub(crate) async fn catalogue(
    app: &App,
    spec: &McpServerSpec,
    credential: Option<&[u8]>,
    at: Timestamp,
) -> Result<McpCatalogue, CannotAsk> {
    let options = ConnectorOptions {
        allow_private: app.options.allow_private,
        allowed_networks: app.options.allowed_networks.clone(),
        ..ConnectorOptions::default()
    };
    let client = Connector::new(&options, app.clock.clone())?.client()?;
    let mut line = Line { client, url: &spec.url, headers: headers(spec, credential)? };
    let tools = match line.begin().await {
        Ok(()) => line.list(&Value::Null).await,
        // It may know requests that stand for themselves only.
        Err(CannotAsk::Status(_) | CannotAsk::Refused(_)) => {
            line.headers.insert(VERSION, HeaderValue::from_static(NEWEST));
            line.headers.insert(METHOD, HeaderValue::from_static("tools/list"));
            let told = json!({
                "io.modelcontextprotocol/protocolVersion": NEWEST,
                "io.modelcontextprotocol/clientInfo": us(),
                "io.modelcontextprotocol/clientCapabilities": {},
            });
            line.list(&told).await
        }
        Err(error) => Err(error),
    };
    line.end().await;
    Ok(McpCatalogue { at, tools: bounded(tools?) })
}

fn us() -> Value {
    json!({"name": "turnpike", "version": env!("CARGO_PKG_VERSION")})
}

fn headers(spec: &McpServerSpec, credential: Option<&[u8]>) -> Result<HeaderMap, CannotAsk> {
    let mut map = HeaderMap::new();
    let name = |name: &str| HeaderName::from_bytes(name.as_bytes()).map_err(|_| CannotAsk::Header);
    let value = |value: &[u8]| HeaderValue::from_bytes(value).map_err(|_| CannotAsk::Header);
    map.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    map.insert(ACCEPT, HeaderValue::from_static("application/json, text/event-stream"));
    for (header, text) in &spec.headers {
        map.insert(name(header)?, value(text.as_bytes())?);
    }
    if let Some(secret) = credential {
        let (header, mut shown) = match &spec.credential_header {
            Some(header) => (name(header)?, value(secret)?),
            None => (AUTHORIZATION, value(&[&b"Bearer "[..], secret].concat())?),
        };
        shown.set_sensitive(true);
        map.insert(header, shown);
    }
    Ok(map)
}

/// A conversation with one server.
struct Line<'a> {
    client: HttpClient,
    url: &'a str,
    headers: HeaderMap,
}

impl Line<'_> {
    /// Begins a session, if the server has them.
    async fn begin(&mut self) -> Result<(), CannotAsk> {
        let params = json!({
            "protocolVersion": WITH_SESSIONS, "capabilities": {}, "clientInfo": us(),
        });
        let (answer, session) = self.ask(1, "initialize", &params).await?;
        let version = answer["protocolVersion"].as_str().ok_or(CannotAsk::Form)?;
        let version = HeaderValue::from_str(version).map_err(|_| CannotAsk::Form)?;
        self.headers.insert(VERSION, version);
        if let Some(session) = session {
            self.headers.insert(SESSION, session);
        }
        let note = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
        self.send(&note).await?;
        Ok(())
    }

    /// All tools, page by page.
    async fn list(&self, meta: &Value) -> Result<Vec<McpTool>, CannotAsk> {
        let (mut tools, mut cursor) = (Vec::new(), Value::Null);
        for id in (2..).take(MAX_PAGES) {
            let mut params = json!({});
            for (name, value) in [("_meta", meta), ("cursor", &cursor)] {
                if !value.is_null() {
                    params[name] = value.clone();
                }
            }
            let (answer, _) = self.ask(id, "tools/list", &params).await?;
            let page = answer["tools"].as_array().ok_or(CannotAsk::Form)?;
            tools.extend(page.iter().filter_map(tool));
            cursor = answer["nextCursor"].clone();
            if cursor.is_null() || tools.len() >= MAX_MCP_TOOLS {
                break;
            }
        }
        Ok(tools)
    }

    /// Ends the session; a server that has none says so, which is no matter.
    async fn end(&self) {
        if !self.headers.contains_key(SESSION) {
            return;
        }
        if let Ok(request) = self.client.request(reqwest::Method::DELETE, self.url) {
            let ended = request.headers(self.headers.clone()).send().await;
            tracing::debug!(is_ended = ended.is_ok(), "the session with an MCP server is over");
        }
    }

    /// The result of a request, and the session that its answer names.
    async fn ask(
        &self,
        id: u64,
        method: &str,
        params: &Value,
    ) -> Result<(Value, Option<HeaderValue>), CannotAsk> {
        let message = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        let mut answer = self.send(&message).await?;
        let session = answer.headers().get(SESSION).cloned();
        let kind = answer.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        let is_events = kind.is_some_and(|kind| kind.starts_with("text/event-stream"));
        let mut read = Vec::new();
        loop {
            let piece = answer.chunk().await?;
            let is_whole = piece.is_none();
            read.extend_from_slice(&piece.unwrap_or_default());
            if read.len() > MAX_ANSWER_BYTES {
                return Err(CannotAsk::Form);
            }
            // A stream may stay open behind the answer.
            let found = if is_events { in_events(&read, id) } else { None };
            let found = found.or_else(|| whole(&read, id).filter(|_| is_whole && !is_events));
            match found {
                Some(mut message) if message["error"].is_null() => {
                    return Ok((message["result"].take(), session));
                }
                Some(message) => {
                    let code = message["error"]["code"].as_i64().unwrap_or_default();
                    return Err(CannotAsk::Refused(code));
                }
                None if is_whole => return Err(CannotAsk::Form),
                None => {}
            }
        }
    }

    async fn send(&self, message: &Value) -> Result<reqwest::Response, CannotAsk> {
        let request = self.client.request(reqwest::Method::POST, self.url)?;
        let request = request.headers(self.headers.clone()).body(message.to_string());
        let answer = request.send().await.map_err(unanswered)?;
        let status = answer.status();
        if status.is_success() { Ok(answer) } else { Err(CannotAsk::Status(status.as_u16())) }
    }
}

fn unanswered(error: reqwest::Error) -> CannotAsk {
    match connector::refusal(&error) {
        Some(refused) => CannotAsk::Walled(refused.to_string()),
        None => CannotAsk::Answer(error),
    }
}

/// The answer to `id`, if that is what the bytes are.
fn whole(bytes: &[u8], id: u64) -> Option<Value> {
    let message: Value = serde_json::from_slice(bytes).ok()?;
    (message["id"].as_u64() == Some(id)).then_some(message)
}

/// The answer to `id` among whole events.
fn in_events(bytes: &[u8], id: u64) -> Option<Value> {
    let text = String::from_utf8_lossy(bytes).replace("\r\n", "\n").replace('\r', "\n");
    let whole_events = text.rfind("\n\n").map(|end| text.get(..end).unwrap_or_default())?;
    whole_events.split("\n\n").find_map(|event| {
        let lines = event.lines().filter_map(|line| line.strip_prefix("data:"));
        let data: Vec<&str> = lines.map(|data| data.strip_prefix(' ').unwrap_or(data)).collect();
        whole(data.join("\n").as_bytes(), id)
    })
}

/// A tool as it is kept; `None` for one that no scope could name.
fn tool(listed: &Value) -> Option<McpTool> {
    let name = listed["name"].as_str().filter(|name| tool_name_problem(name).is_none())?;
    let description = listed["description"].as_str().or_else(|| listed["title"].as_str());
    let description = description.unwrap_or_default();
    let description = cut(description, MAX_TOOL_DESCRIPTION_BYTES);
    Some(McpTool { name: name.into(), description: description.into() })
}

/// As many tools as are kept, with descriptions as long as there is room for.
fn bounded(mut tools: Vec<McpTool>) -> Vec<McpTool> {
    let mut names = 0_usize;
    tools.truncate(MAX_MCP_TOOLS);
    tools.retain(|tool| {
        names = names.saturating_add(tool.name.len());
        names <= MAX_CATALOGUE_BYTES
    });
    let named: usize = tools.iter().map(|tool| tool.name.len()).sum();
    let room = MAX_CATALOGUE_BYTES.saturating_sub(named).checked_div(tools.len()).unwrap_or(0);
    for tool in &mut tools {
        tool.description = cut(&tool.description, room).into();
    }
    tools
}

/// The beginning of a text, of at most so many bytes.
fn cut(text: &str, bytes: usize) -> &str {
    text.get(..text.floor_char_boundary(bytes)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_found_among_events() {
        let events = b": ping\n\nevent: message\r\ndata: {\"method\":\"x\"}\r\n\r\n\
            data: {\"id\":2,\ndata: \"result\":7}\n\ndata: {\"id\":3";
        assert_eq!(in_events(events, 2).unwrap()["result"], 7);
        assert_eq!(in_events(events, 3), None);
        assert_eq!(whole(b"{\"id\":1}", 2), None);
    }

    #[test]
    fn many_tools_keep_their_names_and_as_much_of_the_rest_as_fits() {
        let long = json!({"name": "a".repeat(100), "description": "\u{e9}".repeat(150)});
        let listed = tool(&long).unwrap();
        assert_eq!(listed.description.len(), MAX_TOOL_DESCRIPTION_BYTES);
        assert_eq!(bounded(vec![listed.clone()]), std::slice::from_ref(&listed));
        let many = bounded(vec![listed; 2_000]);
        let catalogue = McpCatalogue { at: Timestamp(0), tools: many };
        assert!(catalogue.bytes() <= MAX_CATALOGUE_BYTES, "{}", catalogue.bytes());
        assert_eq!(catalogue.tools.len(), MAX_CATALOGUE_BYTES / 100);
        for nameless in [json!({}), json!({"name": ""}), json!({"name": "a\nb"}), json!(7)] {
            assert_eq!(tool(&nameless), None);
        }
        assert_eq!(&*tool(&json!({"name": "a", "title": "A"})).unwrap().description, "A");
    }
}
