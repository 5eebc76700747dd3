//! Many lives on two threads, and what is told of them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use turnpike_runtime::tasks;
use turnpike_runtime::telemetry::{self, TelemetryOptions};
use turnpike_tests::chance::Tally;

use crate::life::{self, Report};

/// Lives at a time: what the smallest machine has cores.
const THREADS: usize = 2;

/// What lives told.
#[derive(Default)]
pub(crate) struct Lived {
    pub(crate) tally: Tally,
    /// By seed; the first of all is that of the smallest seed that was tried.
    pub(crate) failures: BTreeMap<u64, String>,
    lives: u64,
    requests: usize,
    admitted: usize,
    commands: usize,
    simulated_ms: u64,
}

/// Lives the seeds, until one fails.
pub(crate) fn lives(seeds: RangeInclusive<u64>) -> Lived {
    let (next, last) = (Arc::new(AtomicU64::new(*seeds.start())), *seeds.end());
    let (failed, lived) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::default()));
    let work = || {
        let (next, failed, lived) = (Arc::clone(&next), Arc::clone(&failed), Arc::clone(&lived));
        move || {
            while !failed.load(Ordering::Relaxed) {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed > last {
                    return;
                }
                let life = life::live(seed);
                failed.fetch_or(life.is_err(), Ordering::Relaxed);
                Lived::add(&mut lived.lock().unwrap(), seed, life);
            }
        }
    };
    let threads: Vec<_> = (0..THREADS).map(|_| tasks::thread("lives", work()).unwrap()).collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    std::mem::take(&mut *lived.lock().unwrap())
}

impl Lived {
    fn add(lived: &mut Self, seed: u64, life: Result<Report, String>) {
        match life {
            Ok(report) => {
                lived.lives += 1;
                lived.tally.merge(&report.tally);
                lived.requests += report.requests;
                lived.admitted += report.admitted;
                lived.commands += report.commands;
                lived.simulated_ms += report.simulated_ms;
            }
            Err(what) => {
                lived.failures.insert(seed, what);
            }
        }
    }
}

/// Prints the counts, past the capture of the test harness: a run that passed shows them too.
pub(crate) fn tell(lived: &Lived) {
    let mut text = String::new();
    let hours = lived.simulated_ms / 3_600_000;
    let Lived { lives, requests, admitted, commands, .. } = lived;
    let what = format!("{requests} requests, {admitted} of them admitted, {commands} commands");
    writeln!(text, "\n{lives} lives, {hours} simulated hours: {what}").unwrap();
    for (fault, count) in lived.tally.counts() {
        writeln!(text, "{count:>9}  {fault}").unwrap();
    }
    for (seed, what) in &lived.failures {
        let again = "cargo test -p turnpike-tests --test sim lives_keep";
        writeln!(text, "\n{what}\nseed {seed} failed; live it again: SIM_SEED={seed} {again}")
            .unwrap();
    }
    std::io::stdout().write_all(text.as_bytes()).unwrap();
}

/// Logs as a service does, if `SIM_LOG` says what.
pub(crate) fn log() {
    if let Some(filter) = text("SIM_LOG") {
        telemetry::start(&TelemetryOptions { filter, ..TelemetryOptions::default() }).unwrap();
    }
}

/// A number from the environment.
pub(crate) fn number(name: &str) -> Option<u64> {
    Some(text(name)?.parse().expect("a number"))
}

fn text(name: &str) -> Option<String> {
    #[expect(clippy::disallowed_methods, reason = "a test has no configuration but this")]
    std::env::var(name).ok()
}
