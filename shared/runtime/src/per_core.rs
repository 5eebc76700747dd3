//! One thread a core, each with its own runtime, so that a request never changes its core.

use std::future::Future;
use std::io;
use std::num::NonZeroUsize;
use std::thread::JoinHandle;

use tokio::runtime::{Builder, Runtime};
use tokio::task::LocalSet;

use crate::tasks;

/// No machine that we know has more; a larger number is a slip of the pen.
const MAX_CORES: usize = 1_024;

/// The threads that were started.
#[derive(Debug)]
pub struct Cores {
    threads: Vec<JoinHandle<()>>,
}

/// As many cores as this process may use, by its affinity and its cgroup; 1 if nobody knows.
#[must_use]
pub fn available() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

/// Starts `cores` threads and runs on each what `main` makes of its number, from 0 on.
///
/// `main` is called on the thread itself, inside its runtime: the future need not be `Send`, and
/// [`tasks::Tasks::spawn_local`] works within. What is still running when the future ends is
/// dropped.
///
/// # Errors
/// The operating system's. The threads that were started before the error go on.
pub fn start<M, F>(cores: NonZeroUsize, main: M) -> io::Result<Cores>
where
    M: Fn(usize) -> F + Clone + Send + 'static,
    F: Future<Output = ()>,
{
    let threads = (0..cores.get().min(MAX_CORES)).map(|core| {
        let main = main.clone();
        // Made here, so that the caller hears of a failure.
        let runtime = Builder::new_current_thread().enable_all().build()?;
        tasks::thread("core", move || run(&runtime, || main(core)))
    });
    Ok(Cores { threads: threads.collect::<io::Result<_>>()? })
}

fn run<F: Future<Output = ()>>(runtime: &Runtime, main: impl FnOnce() -> F) {
    let local = LocalSet::new();
    local.block_on(runtime, async { main().await });
}

impl Cores {
    /// Waits until every thread has ended. Blocks: call it from [`tasks::blocking`].
    pub fn join(self) {
        for thread in self.threads {
            // The thread has caught and counted its panic itself.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;
    use std::sync::mpsc;

    use super::*;
    use crate::clock::SystemClock;
    use crate::tasks::Tasks;

    #[test]
    fn each_core_runs_its_own_tasks_and_one_panic_ends_one_core() {
        let (told, heard) = mpsc::channel();
        let cores = start(NonZeroUsize::new(3).unwrap(), move |core| {
            let told = told.clone();
            async move {
                assert_ne!(core, 1, "on purpose");
                let (tasks, thread) = (Tasks::new("test"), std::thread::current().id());
                let not_send = Rc::new(core);
                tasks.spawn_local("task", async move {
                    assert_eq!(std::thread::current().id(), thread);
                    told.send(*not_send).unwrap();
                });
                assert!(tasks.drain(&SystemClock, 10_000).await);
            }
        });
        cores.unwrap().join();
        let mut cores: Vec<usize> = heard.iter().collect();
        cores.sort_unstable();
        assert_eq!(cores, [0, 2]);
        assert!(available().get() >= 1);
    }
}
