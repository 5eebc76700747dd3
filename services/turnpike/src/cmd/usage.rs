//! `turnpike usage`: what was used, and up to when that is complete.

use serde_json::Value;
use turnpike_domain::time::Timestamp;

use super::{Run, Session};
use crate::client::{Answer, Call, Kind};
use crate::failure::Failure;
use crate::flags::Moment;
use crate::output::table::{Column, plain, time};

const COLUMNS: &[Column] = &[
    Column::new("from", "/start", time),
    Column::plain("key", "/key_id"),
    Column::plain("project", "/project_id"),
    Column::plain("model", "/model"),
    Column::plain("requests", "/requests"),
    Column::plain("estimated", "/estimated_requests"),
    Column::plain("refused", "/refused_requests"),
    Column::plain("input", "/input_tokens"),
    Column::plain("cached", "/cached_input_tokens"),
    Column::plain("output", "/output_tokens"),
    Column::plain("cost usd", "/cost_usd"),
];

/// Which usage is shown, and how it is grouped.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Usage {
    /// One row for each key, project, model, hour or day, or several with commas between
    #[arg(long, value_name = "GROUPS", default_value = "key")]
    by: String,
    /// Only of this key, by id or name
    #[arg(long)]
    key: Option<String>,
    /// Only of the keys that are in this project now, by id or name
    #[arg(long)]
    project: Option<String>,
    #[command(flatten)]
    span: Span,
}

/// Which part of usage is shown.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Span {
    /// Only of this model
    #[arg(long)]
    model: Option<String>,
    /// From this time on: an RFC 3339 time, a date, or 30d for the last thirty days
    #[arg(long, value_name = "WHEN")]
    from: Option<Moment>,
    /// Before this time
    #[arg(long, value_name = "WHEN")]
    until: Option<Moment>,
}

impl Span {
    /// The call for this part of it.
    pub(crate) fn on(self, call: Call, now: Timestamp) -> Call {
        call.with_some("model", self.model)
            .with_some("from", self.from.map(|moment| moment.time(now)))
            .with_some("until", self.until.map(|moment| moment.time(now)))
    }
}

impl Run for Usage {
    async fn run(self, session: &Session) -> Result<(), Failure> {
        let client = &session.client;
        let now = client.clock().now();
        let key = client.id_if(Kind::KEY, self.key.as_deref()).await?;
        let project = client.id_if(Kind::PROJECT, self.project.as_deref()).await?;
        let call = Call::get(client.in_org(&["usage"]).await?)
            .with("group_by", self.by)
            .with_some("key", key)
            .with_some("project", project);
        tell(session, &client.send(&self.span.on(call, now)).await?)
    }
}

/// Shows usage, and what it adds up to.
///
/// # Errors
/// [`Failure::Io`] if nobody reads it.
pub(crate) fn tell(session: &Session, usage: &Answer) -> Result<(), Failure> {
    session.output.list(usage, COLUMNS)?;
    if session.output.json { Ok(()) } else { session.output.note(&summary(usage)) }
}

/// The sum, and up to when nothing is missing from it.
fn summary(usage: &Value) -> String {
    let total = &usage["total"];
    let [requests, cost] = ["requests", "cost_usd"].map(|field| plain(&total[field]));
    let complete = &usage["complete_up_to"];
    let until = if complete.is_null() {
        "some gateway has not reported yet".to_owned()
    } else {
        format!("complete up to {} UTC", time(complete))
    };
    format!("{requests} requests, {cost} USD; {until}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn figures_say_up_to_when_they_are_complete() {
        let usage = |complete: Value| {
            let total = json!({ "requests": 3, "cost_usd": "0.25" });
            summary(&json!({ "total": total, "complete_up_to": complete }))
        };
        let until = usage(json!("2026-11-21T04:00:00.000Z"));
        assert_eq!(until, "3 requests, 0.25 USD; complete up to 2026-11-21 04:00:00 UTC");
        assert!(usage(Value::Null).ends_with("some gateway has not reported yet"));
    }
}
