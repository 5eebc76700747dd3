//! `turnpike key explain`: what would be decided of a request that nobody has made.

use serde_json::Value;

use super::Named;
use crate::client::{Call, Kind};
use crate::cmd::Session;
use crate::failure::Failure;
use crate::output::table::{Column, plain, time};

const CHECKS: &[Column] = &[
    Column::plain("check", "/check"),
    Column::plain("outcome", "/outcome"),
    Column::plain("code", "/code"),
    Column::plain("why", "/says"),
];

const WAYS: &[Column] = &[
    Column::plain("way", "/provider"),
    Column::plain("kind", "/kind"),
    Column::plain("model there", "/upstream_model"),
    Column::plain("weight", "/weight"),
    Column::plain("open", "/open"),
    Column::plain("obstacle", "/obstacle"),
    Column::plain("health", "/health"),
];

const LEVELS: &[Column] = &[
    Column::plain("limit", "/limit_source"),
    Column::plain("of", "/limit"),
    Column::plain("used", "/used"),
    Column::plain("held", "/held"),
    Column::plain("lost", "/lost"),
    Column::plain("left", "/left"),
    Column::plain("needed", "/needed"),
    Column::plain("fits", "/fits"),
    Column::new("resets", "/resets_at", time),
];

const RATES: &[Column] = &[
    Column::plain("limit in 60 seconds", "/limit_source"),
    Column::plain("of", "/limit"),
    Column::plain("used", "/used"),
    Column::plain("unsettled", "/unsettled"),
    Column::plain("left", "/left"),
    Column::plain("waiting", "/waiting"),
    Column::plain("needed", "/needed"),
    Column::plain("fits", "/fits"),
    Column::new("next", "/next_at", time),
];

/// A request that nobody has made.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Explain {
    #[command(flatten)]
    named: Named,
    /// The model that it calls
    #[arg(long, required_unless_present = "mcp_server", conflicts_with = "mcp_server")]
    model: Option<String>,
    /// The name of the MCP server that it goes to
    #[arg(long, value_name = "NAME")]
    mcp_server: Option<String>,
    /// The tool of the MCP server that it calls
    #[arg(long, value_name = "NAME", requires = "mcp_server")]
    tool: Option<String>,
    /// Tokens of its input; a gateway takes a body's bytes as their upper bound
    #[arg(long, value_name = "NUMBER")]
    input_tokens: Option<u64>,
    /// The output maximum that it sets [default: none]
    #[arg(long, value_name = "NUMBER")]
    max_output_tokens: Option<u64>,
    /// How many answers it asks for
    #[arg(long, value_name = "NUMBER")]
    choices: Option<u64>,
    /// Seconds of the recording that it uploads
    #[arg(long, value_name = "NUMBER")]
    audio_seconds: Option<u64>,
    /// The dialect that it is written in: openai, anthropic or gemini
    #[arg(long, value_parser = ["openai", "anthropic", "gemini"])]
    dialect: Option<String>,
    /// The client's address
    #[arg(long, value_name = "ADDRESS")]
    ip: Option<String>,
    /// The id of an ephemeral token of the key that it comes with
    #[arg(long, value_name = "TOKEN")]
    ephemeral_token: Option<String>,
}

impl Explain {
    pub(super) async fn run(self, session: &Session) -> Result<(), Failure> {
        let client = &session.client;
        let id = client.id_of(Kind::KEY, &self.named.key).await?;
        let call = Call::get(client.in_org(&["keys", &id, "explain"]).await?)
            .with_some("model", self.model)
            .with_some("mcp_server", self.mcp_server)
            .with_some("tool", self.tool)
            .with_some("input_tokens", self.input_tokens)
            .with_some("max_output_tokens", self.max_output_tokens)
            .with_some("choices", self.choices)
            .with_some("audio_seconds", self.audio_seconds)
            .with_some("ip", self.ip)
            .with_some("dialect", self.dialect)
            .with_some("token", self.ephemeral_token);
        let told = client.send(&call).await?;
        let output = session.output;
        if output.json {
            return output.document(&told);
        }
        output.rows(&told["checks"], CHECKS)?;
        let parts = [("ways", WAYS), ("levels", LEVELS), ("rates", RATES)];
        for (rows, columns) in parts.map(|(part, columns)| (&told[part], columns)) {
            if rows.as_array().is_some_and(|rows| !rows.is_empty()) {
                output.line("")?;
                output.rows(rows, columns)?;
            }
        }
        output.line("")?;
        output.line(&verdict(&told))
    }
}

/// What it comes to, and what it may cost.
fn verdict(told: &Value) -> String {
    let verdict = if told["admitted"] == Value::Bool(true) {
        "It would be admitted".to_owned()
    } else {
        format!("It would be refused with {} {}", plain(&told["status"]), plain(&told["code"]))
    };
    let bound = &told["reservation"];
    if bound.is_null() {
        return format!("{verdict}.");
    }
    let [input, output] = ["input_tokens", "output_tokens"].map(|field| plain(&bound[field]));
    let cost = match bound["cost_usd"].as_str() {
        Some(cost) => format!("{cost} USD"),
        None => "an unknown price".to_owned(),
    };
    format!("{verdict}; it may use {input} input and {output} output tokens, at most for {cost}.")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_verdict_says_what_it_may_cost() {
        let bound = json!({ "input_tokens": 10, "output_tokens": 20, "cost_usd": "0.05" });
        let told = json!({ "admitted": true, "status": 200, "reservation": bound });
        let wanted = "It would be admitted; it may use 10 input and 20 output tokens, at most for \
                      0.05 USD.";
        assert_eq!(verdict(&told), wanted);
        let told = json!({ "admitted": false, "status": 404, "code": "model_not_found" });
        assert_eq!(verdict(&told), "It would be refused with 404 model_not_found.");
    }
}
