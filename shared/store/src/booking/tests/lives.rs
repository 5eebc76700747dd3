//! Lives of an authority: gateways that crash, a network that loses, repeats and reorders, a store
//! that fails, owners that are replaced, caps that change. Nothing is granted twice.

use std::collections::BTreeMap;

use turnpike_domain::command::Command;
use turnpike_domain::event::Event;
use turnpike_domain::id::LeaseId;
use turnpike_domain::ledger::{Holding, Refused, Row, Standing};
use turnpike_domain::limit::{Account, Unit};
use turnpike_domain::time::Window;
use turnpike_wire::authority::{EndRuns, LeaseAnswer, LeaseCall};

use super::house::*;
use super::*;
use crate::execute::ExecuteError;
use crate::ledger::rows::LeaseRow;
use crate::log;

const STEPS: usize = 400;
const GATEWAYS: usize = 3;
const KEYS: [KeyId; 2] = [KEY, KeyId(3)];
const ACCOUNTS: [Account; 4] = [OWN, Account::Key(KEYS[1]), TEAM, Account::Wallet];

/// One run of a gateway.
struct Run {
    epoch: EpochId,
    holdings: BTreeMap<KeyId, (LeaseId, Holding)>,
    running: Vec<(KeyId, i64)>,
    records: Vec<Spend>,
}

struct Life {
    seed: u64,
    house: House,
    hostile: Arc<Hostile>,
    bookers: Vec<Booker>,
    /// The runs of each gateway, the present one last.
    gateways: [Vec<Run>; GATEWAYS],
    words: Vec<(usize, Ask)>,
    ends: Vec<(usize, EndRuns)>,
    caps: BTreeMap<Account, i64>,
    highest: BTreeMap<Account, i64>,
    spent: BTreeMap<Account, i64>,
    above: BTreeMap<Account, i64>,
    rows: BTreeMap<Account, Row>,
    number: u128,
}

fn any(below: usize) -> usize {
    usize::try_from(entropy::below(below.try_into().unwrap())).unwrap()
}

fn amount(below: usize) -> i64 {
    any(below).try_into().unwrap()
}

fn path(key: KeyId) -> [Account; 3] {
    [Account::Key(key), TEAM, Account::Wallet]
}

fn gateway_id(gateway: usize) -> GatewayId {
    GatewayId(u128::try_from(gateway).unwrap() + 1)
}

impl Life {
    async fn new(seed: u64) -> Self {
        entropy::seed_this_thread(seed);
        let hostile = Arc::new(Hostile::default());
        let house = House::new(Arc::<Hostile>::clone(&hostile)).await;
        house.make(KEYS[1], capped(60), Some(PROJECT)).await;
        house.limit(KEY, capped(40)).await;
        let limits = Some(capped(80));
        house.done(Command::ChangeProject { project: PROJECT, name: None, limits }).await;
        let bookers = vec![house.owner().await];
        let caps = ACCOUNTS.into_iter().zip([40, 60, 80, 1_000]).collect();
        let mut life = Self {
            seed,
            house,
            hostile,
            bookers,
            gateways: Default::default(),
            words: Vec::new(),
            ends: Vec::new(),
            highest: BTreeMap::clone(&caps),
            caps,
            spent: BTreeMap::new(),
            above: BTreeMap::new(),
            rows: BTreeMap::new(),
            number: 1_000,
        };
        for gateway in 0..GATEWAYS {
            life.start_gateway(gateway);
        }
        life
    }

    fn id(&mut self) -> u128 {
        self.number += 1;
        self.number
    }

    fn present(&mut self, gateway: usize) -> &mut Run {
        self.gateways[gateway].last_mut().unwrap()
    }

    fn start_gateway(&mut self, gateway: usize) {
        let epoch = EpochId(self.id());
        let (holdings, running, records) = (BTreeMap::new(), Vec::new(), Vec::new());
        let last = |run: &Run| (run.epoch, u64::try_from(run.records.len()).unwrap());
        let places = self.gateways[gateway].iter().map(last).collect();
        self.ends.push((gateway, EndRuns { run: epoch, places, torn: false }));
        self.gateways[gateway].push(Run { epoch, holdings, running, records });
    }

    /// The last owner, mostly.
    fn booker(&mut self) -> &mut Booker {
        let count = self.bookers.len();
        let index = if any(10) == 0 { any(count) } else { count - 1 };
        &mut self.bookers[index]
    }

    fn speak(&mut self, gateway: usize, key: KeyId, asks: bool) {
        let fresh = LeaseId(self.id());
        let run = self.present(gateway);
        let (lease, holding) = run.holdings.entry(key).or_insert((fresh, Holding::default()));
        let word = if asks { holding.ask(amount(12), amount(12)) } else { holding.give_back() };
        let (lease, epoch) = (*lease, run.epoch);
        let call = LeaseCall { epoch, lease, key, unit: Unit::Usd, word, token: None };
        let standing = Standing { fenced: false, gateways: 3 };
        let ask = Ask { org: ORG, gateway: gateway_id(gateway), call, standing };
        self.words.push((gateway, ask));
    }

    /// Some words arrive, in any order; some again later.
    async fn hear(&mut self) {
        let mut heard = Vec::new();
        for _ in 0..=any(8) {
            if self.words.is_empty() {
                break;
            }
            let index = any(self.words.len());
            let again = any(4) == 0;
            let word = self.words[index].clone();
            if !again {
                self.words.swap_remove(index);
            }
            heard.push(word);
        }
        let asks: Vec<Ask> = heard.iter().map(|(_, ask)| ask.clone()).collect();
        let Ok(answers) = self.booker().hear(&asks, NOW).await else {
            self.words.extend(heard);
            return;
        };
        for ((gateway, ask), answer) in heard.into_iter().zip(answers) {
            if any(6) > 0 {
                self.answered(gateway, &ask, &answer);
            }
        }
    }

    fn answered(&mut self, gateway: usize, ask: &Ask, answer: &LeaseAnswer) {
        let key = ask.call.key;
        let run = self.present(gateway);
        let Some((lease, holding)) = run.holdings.get_mut(&key) else { return };
        if *lease != ask.call.lease {
            return;
        }
        holding.hear(answer.n, answer.total);
        let is_idle = run.running.iter().all(|(on, _)| *on != key);
        if answer.refused == Some(Refused::Fenced) && is_idle {
            self.speak(gateway, key, false);
            self.present(gateway).holdings.remove(&key);
        }
    }

    fn start(&mut self, gateway: usize, key: KeyId) {
        let run = self.present(gateway);
        let bound = amount(12);
        let Some((_, holding)) = run.holdings.get_mut(&key) else { return };
        if holding.reserve(bound) {
            run.running.push((key, bound));
        }
    }

    fn end(&mut self, gateway: usize, percent: i64) {
        let request = RequestId(self.id());
        let run = self.present(gateway);
        if run.running.is_empty() {
            return;
        }
        let (key, bound) = run.running.swap_remove(any(run.running.len()));
        let cost = bound * percent / 100;
        let (lease, holding) = run.holdings.get_mut(&key).unwrap();
        holding.settle(bound, cost);
        let (lease, usage) = (Some(*lease), Usage::default());
        let spend = Spend { request, key, lease, cost: NanoUsd(cost), at: NOW, usage, ..record(1) };
        run.records.push(spend);
        for account in path(key) {
            *self.spent.entry(account).or_default() += cost;
            *self.above.entry(account).or_default() += (cost - bound).max(0);
        }
    }

    /// The gateway dies: what ran is booked at its bound by the next run, from the spool.
    fn crash(&mut self, gateway: usize) {
        while !self.present(gateway).running.is_empty() {
            self.end(gateway, 100);
        }
        self.start_gateway(gateway);
    }

    async fn book(&mut self, gateway: usize) -> Option<Booked> {
        let index = any(self.gateways[gateway].len());
        let run = &self.gateways[gateway][index];
        let from = any(run.records.len() + 1);
        let until = (from + any(6)).min(run.records.len());
        let delivery = delivery(gateway, run, from, until);
        self.booker().book(&[delivery], NOW).await.ok()?.pop()
    }

    async fn cap(&mut self, account: Account, cap: i64) {
        let command = match account {
            Account::Key(key) => change(key, capped(cap)),
            Account::Project(project) => {
                Command::ChangeProject { project, name: None, limits: Some(capped(cap)) }
            }
            Account::Wallet | Account::Ephemeral(_) => return,
        };
        let order = self.house.order(command);
        for _ in 0..100 {
            let attempt = crate::orders::attempt(1, order.id.0);
            match self.house.executor.organisation(ORG, &order, attempt).await {
                Ok(_) => break,
                Err(ExecuteError::Store(_)) => {}
                Err(other) => panic!("seed {}: {other}", self.seed),
            }
        }
        let highest = self.highest.entry(account).or_default();
        *highest = (*highest).max(cap);
        self.caps.insert(account, cap);
    }

    async fn step(&mut self) {
        let (gateway, key) = (any(GATEWAYS), KEYS[any(2)]);
        match any(60) {
            0..14 => self.speak(gateway, key, true),
            14 => self.speak(gateway, key, false),
            15..29 => self.hear().await,
            29..43 => self.start(gateway, key),
            43..51 => self.end(gateway, amount(120)),
            51..55 => drop(self.book(gateway).await),
            55 if any(4) == 0 => self.cap(ACCOUNTS[any(3)], amount(120)).await,
            56 => drop(self.booker().lose(ORG, gateway_id(gateway)).await),
            57 if any(2) == 0 => self.crash(gateway),
            58 if any(4) == 0 => {
                self.house.clock.sleep(TAKE_OVER_MS).await;
                let owner = self.house.owner().await;
                self.bookers.push(owner);
            }
            _ if !self.ends.is_empty() => {
                let (gateway, call) = self.ends[any(self.ends.len())].clone();
                let _said_again = self.booker().end_runs(ORG, gateway_id(gateway), &call).await;
            }
            _ => {}
        }
    }

    /// The ledger's own sums, and the invariants 1 to 3.
    async fn check(&mut self, caps_before: &BTreeMap<Account, i64>) {
        let seed = self.seed;
        self.hostile.set_failing(false);
        let snapshot = self.house.kv.snapshot().await.unwrap();
        let mut leases = Vec::new();
        for gateway in 0..GATEWAYS {
            let scan = keyspace::leases(ORG, gateway_id(gateway), 1_000);
            let rows = snapshot.scan(scan).await.unwrap();
            leases.extend(rows.iter().map(|(_, row)| LeaseRow::read(row).unwrap()));
        }
        for account in ACCOUNTS {
            let row = crate::ledger::row(&*snapshot, ORG, account, Unit::Usd, Window(0));
            let row = row.await.unwrap();
            let on = |lease: &&LeaseRow| lease.path.iter().any(|(on, _)| *on == account);
            let sum = |lost: bool| {
                let of = leases.iter().filter(on).filter(|row| row.lease.lost == lost);
                of.map(|row| row.lease.hold()).sum::<i64>()
            };
            assert_eq!((row.held, row.lost), (sum(false), sum(true)), "seed {seed}: {account:?}");
            let before = self.rows.insert(account, row).unwrap_or_default();
            if row.held + row.lost > before.held + before.lost {
                let cap = caps_before[&account].max(self.caps[&account]);
                assert!(row.used() <= cap, "seed {seed}: {account:?} was granted above its cap");
            }
            let of = |figures: &BTreeMap<Account, i64>| figures.get(&account).copied();
            let running = self.gateways.iter().flatten().flat_map(|run| &run.running);
            let running: i64 =
                running.filter(|(key, _)| path(*key).contains(&account)).map(|(_, it)| it).sum();
            let spent = of(&self.spent).unwrap_or_default() + running;
            let most = self.highest[&account] + of(&self.above).unwrap_or_default();
            assert!(spent <= most, "seed {seed}: {account:?} is overspent: {spent} of {most}");
        }
        self.hostile.set_failing(true);
    }

    /// Everything ends, is said, heard, booked and told.
    async fn rest(&mut self) -> Vec<Event> {
        self.hostile.set_failing(false);
        self.hostile.land_all().await;
        self.house.clock.sleep(TAKE_OVER_MS).await;
        let mut owner = self.house.owner().await;
        for gateway in 0..GATEWAYS {
            while !self.present(gateway).running.is_empty() {
                self.end(gateway, 100);
            }
            for run in &self.gateways[gateway] {
                let all = delivery(gateway, run, 0, run.records.len());
                owner.book(&[all], NOW).await.unwrap();
            }
            for key in KEYS {
                self.speak(gateway, key, false);
            }
        }
        let ends = std::mem::take(&mut self.ends);
        for (gateway, call) in ends {
            assert_eq!(owner.end_runs(ORG, gateway_id(gateway), &call).await, Ok(true));
        }
        let words: Vec<Ask> = self.words.drain(..).map(|(_, ask)| ask).collect();
        owner.hear(&words, NOW).await.unwrap();
        let budgets = ACCOUNTS.map(|account| (account, Unit::Usd));
        owner.recheck(ORG, &budgets, NOW).await.unwrap();
        self.house.tell().await;
        let snapshot = self.house.kv.snapshot().await.unwrap();
        let mut events = Vec::new();
        for placed in log::feed(&*snapshot, Default::default(), 1_000).await.unwrap() {
            events.push(log::open(&placed.logged, Default::default()).unwrap().record.event);
        }
        events
    }

    /// Invariants 4, 5 and 7.
    async fn assert_at_rest(&self, events: &[Event]) {
        let seed = self.seed;
        for account in ACCOUNTS {
            let spent = self.spent.get(&account).copied().unwrap_or_default();
            assert_eq!(self.house.money(account).await, (spent, 0, 0), "seed {seed}: {account:?}");
            let mut told = BTreeMap::<(u64, u8), u32>::new();
            for event in events {
                let told_of = threshold(event);
                if let Some((_, revision, percent)) = told_of.filter(|(on, ..)| *on == account) {
                    *told.entry((revision, percent)).or_default() += 1;
                }
            }
            assert!(told.values().all(|times| *times == 1), "seed {seed}: {account:?} {told:?}");
            let read = |state: &turnpike_domain::state::Organisation| {
                state.caps[&(account, Unit::Usd)].revision
            };
            let streams = self.house.executor.streams();
            let revision = streams.organisation(ORG, read).await.unwrap();
            let is_used_up = spent >= self.caps[&account];
            let closed = told.contains_key(&(revision, 0));
            assert!(!is_used_up || closed, "seed {seed}: {account:?} was not closed");
        }
    }
}

/// Whose threshold an event tells, of which cap, at which percentage; 0: the end.
fn threshold(event: &Event) -> Option<(Account, u64, u8)> {
    if let Event::QuotaHit { account, revision, .. } = event {
        Some((*account, *revision, 0))
    } else if let Event::AlertRaised { account, revision, percent, .. } = event {
        Some((*account, *revision, *percent))
    } else if let Event::WalletExhausted { revision } = event {
        Some((Account::Wallet, *revision, 0))
    } else {
        None
    }
}

fn delivery(gateway: usize, run: &Run, from: usize, until: usize) -> Delivery {
    let records = run.records[from..until].iter();
    let records = records.map(|record| form::Encoded(form::encode(record))).collect();
    let first = u64::try_from(from).unwrap() + 1;
    let batch = form::Batch { epoch: run.epoch, first, records, end: false };
    Delivery { org: ORG, gateway: gateway_id(gateway), batch, published: 0 }
}

async fn live(seed: u64) {
    let mut life = Life::new(seed).await;
    life.hostile.set_failing(true);
    for _ in 0..STEPS {
        let caps = life.caps.clone();
        life.step().await;
        life.check(&caps).await;
    }
    let events = life.rest().await;
    life.assert_at_rest(&events).await;
}

#[tokio::test(start_paused = true)]
async fn nothing_is_granted_twice_whatever_fails() {
    for seed in 0..100 {
        live(seed).await;
    }
}

/// The lives must be able to fail: each mistake on purpose is found.
#[cfg(feature = "mutations")]
#[tokio::test(start_paused = true)]
async fn mistakes_of_the_authority_are_found() {
    use std::panic::AssertUnwindSafe;

    use futures_util::FutureExt as _;

    let mistakes =
        [Mistake::GrantTwice, Mistake::FreeWhenSilent, Mistake::SkipAncestor, Mistake::ForgetDue];
    for mistake in mistakes {
        plant(mistake);
        let mut is_found = false;
        for seed in 0..60 {
            is_found = is_found || AssertUnwindSafe(live(seed)).catch_unwind().await.is_err();
        }
        plant(Mistake::None);
        assert!(is_found, "no life of 60 has shown {mistake:?}");
    }
}
