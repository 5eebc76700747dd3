//! A house to test the authority in: an organisation with budgets, its executor, a shard's owner.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use turnpike_domain::command::{Command, FreshSecret, KeyDraft, KeyPatch};
use turnpike_domain::event::{Event, Record};
use turnpike_domain::id::{LeaseId, PlanId, ProjectId, TopUpId};
use turnpike_domain::ledger::{Row, Standing, Word};
use turnpike_domain::limit::{Account, Limits, Unit};
use turnpike_domain::secret::{Digest, PepperVersion, PublicId, Sealed, StoredSecret};
use turnpike_domain::state::{Settings, WalletMode};
use turnpike_domain::time::Window;
use turnpike_wire::authority::{LeaseAnswer, LeaseCall};

use super::*;
use crate::execute::Executor;
use crate::kv::{BoxFuture, Committed, ReadError};
use crate::ledger;
use crate::orders;

pub(super) const KEY: KeyId = KeyId(1);
pub(super) const OTHER: KeyId = KeyId(2);
pub(super) const PROJECT: ProjectId = ProjectId(1);
pub(super) const GATEWAY: GatewayId = GatewayId(1);
pub(super) const RUN: EpochId = EpochId(10);
pub(super) const LEASE: LeaseId = LeaseId(100);
pub(super) const OWN: Account = Account::Key(KEY);
pub(super) const TEAM: Account = Account::Project(PROJECT);

/// One organisation in one store.
pub(super) struct House {
    pub(super) kv: Arc<dyn Kv>,
    pub(super) clock: PausedClock,
    pub(super) executor: Executor,
    next: AtomicU64,
}

impl House {
    /// An organisation with a wallet of 1,000, a project of 500 and a key of 100 in it, and a key
    /// beside it without limits.
    pub(super) async fn new(kv: Arc<dyn Kv>) -> Self {
        let clock = PausedClock::new(NOW);
        let streams = Arc::new(Streams::new(Arc::clone(&kv)));
        let executor = Executor::new(streams, Arc::new(clock.clone()));
        let house = Self { kv, clock, executor, next: AtomicU64::new(100) };
        house.executor.platform(&orders::plan(1), orders::attempt(1, 1)).await.unwrap();
        house
            .done(Command::CreateOrg {
                name: "acme".into(),
                settings: Settings::default(),
                plans: None,
            })
            .await;
        let settings = Settings { wallet: WalletMode::Prepaid, ..Settings::default() };
        house.done(Command::ChangeOrg { name: None, settings: Some(settings), plans: None }).await;
        house.top_up(1_000).await;
        let limits = capped(500);
        house.done(Command::CreateProject { project: PROJECT, name: "team".into(), limits }).await;
        house.make(KEY, capped(100), Some(PROJECT)).await;
        house.make(OTHER, Limits::default(), None).await;
        house
    }

    /// Executes what must be allowed.
    pub(super) async fn done(&self, command: Command) -> Vec<Record> {
        let order = self.order(command);
        let attempt = orders::attempt(1, order.id.0);
        self.executor.organisation(ORG, &order, attempt).await.unwrap().records
    }

    pub(super) fn order(&self, command: Command) -> turnpike_domain::command::Order<Command> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        turnpike_domain::command::Order { now: self.clock.now(), ..orders::order(id, command) }
    }

    pub(super) async fn make(&self, key: KeyId, limits: Limits, project: Option<ProjectId>) {
        let stored = StoredSecret {
            public_id: PublicId([b'a'; 16]),
            digest: Digest([1; 32]),
            pepper: PepperVersion(1),
            preview: "sk-tp-aaaa…aaaa".into(),
        };
        let secret = FreshSecret { stored, recoverable: Sealed(Box::new([1])) };
        let (name, plan) = (format!("key {}", key.0).into(), Some(PlanId(1)));
        let draft = Box::new(KeyDraft { name, plan, limits, project, ..KeyDraft::default() });
        self.done(Command::CreateKey { key, draft, secret }).await;
    }

    pub(super) async fn top_up(&self, amount: i64) {
        let top_up = TopUpId(self.next.fetch_add(1, Ordering::Relaxed).into());
        let amount = NanoUsd(amount);
        self.done(Command::TopUpWallet { top_up, amount, note: "".into() }).await;
    }

    pub(super) async fn limit(&self, key: KeyId, limits: Limits) -> Vec<Record> {
        self.done(change(key, limits)).await
    }

    /// An owner of the shard, with streams of its own, as another process has them.
    pub(super) async fn owner(&self) -> Booker {
        booker(&self.kv, &self.clock).await
    }

    pub(super) async fn row(&self, account: Account, unit: Unit, window: Window) -> Row {
        let snapshot = self.kv.snapshot().await.unwrap();
        ledger::row(&*snapshot, ORG, account, unit, window).await.unwrap()
    }

    /// (settled, held, lost) in money of the windows that never end.
    pub(super) async fn money(&self, account: Account) -> (i64, i64, i64) {
        let row = self.row(account, Unit::Usd, Window(0)).await;
        (row.settled, row.held, row.lost)
    }

    /// Tells what is due, as a projector does, and answers the events.
    pub(super) async fn tell(&self) -> Vec<Event> {
        let mut events = Vec::new();
        for due in ledger::dues(&*self.kv, ORG, None).await.unwrap() {
            let told = self.executor.tell_due(ORG, due).await.unwrap().unwrap();
            events.extend(told.records.into_iter().map(|record| record.event));
        }
        assert_eq!(ledger::dues(&*self.kv, ORG, None).await, Ok(Vec::new()));
        events
    }
}

pub(super) fn capped(cost: i64) -> Limits {
    let alert_percent = vec![50, 80];
    Limits { cost: Some(NanoUsd(cost)), alert_percent, ..Limits::default() }
}

pub(super) fn change(key: KeyId, limits: Limits) -> Command {
    let patch = KeyPatch { limits: Some(limits), ..KeyPatch::default() };
    Command::ChangeKey { key, patch: Box::new(patch) }
}

/// A word in money of a gateway that is one of two.
pub(super) fn ask(lease: LeaseId, n: u64, total: i64, least: i64) -> Ask {
    let word = Word { n, total, least };
    let call = LeaseCall { epoch: RUN, lease, key: KEY, unit: Unit::Usd, word, token: None };
    let standing = Standing { fenced: false, gateways: 2 };
    Ask { org: ORG, gateway: GATEWAY, call, standing }
}

/// Says one word and answers what is heard.
pub(super) async fn say(booker: &mut Booker, ask: Ask) -> LeaseAnswer {
    booker.hear(&[ask], NOW).await.unwrap().pop().unwrap()
}

/// What one request cost, at its number in the epoch of `RUN`.
pub(super) fn spend(number: u64, key: KeyId, lease: Option<LeaseId>, cost: i64) -> Delivery {
    let usage = Usage { input: 6, output: 4, ..Usage::default() };
    let spend = Spend { key, lease, cost: NanoUsd(cost), at: NOW, usage, ..record(number.into()) };
    one(number, &spend)
}

pub(super) fn one(number: u64, spend: &Spend) -> Delivery {
    let records = vec![form::Encoded(form::encode(spend))];
    let batch = form::Batch { epoch: RUN, first: number, records, end: false };
    Delivery { org: ORG, gateway: GATEWAY, batch, published: 0 }
}

/// A store in which a command is executed between the reads and the commit of somebody else.
pub(super) struct Between {
    pub(super) memory: Arc<dyn Kv>,
    pub(super) executor: Executor,
    pub(super) order: Mutex<Option<turnpike_domain::command::Order<Command>>>,
}

impl Kv for Between {
    fn snapshot(&self) -> BoxFuture<'_, Result<Arc<dyn Snapshot>, ReadError>> {
        self.memory.snapshot()
    }

    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<Committed, CommitError>> {
        Box::pin(async move {
            let order = self.order.lock().unwrap().take();
            if let Some(order) = order {
                let attempt = orders::attempt(1, order.id.0);
                self.executor.organisation(ORG, &order, attempt).await.unwrap();
            }
            self.memory.commit(batch).await
        })
    }

    fn watch(&self, key: Bytes) -> BoxFuture<'static, ()> {
        self.memory.watch(key)
    }
}
