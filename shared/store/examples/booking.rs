//! Measures bookings of the embedded store: batches of 500 records on leases of capped keys, in one
//! shard, then in eight.
//!
//! `cargo run --release -p turnpike-store --example booking -- DIRECTORY`

use std::path::Path;
use std::sync::Arc;

use futures_util::future::try_join_all;
use turnpike_domain::authority::Requester;
use turnpike_domain::command::{Command, FreshSecret, KeyDraft, Order, PlatformCommand};
use turnpike_domain::event::{Actor, PlanSpec, Who};
use turnpike_domain::id::{
    CommandId, EpochId, GatewayId, KeyId, LeaseId, OrgId, PlanId, ProviderId, RequestId,
};
use turnpike_domain::ledger::{Standing, Word};
use turnpike_domain::limit::{Limits, Unit};
use turnpike_domain::meter::Usage;
use turnpike_domain::money::{Multiplier, NanoUsd};
use turnpike_domain::scope::Allow;
use turnpike_domain::secret::{Digest, PepperVersion, PublicId, Sealed, StoredSecret};
use turnpike_domain::spend::{Source, Spend};
use turnpike_domain::state::{self, Settings};
use turnpike_domain::time::Timestamp;
use turnpike_runtime::clock::{SharedClock, system};
use turnpike_runtime::entropy;
use turnpike_store::booking::{Ask, Booker, Delivery, MAX_RECORDS, shard_of};
use turnpike_store::embedded::Embedded;
use turnpike_store::error::StoreError;
use turnpike_store::execute::{Attempt, ExecuteError, Executor};
use turnpike_store::kv::Kv;
use turnpike_store::leader::Role;
use turnpike_store::streams::Streams;
use turnpike_wire::authority::LeaseCall;
use turnpike_wire::spend::{self, Batch, Encoded};

/// Bookings of one shard.
const COMMITS: u64 = 200;
/// Records of one message.
const MESSAGE: usize = 100;
/// Keys that spend in one organisation.
const KEYS: u128 = 100;
const ATTEMPT: Attempt = Attempt { body_hash: [0; 32], maker: 1 };

#[tokio::main]
#[expect(clippy::print_stdout, reason = "the figures are what this program is for")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = std::env::args().nth(1).ok_or("name a directory")?;
    let kv: Arc<dyn Kv> = Arc::new(Embedded::open(Path::new(&directory))?);
    let clock = system();
    for shards in [1_u64, 8] {
        let orgs = (0..shards).map(|shard| OrgId((shards * 64 + shard).into()));
        let mut open = try_join_all(orgs.map(|org| open(&kv, &clock, org))).await?;
        let started_us = clock.boot_us();
        try_join_all(open.iter_mut().map(|(org, booker)| book(booker, &clock, *org))).await?;
        let spent_us = clock.boot_us().saturating_sub(started_us).max(1);
        let records = shards.saturating_mul(COMMITS).saturating_mul(u64::try_from(MAX_RECORDS)?);
        println!("{shards} shards: {} records/s", records.saturating_mul(1_000_000) / spent_us);
    }
    Ok(())
}

/// An organisation with a lease for each of its keys, and the owner of its shard.
async fn open(
    kv: &Arc<dyn Kv>,
    clock: &SharedClock,
    org: OrgId,
) -> Result<(OrgId, Booker), ExecuteError> {
    let role = Role::new(Arc::clone(kv), clock.clone(), &format!("measured/{org}"));
    let term = Arc::new(role.win().await?);
    let streams = Arc::new(Streams::new(Arc::clone(kv)));
    furnish(&Executor::new(Arc::clone(&streams), clock.clone()), org).await?;
    let mut booker = Booker::new(Arc::clone(kv), term, shard_of(org), streams);
    let asks: Vec<Ask> = (0..KEYS).map(|key| ask(org, key)).collect();
    booker.hear(&asks, clock.now()).await?;
    Ok((org, booker))
}

/// Decodes and books as a projector does.
async fn book(booker: &mut Booker, clock: &SharedClock, org: OrgId) -> Result<(), StoreError> {
    let epoch = EpochId(entropy::number());
    let mut first = 1_u64;
    for _ in 0..COMMITS {
        let mut deliveries = Vec::new();
        for _ in 0..MAX_RECORDS / MESSAGE {
            let record = |_| Encoded(spend::encode(&record(clock)));
            let records = (0..MESSAGE).map(record).collect();
            let batch = Batch { epoch, first, records, end: false };
            let gateway = GatewayId(1);
            deliveries.push(Delivery { org, gateway, batch, published: first.saturating_sub(1) });
            first = first.saturating_add(u64::try_from(MESSAGE).unwrap_or(0));
        }
        booker.book(&deliveries, clock.now()).await?;
    }
    Ok(())
}

/// An organisation whose keys have caps that nobody reaches.
async fn furnish(executor: &Executor, org: OrgId) -> Result<(), ExecuteError> {
    let name = "measured".into();
    let spec = PlanSpec { name, models: Allow::All, multiplier: Multiplier::default() };
    let plan = PlatformCommand::ChangePlan { plan: PlanId(1), spec };
    executor.platform(&order(1, plan), ATTEMPT).await?;
    let create =
        Command::CreateOrg { name: "measured".into(), settings: Settings::default(), plans: None };
    executor.organisation(org, &order(1, create), ATTEMPT).await?;
    for key in 0..KEYS {
        let limits = Limits { cost: Some(NanoUsd(i64::MAX)), ..Limits::default() };
        let (name, plan) = (key.to_string().into(), Some(PlanId(1)));
        let draft = Box::new(KeyDraft { name, plan, limits, ..KeyDraft::default() });
        let stored = StoredSecret {
            public_id: PublicId([b'a'; 16]),
            digest: Digest([1; 32]),
            pepper: PepperVersion(1),
            preview: "sk-tp-aaaa…aaaa".into(),
        };
        let secret = FreshSecret { stored, recoverable: Sealed(Box::new([])) };
        let create = Command::CreateKey { key: KeyId(key), draft, secret };
        executor.organisation(org, &order(2 + key, create), ATTEMPT).await?;
    }
    Ok(())
}

fn order<C>(id: u128, command: C) -> Order<C> {
    let actor = Actor { who: Who::System, address: None };
    let requester = Requester { actor, role: state::Role::Operator, member: None };
    Order { id: CommandId(id), requester, now: Timestamp(1), expected: None, command }
}

/// The first word on a key's lease, which has the key's number.
fn ask(org: OrgId, key: u128) -> Ask {
    let word = Word { n: 1, total: i64::MAX / 2, least: 1 };
    let (epoch, unit) = (EpochId(1), Unit::Usd);
    let call = LeaseCall { epoch, lease: LeaseId(key), key: KeyId(key), unit, word, token: None };
    let standing = Standing { fenced: false, gateways: 1 };
    Ask { org, gateway: GatewayId(1), call, standing }
}

fn record(clock: &SharedClock) -> Spend {
    let request = entropy::id(clock.now());
    Spend {
        model: "claude-sonnet-4-5-20250929".into(),
        provider: Some(ProviderId(u128::MAX)),
        status: 200,
        usage: Usage { input: 12_000, output: 1_500, cached_input: 9_000, ..Usage::default() },
        source: Source::Provider,
        price_version: 7,
        multiplier: Multiplier(1_250_000),
        cost: NanoUsd(43_200_000),
        reserved: NanoUsd(5_000_000_000),
        reserved_tokens: 80_000,
        lease: Some(LeaseId(request % KEYS)),
        latency_ms: 12_345,
        unmetered: false,
        ..Spend::unused(RequestId(request), clock.now(), KeyId(request % KEYS), 70_000)
    }
}
