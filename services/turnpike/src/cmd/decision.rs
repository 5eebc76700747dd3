//! `turnpike decision show`: why a gateway refused a request.

use serde_json::Value;

use super::audit::actor;
use super::{Run, Session};
use crate::client::Call;
use crate::failure::Failure;
use crate::output::table::{Column, plain, time};

const COLUMNS: &[Column] = &[
    Column::plain("code", "/code"),
    Column::plain("status", "/status"),
    Column::new("at", "/at", time),
    Column::plain("rule", "/rule/name"),
    Column::plain("why", "/rule/says"),
    Column::plain("version", "/rule/version"),
    Column::new("set by", "/rule/set_by", event),
    Column::new("event behind it", "/event", event),
    Column::plain("limit", "/figures/limit"),
    Column::plain("used", "/figures/used"),
    Column::plain("held", "/figures/held"),
    Column::new("resets", "/figures/resets_at", time),
    Column::plain("retryable", "/retryable"),
    Column::plain("key", "/key/name"),
    Column::plain("key's status then", "/key/status"),
    Column::plain("key id", "/key_id"),
    Column::plain("model", "/model"),
    Column::plain("address", "/address"),
    Column::plain("gateway", "/gateway_id"),
    Column::plain("request", "/request_id"),
];

/// What can be done with decisions.
#[derive(Clone, Debug, clap::Subcommand)]
pub(crate) enum Decision {
    /// Explain a refusal: the rule, its version, the figures and the event behind it
    Show {
        /// The `decision_id` of the refusal
        decision: String,
    },
}

impl Run for Decision {
    async fn run(self, session: &Session) -> Result<(), Failure> {
        let client = &session.client;
        match self {
            Self::Show { decision } => {
                let call = Call::get(client.in_org(&["decisions", &decision]).await?);
                session.output.thing(&client.send(&call).await?, COLUMNS)
            }
        }
    }
}

/// An event in one line: what, where in the stream, when and by whom.
fn event(value: &Value) -> String {
    if value.is_null() {
        return plain(value);
    }
    let [name, seq] = ["type", "seq"].map(|field| plain(&value[field]));
    format!("{name}, seq {seq}, {} by {}", time(&value["at"]), actor(&value["actor"]))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_event_is_one_line() {
        let told = json!({
            "type": "KeyRevoked", "seq": 41, "at": "2026-11-21T04:00:00.000Z",
            "actor": { "kind": "member", "id": "mem_1", "name": "Ada" },
        });
        let line = event(&told);
        assert!(line.starts_with("KeyRevoked, seq 41, 2026-11-21 04:00:00 by "), "{line}");
        assert!(line.contains("Ada"), "{line}");
        assert_eq!(event(&Value::Null), "-");
    }
}
