//! The messages of one family in memory, and their readers.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use turnpike_domain::time::MINUTE_MS;
use turnpike_runtime::clock::SharedClock;

use crate::seam::{Feed, Message, Publish, ReadError, Start};
use crate::subject;

/// How long an id is remembered: the window of the seam's contract.
const DUPLICATE_WINDOW_MS: u64 = 2 * MINUTE_MS;

/// Ids remembered at most, some 100 MB. Beyond it the oldest are forgotten early, which is
/// harmless: a reader may see a message twice.
const MAX_IDS: usize = 500_000;

/// What a message costs beside its payload: topic, id, places in two queues.
const MESSAGE_OVERHEAD_BYTES: usize = 256;

/// The log of one family.
pub(super) struct Log {
    kept: bool,
    max_bytes: usize,
    state: Mutex<State>,
    /// The place of the last message: readers wait for it to change.
    last: watch::Sender<u64>,
}

struct State {
    /// The place of the front of `messages`, or of the next message if there is none.
    first: u64,
    messages: VecDeque<Message>,
    bytes: usize,
    ids: BTreeSet<String>,
    /// The same ids by age, with the steady time at which each came.
    ids_by_age: VecDeque<(u64, String)>,
}

impl Log {
    pub(super) fn new(clock: &SharedClock, max_bytes: usize, kept: bool) -> Self {
        // Places begin at the time in microseconds, so that those of an earlier life, which no
        // bus fills at a message a microsecond, are behind and never among the new ones.
        let first = clock.now().0.saturating_mul(1_000).saturating_add(1);
        let state = State {
            first,
            messages: VecDeque::new(),
            bytes: 0,
            ids: BTreeSet::new(),
            ids_by_age: VecDeque::new(),
        };
        Self { kept, max_bytes, state: Mutex::new(state), last: watch::Sender::new(first - 1) }
    }

    pub(super) fn append(&self, message: Publish, boot_ms: u64) {
        let mut state = self.lock();
        if self.kept && !message.id.is_empty() && !state.is_new(&message, boot_ms) {
            return;
        }
        let place = state.next();
        state.bytes += cost(message.payload.len());
        state.messages.push_back(Message {
            topic: message.topic,
            place,
            id: (!message.id.is_empty()).then_some(message.id),
            payload: message.payload,
        });
        while state.bytes > self.max_bytes && state.messages.len() > 1 {
            if let Some(oldest) = state.messages.pop_front() {
                state.bytes -= cost(oldest.payload.len());
                state.first += 1;
            }
        }
        drop(state);
        self.last.send_replace(place);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The place of the next message.
    fn next(&self) -> u64 {
        self.first + u64::try_from(self.messages.len()).unwrap_or(u64::MAX)
    }

    fn at(&self, place: u64) -> Option<&Message> {
        self.messages.get(usize::try_from(place.checked_sub(self.first)?).ok()?)
    }

    /// Whether this id was not seen on this topic within the window; remembers it.
    fn is_new(&mut self, message: &Publish, boot_ms: u64) -> bool {
        while let Some((came_ms, _)) = self.ids_by_age.front() {
            if boot_ms.saturating_sub(*came_ms) < DUPLICATE_WINDOW_MS
                && self.ids_by_age.len() < MAX_IDS
            {
                break;
            }
            if let Some((_, id)) = self.ids_by_age.pop_front() {
                self.ids.remove(&id);
            }
        }
        let id = subject::message_id(&subject::of_topic(&message.topic), &message.id);
        let new = self.ids.insert(id.clone());
        if new {
            self.ids_by_age.push_back((boot_ms, id));
        }
        new
    }
}

fn cost(payload: usize) -> usize {
    payload + MESSAGE_OVERHEAD_BYTES
}

/// A reader of one feed.
pub(super) struct LogReader {
    log: Arc<Log>,
    last: watch::Receiver<u64>,
    feed: Feed,
    /// The place of the last message that was looked at.
    place: u64,
}

impl LogReader {
    pub(super) fn new(log: Arc<Log>, feed: Feed, start: Start) -> Self {
        let last = log.last.subscribe();
        let place = {
            let state = log.lock();
            match start {
                Start::Oldest if log.kept => state.first - 1,
                Start::After(place) if log.kept => place,
                Start::Oldest | Start::After(_) | Start::Now => state.next() - 1,
            }
        };
        Self { log, last, feed, place }
    }

    pub(super) async fn wait(&mut self) -> Result<Message, ReadError> {
        loop {
            if let Some(result) = self.take() {
                return result;
            }
            // The sender lives in `self.log`: this never fails.
            if self.last.changed().await.is_err() {
                return Err(ReadError::Unavailable("the bus is gone".to_owned()));
            }
        }
    }

    pub(super) fn take(&mut self) -> Option<Result<Message, ReadError>> {
        // Seen before it is searched: what comes meanwhile wakes `wait` again.
        self.last.mark_unchanged();
        let state = self.log.lock();
        let oldest = state.first - 1;
        if self.place < oldest || self.place >= state.next() {
            self.place = oldest;
            if self.log.kept {
                return Some(Err(ReadError::Trimmed));
            }
        }
        while let Some(message) = state.at(self.place + 1) {
            self.place += 1;
            if self.feed.holds(&message.topic) {
                let mut message = message.clone();
                message.place = if self.log.kept { message.place } else { 0 };
                return Some(Ok(message));
            }
        }
        None
    }
}
