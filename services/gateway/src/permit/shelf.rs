//! The permits of one account: a live batch for all cores, and those that wait for the next one.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwapOption;
use tokio::sync::{Notify, oneshot};
use turnpike_domain::id::OrgId;
use turnpike_domain::limit::Account;
use turnpike_domain::rate::{Amount, Left, Permits, Rate};
use turnpike_domain::state::RateFallback;
use turnpike_runtime::clock::Clock;

use super::batch::Batch;

/// Requests that wait for one account at most: more would not be served before they are refused.
const MAX_WAITING: usize = 4_096;

/// One limited account on this gateway.
#[derive(Debug)]
pub(super) struct Shelf {
    pub(super) org: OrgId,
    pub(super) account: Account,
    /// Gateways that share the organisation's rates, by the authority's word; 0: not known.
    pub(super) gateways: Arc<AtomicU32>,
    /// Wakes the agent.
    pub(super) news: Notify,
    live: ArcSwapOption<Batch>,
    /// The event that set the rate that the agent knows.
    seq: AtomicU64,
    queue: Mutex<Queue>,
    permits: Mutex<Permits>,
    /// What is known to be unused has changed, and the agent was told.
    corrected: AtomicBool,
    /// The tokens that a request was permitted by lately, on the average.
    tokens_each: AtomicU64,
    told: Told,
}

/// What the authority said last, for answers and for refusals without asking again.
#[derive(Debug, Default)]
struct Told {
    left_requests: AtomicU64,
    left_tokens: AtomicU64,
    /// Steady time when nothing counts any more.
    reset_ms: AtomicU64,
    /// Until this steady time requests with `closed_tokens` or more are refused at once.
    closed_ms: AtomicU64,
    closed_tokens: AtomicU64,
    /// Steady time from which it is worth asking again.
    retry_ms: AtomicU64,
}

#[derive(Debug, Default)]
pub(super) struct Queue {
    pub(super) waiting: VecDeque<Waiting>,
    /// The newest that a request brought.
    pub(super) rate: Rate,
    pub(super) fallback: RateFallback,
    /// The agent is gone: another shelf takes the place of this one.
    retired: bool,
}

/// A request that waits.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) tokens: u64,
    pub(super) reply: oneshot::Sender<Result<Part, Stop>>,
}

/// Why there is no permit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// The rate is used up; worth asking again after so many milliseconds.
    Spent { retry_after_ms: u64 },
    /// Nobody answers for the rate, and there is no share to live on.
    Unreachable,
    /// The shelf was cleared away: another one is needed.
    Retired,
}

/// One request's permit of one account. Dropped without [`Part::settle`] it goes back unused.
#[derive(Debug)]
pub(super) struct Part {
    shelf: Arc<Shelf>,
    /// `None` once it is settled.
    batch: Option<Arc<Batch>>,
    tokens: u64,
}

impl Shelf {
    pub(super) fn new(org: OrgId, account: Account, gateways: Arc<AtomicU32>) -> Self {
        Self {
            org,
            account,
            gateways,
            news: Notify::new(),
            live: ArcSwapOption::empty(),
            seq: AtomicU64::new(0),
            queue: Mutex::default(),
            permits: Mutex::default(),
            corrected: AtomicBool::new(false),
            tokens_each: AtomicU64::new(0),
            told: Told::default(),
        }
    }

    /// Takes a permit without waiting.
    pub(super) fn take(self: &Arc<Self>, tokens: u64, clock: &dyn Clock) -> Option<Part> {
        let live = self.live.load();
        let batch = live.as_ref().filter(|batch| batch.take(tokens, clock))?;
        if batch.runs_low() {
            self.news.notify_one();
        }
        Some(self.part(batch, tokens))
    }

    /// Notes a rate that was changed, so that the next batch is asked for by it.
    pub(super) fn see(&self, rate: Rate, fallback: RateFallback) {
        if self.seq.load(Ordering::Relaxed) < rate.seq {
            self.queue().see(rate, fallback);
            self.seq.fetch_max(rate.seq, Ordering::Relaxed);
            // What was refused may be permitted now.
            self.told.closed_ms.store(0, Ordering::Relaxed);
        }
    }

    /// Whether a request with `tokens` is refused without asking; after how many milliseconds it is
    /// worth asking again.
    pub(super) fn closed(&self, tokens: u64, now_ms: u64) -> Option<u64> {
        let closed = now_ms < self.told.closed_ms.load(Ordering::Acquire)
            && tokens >= self.told.closed_tokens.load(Ordering::Relaxed);
        let retry_ms = self.told.retry_ms.load(Ordering::Relaxed);
        closed.then(|| retry_ms.saturating_sub(now_ms).max(1))
    }

    /// Waits for the agent.
    pub(super) async fn wait(
        &self,
        tokens: u64,
        rate: Rate,
        fallback: RateFallback,
    ) -> Result<Part, Stop> {
        let (reply, answer) = oneshot::channel();
        {
            let mut queue = self.queue();
            if queue.retired {
                return Err(Stop::Retired);
            }
            if queue.waiting.len() >= MAX_WAITING {
                return Err(Stop::Unreachable);
            }
            queue.see(rate, fallback);
            queue.waiting.push_back(Waiting { tokens, reply });
        }
        self.news.notify_one();
        // An agent that is gone answers nobody.
        answer.await.unwrap_or(Err(Stop::Unreachable))
    }

    /// What is left for requests through this gateway, and after how many milliseconds all is.
    pub(super) fn left(&self, now_ms: u64) -> Left {
        let live = self.live.load();
        let live = live.as_ref().filter(|batch| !batch.is_over(now_ms));
        let told = Amount {
            requests: self.told.left_requests.load(Ordering::Relaxed),
            tokens: self.told.left_tokens.load(Ordering::Relaxed),
        };
        let free = told.plus(live.map(|batch| batch.left()).unwrap_or_default());
        let reset_ms = self.told.reset_ms.load(Ordering::Relaxed).saturating_sub(now_ms);
        Left { free, reset_ms }
    }

    pub(super) fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn permits(&self) -> MutexGuard<'_, Permits> {
        self.permits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn live(&self) -> Option<Arc<Batch>> {
        self.live.load_full()
    }

    pub(super) fn set_live(&self, batch: Option<Arc<Batch>>) {
        self.live.store(batch);
    }

    /// What so many requests ahead are permitted by: the most that they may use, which is more than
    /// they use in the end. By that alone a fast key would run out of tokens too early.
    pub(super) fn permitted(&self, ahead: Amount) -> Amount {
        let live = self.live();
        if let Some(tokens_each) = live.and_then(|live| live.tokens_each()) {
            self.tokens_each.store(tokens_each, Ordering::Relaxed);
        }
        let each = self.tokens_each.load(Ordering::Relaxed);
        Amount { tokens: ahead.tokens.max(ahead.requests.saturating_mul(each)), ..ahead }
    }

    /// Serves those that wait, in order, from a batch; whether all are served.
    pub(super) fn hand_out(self: &Arc<Self>, batch: &Arc<Batch>, clock: &dyn Clock) -> bool {
        let mut queue = self.queue();
        queue.waiting.retain(|one| !one.reply.is_closed());
        while let Some(one) = queue.waiting.front()
            && batch.take(one.tokens, clock)
            && let Some(Waiting { tokens, reply }) = queue.waiting.pop_front()
        {
            // If its caller is gone, the part goes back.
            drop(reply.send(Ok(self.part(batch, tokens))));
        }
        queue.waiting.is_empty()
    }

    /// Refuses those that wait with `tokens` or more, and all like them for `closed_ms`.
    pub(super) fn close(&self, tokens: u64, stop: Stop, now_ms: u64, closed_ms: u64) {
        if let Stop::Spent { retry_after_ms } = stop {
            let at = |ms: u64| now_ms.saturating_add(ms);
            self.told.retry_ms.store(at(retry_after_ms), Ordering::Relaxed);
            self.told.closed_tokens.store(tokens, Ordering::Relaxed);
            self.told.closed_ms.store(at(closed_ms.min(retry_after_ms)), Ordering::Release);
        }
        let mut queue = self.queue();
        let (refused, stay): (VecDeque<_>, _) =
            queue.waiting.drain(..).partition(|one| one.tokens >= tokens);
        queue.waiting = stay;
        drop(queue);
        for one in refused {
            // Whoever is gone need not be told.
            drop(one.reply.send(Err(stop)));
        }
    }

    /// Lets requests ask again that were refused while nobody answered.
    pub(super) fn reopen(&self) {
        self.told.closed_ms.store(0, Ordering::Relaxed);
    }

    /// Notes what the authority says is left.
    pub(super) fn tell(&self, left: Left, now_ms: u64) {
        self.told.left_requests.store(left.free.requests, Ordering::Relaxed);
        self.told.left_tokens.store(left.free.tokens, Ordering::Relaxed);
        self.told.reset_ms.store(now_ms.saturating_add(left.reset_ms), Ordering::Relaxed);
    }

    /// Whether more is known to be unused than the agent has been shown.
    pub(super) fn is_corrected(&self) -> bool {
        self.corrected.load(Ordering::Acquire)
    }

    /// The agent looks at all that is known to be unused.
    pub(super) fn show_corrections(&self) {
        self.corrected.store(false, Ordering::SeqCst);
    }

    /// Lets nobody wait here any more, if nobody does.
    pub(super) fn retire(&self) -> bool {
        let mut queue = self.queue();
        queue.retired = queue.waiting.is_empty();
        queue.retired
    }

    fn part(self: &Arc<Self>, batch: &Arc<Batch>, tokens: u64) -> Part {
        Part { shelf: Arc::clone(self), batch: Some(Arc::clone(batch)), tokens }
    }

    fn correct(&self) {
        // Looked at first: to write is to take it from the other cores.
        let is_told = self.corrected.load(Ordering::SeqCst);
        if !is_told && !self.corrected.swap(true, Ordering::SeqCst) {
            self.news.notify_one();
        }
    }
}

impl Queue {
    /// The tokens of the first that waits, and what all of them need.
    pub(super) fn demand(&self) -> (Option<u64>, Amount) {
        let first = self.waiting.front().map(|one| one.tokens);
        let all = self.waiting.iter().map(|one| Amount { requests: 1, tokens: one.tokens });
        (first, all.fold(Amount::NONE, Amount::plus))
    }

    const fn see(&mut self, rate: Rate, fallback: RateFallback) {
        if rate.seq >= self.rate.seq {
            self.rate = rate;
        }
        self.fallback = fallback;
    }
}

impl Part {
    /// The request was admitted and has used `tokens`, where tokens are limited.
    pub(super) fn settle(mut self, limits_tokens: bool, tokens: u64) {
        if let Some(batch) = self.batch.take()
            && limits_tokens
            && tokens != self.tokens
        {
            batch.correct(self.tokens, tokens);
            self.shelf.correct();
        }
    }

    /// Whether its time has run out.
    pub(super) fn is_over(&self, now_ms: u64) -> bool {
        self.batch.as_ref().is_some_and(|batch| batch.is_over(now_ms))
    }

    pub(super) const fn shelf(&self) -> &Arc<Shelf> {
        &self.shelf
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if let Some(batch) = self.batch.take() {
            batch.put_back(self.tokens);
            self.shelf.correct();
        }
    }
}
