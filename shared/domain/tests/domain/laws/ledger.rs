//! Laws of money in escrow: gateways, an authority, and a network between them that loses, repeats
//! and reorders. The numbers are those of the invariants in the design of limits and money.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;
use turnpike_domain::id::{KeyId, ProjectId};
use turnpike_domain::ledger::{Holding, Lease, Level, Refused, Row, Standing, Word};
use turnpike_domain::limit::{Account, Unit};
use turnpike_domain::state::Cap;
use turnpike_domain::time::{Reset, Window};

use crate::arbitrary::cases;

const GATEWAYS: usize = 3;
const KEYS: usize = 3;

/// What may happen next. Numbers are taken modulo what there is.
#[derive(Clone, Debug)]
enum Step {
    /// A gateway asks for room for a request of this bound, and for as much ahead.
    Ask(usize, usize, i64, i64),
    GiveBack(usize, usize),
    /// A message arrives, and perhaps once more later.
    Deliver(usize, bool),
    Drop(usize),
    Start(usize, usize, i64),
    /// A request ends at this percentage of its bound.
    End(usize, i64),
    Book(usize),
    Cap(usize, i64),
    Lose(usize, usize),
    Fence(usize),
    Release(usize, usize),
    ReleaseSome(usize, usize, i64),
}

#[derive(Clone, Debug)]
enum Message {
    Word(usize, usize, Word),
    Answer(usize, usize, u64, i64),
}

#[derive(Debug, Default)]
struct Life {
    rows: BTreeMap<Account, Row>,
    caps: BTreeMap<Account, Cap>,
    /// The highest that each cap ever was: a lowered one binds only what comes after it.
    highest: BTreeMap<Account, i64>,
    leases: BTreeMap<(usize, usize), Lease>,
    fenced: [bool; GATEWAYS],
    holdings: BTreeMap<(usize, usize), Holding>,
    network: Vec<Message>,
    running: Vec<(usize, usize, i64)>,
    spools: [Vec<(usize, i64)>; GATEWAYS],
    /// Per account: what was truly spent, what of it lay above its reservation, what was released.
    spent: BTreeMap<Account, i64>,
    above: BTreeMap<Account, i64>,
    released: BTreeMap<Account, i64>,
    booked: BTreeMap<Account, i64>,
}

/// Two keys in a project, one beside it, one wallet over all.
fn accounts(key: usize) -> Vec<Account> {
    let own = Account::Key(KeyId(u128::try_from(key).expect("few")));
    if key < 2 {
        vec![own, Account::Project(ProjectId(1)), Account::Wallet]
    } else {
        vec![own, Account::Wallet]
    }
}

fn all_accounts() -> Vec<Account> {
    let mut all: Vec<_> = (0..KEYS).flat_map(accounts).collect();
    all.sort_unstable();
    all.dedup();
    all
}

impl Life {
    fn new(caps: &[i64]) -> Self {
        let mut life = Self::default();
        for (account, amount) in all_accounts().into_iter().zip(caps.iter().cycle()) {
            life.cap(account, *amount);
        }
        life
    }

    fn cap(&mut self, account: Account, amount: i64) {
        let cap = self.caps.entry(account).or_default();
        *cap = Cap { amount: Some(amount), reset: Reset::None, revision: cap.revision + 1 };
        let highest = self.highest.entry(account).or_default();
        *highest = (*highest).max(amount);
    }

    /// What the authority does in one commit: reads the path, changes lease and rows, writes both.
    fn commit<T>(
        &mut self,
        gateway: usize,
        key: usize,
        change: impl FnOnce(&mut Lease, &mut [Level]) -> T,
    ) -> T {
        let mut path: Vec<Level> = accounts(key)
            .into_iter()
            .map(|account| {
                let row = self.rows.get(&account).copied().unwrap_or_default();
                Level { account, window: Window(0), cap: self.caps[&account], row }
            })
            .collect();
        let lease = self.leases.entry((gateway, key)).or_default();
        let result = change(lease, &mut path);
        self.rows.extend(path.iter().map(|level| (level.account, level.row)));
        result
    }

    fn step(&mut self, step: Step) -> Result<(), TestCaseError> {
        match step {
            Step::Ask(gateway, key, bound, ahead) => {
                let word = self.holdings.entry((gateway, key)).or_default().ask(bound, ahead);
                self.network.push(Message::Word(gateway, key, word));
            }
            Step::GiveBack(gateway, key) => {
                let word = self.holdings.entry((gateway, key)).or_default().give_back();
                self.network.push(Message::Word(gateway, key, word));
            }
            Step::Deliver(place, again) => {
                if !self.network.is_empty() {
                    let place = place % self.network.len();
                    let message = if again {
                        self.network[place].clone()
                    } else {
                        self.network.swap_remove(place)
                    };
                    self.deliver(message)?;
                }
            }
            Step::Drop(place) => {
                if !self.network.is_empty() {
                    self.network.swap_remove(place % self.network.len());
                }
            }
            Step::Start(gateway, key, bound) => {
                if self.holdings.entry((gateway, key)).or_default().reserve(bound) {
                    self.running.push((gateway, key, bound));
                }
            }
            Step::End(place, percent) => {
                if !self.running.is_empty() {
                    let (gateway, key, bound) =
                        self.running.swap_remove(place % self.running.len());
                    self.end(gateway, key, bound, bound * percent / 100);
                }
            }
            Step::Book(gateway) => self.book(gateway),
            Step::Cap(account, amount) => {
                let all = all_accounts();
                self.cap(all[account % all.len()], amount);
            }
            Step::Lose(gateway, key) => self.commit(gateway, key, Lease::lose),
            Step::Fence(gateway) => self.fenced[gateway] = true,
            Step::Release(gateway, key) => {
                let held = self.leases.get(&(gateway, key)).map_or(0, Lease::hold);
                self.commit(gateway, key, Lease::free);
                for account in accounts(key) {
                    *self.released.entry(account).or_default() += held;
                }
            }
            Step::ReleaseSome(gateway, key, amount) => {
                let released = self.commit(gateway, key, |lease, path| lease.release(path, amount));
                prop_assert!((0..=amount).contains(&released));
                for account in accounts(key) {
                    *self.released.entry(account).or_default() += released;
                }
            }
        }
        self.check()
    }

    fn deliver(&mut self, message: Message) -> Result<(), TestCaseError> {
        let (gateway, key, word) = match message {
            Message::Word(gateway, key, word) => (gateway, key, word),
            Message::Answer(gateway, key, n, total) => {
                self.holdings.entry((gateway, key)).or_default().hear(n, total);
                return Ok(());
            }
        };
        let gateways = u32::try_from(GATEWAYS).expect("few");
        let standing = Standing { fenced: self.fenced[gateway], gateways };
        let before = self.leases.get(&(gateway, key)).copied().unwrap_or_default();
        let heard = self.commit(gateway, key, |lease, path| lease.hear(path, &word, standing));
        let lease = self.leases[&(gateway, key)];
        match heard {
            Ok(()) => {
                self.network.push(Message::Answer(gateway, key, lease.n, lease.total));
                if lease.hold() > before.hold() {
                    self.no_grant_above_a_cap(key)?;
                    prop_assert!(lease.total >= word.least && lease.total <= word.total);
                    prop_assert!(!standing.fenced && !lease.lost);
                }
            }
            Err(refused) => {
                prop_assert_eq!(lease, before, "a refusal changes nothing");
                if let Refused::Exhausted { account, left, .. } = refused {
                    let row = self.rows[&account];
                    prop_assert_eq!(left.is_some(), row.held == 0 && row.lost == 0);
                }
            }
        }
        Ok(())
    }

    /// Invariant 1.
    fn no_grant_above_a_cap(&self, key: usize) -> Result<(), TestCaseError> {
        for account in accounts(key) {
            let cap = self.caps[&account].amount.expect("all are capped");
            prop_assert!(self.rows[&account].used() <= cap, "{:?}", account);
        }
        Ok(())
    }

    fn end(&mut self, gateway: usize, key: usize, bound: i64, cost: i64) {
        self.holdings.entry((gateway, key)).or_default().settle(bound, cost);
        self.spools[gateway].push((key, cost));
        for account in accounts(key) {
            *self.spent.entry(account).or_default() += cost;
            *self.above.entry(account).or_default() += (cost - bound).max(0);
        }
    }

    fn book(&mut self, gateway: usize) {
        if self.spools[gateway].is_empty() {
            return;
        }
        let (key, cost) = self.spools[gateway].remove(0);
        self.commit(gateway, key, |lease, path| lease.book(path, cost));
        for account in accounts(key) {
            *self.booked.entry(account).or_default() += cost;
        }
    }

    fn check(&self) -> Result<(), TestCaseError> {
        for account in all_accounts() {
            let row = self.rows.get(&account).copied().unwrap_or_default();
            let sum = |lost: bool| -> i64 {
                let on = |key: usize| accounts(key).contains(&account);
                let leases = self.leases.iter();
                leases
                    .filter(|((_, key), lease)| on(*key) && lease.lost == lost)
                    .map(|(_, lease)| lease.hold())
                    .sum()
            };
            prop_assert_eq!((row.held, row.lost), (sum(false), sum(true)), "{:?}", account);
            let of = |figures: &BTreeMap<Account, i64>| {
                figures.get(&account).copied().unwrap_or_default()
            };
            prop_assert_eq!(row.settled, of(&self.booked));
            // Invariant 3, with what still runs counted at its bound.
            let running: i64 = self
                .running
                .iter()
                .filter(|(_, key, _)| accounts(*key).contains(&account))
                .map(|(_, _, bound)| bound)
                .sum();
            let bound = of(&self.highest) + of(&self.above) + of(&self.released);
            prop_assert!(of(&self.spent) + running <= bound, "{:?} is overspent", account);
        }
        // Invariant 2, but for what was released under the gateway's hands.
        for ((_, key), holding) in &self.holdings {
            let own = accounts(*key)[0];
            let excess = [&self.above, &self.released].map(|figures| figures.get(&own).copied());
            prop_assert!(holding.free() >= -excess.into_iter().flatten().sum::<i64>());
        }
        Ok(())
    }

    /// Everything ends, everything is said and heard, everything is booked.
    fn rest(&mut self) -> Result<(), TestCaseError> {
        while let Some((gateway, key, bound)) = self.running.pop() {
            self.end(gateway, key, bound, bound);
        }
        for (gateway, key) in self.holdings.keys().copied().collect::<Vec<_>>() {
            let word = self.holdings.entry((gateway, key)).or_default().give_back();
            self.deliver(Message::Word(gateway, key, word))?;
        }
        for gateway in 0..GATEWAYS {
            while !self.spools[gateway].is_empty() {
                self.book(gateway);
            }
        }
        self.check()
    }
}

fn step() -> impl Strategy<Value = Step> {
    let on = || (0..GATEWAYS, 0..KEYS);
    prop_oneof![
        6 => (on(), 0_i64..60, 0_i64..60).prop_map(|((g, k), bound, ahead)| {
            Step::Ask(g, k, bound, ahead)
        }),
        2 => on().prop_map(|(g, k)| Step::GiveBack(g, k)),
        12 => (any::<usize>(), prop::bool::weighted(0.2)).prop_map(|(place, again)| {
            Step::Deliver(place, again)
        }),
        1 => any::<usize>().prop_map(Step::Drop),
        8 => (on(), 0_i64..60).prop_map(|((g, k), bound)| Step::Start(g, k, bound)),
        6 => (any::<usize>(), 0_i64..120).prop_map(|(place, percent)| Step::End(place, percent)),
        6 => (0..GATEWAYS).prop_map(Step::Book),
        1 => (any::<usize>(), 0_i64..300).prop_map(|(account, amount)| Step::Cap(account, amount)),
        1 => on().prop_map(|(g, k)| Step::Lose(g, k)),
        1 => (0..GATEWAYS).prop_map(Step::Fence),
        1 => on().prop_map(|(g, k)| Step::Release(g, k)),
        1 => (on(), 0_i64..60).prop_map(|((g, k), amount)| Step::ReleaseSome(g, k, amount)),
    ]
}

proptest! {
    #![proptest_config(cases(600))]

    #[test]
    fn nobody_spends_more_than_there_is(
        caps in vec(50_i64..300, 1..5),
        steps in vec(step(), 0..150),
    ) {
        let mut life = Life::new(&caps);
        for step in steps {
            life.step(step)?;
        }
        life.rest()?;
        for account in all_accounts() {
            let row = life.rows.get(&account).copied().unwrap_or_default();
            // Invariants 4 and 5.
            prop_assert_eq!(row.settled, life.spent.get(&account).copied().unwrap_or_default());
            prop_assert_eq!((row.held, row.lost), (0, 0), "{:?} holds for nobody", account);
        }
    }

    #[test]
    fn each_threshold_is_told_once_for_each_cap(
        bookings in vec((0_i64..80, change_of_cap()), 0..40),
        percents in prop::sample::subsequence(vec![10_u8, 50, 80, 95, 100], 0..5),
    ) {
        let cap = Cap { amount: Some(500), reset: Reset::None, revision: 1 };
        let (account, window) = (Account::Wallet, Window(0));
        let mut level = Level { account, window, cap, row: Row::default() };
        let mut told = Vec::new();
        for (amount, cap) in bookings {
            level.row.settled += amount;
            if let Some(amount) = cap {
                level.cap.amount = amount;
                level.cap.revision += 1;
            }
            told.extend(level.crossed(Unit::Usd, &percents));
            if let Some(cap) = level.cap.amount {
                let now = |percent: Option<u8>| {
                    told.iter().any(|due| {
                        due.revision == level.cap.revision && due.percent == percent
                    })
                };
                let reached = |percent: i64| level.row.settled * 100 >= cap * percent;
                prop_assert_eq!(now(None), reached(100));
                for percent in &percents {
                    prop_assert_eq!(now(Some(*percent)), reached(i64::from(*percent)));
                }
            }
        }
        let count = told.len();
        told.sort_unstable();
        told.dedup();
        prop_assert_eq!(told.len(), count, "nothing is told twice");
    }
}

/// Sometimes the cap changes, sometimes it goes.
fn change_of_cap() -> impl Strategy<Value = Option<Option<i64>>> {
    prop::option::weighted(0.2, prop::option::of(0_i64..900))
}
