//! Tasks and threads whose panics are caught, logged and counted.

use std::any::Any;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::JoinHandle;

use futures_util::FutureExt;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::{Clock, deadline};
use crate::entropy;

static PANICS: AtomicU64 = AtomicU64::new(0);
/// What must finish before the process may end.
static DETACHED: LazyLock<TaskTracker> = LazyLock::new(TaskTracker::new);

/// The work did not finish: it panicked, or its runtime ended before it began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name} did not finish: it panicked, or its runtime ended")]
pub struct TaskPanicked {
    /// The name that the work was given.
    pub name: &'static str,
}

/// The future that `make` makes, in memory of its own and made there. `Box::pin` makes it elsewhere
/// first, with all the room that it may ever need, and copies that.
#[inline]
pub fn in_place<F>(make: impl FnOnce() -> F) -> Pin<Box<F>> {
    let place = Box::new_uninit();
    Box::into_pin(Box::write(place, make()))
}

/// A named group of tasks that stops as one. A panic ends its own task only. Clones are the same
/// group.
#[derive(Clone, Debug)]
pub struct Tasks {
    name: &'static str,
    stopping: CancellationToken,
    aborting: CancellationToken,
    tracker: TaskTracker,
}

impl Tasks {
    /// A group without tasks.
    #[must_use]
    pub fn new(name: &'static str) -> Self {
        Self {
            name,
            stopping: CancellationToken::new(),
            aborting: CancellationToken::new(),
            tracker: TaskTracker::new(),
        }
    }

    /// Starts `future` on the current tokio runtime; panics outside of one.
    pub fn spawn(&self, name: &'static str, future: impl Future<Output = ()> + Send + 'static) {
        let task = self.tracker.track_future(self.guard(name, future));
        #[expect(clippy::disallowed_methods, reason = "this is the one place that spawns")]
        tokio::spawn(task);
    }

    /// Starts `future` on the current `LocalSet`, such as that of a core; panics outside of one.
    pub fn spawn_local(&self, name: &'static str, future: impl Future<Output = ()> + 'static) {
        let task = self.tracker.track_future(self.guard(name, future));
        #[expect(clippy::disallowed_methods, reason = "this is the one place that spawns")]
        tokio::task::spawn_local(task);
    }

    /// The token that a task watches to end by itself.
    #[must_use]
    pub fn stopping(&self) -> CancellationToken {
        self.stopping.clone()
    }

    /// Asks every task to end; returns at once.
    pub fn stop(&self) {
        self.stopping.cancel();
    }

    /// Asks every task to end, waits `deadline_ms`, then drops those that are left. True if none
    /// was left.
    pub async fn drain(&self, clock: &dyn Clock, deadline_ms: u64) -> bool {
        self.stop();
        self.tracker.close();
        if deadline(clock, deadline_ms, self.tracker.wait()).await.is_some() {
            return true;
        }
        let left = self.tracker.len();
        tracing::warn!(group = self.name, left, "tasks did not end in time and are dropped");
        self.abort();
        false
    }

    /// Drops every task at its next await.
    pub fn abort(&self) {
        self.stop();
        self.aborting.cancel();
    }

    fn guard<F: Future<Output = ()>>(
        &self,
        name: &'static str,
        future: F,
    ) -> impl Future<Output = ()> + use<F> {
        let (group, aborting) = (self.name, self.aborting.clone());
        counted(group, name, async move {
            unless_cancelled(&aborting, future).await;
        })
    }
}

/// Runs `future` to its end, or drops it once `token` is cancelled: `None`.
///
/// The token is asked once, and not each time that the task is polled: it has a lock, and for a
/// connection that would be several times a request.
pub async fn unless_cancelled<F: Future>(
    token: &CancellationToken,
    future: F,
) -> Option<F::Output> {
    let (mut cancelled, mut future) = (pin!(token.cancelled()), pin!(future));
    let mut bell: Option<Arc<Bell>> = None;
    poll_fn(|context| {
        let silent = |bell: &Arc<Bell>| {
            bell.task.will_wake(context.waker()) && !bell.rung.load(Ordering::Acquire)
        };
        if !bell.as_ref().is_some_and(silent) {
            let (task, rung) = (context.waker().clone(), AtomicBool::new(false));
            let waker = Waker::from(Arc::clone(bell.insert(Arc::new(Bell { task, rung }))));
            if cancelled.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
                return Poll::Ready(None);
            }
        }
        future.as_mut().poll(context).map(Some)
    })
    .await
}

/// Wakes a task, and remembers that it did.
struct Bell {
    task: Waker,
    rung: AtomicBool,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.rung.store(true, Ordering::Release);
        self.task.wake_by_ref();
    }
}

/// Starts what must always finish, such as a commit, whose future may not be dropped. Its caller
/// may be dropped at any time. Panics outside of a tokio runtime.
pub fn detach(name: &'static str, future: impl Future<Output = ()> + Send + 'static) {
    let task = DETACHED.track_future(counted("detached", name, future));
    #[expect(clippy::disallowed_methods, reason = "this is the one place that spawns")]
    tokio::spawn(task);
}

/// Waits until all that was detached in this process has finished; false if `deadline_ms` was not
/// enough. The last act of `main` before it lets go of its runtime.
pub async fn finish_detached(clock: &dyn Clock, deadline_ms: u64) -> bool {
    DETACHED.close();
    deadline(clock, deadline_ms, DETACHED.wait()).await.is_some()
}

/// Runs `work` where it may block, on tokio's threads for that. On a thread whose randomness is
/// seeded it runs in place, because when another thread is done no seed decides.
///
/// # Errors
/// [`TaskPanicked`] if `work` panicked.
pub async fn blocking<T: Send + 'static>(
    name: &'static str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, TaskPanicked> {
    let guarded = move || {
        catch_unwind(AssertUnwindSafe(work)).map_err(|cause| count("blocking", name, &*cause))
    };
    if entropy::is_seeded() {
        return guarded().map_err(|()| TaskPanicked { name });
    }
    #[expect(clippy::disallowed_methods, reason = "this is the one place that spawns")]
    let joined = tokio::task::spawn_blocking(guarded).await;
    joined.ok().and_then(Result::ok).ok_or(TaskPanicked { name })
}

/// Starts a thread that lives as long as its own loop, such as a core or a writer.
///
/// # Errors
/// The operating system's, if it has no thread left.
pub fn thread(
    name: &'static str,
    work: impl FnOnce() + Send + 'static,
) -> std::io::Result<JoinHandle<()>> {
    let counted = move || {
        if let Err(cause) = catch_unwind(AssertUnwindSafe(work)) {
            count("thread", name, &*cause);
        }
    };
    #[expect(clippy::disallowed_methods, reason = "this is the one place that spawns")]
    std::thread::Builder::new().name(name.to_owned()).spawn(counted)
}

/// Panics caught in this process since it began.
#[must_use]
pub fn panics() -> u64 {
    PANICS.load(Ordering::Relaxed)
}

async fn counted(group: &'static str, name: &'static str, future: impl Future<Output = ()>) {
    if let Err(cause) = AssertUnwindSafe(future).catch_unwind().await {
        count(group, name, &*cause);
    }
}

fn count(group: &'static str, name: &'static str, cause: &(dyn Any + Send)) {
    PANICS.fetch_add(1, Ordering::Relaxed);
    // Only a literal is logged: a formatted message may hold a caller's data.
    let said = cause.downcast_ref::<&'static str>().copied().unwrap_or("(formatted, withheld)");
    tracing::error!(group, task = name, said, "a task panicked");
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;

    use tokio::sync::oneshot;
    use turnpike_domain::time::Timestamp;

    use super::*;
    use crate::clock::PausedClock;

    struct SetOnDrop(Arc<AtomicBool>);

    impl Drop for SetOnDrop {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }

    fn clock() -> PausedClock {
        PausedClock::new(Timestamp(0))
    }

    #[tokio::test(start_paused = true)]
    async fn a_panic_is_counted_and_its_neighbours_go_on() {
        let tasks = Tasks::new("test");
        let before = panics();
        let (done, heard) = oneshot::channel();
        tasks.spawn("bad", async { panic!("on purpose") });
        tasks.spawn("good", async { done.send(7).unwrap() });
        assert_eq!(heard.await, Ok(7));
        assert!(tasks.drain(&clock(), 1_000).await);
        assert!(panics() > before);
    }

    #[tokio::test(start_paused = true)]
    async fn drain_waits_for_those_that_watch_the_token() {
        let tasks = Tasks::new("test");
        let (stopping, clock) = (tasks.stopping(), clock());
        let goodbye = clock.clone();
        tasks.spawn("polite", async move {
            stopping.cancelled().await;
            goodbye.sleep(400).await;
        });
        assert!(tasks.drain(&clock, 1_000).await);
        assert_eq!(clock.boot_ms(), 400);
    }

    #[tokio::test(start_paused = true)]
    async fn drain_drops_those_that_do_not_listen() {
        let tasks = Tasks::new("test");
        let dropped = Arc::new(AtomicBool::new(false));
        let guard = SetOnDrop(Arc::clone(&dropped));
        tasks.spawn("deaf", async move {
            let _guard = guard;
            std::future::pending::<()>().await;
        });
        let clock = clock();
        assert!(!tasks.drain(&clock, 1_000).await);
        clock.sleep(1).await;
        assert!(dropped.load(Ordering::SeqCst));
    }

    #[tokio::test]
    async fn a_cancelled_token_ends_what_waits_whoever_polls_it() {
        let token = CancellationToken::new();
        assert_eq!(unless_cancelled(&token, async { 7 }).await, Some(7));
        let watched = token.clone();
        let waiting = async move { unless_cancelled(&watched, std::future::pending()).await };
        let mut waiting: std::pin::Pin<Box<dyn Future<Output = Option<()>> + Send>> =
            Box::pin(waiting);
        // Polled by this task first, and by another one when the token is cancelled.
        assert!(futures_util::poll!(&mut waiting).is_pending());
        let (done, heard) = oneshot::channel();
        let tasks = Tasks::new("test");
        let cancelled = token.clone();
        tasks.spawn("waits", async move {
            done.send(tokio::join!(waiting, async { cancelled.cancel() }).0).unwrap();
        });
        assert_eq!(heard.await, Ok(None));
        assert_eq!(unless_cancelled(&token, async { 7 }).await, None);
    }

    #[tokio::test]
    async fn local_tasks_belong_to_the_group_too() {
        let tasks = Tasks::new("test");
        let local = tokio::task::LocalSet::new();
        let not_send = std::rc::Rc::new(());
        local
            .run_until(async {
                tasks.spawn_local("local", async move { drop(not_send) });
                assert!(tasks.drain(&crate::clock::SystemClock, 10_000).await);
            })
            .await;
    }

    #[tokio::test]
    async fn what_is_detached_finishes_without_its_caller() {
        let (done, heard) = oneshot::channel();
        detach("commit", async { done.send(7).unwrap() });
        assert!(finish_detached(&crate::clock::SystemClock, 10_000).await);
        assert_eq!(heard.await, Ok(7));
    }

    #[tokio::test]
    async fn blocking_work_and_threads_survive_a_panic() {
        let before = panics();
        assert_eq!(blocking("fine", || 7).await, Ok(7));
        let failed = blocking("bad", || panic!("on purpose")).await;
        assert_eq!(failed, Err::<(), _>(TaskPanicked { name: "bad" }));
        thread("bad", || panic!("on purpose")).unwrap().join().unwrap();
        assert!(panics() >= before + 2);
    }
}
