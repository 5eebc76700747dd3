//! The projector as a process: configuration, build, say where it listens, run, drain.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser;
use turnpike_bus::nats::{StreamLimits, connect};
use turnpike_projector::config::ProjectorOptions;
use turnpike_projector::run::{Parts, Running, run};
use turnpike_runtime::clock::SharedClock;
use turnpike_runtime::ending::exit_code;
use turnpike_runtime::metrics::Metrics;
use turnpike_runtime::serve::listen_as_told;
use turnpike_runtime::tasks::{self, Tasks};
use turnpike_runtime::{clock, config, signals, telemetry};
use turnpike_store::open::open;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How long commits that were begun may take to finish.
const FINISH_MS: u64 = 5_000;

/// Turnpike's projector: spend in, books out.
#[derive(Parser)]
#[command(version)]
struct Command {
    #[command(flatten)]
    arguments: config::Arguments,
    /// `redb:DIR`, or `fdb:CLUSTER_FILE` where FoundationDB is built in
    #[arg(long)]
    store: Option<String>,
    /// `nats://HOST:PORT`, without a password: everybody on this machine can read command lines
    #[arg(long)]
    bus: Option<String>,
}

fn main() -> ExitCode {
    exit_code(book())
}

#[tokio::main]
async fn book() -> anyhow::Result<()> {
    let Command { mut arguments, store, bus } = Command::parse();
    arguments.set.extend(store.map(|value| format!("store={value}")));
    arguments.set.extend(bus.map(|value| format!("bus={value}")));
    let loaded = config::load::<ProjectorOptions>(&arguments)?;
    if arguments.check_config {
        return Ok(config::print(&loaded.options)?);
    }
    telemetry::start(&loaded.options.log)?;
    loaded.warn();
    let (stop, clock) = (signals::watch()?, clock::system());
    // It may have to wait for the store, and be told to end before.
    let starting = Box::pin(start(loaded.options, clock.clone()));
    if let Some(running) = stop.run_until_cancelled(starting).await {
        let (running, admin) = running?;
        stop.cancelled().await;
        running.stop().await;
        admin.drain(&*clock, FINISH_MS).await;
    }
    tasks::finish_detached(&*clock, FINISH_MS).await;
    Ok(())
}

/// The projector, and the tasks of its admin port.
async fn start(options: ProjectorOptions, clock: SharedClock) -> anyhow::Result<(Running, Tasks)> {
    let opening = open(&options.store, &options.store_root, clock.clone());
    let kv = opening.await.context("the store cannot be opened (option store)")?;
    let (name, streams) = ("turnpike-projector", Some(StreamLimits::default()));
    let bus = connect(&options.bus, &options.nats, name, None, streams, clock.clone());
    let bus = bus.await.context("the bus cannot be used (options bus, nats)")?;
    let (admin, address) = listen_as_told("admin_listen", options.admin_listen)?;
    let metrics = Metrics::new();
    let running = run(Parts { kv, bus, clock, options, metrics });
    tracing::info!(admin = %address, "listening");
    let tasks = Tasks::new("admin");
    running.probes.serve(admin, &tasks);
    Ok((running, tasks))
}
