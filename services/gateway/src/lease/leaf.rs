//! One lease: the budgets of a key on one path, and what its running requests have reserved.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use turnpike_domain::admit::Figures;
use turnpike_domain::id::{EphemeralId, KeyId, LeaseId, OrgId};
use turnpike_domain::ledger::BudgetFigures;
use turnpike_domain::limit::{Account, Unit};
use turnpike_domain::settle::Settlement;
use turnpike_domain::time::{Timestamp, Window};
use turnpike_runtime::clock::Clock;

use super::UNITS;
use super::purse::{Purse, Stop};
use super::refusal;
use super::terms::{CAPS, Shape, Terms};

/// A lease is not replaced sooner after it was made, although its windows seem to be over: the
/// authority's day may be behind ours, and would name the same windows again.
const RENEW_MS: u64 = 1_000;

/// What a request may use, in USD and in tokens.
pub(super) type Amounts = [i64; 2];

/// One lease.
#[derive(Debug)]
pub(super) struct Leaf {
    pub(super) org: OrgId,
    pub(super) key: KeyId,
    pub(super) lease: LeaseId,
    shape: Shape,
    /// The caps of the path as they were last seen, for one that is lowered.
    caps: [AtomicI64; CAPS],
    /// Steady time when it was made.
    made_ms: u64,
    /// When its first window ends, by the authority's word; `u64::MAX`: never, or not known yet.
    ends_at: AtomicU64,
    /// Another lease has taken its place.
    retired: AtomicBool,
    /// By unit; `None` where no cap of the unit stands on the path.
    purses: [Option<Arc<Purse>>; 2],
}

/// What is left of the budget of a path that has the least, in one unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left {
    /// The budget, with what is used and held of it; only its unit, if the authority is away.
    pub figures: Option<Figures>,
    /// What requests can still use, at least on this gateway.
    pub left: Option<i64>,
}

/// What one request has reserved. Dropped without [`Grip::settle`] it has cost nothing.
#[derive(Debug)]
pub struct Grip {
    leaf: Arc<Leaf>,
    amounts: Amounts,
}

const fn place(unit: Unit) -> usize {
    match unit {
        Unit::Usd => 0,
        Unit::Tokens => 1,
    }
}

impl Leaf {
    pub(super) fn new(terms: &Terms, lease: LeaseId, now_ms: u64) -> Self {
        Self {
            org: terms.org,
            key: terms.shape.key,
            lease,
            shape: terms.shape,
            caps: terms.caps.map(AtomicI64::new),
            made_ms: now_ms,
            ends_at: AtomicU64::new(u64::MAX),
            retired: AtomicBool::new(false),
            purses: UNITS.map(|unit| {
                terms.shape.is_capped(unit).then(|| Arc::new(Purse::new(unit, now_ms)))
            }),
        }
    }

    /// Whether a request may be admitted on it: its path is still the key's.
    pub(super) fn serves(&self, shape: &Shape, now: Timestamp, now_ms: u64) -> bool {
        #[cfg(feature = "mutations")]
        if super::mutation::outlives_its_path() {
            return true;
        }
        let is_over = now.0 >= self.ends_at.load(Ordering::Relaxed)
            && now_ms.saturating_sub(self.made_ms) >= RENEW_MS;
        self.shape == *shape && !is_over && !self.is_retired()
    }

    /// Notes the caps as they are. A changed one may grant what was refused; a lowered one binds
    /// what is free.
    pub(super) fn see(&self, caps: &[i64; CAPS]) {
        let known = self.caps.iter().zip(caps);
        if known.clone().all(|(known, cap)| known.load(Ordering::Relaxed) == *cap) {
            return;
        }
        let lowered = known.filter(|(known, cap)| known.swap(**cap, Ordering::Relaxed) > **cap);
        let lowered = lowered.count() > 0;
        for purse in self.purses() {
            purse.forget();
            if lowered {
                purse.recall();
            }
        }
    }

    /// Reserves without waiting.
    pub(super) fn reserve(self: &Arc<Self>, amounts: Amounts, now_ms: u64) -> Option<Grip> {
        let mut grip = Grip { leaf: Arc::clone(self), amounts: [0; 2] };
        for purse in self.purses() {
            let place = place(purse.unit);
            if !purse.reserve(amounts[place], now_ms) {
                return None;
            }
            grip.amounts[place] = amounts[place];
        }
        Some(grip)
    }

    /// Reserves, and waits for what is not here.
    pub(super) async fn obtain(
        self: &Arc<Self>,
        amounts: Amounts,
        clock: &dyn Clock,
    ) -> Result<Grip, Stop> {
        let mut grip = Grip { leaf: Arc::clone(self), amounts: [0; 2] };
        for purse in self.purses() {
            let place = place(purse.unit);
            if !purse.reserve(amounts[place], clock.boot_ms()) {
                grip.join(purse.wait(self, amounts[place], clock).await?);
            } else {
                grip.amounts[place] = amounts[place];
            }
        }
        Ok(grip)
    }

    /// What the authority says is left, by unit.
    pub(super) async fn look(&self, clock: &dyn Clock) -> [Option<Left>; 2] {
        let mut left = [None; 2];
        for purse in self.purses() {
            let said = purse.look(clock).await;
            left[place(purse.unit)] = Some(Left::of(purse, said));
        }
        left
    }

    /// What a purse's agent hands to a request that waited.
    pub(super) fn grip(self: Arc<Self>, unit: Unit, bound: i64) -> Grip {
        let mut grip = Grip { leaf: self, amounts: [0; 2] };
        grip.amounts[place(unit)] = bound;
        grip
    }

    /// Notes on which path the authority has it, and until when that holds. If it is not the path
    /// that was meant, the authority knew more: the lease is over as soon as it can be replaced,
    /// also if the organisation comes back to what was meant. Of a lease that was refused all it
    /// asked for the authority keeps no path: the other unit may hear of the next window, and what
    /// this one was told ends with the first.
    pub(super) fn hear_path(&self, path: &[(Account, Window)], ends_at: Option<Timestamp>) {
        let is_meant = self.shape.is_path(path, ends_at);
        let ends_at = if is_meant { ends_at.map_or(u64::MAX, |end| end.0) } else { 0 };
        self.ends_at.fetch_min(ends_at, Ordering::Relaxed);
    }

    /// Another lease takes its place: what is free goes back, also later.
    pub(super) fn retire(&self) {
        self.retired.store(true, Ordering::SeqCst);
        self.purses().for_each(|purse| purse.news.notify_one());
    }

    pub(super) fn is_retired(&self) -> bool {
        self.retired.load(Ordering::SeqCst)
    }

    /// Wants back what is free, if `account` is on the path.
    pub(super) fn recall(&self, account: Account, unit: Unit) {
        if self.shape.holds(account) {
            self.purses().filter(|purse| purse.unit == unit).for_each(|purse| purse.recall());
        }
    }

    /// The token whose own budget stands at the leaf of its path.
    pub(super) const fn token(&self) -> Option<EphemeralId> {
        self.shape.token
    }

    pub(super) fn purses(&self) -> impl Iterator<Item = &Arc<Purse>> {
        self.purses.iter().flatten()
    }
}

/// The last who could reserve or settle is gone: the agents give the rest back, and end.
impl Drop for Leaf {
    fn drop(&mut self) {
        self.purses().for_each(|purse| purse.news.notify_one());
    }
}

impl Left {
    fn of(purse: &Purse, said: Option<BudgetFigures>) -> Self {
        let figures = said.map(|said| refusal::told(&said, purse.unit));
        let free = purse.ceiling.free().max(0);
        let left = said.map(|said| refusal::available(Some(&said)).max(0).saturating_add(free));
        Self { figures, left }
    }
}

impl Grip {
    /// The lease that it is reserved on.
    #[must_use]
    pub fn lease(&self) -> LeaseId {
        self.leaf.lease
    }

    /// Ends the request at what it truly cost.
    pub fn settle(mut self, settlement: &Settlement) {
        self.end(UNITS.map(|unit| settlement.amount(unit)));
    }

    /// Takes over what another grip on the same lease has reserved.
    pub(crate) fn join(&mut self, mut other: Self) {
        let taken = std::mem::take(&mut other.amounts);
        for (mine, taken) in self.amounts.iter_mut().zip(taken) {
            *mine = mine.saturating_add(taken);
        }
    }

    fn end(&mut self, costs: Amounts) {
        let reserved = std::mem::take(&mut self.amounts);
        for purse in self.leaf.purses() {
            let place = place(purse.unit);
            if (reserved[place], costs[place]) != (0, 0) {
                purse.settle(reserved[place], costs[place]);
            }
        }
    }
}

impl Drop for Grip {
    fn drop(&mut self) {
        self.end([0; 2]);
    }
}
