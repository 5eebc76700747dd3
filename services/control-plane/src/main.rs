//! The control plane as a process: configuration, build, say where it listens, run, drain.

use std::sync::Arc;

use anyhow::{Context as _, bail};
use clap::Parser;
use turnpike_bus::nats::{NatsBus, NatsOptions, StreamLimits};
use turnpike_bus::seam::Bus;
use turnpike_control_plane::config::ControlPlaneOptions;
use turnpike_control_plane::run::{Parts, run};
use turnpike_runtime::{clock, config, signals, tasks, telemetry};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How long commits that were begun may take to finish.
const FINISH_MS: u64 = 5_000;

/// Turnpike's control plane: people's commands in, events out.
#[derive(Parser)]
#[command(version)]
struct Command {
    #[command(flatten)]
    arguments: config::Arguments,
    /// `redb:DIR`, or `fdb:CLUSTER_FILE` where FoundationDB is built in
    #[arg(long)]
    store: Option<String>,
    /// `nats://HOST:PORT`
    #[arg(long)]
    bus: Option<String>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Command { mut arguments, store, bus: to } = Command::parse();
    arguments.set.extend(store.map(|value| format!("store={value}")));
    arguments.set.extend(to.map(|value| format!("bus={value}")));
    let loaded = config::load::<ControlPlaneOptions>(&arguments)?;
    if arguments.check_config {
        return Ok(config::print(&loaded.options)?);
    }
    telemetry::start(&loaded.options.log)?;
    for name in &loaded.unknown_variables {
        tracing::warn!(name, "this variable is no option");
    }
    let stop = signals::watch()?;
    let clock = clock::system();
    let options = loaded.options;
    let kv = turnpike_store::open::open(&options.store, &clock).await.context("store")?;
    let bus = bus(&options).await?;
    let running = run(Parts { kv, bus, clock: clock.clone(), options }).await?;
    tracing::info!(api = %running.address, admin = %running.admin_address, "listening");
    stop.cancelled().await;
    running.stop().await;
    tasks::finish_detached(&*clock, FINISH_MS).await;
    Ok(())
}

async fn bus(options: &ControlPlaneOptions) -> anyhow::Result<Arc<dyn Bus>> {
    if options.bus == "local" {
        bail!("the bus `local` exists only inside `turnpike dev`: set bus to nats://HOST:PORT");
    }
    let mut nats = NatsOptions::new(&options.bus, "turnpike-control-plane");
    nats.streams = Some(StreamLimits::default());
    Ok(Arc::new(NatsBus::connect(nats, clock::system()).await?))
}
