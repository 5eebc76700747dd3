//! The agent of one purse: says words to the authority, and hands out what they bring.
//!
//! It has one word on its way at a time, and repeats it until it is answered: one that is lost is
//! soon said again, and an authority that is slow is waited for all the same. What the authority
//! holds is then what the newest word says.

use std::sync::{Arc, Weak};

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio_util::sync::CancellationToken;
use turnpike_bus::seam::{BoxFuture, Bus, BusError, Service};
use turnpike_domain::admit::Figures;
use turnpike_domain::id::{EpochId, GatewayId};
use turnpike_domain::ledger::{Refused, Word};
use turnpike_runtime::clock::SharedClock;
use turnpike_runtime::entropy;
use turnpike_wire::authority::{ANSWER_MS, Call, LeaseAnswer, LeaseCall};
use turnpike_wire::form;

use super::LeaseMetrics;
use super::ceiling::Words;
use super::fences::Fence;
use super::leaf::Leaf;
use super::leaves::Leaves;
use super::purse::{Memory, NO_MARK, Purse, Short, Stop};
use super::refusal;
use super::size::Size;
use crate::core::Core;

/// How long a word may be on its way before it is repeated: the authority lets one wait 250 ms for
/// others' holds.
pub(super) const CALL_MS: u64 = 1_000;
/// Each time it is repeated later by as much, at random, and at most by so much: what comes back
/// shall not hear all at once.
const MAX_LATER: u32 = 2;
/// The wait after the first call that failed; it doubles up to the longest.
const RETRY_MS: u64 = 100;
const MAX_RETRY_MS: u64 = 2_000;
/// After so many failed calls in a row nobody waits any more: the authority is away.
const AWAY_FAILURES: u32 = 2;
/// Without a reservation for so long, what is free goes back.
const IDLE_MS: u64 = 5_000;
/// Without a reservation for so long, a lease is given up: its memory is worth more than its id.
const FORGET_MS: u64 = 600_000;
/// The wait before others' holds are asked for again.
const HELD_PAUSE_MS: u64 = 25;
/// How long a refusal for want of budget stands that does not say what is left: under a flood the
/// authority hears one ask in this time.
const REFUSED_MS: u64 = 250;

/// What all agents of a gateway share.
pub(super) struct Means {
    pub(super) bus: Arc<dyn Bus>,
    pub(super) clock: SharedClock,
    pub(super) gateway: GatewayId,
    /// The epoch of the first lane, by which the authority tells runs apart.
    pub(super) run: EpochId,
    pub(super) leaves: Arc<Leaves>,
    pub(super) core: Arc<Core>,
    pub(super) metrics: LeaseMetrics,
    pub(super) stopping: CancellationToken,
}

/// See the head of this file.
pub(super) struct Agent {
    means: Arc<Means>,
    leaf: Weak<Leaf>,
    purse: Arc<Purse>,
    fence: Fence,
    /// The call of this lease and unit, with its newest word.
    call: LeaseCall,
    service: Service,
    words: Words,
    size: Size,
    failures: u32,
    /// No other word is said before this steady time, and the one on its way not again.
    retry_ms: u64,
    /// What the word on its way asks for; `None`: it gives back.
    asked: Option<i64>,
    /// All that was free went back because nobody came.
    asleep: bool,
    /// Others hold the budget, by what was last heard for those that wait: only what fits into what
    /// is left need be asked for when its time is over.
    held: Option<(i64, Stop)>,
}

/// A word on its way, as often as it was said.
type Calls = FuturesUnordered<BoxFuture<'static, Result<Bytes, BusError>>>;

impl Agent {
    pub(super) fn new(means: Arc<Means>, leaf: &Arc<Leaf>, purse: Arc<Purse>) -> Self {
        let (lease, key, unit) = (leaf.lease, leaf.key, purse.unit);
        let word = Word { n: 0, total: 0, least: 0 };
        let (epoch, token) = (means.run, leaf.token());
        let call = LeaseCall { epoch, lease, key, unit, word, token };
        let service = Service::Authority { org: leaf.org, gateway: means.gateway };
        Self {
            leaf: Arc::downgrade(leaf),
            purse,
            fence: means.core.fences().of(leaf.org),
            call,
            service,
            words: Words::default(),
            size: Size::new(means.clock.boot_ms()),
            means,
            failures: 0,
            retry_ms: 0,
            asked: None,
            asleep: false,
            held: None,
        }
    }

    /// Works until the lease is over and given back.
    pub(super) async fn run(mut self) {
        let (clock, stopping) = (Arc::clone(&self.means.clock), self.means.stopping.clone());
        let mut calls = Calls::new();
        let mut stops = false;
        loop {
            let now_ms = clock.boot_ms();
            self.hand_out();
            self.send_away(now_ms);
            if calls.is_empty() {
                if let Some(word) = self.next_word(now_ms) {
                    self.call.word = word;
                    calls.push(self.say(now_ms));
                } else if self.is_over() {
                    return;
                }
            } else if now_ms >= self.retry_ms {
                self.failed(now_ms, "no answer in time");
                calls.push(self.say(now_ms));
            }
            if self.turn_attention() {
                continue;
            }
            if self.is_forgotten(now_ms) {
                self.forget();
                continue;
            }
            let rest_ms = self.rest_ms(now_ms, !calls.is_empty());
            tokio::select! {
                biased;
                Some(answer) = calls.next() => self.hear(answer, &mut calls, clock.boot_ms()),
                () = self.purse.news.notified() => {}
                () = stopping.cancelled(), if !stops => stops = true,
                () = clock.sleep(rest_ms) => {}
            }
        }
    }

    /// Serves those that wait, in order, from what is free.
    fn hand_out(&mut self) {
        let leaving = self.is_leaving();
        let mut queue = self.purse.queue();
        queue.waiting.retain(|one| !one.reply.is_closed());
        if leaving {
            queue.refuse(0, u64::MAX, &Stop::Moved);
        }
        while let Some(one) = queue.waiting.front()
            && self.purse.ceiling.reserve(one.bound).is_some()
            && let Some(one) = queue.waiting.pop_front()
        {
            self.asleep = false;
            // If its caller is gone, the grip lets go of it again.
            drop(one.reply.send(Ok(one.leaf.grip(self.purse.unit, one.bound))));
        }
    }

    /// Refuses those that have waited long enough, or wait for an authority that is away.
    fn send_away(&mut self, now_ms: u64) {
        let mut queue = self.purse.queue();
        if self.failures >= AWAY_FAILURES && now_ms < self.retry_ms {
            queue.refuse(0, u64::MAX, &Stop::Unreachable);
        }
        self.held = self.held.take().filter(|_| !queue.waiting.is_empty());
        if let Some((fits, why)) = &self.held {
            queue.refuse_held(*fits, now_ms, why);
        }
    }

    /// What has to be said now, if anything has.
    fn next_word(&mut self, now_ms: u64) -> Option<Word> {
        let (first, all) = self.wanted();
        if now_ms < self.retry_ms {
            return None;
        }
        let ceiling = &self.purse.ceiling;
        if let Some(bound) = first {
            self.asleep = false;
            if self.purse.is_recalled() && ceiling.free() > 0 {
                // Gateways that all wait could keep among them what each of them lacks.
                self.purse.set_low(NO_MARK);
                self.asked = None;
                return Some(self.words.give_back(ceiling));
            }
            let committed = self.words.committed(ceiling);
            let ahead = self.size.ahead(now_ms, committed, all).saturating_add(all - bound);
            self.asked = Some(bound);
            return Some(self.words.ask(ceiling, bound, ahead));
        }
        let looks = !self.purse.queue().looking.is_empty();
        self.asleep |= now_ms.saturating_sub(self.purse.touched_ms()) >= IDLE_MS;
        if self.asleep || self.is_leaving() || self.purse.is_recalled() {
            self.purse.set_low(NO_MARK);
            if ceiling.free() <= 0 && self.words.are_heard() && !looks {
                self.purse.was_given_back();
                return None;
            }
            self.asked = None;
            return Some(self.words.give_back(ceiling));
        }
        if looks {
            self.asked = Some(0);
            return Some(self.words.ask(ceiling, 0, 0));
        }
        if ceiling.free() < self.purse.low() {
            let ahead = self.size.ahead(now_ms, self.words.committed(ceiling), 0);
            self.purse.set_low(NO_MARK);
            self.asked = Some(0);
            return Some(self.words.ask(ceiling, 0, ahead));
        }
        None
    }

    /// What the first that waits needs, and what all of them need.
    fn wanted(&self) -> (Option<i64>, i64) {
        let queue = self.purse.queue();
        let bounds = queue.waiting.iter().map(|one| one.bound);
        (bounds.clone().next(), bounds.fold(0, i64::saturating_add))
    }

    /// Says the newest word.
    fn say(&mut self, now_ms: u64) -> BoxFuture<'static, Result<Bytes, BusError>> {
        self.means.metrics.words.inc();
        let later_ms = CALL_MS.saturating_mul(self.failures.min(MAX_LATER).into());
        let wait_ms = CALL_MS.saturating_add(entropy::jitter_ms(later_ms));
        self.retry_ms = now_ms.saturating_add(wait_ms);
        let payload = form::encode(&Call::Lease(self.call.clone())).into();
        let (bus, service) = (Arc::clone(&self.means.bus), self.service);
        Box::pin(async move { bus.call(service, payload, ANSWER_MS).await })
    }

    fn hear(&mut self, answer: Result<Bytes, BusError>, calls: &mut Calls, now_ms: u64) {
        let answer = match answer.map(|bytes| form::decode::<LeaseAnswer>(&bytes)) {
            Ok(Ok(answer)) if self.fence.admits(answer.fence) => answer,
            // Another time that it was said may still be answered.
            Ok(_) | Err(_) if !calls.is_empty() => return,
            Ok(Ok(_)) => return self.failed(now_ms, "the authority is no longer in office"),
            Ok(Err(error)) => return self.failed(now_ms, &error.to_string()),
            Err(error) => return self.failed(now_ms, &error.to_string()),
        };
        calls.clear();
        (self.failures, self.retry_ms) = (0, 0);
        if let Some(leaf) = self.leaf.upgrade() {
            leaf.hear_path(&answer.path, answer.ends_at);
        }
        for looking in std::mem::take(&mut self.purse.queue().looking) {
            // Without figures it hears that there are none.
            let _ = answer.figures.map(|figures| looking.send(figures));
        }
        match answer.refused {
            Some(refused) => self.refused(refused, &answer, now_ms),
            None if answer.n == self.call.word.n => self.granted(answer.total, now_ms),
            None => self.failed(now_ms, "the answer is to another word"),
        }
    }

    fn granted(&mut self, total: i64, now_ms: u64) {
        self.held = None;
        let ceiling = &self.purse.ceiling;
        self.words.hear(ceiling, self.call.word.n, total);
        self.size.heard(now_ms, self.words.committed(ceiling));
        // Near the cap, where less than was asked for is granted, each request asks for itself.
        let in_full = self.asked.is_some() && total >= self.call.word.total;
        self.purse.set_low(if in_full { ceiling.free() / 2 } else { NO_MARK });
        if self.asked.is_none() {
            self.purse.was_given_back();
        }
    }

    fn refused(&mut self, refused: Refused, answer: &LeaseAnswer, now_ms: u64) {
        self.purse.set_low(NO_MARK);
        let Some(bound) = self.asked else {
            // What is given back is never refused.
            return self.failed(now_ms, "a word that gives back was refused");
        };
        let ends_at = answer.ends_at;
        let figures = refusal::figures(&refused, answer.figures.as_ref(), self.purse.unit, ends_at);
        let short = |fits: i64, figures| {
            Box::new(Short { unit: self.purse.unit, figures, fits: fits.max(0) })
        };
        let fits = refusal::available(answer.figures.as_ref());
        let fits = fits.saturating_add(self.purse.ceiling.free().max(0));
        // The authority does not know what of the need is this request.
        let hopeless = refusal::if_all_came_back(answer.figures.as_ref()) < bound;
        match (refused, figures) {
            (Refused::Exhausted { left, .. }, Some(figures)) => {
                let why = Stop::Exhausted(short(left.unwrap_or(fits), figures));
                self.exhausted((bound, left), why, now_ms);
            }
            (Refused::HeldElsewhere { .. }, Some(figures)) if hopeless => {
                let figures = Figures { retry_after_ms: None, ..figures };
                self.exhausted((bound, None), Stop::Exhausted(short(fits, figures)), now_ms);
            }
            (Refused::HeldElsewhere { .. }, Some(figures)) => {
                let why = Stop::HeldElsewhere(short(fits, figures));
                self.held = Some((fits, why));
                self.retry_ms = now_ms.saturating_add(HELD_PAUSE_MS);
            }
            (Refused::Fenced | Refused::Exhausted { .. } | Refused::HeldElsewhere { .. }, _) => {
                self.retire()
            }
        }
    }

    /// Refuses `bound`, and remembers what needs not be asked for again: what is over `left` as
    /// long as the cap stands, or as much as this for a moment.
    fn exhausted(&self, (bound, left): (i64, Option<i64>), why: Stop, now_ms: u64) {
        let over = left.unwrap_or_else(|| bound.saturating_sub(1));
        let until_ms = left.is_none().then(|| now_ms.saturating_add(REFUSED_MS));
        let mut queue = self.purse.queue();
        queue.refuse(over.saturating_add(1).min(bound), u64::MAX, &why);
        queue.memory = Some(Memory { over, until_ms, why });
    }

    /// This lease is granted nothing any more.
    fn retire(&mut self) {
        self.forget();
        self.purse.queue().refuse(0, u64::MAX, &Stop::Moved);
    }

    fn failed(&mut self, now_ms: u64, why: &str) {
        self.means.metrics.unanswered.inc();
        self.purse.queue().looking.clear();
        tracing::debug!(lease = %self.call.lease, why, "the authority of budgets did not answer");
        let wait_ms = RETRY_MS.saturating_mul(1 << self.failures.min(10)).min(MAX_RETRY_MS);
        self.failures = self.failures.saturating_add(1);
        self.retry_ms = now_ms.saturating_add(wait_ms / 2 + entropy::jitter_ms(wait_ms / 2));
    }

    /// The lease was replaced, nobody can use it any more, or the gateway ends.
    fn is_leaving(&self) -> bool {
        self.means.stopping.is_cancelled()
            || self.leaf.upgrade().is_none_or(|leaf| leaf.is_retired())
    }

    /// Nobody can reserve or settle any more, or the gateway ends, and everything is given back.
    fn is_over(&self) -> bool {
        let gone = self.leaf.strong_count() == 0 || self.means.stopping.is_cancelled();
        gone && self.purse.ceiling.free() <= 0 && self.words.are_heard()
    }

    /// Whether there may be something to do that nobody has told of.
    fn turn_attention(&self) -> bool {
        let waits = !self.purse.queue().waiting.is_empty();
        let attention = waits || self.asleep || self.is_leaving();
        let before = self.purse.set_attention(attention);
        // What was settled before the flag stood woke nobody.
        attention && !before
    }

    /// How long nothing happens if nobody comes.
    fn rest_ms(&self, now_ms: u64, asking: bool) -> u64 {
        let until = |steady_ms: u64| steady_ms.saturating_sub(now_ms).max(1);
        let rest_ms = if asking || self.retry_ms > now_ms {
            until(self.retry_ms)
        } else if self.is_leaving() {
            FORGET_MS
        } else {
            let wait_ms = if self.asleep { FORGET_MS } else { IDLE_MS };
            until(self.purse.touched_ms().saturating_add(wait_ms))
        };
        let held = self.held.as_ref();
        let held_ms = held.and_then(|_| self.purse.queue().held_until_ms(now_ms));
        rest_ms.min(held_ms.map_or(FORGET_MS, until))
    }

    fn is_forgotten(&self, now_ms: u64) -> bool {
        let untouched_ms = now_ms.saturating_sub(self.purse.touched_ms());
        self.asleep && untouched_ms >= FORGET_MS && !self.is_leaving()
    }

    /// Nobody has come for long: the next request gets another lease.
    fn forget(&mut self) {
        if let Some(leaf) = self.leaf.upgrade().filter(|leaf| !leaf.is_retired()) {
            self.means.leaves.remove(&leaf);
            leaf.retire();
        }
    }
}
