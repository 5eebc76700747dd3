//! `turnpike dev`: everything in one process, on one machine, with nothing to set up.

mod announce;
mod catalogue;
mod first_start;
mod folder;
mod house;
mod keys;
pub(crate) mod ports;
mod probe;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use turnpike_control_plane::bootstrap::BootstrapError;
use turnpike_runtime::telemetry::TelemetryOptions;
use turnpike_runtime::{clock, signals, tasks, telemetry};
use turnpike_store::embedded;
use turnpike_store::error::StoreError;
use turnpike_store::execute::ExecuteError;

use crate::echo::EchoFailure;
use crate::failure::Failure;
use crate::output::Output;
use announce::Announcement;
use house::House;

/// How long commits that were begun may take to finish.
const FINISH_MS: u64 = 5_000;

/// Shown below the help.
pub(crate) const EXAMPLES: &str = "\
Examples:
  turnpike dev
  turnpike dev --data /tmp/turnpike --control 127.0.0.1:0 --gateway 127.0.0.1:0 --json

Health and metrics of each port answer on the port beside it, and the provider echo beside those;
a port that is taken is replaced by a free one. The first start prints a key, a token and a password
that are shown this once; --json prints them as one line, and null for them from the second start
on. A signal ends it: requests in flight are finished first.";

/// Where everything stands.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Dev {
    /// Where everything is kept: store, keys, spool
    #[arg(long, value_name = "DIR", default_value = "./turnpike-data")]
    data: PathBuf,
    /// Where the control plane answers; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7070")]
    control: SocketAddr,
    /// Where the gateway answers; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7080")]
    gateway: SocketAddr,
    /// Print one JSON line once the first model call would succeed
    #[arg(long)]
    json: bool,
    /// What is logged to standard error, such as info or info,turnpike_gateway=debug
    #[arg(long, value_name = "LEVELS", default_value = "warn")]
    log: String,
}

/// Why everything in one process did not start.
#[derive(Debug, thiserror::Error)]
pub enum DevFailure {
    /// A file of the data folder.
    #[error("{}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// The store cannot be opened; mostly because another `turnpike dev` has it.
    #[error(transparent)]
    Store(#[from] embedded::OpenError),
    /// The provider `echo` did not start.
    #[error(transparent)]
    Echo(#[from] EchoFailure),
    /// The control plane did not start.
    #[error("the control plane did not start")]
    ControlPlane(#[from] turnpike_control_plane::run::StartError),
    /// The gateway did not start.
    #[error("the gateway did not start")]
    Gateway(#[from] turnpike_gateway::run::StartError),
    /// The first organisation, owner and tokens could not be made.
    #[error("the first start did not end")]
    FirstStart(#[from] BootstrapError),
    /// A command of the first start was not executed.
    #[error("the first start did not end")]
    Execute(#[from] ExecuteError),
    /// The first key's secret could not be sealed.
    #[error("the first key could not be sealed: {0}")]
    Sealing(String),
    /// What stands in the store could not be read.
    #[error("the store failed")]
    Read(#[from] StoreError),
    /// Everything runs, but a call through the gateway does not succeed.
    #[error("no call through the gateway succeeds: {0}")]
    Probe(String),
}

impl Dev {
    /// Starts everything, says where it answers, and runs until a signal.
    ///
    /// # Errors
    /// [`DevFailure`].
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let log = TelemetryOptions { filter: self.log.clone(), ..TelemetryOptions::default() };
        telemetry::start(&log)?;
        let stop = signals::watch().map_err(Failure::io("signals cannot be watched"))?;
        let clock = clock::system();
        let (folder, house) = House::start(&self, clock.clone(), stop.clone()).await?;
        let announcement = Announcement::of(&house, &folder).await?;
        // A signal may end it before it was ready.
        let called = probe::first_call(&house, announcement.key());
        if let Some(called) = stop.run_until_cancelled(called).await {
            called?;
            announcement.print(Output { json: self.json })?;
            folder.forget_shown()?;
        }
        stop.cancelled().await;
        house.end().await;
        if !tasks::finish_detached(&*clock, FINISH_MS).await {
            tracing::warn!("a commit that was begun did not finish in time");
        }
        tracing::info!("everything has ended");
        Ok(())
    }
}
