//! What the gateway reads of a JSON-RPC message: its method, its id, and what it names.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::RawId;

/// The method that calls a tool: the one that costs.
const CALL: &str = "tools/call";

/// A message of a caller. Everything else in it passes unread.
#[derive(Debug)]
pub struct Message<'a> {
    /// `None`: an answer to a request of the server.
    pub method: Option<Cow<'a, str>>,
    /// `None`: a notification.
    pub id: Option<RawId>,
    /// The tool, prompt or resource that the method names.
    pub name: Option<Cow<'a, str>>,
    /// The revision that the body says it is of.
    pub version: Option<Cow<'a, str>>,
}

/// Why a body is not a message that passes. All are a 400.
#[derive(Debug, thiserror::Error)]
pub enum NotAMessage {
    /// No JSON, a field of a wrong type, or one that is there twice (two readers could disagree on
    /// which one counts).
    #[error("the body is not a valid message: {0}")]
    Json(#[from] serde_json::Error),
    /// Anything but an object; also a batch, which no revision of these has.
    #[error("the body must be one JSON-RPC message, not a batch")]
    NotAnObject,
    /// An id that is neither a text nor a number.
    #[error("the id of a request must be a text or a number")]
    Id,
    /// A tool call that names none, or wants no answer.
    #[error("a tool call must have an id and name its tool")]
    Call,
}

#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    method: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    params: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
struct Params<'a> {
    #[serde(borrow, default)]
    name: Option<&'a RawValue>,
    #[serde(borrow, default)]
    uri: Option<&'a RawValue>,
    #[serde(rename = "_meta", borrow, default)]
    meta: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Meta<'a> {
    #[serde(rename = "io.modelcontextprotocol/protocolVersion", borrow, default)]
    version: Option<Cow<'a, str>>,
}

impl<'a> Message<'a> {
    /// Reads a body.
    ///
    /// # Errors
    /// [`NotAMessage`].
    pub fn read(body: &'a [u8]) -> Result<Self, NotAMessage> {
        if !is_object(body) {
            return Err(NotAMessage::NotAnObject);
        }
        let Fields { id, method, params } = serde_json::from_slice(body)?;
        let id = match id {
            Some(raw) => Some(RawId::of(raw).ok_or(NotAMessage::Id)?),
            None => None,
        };
        let params = match params.map(RawValue::get) {
            Some(raw) if is_object(raw.as_bytes()) => serde_json::from_str(raw)?,
            Some(_) | None => Params::default(),
        };
        let name = match method.as_deref() {
            Some(CALL | "prompts/get") => params.name,
            Some("resources/read") => params.uri,
            Some(_) | None => None,
        };
        let name = name.map(|raw| serde_json::from_str(raw.get())).transpose()?;
        let version = match params.meta.map(RawValue::get) {
            Some(raw) if is_object(raw.as_bytes()) => {
                serde_json::from_str::<Meta<'_>>(raw)?.version
            }
            Some(_) | None => None,
        };
        let message = Self { method, id, name: name.map(|Text(name)| name), version };
        if message.is_call() && (message.id.is_none() || message.name.is_none()) {
            return Err(NotAMessage::Call);
        }
        Ok(message)
    }

    /// The tool that is called.
    #[must_use]
    pub fn tool(&self) -> Option<&str> {
        if self.is_call() { self.name.as_deref() } else { None }
    }

    /// Whether it is answered.
    #[must_use]
    pub const fn is_request(&self) -> bool {
        self.method.is_some() && self.id.is_some()
    }

    fn is_call(&self) -> bool {
        self.method.as_deref() == Some(CALL)
    }
}

/// A text that borrows where it can.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// Whether JSON begins an object. Asked first, because a list would be read field by field.
pub(super) fn is_object(json: &[u8]) -> bool {
    json.trim_ascii_start().first() == Some(&b'{')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_says_what_it_wants_and_of_what() {
        let read = |body: &'static str| Message::read(body.as_bytes()).unwrap();
        let call =
            read(r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"re\u0061d"}}"#);
        assert_eq!((call.tool(), call.is_request()), (Some("read"), true));
        let prompt = read(r#"{"id":"a","method":"prompts/get","params":{"name":"p"}}"#);
        assert_eq!((prompt.tool(), prompt.name.as_deref()), (None, Some("p")));
        let resource =
            read(r#"{"id":2,"method":"resources/read","params":{"uri":"a:b","name":3}}"#);
        assert_eq!(resource.name.as_deref(), Some("a:b"));
        let other = read(r#"{"id":3,"method":"x/y","params":[1]}"#);
        assert_eq!((other.name, other.version), (None, None));
        let answer = read(r#"{"jsonrpc":"2.0","id":4,"result":{}}"#);
        assert!(!answer.is_request() && answer.method.is_none());
        let note = read(r#"{"method":"notifications/initialized"}"#);
        assert!(!note.is_request());
        let modern = read(
            r#"{"id":1,"method":"ping","params":{"_meta":
               {"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}"#,
        );
        assert_eq!(modern.version.as_deref(), Some("2026-07-28"));
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_no_message() {
        for body in [
            "",
            "7",
            "[]",
            r#"[{"id":1,"method":"ping"}]"#,
            r#"["1","tools/call",{"name":"a"}]"#,
            r#"{"id":1,"method":"tools/call","method":"ping","params":{"name":"a"}}"#,
            r#"{"id":1,"method":"tools/call","params":{"name":"a","name":"b"}}"#,
            r#"{"id":1,"method":"tools/call","params":{"name":"a","n\u0061me":"b"}}"#,
            r#"{"id":1,"method":"tools/call","params":{"name":["a"]}}"#,
            r#"{"id":1,"method":"tools/call","params":["a"]}"#,
            r#"{"id":1,"method":"tools/call"}"#,
            r#"{"method":"tools/call","params":{"name":"a"}}"#,
            r#"{"id":null,"method":"tools/call","params":{"name":"a"}}"#,
            r#"{"id":[1],"method":"ping"}"#,
            r#"{"id":1,"method":["ping"]}"#,
            r#"{"id":1,"method":"ping"} {}"#,
        ] {
            assert!(Message::read(body.as_bytes()).is_err(), "{body}");
        }
    }
}
