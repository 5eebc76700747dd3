//! The side of a process that does not hold the file: it asks the one that does.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::net::UnixStream;
use tokio::net::unix::OwnedWriteHalf;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use turnpike_runtime::clock::SharedClock;

use super::answer::{Answer, SCAN_ROWS};
use super::line::{self, Incoming, Outgoing};
use super::question::Question;
use crate::kv::{
    Batch, BoxFuture, CommitError, Committed, Entry, ReadError, Scan, Snapshot, Version,
};
use crate::paging;
use crate::room::Room;

/// How often it is looked whether the holder owes an answer.
const LOOK_MS: u64 = 1_000;
/// Looks at which the same read may be without its answer. By looks and not by the clock, because
/// this process may be the one that stood still.
const LOOKS: u32 = 5;

/// One connection to a holder, for as long as it lasts.
pub(super) struct Guest {
    outgoing: mpsc::UnboundedSender<Outgoing>,
    /// Who waits for which answer; `None` once the connection is gone.
    waiting: Mutex<Option<HashMap<u64, Waiting>>>,
    last_number: AtomicU64,
    room: Room,
    clock: SharedClock,
}

struct Waiting {
    answer: oneshot::Sender<Answer>,
    /// Looks since a read was asked. Only a read must be answered soon: a commit may wait for a
    /// slow disk, and a watch for ever.
    looks: Option<u32>,
    /// Room for a commit, whose caller may be gone before its answer is there.
    _room: Option<OwnedSemaphorePermit>,
}

/// The socket's side of a [`Guest`].
pub(super) struct Link {
    frames: mpsc::UnboundedReceiver<Outgoing>,
    incoming: Incoming,
    half: OwnedWriteHalf,
}

/// Why a question was not asked. Nothing was sent.
enum Unasked {
    Gone,
    TooLarge(String),
}

/// Something that the holder keeps for this guest until it is dropped here.
struct Kept {
    guest: Arc<Guest>,
    number: u64,
}

/// A snapshot that the holder keeps.
struct Moment {
    kept: Kept,
    version: Version,
}

impl Guest {
    /// Both sides of a connection that has been greeted; nothing moves until [`Self::run`] does.
    pub(super) fn new(stream: UnixStream, clock: SharedClock) -> (Arc<Self>, Link) {
        let (reading, half) = stream.into_split();
        let (outgoing, frames) = mpsc::unbounded_channel();
        let guest = Self {
            outgoing,
            waiting: Mutex::new(Some(HashMap::new())),
            last_number: AtomicU64::new(0),
            room: Room::default(),
            clock,
        };
        (Arc::new(guest), Link { frames, incoming: Incoming::new(reading), half })
    }

    /// Carries questions and answers until the holder is gone, or as good as gone: a process that
    /// was stopped answers nobody, and whoever asks it must hear that in time. Dropping it ends the
    /// connection too.
    pub(super) async fn run(&self, link: Link) {
        let _hang_up = HangUp(self);
        let Link { frames, mut incoming, half } = link;
        tokio::select! {
            () = line::pump(frames, half) => {}
            () = self.listen(&mut incoming) => {}
            () = self.owed() => tracing::warn!("the process that holds the store does not answer"),
        }
    }

    /// Completes when the holder owes the answer to a read for too long.
    async fn owed(&self) {
        loop {
            self.clock.sleep(LOOK_MS).await;
            let mut waiting = self.waiting();
            let reads = waiting.iter_mut().flat_map(HashMap::values_mut);
            let looks = reads.filter_map(|read| read.looks.as_mut());
            let most = looks.map(|looks| {
                *looks += 1;
                *looks
            });
            if most.max().is_some_and(|most| most >= LOOKS) {
                return;
            }
        }
    }

    /// Whether questions can be asked.
    pub(super) fn is_connected(&self) -> bool {
        self.waiting().is_some()
    }

    /// A new snapshot; `None` if the connection is gone.
    pub(super) async fn snapshot(self: Arc<Self>) -> Option<Result<Arc<dyn Snapshot>, ReadError>> {
        let (number, answer) = self.ask(&Question::Snapshot, None).ok()?;
        let kept = Kept { guest: self, number };
        let Ok(Answer::Snapshot(outcome)) = answer.await else { return None };
        Some(outcome.map(|version| Arc::new(Moment { kept, version }) as _))
    }

    /// Commits; `None` if the connection was gone before anything was sent.
    pub(super) async fn commit(&self, batch: Batch) -> Option<Result<Committed, CommitError>> {
        let room = self.room.take(&batch).await;
        let answer = match self.ask(&Question::Commit(batch), room) {
            Ok((_, answer)) => answer,
            Err(Unasked::Gone) => return None,
            Err(Unasked::TooLarge(text)) => return Some(Err(CommitError::TooLarge(text))),
        };
        let Ok(Answer::Commit(outcome)) = answer.await else {
            let text = "the process that holds the store went away before it answered".to_owned();
            return Some(Err(CommitError::Unknown(text)));
        };
        Some(outcome)
    }

    /// Resolves when the key is written, or when the connection ends.
    pub(super) fn watch(self: Arc<Self>, key: Bytes) -> BoxFuture<'static, ()> {
        // Asked now and not at the first poll, so that every commit that is sent later counts.
        let asked = self.ask(&Question::Watch(key), None);
        Box::pin(async move {
            if let Ok((number, woken)) = asked {
                let _kept = Kept { guest: self, number };
                // An error is the end of the connection: early, as the contract allows.
                let _ = woken.await;
            }
        })
    }

    fn ask(
        &self,
        question: &Question,
        room: Option<OwnedSemaphorePermit>,
    ) -> Result<(u64, oneshot::Receiver<Answer>), Unasked> {
        let number = self.last_number.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        let frame = question.frame(number);
        let frame = frame.map_err(|error| Unasked::TooLarge(error.to_string()))?;
        let (answer, answered) = oneshot::channel();
        let looks = match question {
            Question::Snapshot | Question::Get { .. } | Question::Scan { .. } => Some(0),
            Question::Commit(_) | Question::Watch(_) | Question::Forget => None,
        };
        match &mut *self.waiting() {
            Some(waiting) => waiting.insert(number, Waiting { answer, looks, _room: room }),
            None => return Err(Unasked::Gone),
        };
        // If nobody takes it the connection ends, and with it every wait.
        let _ = self.outgoing.send(Outgoing { frame, room: None });
        Ok((number, answered))
    }

    async fn listen(&self, incoming: &mut Incoming) {
        loop {
            let frame = match incoming.next().await {
                Ok(Some(frame)) => frame,
                Ok(None) => return,
                Err(error) => return tracing::debug!(%error, "the holder's connection broke"),
            };
            let Ok((number, answer)) = Answer::read(frame) else {
                return tracing::error!("the holder of the store sent a malformed answer");
            };
            let waiting = self.waiting().as_mut().and_then(|waiting| waiting.remove(&number));
            if let Some(waiting) = waiting {
                // Whoever dropped its future does not want to know.
                let _ = waiting.answer.send(answer);
            }
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Option<HashMap<u64, Waiting>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends every wait when the connection ends, however it does.
struct HangUp<'a>(&'a Guest);

impl Drop for HangUp<'_> {
    fn drop(&mut self) {
        *self.0.waiting() = None;
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        if let Some(waiting) = &mut *self.guest.waiting() {
            waiting.remove(&self.number);
        }
        if let Ok(frame) = Question::Forget.frame(self.number) {
            // If the connection is gone the holder has forgotten already.
            let _ = self.guest.outgoing.send(Outgoing { frame, room: None });
        }
    }
}

impl Moment {
    /// A snapshot dies with its holder; whoever reads it takes a new one.
    async fn ask(&self, question: &Question) -> Result<Answer, ReadError> {
        match self.kept.guest.ask(question, None) {
            Ok((_, answer)) => answer.await.map_err(|_| ReadError::TooOld),
            Err(Unasked::Gone) => Err(ReadError::TooOld),
            Err(Unasked::TooLarge(text)) => Err(ReadError::Unavailable(text)),
        }
    }

    async fn page(&self, scan: &Scan) -> Result<Vec<Entry>, ReadError> {
        let question = Question::Scan { of: self.kept.number, scan: scan.clone() };
        let Answer::Scan(outcome) = self.ask(&question).await? else { return Err(unexpected()) };
        outcome
    }
}

impl Snapshot for Moment {
    fn version(&self) -> Version {
        self.version
    }

    fn get<'a>(&'a self, key: &'a [u8]) -> BoxFuture<'a, Result<Option<Bytes>, ReadError>> {
        Box::pin(async move {
            let key = Bytes::copy_from_slice(key);
            let question = Question::Get { of: self.kept.number, key };
            let Answer::Get(outcome) = self.ask(&question).await? else { return Err(unexpected()) };
            outcome
        })
    }

    fn scan<'a>(&'a self, scan: Scan) -> BoxFuture<'a, Result<Vec<Entry>, ReadError>> {
        Box::pin(async move {
            let mut found = Vec::new();
            let mut rest = scan;
            while rest.limit > 0 {
                let page = self.page(&rest).await?;
                let is_last = page.len() < rest.limit.min(SCAN_ROWS);
                let Some((last, _)) = page.last() else { break };
                rest = paging::beyond(&rest, last);
                rest.limit = rest.limit.saturating_sub(page.len());
                found.extend(page);
                if is_last {
                    break;
                }
            }
            Ok(found)
        })
    }
}

fn unexpected() -> ReadError {
    ReadError::Unavailable("the holder of the store answered another question".to_owned())
}
