//! Measures bookings of the embedded store: batches of 500 records in one shard, then in eight.
//!
//! `cargo run --release -p turnpike-store --example booking -- DIRECTORY`

use std::path::Path;
use std::sync::Arc;

use futures_util::future::try_join_all;
use turnpike_domain::id::{EpochId, GatewayId, KeyId, OrgId, ProviderId, RequestId};
use turnpike_domain::meter::Usage;
use turnpike_domain::money::{Multiplier, NanoUsd};
use turnpike_domain::spend::{Source, Spend};
use turnpike_runtime::clock::{SharedClock, system};
use turnpike_runtime::entropy;
use turnpike_store::booking::{Booker, Delivery, MAX_RECORDS, shard_of};
use turnpike_store::embedded::Embedded;
use turnpike_store::error::StoreError;
use turnpike_store::kv::Kv;
use turnpike_store::leader::Role;
use turnpike_store::streams::Streams;
use turnpike_wire::spend::{self, Batch, Encoded};

/// Bookings of one shard.
const COMMITS: u64 = 200;
/// Records of one message.
const MESSAGE: usize = 100;
/// Keys that spend in one organisation.
const KEYS: u128 = 100;

#[tokio::main]
#[expect(clippy::print_stdout, reason = "the figures are what this program is for")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = std::env::args().nth(1).ok_or("name a directory")?;
    let kv: Arc<dyn Kv> = Arc::new(Embedded::open(Path::new(&directory))?);
    let clock = system();
    for shards in [1, 8] {
        let started_us = clock.boot_us();
        try_join_all((0..shards).map(|shard| book(&kv, &clock, OrgId(shard)))).await?;
        let spent_us = clock.boot_us().saturating_sub(started_us).max(1);
        let commits = u64::try_from(shards)?.saturating_mul(COMMITS);
        let records = commits.saturating_mul(u64::try_from(MAX_RECORDS)?);
        println!("{shards} shards: {} records/s", records.saturating_mul(1_000_000) / spent_us);
    }
    Ok(())
}

/// Decodes and books as a projector does.
async fn book(kv: &Arc<dyn Kv>, clock: &SharedClock, org: OrgId) -> Result<(), StoreError> {
    let name = format!("measured/{}", shard_of(org));
    let term = Role::new(Arc::clone(kv), clock.clone(), &name).win().await?;
    let streams = Arc::new(Streams::new(Arc::clone(kv)));
    let mut booker = Booker::new(Arc::clone(kv), Arc::new(term), shard_of(org), streams);
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

fn record(clock: &SharedClock) -> Spend {
    let request = entropy::id(clock.now());
    Spend {
        request: RequestId(request),
        at: clock.now(),
        key: KeyId(request % KEYS),
        key_seq: 70_000,
        token: None,
        model: "claude-sonnet-4-5-20250929".into(),
        provider: ProviderId(u128::MAX),
        status: 200,
        usage: Usage { input: 12_000, output: 1_500, cached_input: 9_000, ..Usage::default() },
        source: Source::Provider,
        suspect: false,
        price_version: 7,
        multiplier: Multiplier(1_250_000),
        cost: NanoUsd(43_200_000),
        reserved: NanoUsd(5_000_000_000),
        reserved_tokens: 80_000,
        lease: None,
        latency_ms: 12_345,
    }
}
