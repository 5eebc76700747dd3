//! `turnpike echo`: the provider `echo` in a process of its own.

use std::net::SocketAddr;

use serde_json::json;
use turnpike_runtime::telemetry::TelemetryOptions;
use turnpike_runtime::{clock, signals, telemetry};

use crate::dev::ports::beside;
use crate::echo::{self, EchoOptions};
use crate::failure::Failure;
use crate::output::Output;

/// Where `echo` answers.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Echo {
    /// Where the models answer; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7082")]
    listen: SocketAddr,
    /// Where GET /served answers too, for itself [default: the next port, or a free one]
    #[arg(long, value_name = "ADDRESS")]
    served: Option<SocketAddr>,
    /// Obey scripts that tests send
    #[arg(long)]
    scripted: bool,
    /// Print the addresses as one JSON line
    #[arg(long)]
    json: bool,
}

impl Echo {
    /// Serves until a signal.
    ///
    /// # Errors
    /// [`Failure`] if it cannot listen.
    pub(crate) async fn run(self) -> Result<(), Failure> {
        telemetry::start(&TelemetryOptions::default())?;
        let stop = signals::watch().map_err(Failure::io("signals cannot be watched"))?;
        let options = EchoOptions {
            listen: self.listen,
            served: self.served.unwrap_or_else(|| beside(self.listen, 1)),
            scripted: self.scripted,
            clock: clock::system(),
        };
        let echo = echo::serve(options, stop).await?;
        let (models, served) = (echo.address, echo.served_address);
        let output = Output { json: self.json };
        if self.json {
            let urls = json!({
                "echo_url": format!("http://{models}"),
                "served_url": format!("http://{served}/served"),
            });
            output.line(&urls.to_string())?;
        } else {
            output.line(&format!("echo answers on http://{models}"))?;
            output.line(&format!("what it served stands on http://{served}/served"))?;
        }
        echo.finished().await;
        Ok(())
    }
}
