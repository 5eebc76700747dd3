//! One thread a core, each with its own runtime, so that a request never changes its core.

use std::future::Future;
use std::io;
use std::num::NonZeroUsize;
use std::sync::mpsc;
use std::thread::JoinHandle;

use tokio::runtime::{Builder, LocalOptions};

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
    let threads = (0..cores.get().min(MAX_CORES)).map(|core| thread(core, main.clone()));
    Ok(Cores { threads: threads.collect::<io::Result<_>>()? })
}

/// Starts one thread, and waits until its runtime stands: a local runtime cannot leave the thread
/// that made it, and a `LocalSet` on another one would wake every task twice.
fn thread<M, F>(core: usize, main: M) -> io::Result<JoinHandle<()>>
where
    M: Fn(usize) -> F + Send + 'static,
    F: Future<Output = ()>,
{
    let (told, stands) = mpsc::sync_channel(1);
    let thread = tasks::thread("core", move || {
        let built = Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
        let (runtime, answer) = match built {
            Ok(runtime) => (Some(runtime), Ok(())),
            Err(error) => (None, Err(error)),
        };
        // The caller waits for the answer; should it be gone, nobody would end this thread.
        let heard = told.send(answer).is_ok();
        if let Some(runtime) = runtime.filter(|_| heard) {
            runtime.block_on(async { main(core).await });
        }
    })?;
    stands.recv().map_err(io::Error::other)??;
    Ok(thread)
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
    use super::*;
    use crate::clock::SystemClock;
    use crate::tasks::Tasks;
    use std::rc::Rc;

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
