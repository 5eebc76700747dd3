//! What one core counts of the tool calls that pass it, by the name of their MCP server.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use turnpike_domain::admit::Denial;
use turnpike_runtime::metrics::{Counter, Labelled, Latency, Metrics};

/// Servers that have metrics of their own: each is some thirty lines of what Prometheus reads, and
/// an organisation may register 200. Those that are called later share one name.
const MAX_SERVERS: usize = 100;
/// The shared name. No server can have it: a name is of letters, digits, `-`, `_` and `.`.
const OTHERS: &str = "(others)";

/// How a tool call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CallEnd {
    /// The server answered, perhaps with an error of its own.
    Answered,
    /// The server refused the message, or no answer of it came.
    Failed,
    /// The key may not use the tool or its server.
    Denied,
    /// Rate, budget or room said no.
    Refused,
}

/// The calls since the last [`Tools::pour`].
#[derive(Default)]
pub(crate) struct Tools(RefCell<BTreeMap<Box<str>, Calls>>);

#[derive(Default)]
struct Calls {
    /// In the order of [`CallEnd::ALL`].
    ends: [u64; CallEnd::ALL.len()],
    /// Microseconds of each call that the server got.
    times_us: Vec<u64>,
}

/// The counters of all cores together.
#[derive(Clone, Debug)]
pub(crate) struct ToolMetrics {
    calls: Labelled<[(&'static str, String); 2], Counter>,
    times: Labelled<[(&'static str, String); 1], Latency>,
    named: Arc<Mutex<BTreeSet<Box<str>>>>,
}

impl CallEnd {
    const ALL: [Self; 4] = [Self::Answered, Self::Failed, Self::Denied, Self::Refused];

    /// How a call ended that was answered with this denial.
    pub(crate) const fn of(denial: Denial) -> Self {
        if matches!(denial, Denial::ProviderError | Denial::ProviderTimeout) {
            Self::Failed
        } else if matches!(denial, Denial::McpNotAllowed | Denial::IpNotAllowed) {
            Self::Denied
        } else {
            Self::Refused
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Failed => "failed",
            Self::Denied => "denied",
            Self::Refused => "refused",
        }
    }
}

impl ToolMetrics {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        let times = "Time from the head of a tool call to the end of its server's answer";
        Self {
            calls: metrics.labelled("mcp_calls", "Tool calls by server and by how they ended"),
            times: metrics.labelled("mcp_call_seconds", times),
            named: Arc::default(),
        }
    }

    /// What a server is called here.
    fn label(&self, server: &str) -> String {
        let mut named = self.named.lock().unwrap_or_else(PoisonError::into_inner);
        if !named.contains(server) {
            if named.len() >= MAX_SERVERS {
                return OTHERS.to_owned();
            }
            named.insert(server.into());
        }
        server.to_owned()
    }
}

impl Tools {
    /// A call of a registered server ended after `us` microseconds.
    pub(crate) fn ended(&self, server: &str, how: CallEnd, us: u64) {
        let mut servers = self.0.borrow_mut();
        let calls = match servers.get_mut(server) {
            Some(calls) => calls,
            None => servers.entry(server.into()).or_default(),
        };
        for (end, count) in CallEnd::ALL.into_iter().zip(&mut calls.ends) {
            *count = count.saturating_add(u64::from(end == how));
        }
        if matches!(how, CallEnd::Answered | CallEnd::Failed) {
            calls.times_us.push(us);
        }
    }

    /// Adds everything to what Prometheus reads, and begins anew.
    pub(super) fn pour(&self, into: &ToolMetrics) {
        for (server, calls) in std::mem::take(&mut *self.0.borrow_mut()) {
            let label = into.label(&server);
            for (end, count) in CallEnd::ALL.into_iter().zip(calls.ends) {
                let labels = [("server", label.clone()), ("outcome", end.name().to_owned())];
                into.calls.get_or_create(&labels).inc_by(count);
            }
            let times = into.times.get_or_create_owned(&[("server", label)]);
            calls.times_us.iter().for_each(|us| times.observe_us(*us));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_counted_by_server_and_by_how_they_ended() {
        let metrics = Metrics::new();
        let (poured, tools) = (ToolMetrics::new(&metrics), Tools::default());
        tools.ended("files", CallEnd::Answered, 1_500);
        tools.ended("files", CallEnd::of(Denial::McpNotAllowed), 10);
        tools.pour(&poured);
        tools.ended("files", CallEnd::of(Denial::ProviderTimeout), 2_000_000);
        tools.ended("files", CallEnd::of(Denial::RateLimited), 10);
        tools.ended("files", CallEnd::Answered, 1_500);
        tools.pour(&poured);
        tools.pour(&poured);
        let text = metrics.text();
        for line in [
            r#"turnpike_mcp_calls_total{server="files",outcome="answered"} 2"#,
            r#"turnpike_mcp_calls_total{server="files",outcome="failed"} 1"#,
            r#"turnpike_mcp_calls_total{server="files",outcome="denied"} 1"#,
            r#"turnpike_mcp_calls_total{server="files",outcome="refused"} 1"#,
            r#"turnpike_mcp_call_seconds_count{server="files"} 3"#,
            r#"turnpike_mcp_call_seconds_bucket{le="0.002",server="files"} 2"#,
        ] {
            assert!(text.lines().any(|found| found == line), "{line}: {text}");
        }
    }

    #[test]
    fn however_many_servers_there_are_the_metrics_stay_few() {
        let metrics = Metrics::new();
        let (poured, tools) = (ToolMetrics::new(&metrics), Tools::default());
        for number in 0..3 * MAX_SERVERS {
            tools.ended(&format!("s{number:04}"), CallEnd::Answered, 1);
            tools.pour(&poured);
        }
        tools.ended("s0000", CallEnd::Answered, 1);
        tools.pour(&poured);
        let text = metrics.text();
        let answered: Vec<&str> = text
            .lines()
            .filter(|line| line.contains("outcome=\"answered\"") && !line.starts_with('#'))
            .collect();
        assert_eq!(answered.len(), MAX_SERVERS + 1);
        let told = |server: &str, count: usize| {
            let line = format!(
                "turnpike_mcp_calls_total{{server=\"{server}\",outcome=\"answered\"}} {count}"
            );
            assert!(answered.contains(&&*line), "{line}");
        };
        told("s0000", 2);
        told(OTHERS, 2 * MAX_SERVERS);
    }
}
