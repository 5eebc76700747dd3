//! What of a lease is free to be reserved, as one number that all cores change without a lock.
//!
//! Together with [`Words`] it is the atomic counterpart of the domain's
//! [`Holding`](turnpike_domain::ledger::Holding), which the tests compare it with.

use std::sync::atomic::{AtomicI64, Ordering};

use turnpike_domain::ledger::Word;

/// What was granted and is neither used nor reserved. Less than zero after requests that cost more
/// than they had reserved.
#[derive(Debug, Default)]
pub(super) struct Ceiling(AtomicI64);

/// The agent's side: what it said last, and what it was granted.
#[derive(Debug, Default)]
pub(super) struct Words {
    /// The number of the newest word.
    n: u64,
    /// The number of the newest word that was answered as heard.
    heard: u64,
    /// What was granted in all; lowered before it is given back.
    granted: i64,
}

impl Ceiling {
    /// What can be reserved without asking.
    pub(super) fn free(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }

    /// Reserves `bound` if it fits, and answers what is left.
    pub(super) fn reserve(&self, bound: i64) -> Option<i64> {
        let fits = |free: i64| (0..=free).contains(&bound).then(|| free - bound);
        let before = self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, fits).ok()?;
        Some(before - bound)
    }

    /// Ends a request that had reserved `bound` and cost `cost`.
    pub(super) fn settle(&self, bound: i64, cost: i64) {
        self.add(bound.saturating_sub(cost));
    }

    fn add(&self, amount: i64) {
        // The closure never declines, so that there is nothing to hear of it.
        let added = |free: i64| Some(free.saturating_add(amount));
        let _ = self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, added);
    }

    /// Takes all that is free, so that nobody can reserve it any more.
    fn take(&self) -> i64 {
        let taken = |free: i64| (free > 0).then_some(0);
        self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, taken).unwrap_or(0)
    }
}

impl Words {
    /// What requests have used and may still use.
    pub(super) fn committed(&self, ceiling: &Ceiling) -> i64 {
        self.granted.saturating_sub(ceiling.free())
    }

    /// Whether the authority has said of the newest word that it was heard.
    pub(super) const fn are_heard(&self) -> bool {
        self.heard == self.n
    }

    /// The word that asks for room for `bound`, and for `ahead` on top of it. It never names less
    /// than what is granted: that would give back what can still be reserved.
    pub(super) fn ask(&mut self, ceiling: &Ceiling, bound: i64, ahead: i64) -> Word {
        let least = self.committed(ceiling).saturating_add(bound);
        self.speak(least.saturating_add(ahead).max(self.granted), least)
    }

    /// The word that gives back all that is free. From now on it is not spent any more, whether or
    /// not the word arrives.
    pub(super) fn give_back(&mut self, ceiling: &Ceiling) -> Word {
        self.granted = self.granted.saturating_sub(ceiling.take());
        self.speak(self.granted, self.granted)
    }

    /// Hears what the authority holds the total to be after word `n`. Only the answer to the newest
    /// word counts: an older one may say more than was given back since.
    pub(super) fn hear(&mut self, ceiling: &Ceiling, n: u64, total: i64) {
        if n == self.n {
            ceiling.add(total.saturating_sub(self.granted));
            (self.granted, self.heard) = (total, n);
        }
    }

    const fn speak(&mut self, total: i64, least: i64) -> Word {
        self.n = self.n.saturating_add(1);
        Word { n: self.n, total, least }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;
    use std::thread::scope;

    use proptest::prelude::*;
    use turnpike_domain::ledger::Holding;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Reserve(i64),
        /// The oldest running request ends at this percentage of its bound.
        End(i64),
        Ask(i64, i64),
        GiveBack,
        /// The answer to the word that is so much older than the newest.
        Hear(u64, i64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (-5_i64..80).prop_map(Step::Reserve),
            (0_i64..200).prop_map(Step::End),
            (0_i64..80, 0_i64..80).prop_map(|(bound, ahead)| Step::Ask(bound, ahead)),
            Just(Step::GiveBack),
            (0_u64..3, 0_i64..400).prop_map(|(age, total)| Step::Hear(age, total)),
        ]
    }

    proptest! {
        #[test]
        fn it_does_what_the_rule_does(steps in prop::collection::vec(step(), 0..80)) {
            let (ceiling, mut words) = (Ceiling::default(), Words::default());
            let mut rule = Holding::default();
            let mut running = std::collections::VecDeque::new();
            for step in steps {
                match step {
                    Step::Reserve(bound) => {
                        let fits = ceiling.reserve(bound).is_some();
                        prop_assert_eq!(fits, rule.reserve(bound));
                        running.extend(fits.then_some(bound));
                    }
                    Step::End(percent) => {
                        if let Some(bound) = running.pop_front() {
                            let cost = bound * percent / 100;
                            ceiling.settle(bound, cost);
                            rule.settle(bound, cost);
                        }
                    }
                    Step::Ask(bound, ahead) => {
                        prop_assert_eq!(words.ask(&ceiling, bound, ahead), rule.ask(bound, ahead));
                    }
                    Step::GiveBack => {
                        prop_assert_eq!(words.give_back(&ceiling), rule.give_back());
                    }
                    Step::Hear(age, total) => {
                        let n = words.n.saturating_sub(age);
                        words.hear(&ceiling, n, total);
                        rule.hear(n, total);
                    }
                }
                prop_assert_eq!(ceiling.free(), rule.free());
            }
        }
    }

    #[test]
    fn no_thread_reserves_what_was_given_back_or_not_granted() {
        const THREADS: i64 = 4;
        const REQUESTS: i64 = 20_000;
        let ceiling = Ceiling::default();
        let (ended, spent) = (AtomicBool::new(false), AtomicI64::new(0));
        let mut words = scope(|threads| {
            let spend = |bound: i64| {
                while !ended.load(Ordering::SeqCst) {
                    if ceiling.reserve(bound).is_some() {
                        ceiling.settle(bound, bound - 1);
                        spent.fetch_add(bound - 1, Ordering::SeqCst);
                    }
                }
            };
            for thread in 0..THREADS {
                threads.spawn(move || spend(10 + thread));
            }
            let mut words = Words::default();
            // The authority grants what is asked for, and takes what is given back.
            for turn in 0.. {
                let word = match turn % 3 {
                    0 => words.give_back(&ceiling),
                    _ => words.ask(&ceiling, 40, 100),
                };
                words.hear(&ceiling, word.n, word.total);
                if spent.load(Ordering::SeqCst) > 10 * REQUESTS {
                    break;
                }
                std::thread::yield_now();
            }
            ended.store(true, Ordering::SeqCst);
            words
        });
        // What is held after everything was given back is what was spent, to the unit.
        assert_eq!(words.give_back(&ceiling).total, spent.into_inner());
        assert_eq!(ceiling.free(), 0);
    }
}
