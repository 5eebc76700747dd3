//! A crowd: many keys that spend one wallet to its end, on machines that are fast and slow.
//!
//! Nothing fails here. Each look of the projector at its store, and each commit, takes as long as a
//! scene says, as on a machine that has more to do than it can. However long that is, the end of
//! the wallet is reached, and nothing beyond it is spent.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io::Write as _;
use std::rc::Rc;

use turnpike_domain::admit::{Demand, reservation};
use turnpike_domain::command::{Command, KeyDraft, PlanChoice};
use turnpike_domain::event::ModelSpec;
use turnpike_domain::id::{OrgId, RequestId, TopUpId};
use turnpike_domain::limit::{Account, Unit};
use turnpike_domain::meter::{Prices, Usage};
use turnpike_domain::money::{Multiplier, NanoUsd, Price};
use turnpike_domain::settle::Observed;
use turnpike_domain::state::{Settings, WalletMode};
use turnpike_domain::time::Window;
use turnpike_gateway::core::Entry;
use turnpike_gateway::lane::{Holds, Opening, Outcome};
use turnpike_runtime::clock::{Clock as _, deadline};
use turnpike_runtime::entropy;
use turnpike_runtime::tasks::Tasks;
use turnpike_wire::secret;

use crate::chaos;
use crate::commands::new_key;
use crate::house::{GATEWAYS, House, Serving};
use crate::life::{alone, found_platform};
use crate::run;
use crate::wishes::{STANDARD, Wish};

/// Keys, and as many clients: more than words are heard in one commit.
const SOME: usize = 600;
const MANY: usize = 1_000;
const SEED: u64 = 12;
/// USD 10: some hundred requests, of which as many run at once as there is room for.
const WALLET: i64 = 10_000_000_000;
/// Until every gateway knows every key.
const KNOWN_MS: u64 = 5_000;
/// What a provider takes for an answer.
const ANSWER_MS: [u64; 2] = [10, 100];
/// What a client waits at most after a refusal.
const PAUSE_MS: u64 = 1_000;
/// Nothing is held so long after the last request.
const REST_MS: u64 = 20_000;
/// How often it is looked whether the wallet is empty.
const LOOK_MS: u64 = 100;
/// By then it is, unless the machine is very slow.
const SOON_MS: u64 = 60_000;

/// USD 200 and 400 per million tokens.
fn dear() -> Prices {
    let (input, output) = (Price(200_000_000_000), Price(400_000_000_000));
    Prices { input, output, ..Prices::default() }
}

struct Crowd {
    house: Rc<House>,
    org: OrgId,
    spent: Cell<i64>,
    is_over: Cell<bool>,
    told: RefCell<BTreeMap<String, usize>>,
}

/// How it went.
#[derive(Debug)]
struct Told {
    /// Until the wallet was said to be empty; `None`: it was not in time.
    empty_after_ms: Option<u64>,
    spent: i64,
    answers: BTreeMap<String, usize>,
}

impl Told {
    fn is_at_its_end(&self) -> bool {
        let is_told = self.answers.contains_key("billing_shortfall");
        self.empty_after_ms.is_some() && is_told && self.spent * 100 >= WALLET * 99
    }
}

impl Crowd {
    /// A prepaid organisation with many keys without a limit of their own, known to all gateways.
    async fn gather(house: Rc<House>, keys: usize) -> Rc<Self> {
        let sent = Rc::new(RefCell::new(Vec::new()));
        found_platform(&house, &sent).await;
        let now = house.clock.now();
        let org = OrgId(entropy::id(now));
        let settings = Settings { wallet: WalletMode::Prepaid, ..Settings::default() };
        let plans = Some(PlanChoice { allowed: None, default: Some(STANDARD) });
        let top_up = TopUpId(entropy::id(now));
        let founding = [
            Command::CreateOrg { name: "Crowd".into(), settings, plans },
            Command::TopUpWallet { top_up, amount: NanoUsd(WALLET), note: "".into() },
        ];
        for command in founding {
            house.command(Wish::Plain { org, command: Box::new(command) }).await;
        }
        for number in 0..keys {
            let name = format!("key-{number}").into();
            let draft = Box::new(KeyDraft { name, ..KeyDraft::default() });
            house.command(Wish::Create { org, key: new_key(now), draft }).await;
        }
        for place in 0..GATEWAYS {
            chaos::start_gateway(&house, place).await;
        }
        house.sleep(KNOWN_MS).await;
        let (spent, is_over, told) = (Cell::new(0), Cell::new(false), RefCell::default());
        Rc::new(Self { house, org, spent, is_over, told })
    }

    async fn client(self: Rc<Self>) {
        let dice = self.house.dice.fork("client");
        while !self.is_over.get() {
            let place = usize::try_from(dice.below(u64::try_from(GATEWAYS).unwrap())).unwrap();
            let known = Rc::clone(dice.pick(&self.house.secrets.borrow()).unwrap());
            let serving = self.house.machines[place].serving().unwrap();
            let presented = secret::parse(known.secret.expose()).unwrap();
            let entry = serving.core.identify(&presented).unwrap();
            let words = dice.between(1, 40);
            let answered = self.call(&serving, &entry, (words, words + dice.below(6))).await;
            let pause_ms = if answered { 1 } else { dice.below(PAUSE_MS) };
            self.house.sleep(pause_ms).await;
        }
    }

    /// One request: true if it was served.
    async fn call(&self, serving: &Serving, entry: &Entry, (words, most): (u64, u64)) -> bool {
        let (at, house) = (serving.core.now(), &self.house);
        let opening = opening(serving, entry, (words, most));
        let reserved = serving.leases.reserve(entry, &opening.reservation, at).await;
        let budget = match reserved {
            Ok(budget) => budget,
            Err(shortage) => {
                self.count(shortage.denied.denial.to_string());
                return false;
            }
        };
        let ticket = serving.lane.open(opening, Holds { budget, rate: None }).unwrap();
        serving.lane.written().unwrap();
        ticket.sent();
        house.sleep(house.dice.between(ANSWER_MS[0], ANSWER_MS[1])).await;
        let usage = Usage { input: words, output: words, ..Usage::default() };
        let observed = Observed { reported: Some(usage), sent: true, ..Observed::default() };
        let settled = ticket.settle(Outcome { observed, status: 200, denial: None });
        self.spent.set(self.spent.get() + settled.cost.0);
        self.count("served".to_owned());
        true
    }

    fn count(&self, what: String) {
        *self.told.borrow_mut().entry(what).or_default() += 1;
    }

    async fn is_empty(&self) -> bool {
        let app = self.house.controls.borrow()[0].1.app.clone();
        let exhausted = app.streams().organisation(self.org, |state| state.wallet.exhausted);
        exhausted.await.unwrap()
    }

    /// What is booked of the wallet, and what is held.
    fn settled_and_held(&self) -> (i64, i64) {
        let books = self.house.watch.accounts.books();
        let on = (self.org, Account::Wallet, Unit::Usd, Window::default());
        books.rows.get(&on).map_or((0, 0), |row| (row.settled, row.held))
    }
}

fn opening(serving: &Serving, entry: &Entry, (words, most): (u64, u64)) -> Opening {
    let spec = ModelSpec {
        prices: Some(dear()),
        context_window: 100_000,
        max_output: 10_000,
        routes: Vec::new(),
    };
    let body_bytes = 110 + 2 * words;
    let demand =
        Demand { body_bytes, max_output: Some(most), prompts: 1, choices: 1, ..Demand::default() };
    let (at, multiplier) = (serving.core.now(), Multiplier::default());
    Opening {
        request: RequestId(entropy::id(at)),
        at,
        org: entry.org_id(),
        key: entry.key.id,
        key_seq: entry.key.seq,
        token: None,
        legacy: false,
        model: "dear".into(),
        server: None,
        tool: None,
        provider: None,
        price_version: 1,
        prices: Some(dear()),
        multiplier,
        reservation: reservation(&spec, Some(&dear()), multiplier, &demand),
        streamed: false,
        lease: None,
        started_us: serving.core.clock().boot_us(),
    }
}

/// A crowd of as many clients as keys, on a machine whose projector takes `pace_ms` for each step.
fn spend(keys: usize, pace_ms: u64, within_ms: u64) -> Told {
    alone(SEED, async || {
        let crowd = Crowd::gather(House::new(SEED), keys).await;
        let house = Rc::clone(&crowd.house);
        house.projectors.borrow()[0].1.kv.set_pace(pace_ms);
        let (from_ms, tasks) = (house.now_ms(), Tasks::new("clients"));
        for _ in 0..keys {
            tasks.spawn_local("client", Rc::clone(&crowd).client());
        }
        let empty = async {
            while !crowd.is_empty().await {
                house.sleep(LOOK_MS).await;
            }
            house.now_ms() - from_ms
        };
        let empty_after_ms = deadline(&house.clock, within_ms, empty).await;
        crowd.is_over.set(true);
        house.projectors.borrow()[0].1.kv.set_pace(0);
        tasks.drain(&house.clock, REST_MS).await;
        house.sleep(REST_MS).await;
        let spent = crowd.spent.get();
        assert_eq!(crowd.settled_and_held(), (spent, 0), "pace {pace_ms}: everything is booked");
        assert!(house.watch.accounts.take_broken().is_empty());
        assert!(spent <= WALLET, "pace {pace_ms}: {spent}");
        Told { empty_after_ms, spent, answers: crowd.told.take() }
    })
}

#[test]
fn a_wallet_ends_although_more_wait_than_are_heard_at_once() {
    run::log();
    let told = spend(SOME, 20, SOON_MS);
    assert!(told.is_at_its_end(), "{told:?}");
}

/// T12 on machines that are ever slower; `make soak T=T12`.
#[test]
#[ignore = "the full form of T12: minutes"]
fn t12_a_wallet_ends_however_slow_the_machine_is() {
    run::log();
    for (pace_ms, within_ms) in [(0, SOON_MS), (20, SOON_MS), (50, 3 * SOON_MS)] {
        let told = spend(MANY, pace_ms, within_ms);
        assert!(told.is_at_its_end(), "pace {pace_ms}: {told:?}");
        let took = format!("T12 (simulated): {MANY} keys, {pace_ms} ms for each step: {told:?}\n");
        std::io::stdout().write_all(took.as_bytes()).unwrap();
    }
}
