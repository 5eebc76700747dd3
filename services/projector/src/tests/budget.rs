//! An organisation with a limited key, and gateways that hold leases on it.

use std::sync::Arc;

use turnpike_bus::seam::{Bus as _, BusError, Feed, Publish, Reader, Service, Start, Topic};
use turnpike_domain::authority::Requester;
use turnpike_domain::command::{Command, FreshSecret, KeyDraft, KeyPatch, Order, PlatformCommand};
use turnpike_domain::event::{Actor, Event, PlanSpec, Who};
use turnpike_domain::id::{
    CommandId, EpochId, GatewayId, KeyId, LeaseId, PlanId, Position, TokenId,
};
use turnpike_domain::ledger::{Holding, Row, Word};
use turnpike_domain::limit::{Account, Limits, Unit};
use turnpike_domain::money::{Multiplier, NanoUsd};
use turnpike_domain::scope::Allow;
use turnpike_domain::secret::{Digest, PepperVersion, PublicId, Sealed, SecretKind, StoredSecret};
use turnpike_domain::state::{Role, Settings, WalletMode};
use turnpike_domain::time::Window;
use turnpike_runtime::entropy;
use turnpike_store::execute::{Attempt, Executor};
use turnpike_store::streams::Streams;
use turnpike_store::{ledger, log};
use turnpike_wire::authority::{Call, EndRuns, LeaseAnswer, LeaseCall, Recall, RunsEnded};
use turnpike_wire::heartbeat::Receipt;
use turnpike_wire::{form, record, spend};

use super::house::{Gateway, House, ORG};

/// The key that is limited.
pub(super) const KEY: KeyId = KeyId(1);
const PLAN: PlanId = PlanId(1);
/// How long a gateway waits for an answer.
pub(super) const ANSWER_MS: u64 = 1_000;
/// Tries of a word that is not answered: longer than a projector needs to be replaced.
const MAX_TRIES: u32 = 20;

/// A gateway with one lease.
pub(super) struct Holder {
    pub(super) gateway: GatewayId,
    pub(super) run: EpochId,
    pub(super) lease: LeaseId,
    pub(super) holding: Holding,
}

fn order<C>(house: &House, command: C) -> Order<C> {
    let actor = Actor { who: Who::System, address: None };
    let requester = Requester { actor, role: Role::Operator, member: None };
    let id = CommandId(entropy::number());
    Order { id, requester, now: house.clock.now(), expected: None, command }
}

fn attempt() -> Attempt {
    Attempt { body_hash: [0; 32], maker: entropy::number() }
}

/// A cost limit of so many nano-USD.
pub(super) fn cost(nano_usd: i64) -> Limits {
    Limits { cost: Some(NanoUsd(nano_usd)), ..Limits::default() }
}

fn stored(digest: u8) -> StoredSecret {
    StoredSecret {
        public_id: PublicId([digest; 16]),
        digest: Digest([digest; 32]),
        pepper: PepperVersion(1),
        preview: "sk-tp-0123…cdef".into(),
    }
}

impl House {
    fn executor(&self) -> Executor {
        Executor::new(Arc::new(Streams::new(Arc::clone(&self.kv))), self.clock.clone())
    }

    /// Executes a command as the operator.
    pub(super) async fn command(&self, command: Command) {
        let order = order(self, command);
        self.executor().organisation(ORG, &order, attempt()).await.unwrap();
    }

    /// Makes the organisation, with one key.
    pub(super) async fn found(&self, wallet: WalletMode, limits: Limits) {
        let multiplier = Multiplier::default();
        let spec = PlanSpec { name: "plan".into(), models: Allow::All, multiplier };
        let plan = PlatformCommand::ChangePlan { plan: PLAN, spec };
        self.executor().platform(&order(self, plan), attempt()).await.unwrap();
        let settings = Settings { wallet, ..Settings::default() };
        let name = "Example".into();
        self.command(Command::CreateOrg { name, settings, plans: None }).await;
        let draft =
            KeyDraft { name: "key".into(), plan: Some(PLAN), limits, ..KeyDraft::default() };
        let stored = StoredSecret {
            public_id: PublicId(*b"0123456789abcdef"),
            digest: Digest([1; 32]),
            pepper: PepperVersion(1),
            preview: "sk-tp-0123…cdef".into(),
        };
        let secret = FreshSecret { stored, recoverable: Sealed(Box::default()) };
        self.command(Command::CreateKey { key: KEY, draft: Box::new(draft), secret }).await;
    }

    /// Lets a gateway join the organisation.
    pub(super) async fn join(&self, holder: &Holder) {
        let (token, name): (_, Box<str>) = (TokenId(holder.gateway.0), "gateway".into());
        let (kind, role, expires_at) = (SecretKind::Gateway, Role::Viewer, None);
        let secret = stored(2);
        let token_name = name.clone();
        self.command(Command::CreateToken {
            token,
            name: token_name,
            kind,
            role,
            secret,
            expires_at,
        })
        .await;
        self.command(Command::JoinGateway { gateway: holder.gateway, name, token }).await;
    }

    /// Gives the key other limits.
    pub(super) async fn limit(&self, limits: Limits) {
        let patch = Box::new(KeyPatch { limits: Some(limits), ..KeyPatch::default() });
        self.command(Command::ChangeKey { key: KEY, patch }).await;
    }

    /// All events of the organisation.
    pub(super) async fn events(&self) -> Vec<Event> {
        let snapshot = self.kv.snapshot().await.unwrap();
        let head = log::head(&*snapshot, ORG).await.unwrap();
        let page = log::page(&*snapshot, ORG, 0, head.seq).await.unwrap();
        let event = |logged: &log::Logged| {
            let stored = record::decode(&logged.body, Position::default()).unwrap();
            stored.record.unwrap().event
        };
        page.iter().map(event).collect()
    }

    /// How often an event of this name stands in the stream.
    pub(super) async fn count(&self, name: &str) -> usize {
        self.events().await.iter().filter(|event| event.name() == name).count()
    }

    /// What the key has used of its cost limit.
    pub(super) async fn used(&self) -> Row {
        self.used_of(Account::Key(KEY)).await
    }

    pub(super) async fn used_of(&self, account: Account) -> Row {
        let snapshot = self.kv.snapshot().await.unwrap();
        ledger::row(&*snapshot, ORG, account, Unit::Usd, Window(0)).await.unwrap()
    }

    pub(super) async fn recalls(&self) -> Box<dyn Reader> {
        self.bus.read(Feed::Recall(Some(ORG)), Start::Now).await.unwrap()
    }

    /// A gateway's sign of life.
    pub(super) async fn receipt(&self, holder: &Holder) {
        let at = self.clock.now();
        let (epoch, position, spent) = (holder.run, Position(1), Vec::new());
        let providers = Vec::new();
        let (complete_to, quarantine) = (None, None);
        let lost = Vec::new();
        let receipt =
            Receipt { epoch, position, at, complete_to, spent, providers, quarantine, lost };
        let topic = Topic::Receipts { org: ORG, gateway: holder.gateway };
        let payload = form::encode(&receipt).into();
        let message = Publish { topic, id: String::new(), headers: Vec::new(), payload };
        self.bus.publish(message).await.unwrap();
    }
}

/// What was recalled, if something was.
pub(super) fn recalled(recalls: &mut Box<dyn Reader>) -> Option<Recall> {
    recalls.ready().map(|message| form::decode(&message.unwrap().payload).unwrap())
}

impl Holder {
    pub(super) fn new(number: u128) -> Self {
        Self {
            gateway: GatewayId(number),
            run: EpochId(number),
            lease: LeaseId(number),
            holding: Holding::default(),
        }
    }

    async fn call(&self, house: &House, call: &Call) -> Result<bytes::Bytes, BusError> {
        let service = Service::Authority { org: ORG, gateway: self.gateway };
        house.bus.call(service, form::encode(call).into(), ANSWER_MS).await
    }

    /// Says a word once.
    pub(super) async fn say(&self, house: &House, word: Word) -> Result<LeaseAnswer, BusError> {
        let (epoch, lease) = (self.run, self.lease);
        let call =
            Call::Lease(LeaseCall { epoch, lease, key: KEY, unit: Unit::Usd, word, token: None });
        Ok(form::decode(&self.call(house, &call).await?).unwrap())
    }

    /// Says a word until it is answered, and takes the answer.
    pub(super) async fn insist(&mut self, house: &House, word: Word) -> LeaseAnswer {
        for _ in 0..MAX_TRIES {
            match self.say(house, word).await {
                Ok(answer) => {
                    self.holding.hear(answer.n, answer.total);
                    return answer;
                }
                Err(BusError::NoResponders) => house.clock.sleep(ANSWER_MS).await,
                Err(BusError::Timeout) => {}
                Err(error) => panic!("{error}"),
            }
        }
        panic!("nobody answers");
    }

    /// Asks for room for a request, and for more ahead.
    pub(super) async fn ask(&mut self, house: &House, bound: i64, ahead: i64) -> LeaseAnswer {
        let word = self.holding.ask(bound, ahead);
        self.insist(house, word).await
    }

    /// Gives back what no request has reserved.
    pub(super) async fn give_back(&mut self, house: &House) -> LeaseAnswer {
        let word = self.holding.give_back();
        self.insist(house, word).await
    }

    /// Says that all runs before this one are over.
    pub(super) async fn end_runs(&self, house: &House, places: &[(EpochId, u64)]) -> bool {
        let call = EndRuns { run: self.run, places: places.to_vec(), torn: false };
        let answer = self.call(house, &Call::EndRuns(call)).await.unwrap();
        form::decode::<RunsEnded>(&answer).unwrap().ended
    }
}

/// A gateway that has served one request for so much.
pub(super) fn spender(number: u128, amount: i64) -> Gateway {
    let mut gateway = Gateway::new(number, 1);
    let mut record = spend::decode(&gateway.records[0]).unwrap();
    (record.key, record.cost) = (KEY, NanoUsd(amount));
    gateway.records[0] = spend::encode(&record);
    gateway
}

/// A gateway that has served one request for so much on its lease.
pub(super) fn spender_on(holder: &Holder, amount: i64) -> Gateway {
    let mut gateway = spender(holder.gateway.0, amount);
    let mut record = spend::decode(&gateway.records[0]).unwrap();
    record.lease = Some(holder.lease);
    gateway.records[0] = spend::encode(&record);
    gateway
}
