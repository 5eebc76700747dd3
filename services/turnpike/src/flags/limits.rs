//! Limits as flags.

use serde_json::Value;

use super::{given, percents, usd, whole};

/// Limits of a key or a project.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Limits (none takes one away)")]
pub(crate) struct LimitFlags {
    /// The most to spend in one window, such as 25 or 0.50
    #[arg(long, value_name = "USD", value_parser = usd)]
    cost_usd: Option<Value>,
    /// The most tokens in one window, input and output together
    #[arg(long, value_name = "NUMBER", value_parser = whole)]
    tokens: Option<Value>,
    /// When cost and tokens begin anew, in UTC
    #[arg(long, value_parser = ["none", "daily", "weekly", "monthly"])]
    reset: Option<String>,
    /// Requests in any 60 seconds
    #[arg(long, value_name = "NUMBER", value_parser = whole)]
    rpm: Option<Value>,
    /// Tokens in any 60 seconds
    #[arg(long, value_name = "NUMBER", value_parser = whole)]
    tpm: Option<Value>,
    /// Percentages of the cost limit at which an alert is raised, such as 50,80,100
    #[arg(long, value_name = "PERCENTS", value_parser = percents)]
    alerts: Option<Value>,
    /// What happens to a request that may not fit: refuse it, or lower its output maximum
    #[arg(long, value_parser = ["reject", "clamp"])]
    fit: Option<String>,
}

impl LimitFlags {
    /// The limits that were given; `None` if none was.
    pub(crate) fn json(self) -> Option<Value> {
        given([
            ("cost_usd", self.cost_usd),
            ("tokens", self.tokens),
            ("reset", self.reset.map(Value::from)),
            ("requests_per_minute", self.rpm),
            ("tokens_per_minute", self.tpm),
            ("alert_percent", self.alerts),
            ("fit", self.fit.map(Value::from)),
        ])
    }
}
