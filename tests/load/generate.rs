//! Load on one URL: a closed loop, or an open one that counts from the intended time of sending.

use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};
use tokio::sync::{Mutex, mpsc};
use turnpike_runtime::clock::{Clock, SharedClock};
use turnpike_runtime::tasks;

use crate::exchange::{Connection, Target};
use crate::failure::Failure;
use crate::histogram::Histogram;

/// Intended sendings that wait for a free connection; more and the pacer itself waits, which
/// changes no figure, for it names the intended time and not its own.
const WAITING: usize = 65_536;
/// Microseconds in a second.
const SECOND_US: u64 = 1_000_000;

/// Where load goes and how much.
#[derive(Args, Clone)]
pub(crate) struct Options {
    /// The URL, with an address for a host.
    #[arg(long)]
    pub(crate) url: String,
    /// The key that is sent as a bearer token.
    #[arg(long)]
    pub(crate) key: Option<String>,
    /// How it is sent.
    #[command(flatten)]
    pub(crate) load: Load,
}

/// How load is sent.
#[derive(Args, Clone)]
pub(crate) struct Load {
    /// Connections over all threads.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    pub(crate) connections: u32,
    /// How long, in seconds.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub(crate) seconds: u64,
    /// Requests a second over all threads: an open loop. Without it each connection sends as soon
    /// as it has its answer.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub(crate) rate: Option<u64>,
    /// Threads of the generator, each with its own runtime.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(crate) threads: u32,
    /// The model that is asked for.
    #[arg(long, default_value = "echo-1")]
    pub(crate) model: String,
    /// Ask for a stream.
    #[arg(long)]
    pub(crate) stream: bool,
}

/// What was measured.
#[derive(Clone, Default)]
pub(crate) struct Measured {
    /// Latencies of the answers with 200, to their last byte.
    pub(crate) whole: Histogram,
    /// The same to their first byte.
    pub(crate) first: Histogram,
    /// Answers with another status.
    pub(crate) refused: u64,
    /// How long it took.
    pub(crate) elapsed_us: u64,
}

impl Measured {
    /// Adds another measurement that ran beside this one or after it.
    pub(crate) fn add(&mut self, other: &Self) {
        self.whole.add(&other.whole);
        self.first.add(&other.first);
        self.refused += other.refused;
    }

    /// Answers a second.
    pub(crate) fn per_second(&self) -> u64 {
        (self.whole.total() * SECOND_US).checked_div(self.elapsed_us).unwrap_or(0)
    }

    /// The figures.
    pub(crate) fn json(&self) -> Value {
        json!({
            "requests": self.whole.total(),
            "refused": self.refused,
            "elapsed_us": self.elapsed_us,
            "requests_per_second": self.per_second(),
            "p50_us": self.whole.per_mille(500),
            "p99_us": self.whole.per_mille(990),
            "p999_us": self.whole.per_mille(999),
            "first_byte_p50_us": self.first.per_mille(500),
            "first_byte_p99_us": self.first.per_mille(990),
        })
    }
}

/// Sends load and waits for its end.
///
/// # Errors
/// Where a connection cannot be had or breaks, or nothing is answered with 200.
pub(crate) fn run(options: &Options, clock: &SharedClock) -> Result<Measured, Failure> {
    let load = &options.load;
    let target = Target::new(&options.url, options.key.as_deref(), &load.model, load.stream)?;
    let began_us = clock.boot_us();
    let end_us = began_us + load.seconds * SECOND_US;
    let (results, arrived) = std::sync::mpsc::channel();
    let mut threads = Vec::new();
    for thread in 0..load.threads {
        let plan = Plan {
            target: target.clone(),
            clock: Arc::clone(clock),
            connections: share(u64::from(load.connections), load.threads, thread),
            rate: load.rate.map(|rate| share(rate, load.threads, thread)),
            began_us,
            end_us,
        };
        let results = results.clone();
        let work = move || {
            // The receiver waits until every sender is gone.
            drop(results.send(plan.run()));
        };
        threads
            .push(tasks::thread("generator", work).map_err(Failure::io("starting a generator"))?);
    }
    drop(results);
    let mut measured = Measured::default();
    for one in arrived {
        measured.add(&one?);
    }
    for thread in threads {
        thread.join().map_err(|_| Failure::Thread)?;
    }
    measured.elapsed_us = clock.boot_us() - began_us;
    if measured.whole.total() == 0 {
        return Err(Failure::Nothing);
    }
    Ok(measured)
}

/// The part of `all` that thread number `thread` of `threads` takes.
fn share(all: u64, threads: u32, thread: u32) -> u64 {
    all / u64::from(threads) + u64::from(u64::from(thread) < all % u64::from(threads))
}

/// The work of one thread.
struct Plan {
    target: Target,
    clock: SharedClock,
    connections: u64,
    rate: Option<u64>,
    began_us: u64,
    end_us: u64,
}

/// The intended times of sending, taken by whichever connection is free.
type Queue = Arc<Mutex<mpsc::Receiver<u64>>>;

impl Plan {
    fn run(self) -> Result<Measured, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(Failure::io("starting a runtime"))?;
        let (queue, pacer) = match self.rate {
            None => (None, None),
            Some(rate) => {
                let (sender, receiver) = mpsc::channel(WAITING);
                let (clock, began_us, end_us) =
                    (Arc::clone(&self.clock), self.began_us, self.end_us);
                let work = move || pace(&*clock, rate, began_us, end_us, &sender);
                let pacer =
                    tasks::thread("pacer", work).map_err(Failure::io("starting a pacer"))?;
                (Some(Arc::new(Mutex::new(receiver))), Some(pacer))
            }
        };
        let connections = (0..self.connections).map(|_| self.connection(queue.clone()));
        let all = runtime.block_on(futures_util::future::try_join_all(connections))?;
        if let Some(pacer) = pacer {
            // Without connections nobody takes what it hands out.
            drop(queue);
            pacer.join().map_err(|_| Failure::Thread)?;
        }
        let mut measured = Measured::default();
        all.iter().for_each(|one| measured.add(one));
        Ok(measured)
    }

    async fn connection(&self, queue: Option<Queue>) -> Result<Measured, Failure> {
        let mut connection = Connection::open(self.target.address).await?;
        let mut measured = Measured::default();
        while let Some(intended_us) = self.next(queue.as_ref()).await {
            connection.ask(&self.target.request).await?;
            let first_us = self.clock.boot_us();
            if connection.finish().await? {
                measured.first.record(first_us.saturating_sub(intended_us));
                measured.whole.record(self.clock.boot_us().saturating_sub(intended_us));
            } else {
                measured.refused += 1;
            }
        }
        Ok(measured)
    }

    /// When the next request should have been sent; `None` at the end.
    async fn next(&self, queue: Option<&Queue>) -> Option<u64> {
        match queue {
            Some(queue) => queue.lock().await.recv().await,
            None => Some(self.clock.boot_us()).filter(|now_us| *now_us < self.end_us),
        }
    }
}

/// Hands out intended times at a steady rate. A thread of its own, because the timers of the
/// runtime are no finer than a millisecond.
fn pace(clock: &dyn Clock, rate: u64, began_us: u64, end_us: u64, queue: &mpsc::Sender<u64>) {
    for number in 0_u64.. {
        let intended_us = began_us + number * SECOND_US / rate;
        if intended_us >= end_us {
            return;
        }
        loop {
            let early_us = intended_us.saturating_sub(clock.boot_us());
            if early_us == 0 {
                break;
            }
            std::thread::park_timeout(Duration::from_micros(early_us));
        }
        if queue.blocking_send(intended_us).is_err() {
            return;
        }
    }
}
