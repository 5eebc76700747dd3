//! One unit of a lease: a number that requests take from, and a queue for those that must wait.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, oneshot};
use turnpike_domain::admit::Figures;
use turnpike_domain::ledger::BudgetFigures;
use turnpike_domain::limit::Unit;
use turnpike_runtime::clock::{Clock, deadline};

use super::ceiling::Ceiling;
use super::leaf::{Grip, Leaf};

/// How long a request waits for budget that nobody can be asked for: less than a caller's patience,
/// more than one lost call.
const WAIT_MS: u64 = 2_000;
/// How long a request has waited before it is told that others hold the budget (money.md,
/// "Refusals").
const HELD_WAIT_MS: u64 = 250;
/// The same for one that would fit into what is left, and is asked for next.
const HELD_MOST_MS: u64 = 500;
/// Requests that wait for one lease: beyond it more would only time out.
const MAX_WAITING: usize = 10_000;
/// A low mark that nothing falls under.
pub(super) const NO_MARK: i64 = i64::MIN;

/// Why nothing could be reserved.
#[derive(Clone, Debug)]
pub(super) enum Stop {
    /// The budget does not suffice.
    Exhausted(Box<Short>),
    /// It would, but it is held by others.
    HeldElsewhere(Box<Short>),
    /// The authority cannot be asked.
    Unreachable,
    /// The lease ends: another one is needed.
    Moved,
}

/// What is known of a budget that did not suffice.
#[derive(Clone, Debug)]
pub(super) struct Short {
    pub(super) unit: Unit,
    pub(super) figures: Figures,
    /// The most that could be reserved instead.
    pub(super) fits: i64,
}

/// One unit of a lease.
#[derive(Debug)]
pub(super) struct Purse {
    pub(super) unit: Unit,
    pub(super) ceiling: Ceiling,
    /// Under this the agent fetches more.
    low: AtomicI64,
    /// The agent hears of everything: requests queue, and settlements wake it.
    attention: AtomicBool,
    /// Steady time of the last reservation.
    touched_ms: AtomicU64,
    /// What is free goes back at once.
    recalled: AtomicBool,
    queue: Mutex<Queue>,
    pub(super) news: Notify,
}

/// What waits, and why it may wait in vain.
#[derive(Debug, Default)]
pub(super) struct Queue {
    pub(super) waiting: VecDeque<Waiting>,
    pub(super) memory: Option<Memory>,
    /// Those who only want to know what is left.
    pub(super) looking: Vec<oneshot::Sender<BudgetFigures>>,
}

/// A request that waits.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) leaf: Arc<Leaf>,
    pub(super) bound: i64,
    pub(super) since_ms: u64,
    pub(super) reply: oneshot::Sender<Result<Grip, Stop>>,
}

/// What needs not be asked for again.
#[derive(Clone, Debug)]
pub(super) struct Memory {
    /// Larger bounds are refused.
    pub(super) over: i64,
    /// Until this steady time; `None`: until the lease ends or a cap changes.
    pub(super) until_ms: Option<u64>,
    pub(super) why: Stop,
}

impl Purse {
    /// One that nobody has asked before `now_ms`, when it is made for a request.
    pub(super) fn new(unit: Unit, now_ms: u64) -> Self {
        Self {
            unit,
            ceiling: Ceiling::default(),
            low: AtomicI64::new(NO_MARK),
            attention: AtomicBool::new(false),
            touched_ms: AtomicU64::new(now_ms),
            recalled: AtomicBool::new(false),
            queue: Mutex::default(),
            news: Notify::new(),
        }
    }

    /// Reserves `bound` without waiting, if nobody waits already.
    pub(super) fn reserve(&self, bound: i64, now_ms: u64) -> bool {
        self.touched_ms.store(now_ms, Ordering::Relaxed);
        if self.attention.load(Ordering::SeqCst) {
            return false;
        }
        let Some(left) = self.ceiling.reserve(bound) else { return false };
        let low = self.low.load(Ordering::Relaxed);
        if left < low && left.saturating_add(bound) >= low {
            self.news.notify_one();
        }
        true
    }

    /// Waits in order until `bound` is reserved or refused.
    pub(super) async fn wait(
        &self,
        leaf: &Arc<Leaf>,
        bound: i64,
        clock: &dyn Clock,
    ) -> Result<Grip, Stop> {
        let now_ms = clock.boot_ms();
        let (reply, answer) = oneshot::channel();
        {
            let mut queue = self.queue();
            if let Some(why) = queue.remembered(bound, now_ms) {
                return Err(why);
            }
            if queue.waiting.len() >= MAX_WAITING {
                return Err(Stop::Unreachable);
            }
            let leaf = Arc::clone(leaf);
            queue.waiting.push_back(Waiting { leaf, bound, since_ms: now_ms, reply });
        }
        self.attention.store(true, Ordering::SeqCst);
        self.news.notify_one();
        match deadline(clock, WAIT_MS, answer).await {
            Some(Ok(decided)) => decided,
            Some(Err(_)) | None => Err(Stop::Unreachable),
        }
    }

    /// What the authority says of the budget at the moment; `None` if it cannot be asked.
    pub(super) async fn look(&self, clock: &dyn Clock) -> Option<BudgetFigures> {
        let (reply, answer) = oneshot::channel();
        self.queue().looking.push(reply);
        self.news.notify_one();
        deadline(clock, WAIT_MS, answer).await?.ok()
    }

    /// Ends a request that had reserved `bound` and cost `cost`.
    pub(super) fn settle(&self, bound: i64, cost: i64) {
        self.ceiling.settle(bound, cost);
        if self.attention.load(Ordering::SeqCst) {
            self.news.notify_one();
        }
    }

    /// Wants back what is free.
    pub(super) fn recall(&self) {
        self.recalled.store(true, Ordering::SeqCst);
        self.news.notify_one();
    }

    /// A cap has changed: what was refused may be granted now.
    pub(super) fn forget(&self) {
        self.queue().memory = None;
    }

    pub(super) fn is_recalled(&self) -> bool {
        self.recalled.load(Ordering::SeqCst)
    }

    pub(super) fn was_given_back(&self) {
        self.recalled.store(false, Ordering::SeqCst);
    }

    pub(super) fn low(&self) -> i64 {
        self.low.load(Ordering::Relaxed)
    }

    pub(super) fn set_low(&self, low: i64) {
        self.low.store(low, Ordering::Relaxed);
    }

    /// Says whether the agent hears of everything from now on; answers whether it did before.
    pub(super) fn set_attention(&self, attention: bool) -> bool {
        self.attention.swap(attention, Ordering::SeqCst)
    }

    pub(super) fn touched_ms(&self) -> u64 {
        self.touched_ms.load(Ordering::Relaxed)
    }

    pub(super) fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    /// Why `bound` need not be asked for, if that is known.
    fn remembered(&mut self, bound: i64, now_ms: u64) -> Option<Stop> {
        let over = |memory: &Memory| memory.until_ms.is_some_and(|until_ms| until_ms <= now_ms);
        if self.memory.as_ref().is_some_and(over) {
            self.memory = None;
        }
        self.memory.as_ref().filter(|memory| bound > memory.over).map(|memory| memory.why.clone())
    }

    /// Refuses those that others' holds have kept waiting for long enough; those who would fit into
    /// `fits`, which is left, may wait longer.
    pub(super) fn refuse_held(&mut self, fits: i64, now_ms: u64, why: &Stop) {
        for (least, wait_ms) in [(fits.saturating_add(1), HELD_WAIT_MS), (0, HELD_MOST_MS)] {
            if let Some(since_ms) = now_ms.checked_sub(wait_ms) {
                self.refuse(least, since_ms, why);
            }
        }
    }

    /// When the next of them will have waited for long enough.
    pub(super) fn held_until_ms(&self, now_ms: u64) -> Option<u64> {
        let ends = |one: &Waiting| {
            [HELD_WAIT_MS, HELD_MOST_MS].map(|wait_ms| one.since_ms.saturating_add(wait_ms))
        };
        self.waiting.iter().flat_map(ends).filter(|end_ms| *end_ms > now_ms).min()
    }

    /// Refuses those that wait for `least` or more since `since_ms` or before.
    pub(super) fn refuse(&mut self, least: i64, since_ms: u64, why: &Stop) {
        let hopeless = |one: &Waiting| one.bound >= least && one.since_ms <= since_ms;
        let (refused, rest): (VecDeque<_>, _) =
            std::mem::take(&mut self.waiting).into_iter().partition(hopeless);
        self.waiting = rest;
        for one in refused {
            // Its caller may be gone.
            drop(one.reply.send(Err(why.clone())));
        }
    }
}
