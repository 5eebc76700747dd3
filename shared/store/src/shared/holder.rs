//! The side of the process that holds the file: it serves itself directly, and guests by a socket.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::sync::Arc;

use bytes::Bytes;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use turnpike_runtime::clock::{SharedClock, deadline};
use turnpike_runtime::tasks::Tasks;

use super::answer::{Answer, SCAN_ROWS};
use super::line::{self, Incoming, Outgoing, PROTOCOL};
use super::question::Question;
use crate::embedded::Embedded;
use crate::kv::{Batch, Kv, MAX_KEY_BYTES, MAX_VALUE_BYTES, ReadError, Scan, Snapshot};
use crate::room::Room;

/// The most guests: an installation has a few processes on one machine.
const MAX_GUESTS: usize = 64;
/// How long a greeting may take: it needs no disk.
pub(super) const GREETING_MS: u64 = 2_000;
/// The most snapshots of one guest; the oldest goes first. Each keeps old pages of the file.
pub(super) const MAX_SNAPSHOTS: usize = 1_024;
/// How old a guest's snapshot may be: twice what FoundationDB allows, so that code which is right
/// there is right here on a slow machine too.
pub(super) const MAX_SNAPSHOT_MS: u64 = 10_000;
/// The most watches of one guest. One more is lost, which the contract allows.
const MAX_WATCHES: usize = 4_096;
/// How often old snapshots are looked for while a guest says nothing; also the pause after a
/// connection could not be accepted.
const IDLE_MS: u64 = 1_000;
/// What the answer to any question may cost beyond rows and values.
const ANSWER_BYTES: usize = 256;

/// The open file and the lock that says so. In this order: the file is closed, then unlocked.
pub(super) struct Held {
    pub(super) store: Embedded,
    pub(super) _lock: File,
}

/// Serves guests until it is dropped.
pub(super) async fn serve(
    held: Arc<Held>,
    listener: UnixListener,
    tasks: Tasks,
    clock: SharedClock,
) {
    let seats = Arc::new(Semaphore::new(MAX_GUESTS));
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::error!(%error, "a guest of the store could not be accepted");
                clock.sleep(IDLE_MS).await;
                continue;
            }
        };
        let Ok(seat) = Arc::clone(&seats).try_acquire_owned() else {
            tracing::error!(MAX_GUESTS, "one guest of the store too many is sent away");
            continue;
        };
        let talk = converse(Arc::clone(&held), stream, tasks.clone(), Arc::clone(&clock));
        tasks.spawn("store-guest", async move {
            talk.await;
            drop(seat);
        });
    }
}

async fn converse(held: Arc<Held>, mut stream: UnixStream, tasks: Tasks, clock: SharedClock) {
    // A guest of another version hears ours and goes.
    let greeting = line::greet(&mut stream);
    let Some(Ok(PROTOCOL)) = deadline(&*clock, GREETING_MS, greeting).await else { return };
    let (reading, half) = stream.into_split();
    let (outgoing, frames) = mpsc::unbounded_channel();
    tasks.spawn("store-guest-answers", line::pump(frames, half));
    let mut talk = Conversation {
        held,
        tasks,
        clock,
        outgoing,
        room: Room::default(),
        moments: BTreeMap::new(),
        watches: HashMap::new(),
    };
    let mut incoming = Incoming::new(reading);
    loop {
        let frame = tokio::select! {
            frame = incoming.next() => frame,
            () = talk.outgoing.closed() => return,
            () = talk.clock.sleep(IDLE_MS) => {
                talk.forget_old();
                continue;
            }
        };
        let Ok(Some(frame)) = frame else { return };
        let bytes = frame.len();
        let Ok((number, question)) = Question::read(frame) else {
            return tracing::error!("a guest of the store sent a malformed question");
        };
        talk.hear(number, question, bytes).await;
    }
}

/// What the holder keeps for one guest.
struct Conversation {
    held: Arc<Held>,
    tasks: Tasks,
    clock: SharedClock,
    outgoing: mpsc::UnboundedSender<Outgoing>,
    /// Bounds questions and answers together: a guest that does not read is not read either.
    room: Room,
    /// Snapshots by number, which is their order, and when each was taken.
    moments: BTreeMap<u64, (u64, Arc<dyn Snapshot>)>,
    /// What ends each watch when it is dropped.
    watches: HashMap<u64, oneshot::Sender<()>>,
}

impl Conversation {
    async fn hear(&mut self, number: u64, question: Question, bytes: usize) {
        let room = self.room.take_bytes(cost(&question, bytes)).await;
        match question {
            Question::Snapshot => {
                let taken = self.snapshot(number).await;
                answer(&self.outgoing, number, &taken, room);
            }
            Question::Get { of, key } => {
                let found = match self.moment(of) {
                    Some(moment) => moment.get(&key).await,
                    None => Err(ReadError::TooOld),
                };
                answer(&self.outgoing, number, &Answer::Get(found), room);
            }
            Question::Scan { of, scan } => {
                let limit = scan.limit.min(SCAN_ROWS);
                let found = match self.moment(of) {
                    Some(moment) => moment.scan(Scan { limit, ..scan }).await,
                    None => Err(ReadError::TooOld),
                };
                answer(&self.outgoing, number, &Answer::Scan(found), room);
            }
            Question::Commit(batch) => self.commit(number, batch, room),
            Question::Watch(key) => self.watch(number, key),
            Question::Forget => {
                self.moments.remove(&number);
                self.watches.remove(&number);
            }
        }
    }

    async fn snapshot(&mut self, number: u64) -> Answer {
        self.forget_old();
        if self.moments.len() >= MAX_SNAPSHOTS {
            self.moments.pop_first();
        }
        let taken = self.held.store.snapshot().await;
        Answer::Snapshot(taken.map(|moment| {
            let version = moment.version();
            self.moments.insert(number, (self.clock.boot_ms(), moment));
            version
        }))
    }

    fn moment(&mut self, number: u64) -> Option<Arc<dyn Snapshot>> {
        self.forget_old();
        self.moments.get(&number).map(|(_, moment)| Arc::clone(moment))
    }

    fn forget_old(&mut self) {
        let now_ms = self.clock.boot_ms();
        while let Some(first) = self.moments.first_entry() {
            if now_ms.saturating_sub(first.get().0) <= MAX_SNAPSHOT_MS {
                return;
            }
            first.remove();
        }
    }

    /// In a task of its own, so that the commits of all guests meet in one group.
    fn commit(&self, number: u64, batch: Batch, room: Option<OwnedSemaphorePermit>) {
        let (held, outgoing) = (Arc::clone(&self.held), self.outgoing.clone());
        self.tasks.spawn("store-guest-commit", async move {
            let outcome = held.store.commit(batch).await;
            answer(&outgoing, number, &Answer::Commit(outcome), room);
        });
    }

    fn watch(&mut self, number: u64, key: Bytes) {
        if self.watches.len() >= MAX_WATCHES {
            return;
        }
        let (keep, forgotten) = oneshot::channel();
        self.watches.insert(number, keep);
        // Begun here, in the order of the questions: a commit that was sent later wakes it.
        let woken = self.held.store.watch(key);
        let outgoing = self.outgoing.clone();
        self.tasks.spawn("store-guest-watch", async move {
            tokio::select! {
                () = woken => answer(&outgoing, number, &Answer::Woken, None),
                // Forgotten by the guest, or the guest is gone.
                _ = forgotten => {}
            }
        });
    }
}

/// What a question and its answer may take at most.
fn cost(question: &Question, bytes: usize) -> usize {
    const ROW_BYTES: usize = MAX_KEY_BYTES + MAX_VALUE_BYTES;
    let answer = match question {
        Question::Snapshot | Question::Commit(_) | Question::Watch(_) | Question::Forget => 0,
        Question::Get { .. } => MAX_VALUE_BYTES,
        Question::Scan { .. } => SCAN_ROWS * ROW_BYTES,
    };
    answer.saturating_add(bytes).saturating_add(ANSWER_BYTES)
}

fn answer(
    outgoing: &mpsc::UnboundedSender<Outgoing>,
    number: u64,
    answer: &Answer,
    room: Option<OwnedSemaphorePermit>,
) {
    match answer.frame(number) {
        // A guest that is gone needs no answer.
        Ok(frame) => drop(outgoing.send(Outgoing { frame, room })),
        Err(error) => tracing::error!(%error, "an answer to a guest of the store is too long"),
    }
}
