//! A redb directory for several processes of one machine.
//!
//! redb opens a file in one process only. So whoever gets the lock in the directory holds the file
//! and serves the others over a Unix socket beside it; when it dies, another takes over. The lock
//! is the operating system's, which gives it back however a process ends, and only after the last
//! of its writes: what a dead holder had not made durable then never happens.
//!
//! To its callers a takeover looks like this. A commit that was on its way is
//! [`CommitError::Unknown`]; a snapshot of the dead holder is [`ReadError::TooOld`]; a watch
//! resolves early; a commit that was decided on an older snapshot is a conflict, because the new
//! holder does not know what was written since. Versions and stamps go on from the file. New calls
//! wait for the new holder, up to [`WAIT_MS`].
//!
//! A holder whose disk refuses a commit lets go of the file and takes part again. One that stands
//! still keeps the lock, and nobody can take over: its guests leave it, tell their callers that the
//! store is unavailable, and come back when it goes on.

mod answer;
mod fields;
mod ground;
mod guest;
mod holder;
mod line;
mod question;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use tokio::net::UnixListener;
use tokio::sync::watch;
use turnpike_runtime::clock::{SharedClock, deadline};
use turnpike_runtime::entropy;
use turnpike_runtime::tasks::Tasks;

pub use self::ground::OpenError;

use self::ground::Part;
use self::guest::Guest;
use self::holder::Held;
use crate::kv::{Batch, BoxFuture, CommitError, Committed, Kv, ReadError, Snapshot};
use crate::writes;

/// How long a call waits while nobody holds the file: longer than the repair of a file after a
/// crash takes, shorter than the patience of those who wait for the answer.
pub const WAIT_MS: u64 = 5_000;
/// How long [`Shared::open`] waits for a holder that is still opening the file.
const OPEN_WAIT_MS: u64 = 30_000;
/// The longest pause between two attempts to take a part: a takeover is not to be felt.
const STEP_MS: u64 = 50;
/// The pause after a failure that does not pass by itself, such as a damaged file or a full disk.
const FAILED_MS: u64 = 1_000;

/// A store that several processes of one machine use at once. Dropping it leaves the file to
/// another process.
pub struct Shared {
    stage: watch::Receiver<Stage>,
    tasks: Tasks,
    clock: SharedClock,
    directory: PathBuf,
}

/// What this process is at the moment.
#[derive(Clone)]
enum Stage {
    Holder(Arc<Held>),
    Guest(Arc<Guest>),
    /// Neither; the last reason is told to those who have waited too long.
    Neither(Arc<str>),
}

impl Shared {
    /// Opens the store in `directory`, as its holder or as a guest of its holder. Runs on the
    /// current tokio runtime until it is dropped.
    ///
    /// # Errors
    /// [`OpenError`] if the file cannot be opened, or if whoever has it open does not answer.
    pub async fn open(directory: &Path, clock: SharedClock) -> Result<Self, OpenError> {
        let until_ms = clock.boot_ms().saturating_add(OPEN_WAIT_MS);
        let mut told = false;
        let part = loop {
            match ground::take_part(directory, &clock).await {
                Ok(part) => break part,
                Err(error) if error.may_pass() && clock.boot_ms() < until_ms => {
                    if !std::mem::replace(&mut told, true) {
                        tracing::warn!(%error, "waiting for the store");
                    }
                    clock.sleep(entropy::jitter_ms(STEP_MS)).await;
                }
                Err(error) => return Err(error),
            }
        };
        Ok(Self::start(part, directory, clock))
    }

    fn start(part: Part, directory: &Path, clock: SharedClock) -> Self {
        let tasks = Tasks::new("store-shared");
        let (sender, stage) = watch::channel(Stage::of(&part));
        let directory = directory.to_owned();
        let life = Life { directory: directory.clone(), clock: Arc::clone(&clock), stage: sender };
        tasks.spawn("store-part", life.run(part));
        Self { stage, tasks, clock, directory }
    }

    /// Whether this process holds the file at the moment.
    #[must_use]
    pub fn is_holder(&self) -> bool {
        matches!(&*self.stage.borrow(), Stage::Holder(_))
    }

    /// What this process is, as soon as it is a holder or a connected guest.
    async fn ready(&self, until_ms: u64) -> Result<Stage, String> {
        let now = self.stage.borrow().clone();
        if now.is_ready() {
            return Ok(now);
        }
        let mut stage = self.stage.clone();
        let ready = async { stage.wait_for(Stage::is_ready).await.ok().map(|it| it.clone()) };
        let left_ms = until_ms.saturating_sub(self.clock.boot_ms());
        let ready = deadline(&*self.clock, left_ms, ready).await.flatten();
        ready.ok_or_else(|| {
            let directory = self.directory.display();
            match &*self.stage.borrow() {
                Stage::Neither(why) => format!("nobody holds {directory}: {why}"),
                Stage::Holder(_) | Stage::Guest(_) => format!("nobody holds {directory}"),
            }
        })
    }

    fn until_ms(&self) -> u64 {
        self.clock.boot_ms().saturating_add(WAIT_MS)
    }

    async fn take_snapshot(&self) -> Result<Arc<dyn Snapshot>, ReadError> {
        let until_ms = self.until_ms();
        loop {
            match self.ready(until_ms).await.map_err(ReadError::Unavailable)? {
                Stage::Holder(held) => return held.store.snapshot().await,
                Stage::Guest(guest) => {
                    if let Some(taken) = guest.snapshot().await {
                        return taken;
                    }
                }
                Stage::Neither(_) => {}
            }
        }
    }

    async fn submit(&self, batch: Batch) -> Result<Committed, CommitError> {
        writes::check(&batch)?;
        let until_ms = self.until_ms();
        loop {
            match self.ready(until_ms).await.map_err(CommitError::Unavailable)? {
                Stage::Holder(held) => return held.store.commit(batch).await,
                Stage::Guest(guest) => {
                    // Nothing was sent if there is no answer, so it may be sent again.
                    if let Some(outcome) = guest.commit(batch.clone()).await {
                        return outcome;
                    }
                }
                Stage::Neither(_) => {}
            }
        }
    }
}

impl Kv for Shared {
    fn snapshot(&self) -> BoxFuture<'_, Result<Arc<dyn Snapshot>, ReadError>> {
        Box::pin(self.take_snapshot())
    }

    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<Committed, CommitError>> {
        Box::pin(self.submit(batch))
    }

    fn watch(&self, key: Bytes) -> BoxFuture<'static, ()> {
        let mut stage = self.stage.clone();
        let now = stage.borrow().clone();
        match now {
            Stage::Holder(held) => held.store.watch(key),
            Stage::Guest(guest) => guest.watch(key),
            // Early, but not before the caller can do something about it.
            Stage::Neither(_) => Box::pin(async move {
                let _ = stage.wait_for(Stage::is_ready).await;
            }),
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.tasks.abort();
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Shared");
        shown.field("directory", &self.directory).field("is_holder", &self.is_holder());
        shown.finish_non_exhaustive()
    }
}

impl Stage {
    fn of(part: &Part) -> Self {
        match part {
            Part::Holder(held, _) => Self::Holder(Arc::clone(held)),
            Part::Guest(guest, _) => Self::Guest(Arc::clone(guest)),
        }
    }

    fn is_ready(&self) -> bool {
        match self {
            Self::Holder(_) => true,
            Self::Guest(guest) => guest.is_connected(),
            Self::Neither(_) => false,
        }
    }
}

/// Ends the guests of a holder whose own task is dropped.
struct AbortOnDrop(Tasks);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What the one task does that plays this process's part.
struct Life {
    directory: PathBuf,
    clock: SharedClock,
    stage: watch::Sender<Stage>,
}

impl Life {
    async fn run(self, mut part: Part) {
        loop {
            let is_holder = matches!(part, Part::Holder(..));
            tracing::info!(directory = %self.directory.display(), is_holder, "the store is open");
            self.stage.send_replace(Stage::of(&part));
            match part {
                Part::Holder(held, listener) => self.hold(held, listener).await,
                Part::Guest(guest, link) => {
                    guest.run(link).await;
                    self.stage.send_replace(Stage::Neither("its holder went away".into()));
                }
            }
            part = self.next_part().await;
        }
    }

    /// Holds the file until the disk refuses to write; then lets go of it, so that this process or
    /// another one opens it again: only that tells what the disk holds.
    async fn hold(&self, held: Arc<Held>, listener: UnixListener) {
        let (guests, clock) = (Tasks::new("store-guests"), Arc::clone(&self.clock));
        let _ended = AbortOnDrop(guests.clone());
        tokio::select! {
            () = holder::serve(Arc::clone(&held), listener, guests.clone(), clock) => {}
            () = held.store.refused() => {}
        }
        self.stage.send_replace(Stage::Neither("its disk refused a commit".into()));
        // The writer answers what waits for it, so that nobody uses the file for long.
        guests.abort();
        while Arc::strong_count(&held) > 1 {
            self.clock.sleep(STEP_MS).await;
        }
        drop(held);
        self.clock.sleep(FAILED_MS).await;
    }

    async fn next_part(&self) -> Part {
        loop {
            match ground::take_part(&self.directory, &self.clock).await {
                Ok(part) => return part,
                Err(error) if error.may_pass() => {
                    self.stage.send_replace(Stage::Neither(error.to_string().into()));
                    self.clock.sleep(entropy::jitter_ms(STEP_MS)).await;
                }
                Err(error) => {
                    tracing::error!(%error, "the store cannot be opened again");
                    self.stage.send_replace(Stage::Neither(error.to_string().into()));
                    self.clock.sleep(FAILED_MS).await;
                }
            }
        }
    }
}
