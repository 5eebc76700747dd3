//! MCP over HTTP: what is read of messages that pass, and errors as JSON-RPC has them.

mod filter;
mod message;
mod routing;

use bytes::Bytes;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use turnpike_domain::admit::Denial;

pub use filter::{Unreadable, filtered};
pub use message::{Message, NotAMessage};
pub use routing::{MAX_VERSION_CHARS, Revision, check, revision};

use super::Problem;

/// A message whose parameters are not what they must be (JSON-RPC 2.0, section 5.1); of a tool that
/// is not there, as MCP has it.
const INVALID_PARAMS: i32 = -32_602;
/// A message that is none.
const INVALID_REQUEST: i32 = -32_600;
/// A refusal or failure of ours, of the range that JSON-RPC leaves to servers.
const REFUSED: i32 = -32_000;
/// Headers and body say different things (MCP 2026-07-28).
const HEADER_MISMATCH: i32 = -32_020;
/// A revision that is not spoken (MCP 2026-07-28).
const UNSUPPORTED_VERSION: i32 = -32_022;

/// What is wrong between the headers and the body of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// This header does not say what the body says, or is missing or there twice.
    HeaderMismatch(&'static str),
    /// This revision is not spoken.
    UnsupportedVersion(Box<str>),
}

/// What the answer to a message needs besides the refusal.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Reply {
    /// The message's id, as it stood in the body; `None`: it has none, or none that can be read.
    pub id: Option<Box<RawId>>,
    /// What is wrong with it, where its headers are.
    pub fault: Option<Fault>,
}

/// An id as it stood in the body: a text or a number, in JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawId(Box<str>);

impl RawId {
    /// The id of a raw value, if it is a text or a number.
    #[must_use]
    pub fn of(raw: &RawValue) -> Option<Self> {
        let text = raw.get();
        let first = text.as_bytes().first()?;
        let is_id = *first == b'"' || *first == b'-' || first.is_ascii_digit();
        is_id.then(|| Self(text.into()))
    }

    /// As JSON.
    #[must_use]
    pub fn as_json(&self) -> &str {
        &self.0
    }
}

/// An error answer. Its data say what every dialect's say: the code, the decision, the figures.
#[must_use]
pub fn error_body(problem: &Problem<'_>) -> Bytes {
    let fault = problem.reply.and_then(|reply| reply.fault.as_ref());
    let code = match (fault, problem.denial) {
        (Some(Fault::HeaderMismatch(_)), _) => HEADER_MISMATCH,
        (Some(Fault::UnsupportedVersion(_)), _) => UNSUPPORTED_VERSION,
        (None, Denial::McpNotAllowed) => INVALID_PARAMS,
        (None, Denial::InvalidRequest) => INVALID_REQUEST,
        (None, _) => REFUSED,
    };
    let mut data = problem.metadata.clone();
    data["error_code"] = Value::from(problem.denial.code());
    data["request_id"] = Value::from(problem.request.to_string());
    if let Some(Fault::UnsupportedVersion(requested)) = fault {
        let supported = Revision::ALL.map(Revision::name);
        data["supported"] = json!(supported);
        data["requested"] = Value::from(&**requested);
    }
    let error = json!({"code": code, "message": problem.message, "data": data});
    let id = problem.reply.and_then(|reply| reply.id.as_deref()).map_or("null", RawId::as_json);
    Bytes::from(format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{error}}}"#))
}

#[cfg(test)]
mod tests {
    use turnpike_domain::id::RequestId;

    use super::*;

    fn body(denial: Denial, reply: Option<&Reply>) -> Value {
        let problem = Problem {
            denial,
            status: denial.status(),
            message: "No.",
            request: RequestId(1),
            retry_after_s: None,
            metadata: json!({"retryable": false}),
            reply,
        };
        serde_json::from_slice(&error_body(&problem)).unwrap()
    }

    fn reply(id: &str, fault: Option<Fault>) -> Reply {
        let raw: &RawValue = serde_json::from_str(id).unwrap();
        Reply { id: RawId::of(raw).map(Box::new), fault }
    }

    #[test]
    fn errors_are_json_rpc_with_the_code_that_mcp_has_for_them() {
        let version = || Some(Fault::UnsupportedVersion("1999-01-01".into()));
        let mismatch = || Some(Fault::HeaderMismatch("mcp-method"));
        let cases = [
            (Denial::McpNotAllowed, None, -32_602),
            (Denial::InvalidRequest, None, -32_600),
            (Denial::RateLimited, None, -32_000),
            (Denial::InvalidRequest, mismatch(), -32_020),
            (Denial::InvalidRequest, version(), -32_022),
        ];
        for (denial, fault, code) in cases {
            let told = body(denial, Some(&reply("7", fault)));
            assert_eq!((&told["error"]["code"], &told["id"]), (&json!(code), &json!(7)));
            assert_eq!(told["error"]["data"]["error_code"], denial.code());
        }
        let told = body(Denial::InvalidRequest, Some(&reply("\"a\"", version())));
        assert_eq!(told["id"], "a");
        assert_eq!(told["error"]["data"]["requested"], "1999-01-01");
        let supported = json!(["2026-07-28", "2025-11-25", "2025-06-18"]);
        assert_eq!(told["error"]["data"]["supported"], supported);
        assert_eq!(body(Denial::Unauthorized, None)["id"], Value::Null);
    }

    #[test]
    fn only_texts_and_numbers_are_ids() {
        for id in ["7", "-1", "\"a\""] {
            assert!(reply(id, None).id.is_some(), "{id}");
        }
        for id in ["true", "[]", "{}"] {
            assert!(reply(id, None).id.is_none(), "{id}");
        }
    }
}
