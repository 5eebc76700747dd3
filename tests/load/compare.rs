//! Direct, nginx and the gateway in turn, in interleaved rounds, as one table.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};
use turnpike_runtime::clock::SharedClock;

use crate::failure::Failure;
use crate::generate::{self, Load, Measured};
use crate::nginx::Nginx;
use crate::{cpu, provider};

/// The path that is asked for everywhere.
const PATH: &str = "/v1/chat/completions";

/// How often a target is looked at after its load, in milliseconds.
const LOOK_MS: u64 = 500;
/// CPU time that an idling target may use between two looks, in milliseconds: one tick of the
/// kernel's own measure, and one that was about to come.
const IDLING_MS: u64 = 20;
/// Looks before a target that does not come to rest is given up: a minute.
const MOST_LOOKS: u32 = 120;

/// What is compared, and how.
#[derive(Args, Clone)]
pub(crate) struct Options {
    /// Rounds; in each every target runs once, so that the noise of the machine hits all alike.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) rounds: u32,
    /// The gateway, as `http://127.0.0.1:7080`. Its provider must be `--listen`.
    #[arg(long, requires_all = ["key", "gateway_pid"])]
    pub(crate) gateway_url: Option<String>,
    /// A model key of the gateway.
    #[arg(long)]
    pub(crate) key: Option<String>,
    /// A model key with limits, on the same gateway: what their checks cost beside `--key`.
    #[arg(long, requires = "key")]
    pub(crate) limited_key: Option<String>,
    /// The gateway's process; its children are counted too.
    #[arg(long)]
    pub(crate) gateway_pid: Option<u32>,
    /// Where nginx listens: a port that the kernel gives to no connection of the load.
    #[arg(long)]
    pub(crate) nginx_listen: SocketAddr,
    /// A file for the figures as JSON.
    #[arg(long)]
    pub(crate) json: Option<PathBuf>,
    /// How load is sent.
    #[command(flatten)]
    pub(crate) load: Load,
    /// The provider behind all.
    #[command(flatten)]
    pub(crate) provider: provider::Options,
}

/// What one target did over all rounds.
pub(crate) struct Row {
    name: &'static str,
    url: String,
    key: Option<String>,
    pid: Option<u32>,
    measured: Measured,
    cpu_ms: u64,
}

impl Row {
    fn new(name: &'static str, base: &str, key: Option<String>, pid: Option<u32>) -> Self {
        let url = format!("{}{PATH}", base.trim_end_matches('/'));
        Self { name, url, key, pid, measured: Measured::default(), cpu_ms: 0 }
    }

    /// Sends load. The CPU time is counted until the target is at rest: what it does for a request
    /// after its answer, such as to send its record, is a part of the price.
    fn run(&mut self, load: &Load, clock: &SharedClock) -> Result<(), Failure> {
        let used_ms = || self.pid.map_or(0, cpu::used_ms);
        let before_ms = used_ms();
        let load =
            generate::Options { url: self.url.clone(), key: self.key.clone(), load: load.clone() };
        let measured = generate::run(&load, clock)?;
        if self.pid.is_some() {
            until_at_rest(used_ms, clock)?;
        }
        self.cpu_ms += used_ms().saturating_sub(before_ms);
        self.measured.add(&measured);
        self.measured.elapsed_us += measured.elapsed_us;
        Ok(())
    }

    /// CPU of the proxy, in tenths of a millisecond for 1,000 requests.
    fn cpu_tenths(&self) -> Option<u64> {
        self.pid?;
        (self.cpu_ms * 10_000).checked_div(self.measured.whole.total())
    }
}

/// Measures every target in every round.
///
/// # Errors
/// Where a target cannot be reached or breaks off.
pub(crate) fn run(options: &Options, clock: &SharedClock) -> Result<Vec<Row>, Failure> {
    let upstream = provider::start(&options.provider, clock)?.address;
    let nginx = Nginx::start(options.nginx_listen, upstream, options.load.stream, clock)?;
    let mut rows = vec![
        Row::new("direct", &format!("http://{upstream}"), None, None),
        Row::new("nginx", &format!("http://{}", nginx.address), None, Some(nginx.pid())),
    ];
    if let Some(url) = &options.gateway_url {
        rows.push(Row::new("gateway", url, options.key.clone(), options.gateway_pid));
        if options.limited_key.is_some() {
            rows.push(Row::new("limited", url, options.limited_key.clone(), options.gateway_pid));
        }
    }
    for _ in 0..options.rounds {
        for row in &mut rows {
            row.run(&options.load, clock)?;
        }
    }
    Ok(rows)
}

/// Waits until a process uses no more CPU than its idling takes.
fn until_at_rest(used_ms: impl Fn() -> u64, clock: &SharedClock) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let runtime = runtime.map_err(Failure::io("waiting for a target's rest"))?;
    let mut before_ms = used_ms();
    for _ in 0..MOST_LOOKS {
        // Within the runtime, whose timer the sleep is.
        runtime.block_on(async { clock.sleep(LOOK_MS).await });
        let now_ms = used_ms();
        if now_ms.saturating_sub(before_ms) <= IDLING_MS {
            return Ok(());
        }
        before_ms = now_ms;
    }
    Err(Failure::Restless)
}

/// The figures for people, with the ratios to nginx.
pub(crate) fn table(rows: &[Row]) -> String {
    let mut table = String::from(
        "target    requests/s   p50 us   p99 us p99.9 us  refused  cpu-ms/1000  rate/nginx \
         cpu/nginx\n",
    );
    let nginx = rows.iter().find(|row| row.name == "nginx");
    for row in rows {
        let whole = &row.measured.whole;
        let rate =
            nginx.and_then(|nginx| ratio(row.measured.per_second(), nginx.measured.per_second()));
        let cpu = nginx.and_then(|nginx| ratio(row.cpu_tenths()?, nginx.cpu_tenths()?));
        table.push_str(&format!(
            "{:<9} {:>10} {:>8} {:>8} {:>8} {:>8} {:>12} {:>11} {:>10}\n",
            row.name,
            row.measured.per_second(),
            whole.per_mille(500),
            whole.per_mille(990),
            whole.per_mille(999),
            row.measured.refused,
            row.cpu_tenths().map_or("-".to_owned(), tenths),
            rate.unwrap_or_else(|| "-".to_owned()),
            cpu.unwrap_or_else(|| "-".to_owned()),
        ));
    }
    table
}

/// The figures for programs.
pub(crate) fn json(rows: &[Row]) -> Value {
    let rows = rows.iter().map(|row| {
        let mut figures = row.measured.json();
        figures["target"] = json!(row.name);
        figures["cpu_ms"] = json!(row.pid.map(|_| row.cpu_ms));
        figures["cpu_ms_per_1000_requests"] = json!(row.cpu_tenths().map(tenths));
        figures
    });
    Value::from(rows.collect::<Vec<_>>())
}

/// 187 as `18.7`.
fn tenths(count: u64) -> String {
    format!("{}.{}", count / 10, count % 10)
}

/// `one ÷ other` with two decimals.
fn ratio(one: u64, other: u64) -> Option<String> {
    let hundredths = (one * 100).checked_div(other)?;
    Some(format!("{}.{:02}", hundredths / 100, hundredths % 100))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_written_without_floats() {
        assert_eq!(tenths(187), "18.7");
        assert_eq!(ratio(103, 100).as_deref(), Some("1.03"));
        assert_eq!(ratio(1, 0), None);
    }
}
