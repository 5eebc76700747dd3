//! The gateway's process: options, build, run, drain.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use clap::Parser;
use tokio_util::sync::CancellationToken;
use turnpike_bus::nats::connect;
use turnpike_gateway::config::Config;
use turnpike_gateway::run::{Parts, known_as, run};
use turnpike_runtime::clock::system;
use turnpike_runtime::config::{Arguments, load, print};
use turnpike_runtime::ending::exit_code;
use turnpike_runtime::{signals, telemetry};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Serves models to the holders of keys, and meters what they use
#[derive(Parser)]
#[command(version)]
struct Command {
    #[command(flatten)]
    arguments: Arguments,
    /// `nats://HOST:PORT`, without a password: everybody on this machine can read command lines
    #[arg(long)]
    bus: Option<String>,
}

fn main() -> ExitCode {
    exit_code(run_until_told())
}

fn run_until_told() -> anyhow::Result<()> {
    let Command { mut arguments, bus } = Command::parse();
    arguments.set.extend(bus.map(|value| format!("bus={value}")));
    let loaded = load::<Config>(&arguments)?;
    if arguments.check_config {
        return Ok(print(&loaded.options)?);
    }
    telemetry::start(&loaded.options.log)?;
    loaded.warn();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .context("the runtime could not be made")?;
    runtime.block_on(async {
        let stop = signals::watch().context("nobody may listen to signals")?;
        serve(loaded.options, stop).await
    })
}

async fn serve(config: Config, stop: CancellationToken) -> anyhow::Result<()> {
    let (clock, id) = (system(), known_as(&config)?);
    // A gateway that has no id yet has no inbox of its own: NATS must not ask for one then.
    let bus = connect(&config.bus, &config.nats, &config.name, id, None, Arc::clone(&clock));
    let bus = bus.await.context("the bus cannot be used (options bus, nats)")?;
    let running = run(Parts { bus, clock, config, stop }).await?;
    tracing::info!(
        gateway = %running.gateway_addr,
        admin = %running.admin_addr,
        id = %running.id,
        "the gateway listens"
    );
    running.join().await;
    Ok(())
}
