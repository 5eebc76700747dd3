//! Logs: `tracing` to standard error, as text or as JSON lines.

use std::panic::PanicHookInfo;

use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::config::{Mistakes, Options};

/// The form of a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line, for collectors.
    Json,
}

/// What is logged, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TelemetryOptions {
    /// `text` or `json`.
    pub format: Format,
    /// Levels by module, as `tracing_subscriber::EnvFilter` reads them: `info,turnpike_bus=debug`.
    pub filter: String,
}

impl Default for TelemetryOptions {
    fn default() -> Self {
        Self { format: Format::default(), filter: "info".to_owned() }
    }
}

impl Options for TelemetryOptions {
    fn check(&self, mistakes: &mut Mistakes) {
        let readable = EnvFilter::try_new(&self.filter).is_ok();
        mistakes.unless(readable, "filter", "is no list of levels such as info,turnpike_bus=debug");
    }
}

/// Why logging could not begin.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter cannot be read.
    #[error("the log filter cannot be read")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// This process logs already.
    #[error("this process logs already")]
    Twice(#[from] tracing_subscriber::util::TryInitError),
}

/// Begins to log; once a process, before the first task.
///
/// From then on a panic is told by its place alone: its message may hold a caller's data.
///
/// # Errors
/// [`TelemetryError`].
pub fn start(options: &TelemetryOptions) -> Result<(), TelemetryError> {
    let filter = EnvFilter::try_new(&options.filter)?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // It would tell of a line that standard error does not take on standard error, which panics: a
    // full disk of logs, or a collector that is gone, would end whoever has something to say.
    let lines = lines.log_internal_errors(false);
    match options.format {
        Format::Text => lines.with_ansi(false).finish().try_init()?,
        Format::Json => lines.json().flatten_event(true).finish().try_init()?,
    }
    std::panic::set_hook(Box::new(tell_panic));
    Ok(())
}

fn tell_panic(panic: &PanicHookInfo<'_>) {
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    let thread = std::thread::current();
    tracing::error!(place, thread = thread.name().unwrap_or("unnamed"), "a panic");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mistakes(filter: &str) -> usize {
        let mut found = Mistakes::default();
        TelemetryOptions { filter: filter.into(), ..Default::default() }.check(&mut found);
        found.iter().count()
    }

    #[test]
    fn a_filter_is_checked_before_it_is_used() {
        assert_eq!(mistakes("info,turnpike_bus=debug"), 0);
        assert_eq!(mistakes("turnpike_bus=loud"), 1);
    }

    #[test]
    fn logging_begins_once_and_panics_then_lead_to_a_line_without_their_message() {
        let options = TelemetryOptions { format: Format::Json, filter: "off".into() };
        start(&options).unwrap();
        assert!(matches!(start(&options), Err(TelemetryError::Twice(_))));
        assert!(std::panic::catch_unwind(|| panic!("on purpose")).is_err());
        drop(std::panic::take_hook());
    }
}
