//! Retention: one process at a time deletes rows that are older than anybody asks for.

use std::sync::Arc;

use turnpike_domain::id::OrgId;
use turnpike_domain::time::{DAY_MS, HOUR_MS, Timestamp};
use turnpike_runtime::clock::SharedClock;
use turnpike_store::error::StoreError;
use turnpike_store::kv::Kv;
use turnpike_store::leader::Role;
use turnpike_store::log;
use turnpike_store::retention::{self, Keep};

use crate::config::KeepOptions;

/// How often everything is looked through.
const EVERY_MS: u64 = HOUR_MS;
/// The wait after a failure of the store.
const RETRY_MS: u64 = 10_000;

/// Sweeps for ever, whenever this process has the role.
pub(crate) async fn run(kv: Arc<dyn Kv>, clock: SharedClock, keep: KeepOptions) {
    let role = Role::new(Arc::clone(&kv), clock.clone(), "retention");
    loop {
        match role.win().await {
            Ok(term) => {
                tokio::select! {
                    biased;
                    error = term.keep() => tracing::warn!(%error, "the sweeper's term ended"),
                    () = sweep(&*kv, &clock, &keep) => {}
                }
            }
            Err(error) => tracing::warn!(%error, "the sweeper cannot read the store"),
        }
        clock.sleep(RETRY_MS).await;
    }
}

/// Looks through everything again and again, until the store fails.
async fn sweep(kv: &dyn Kv, clock: &SharedClock, keep: &KeepOptions) {
    loop {
        if let Err(error) = sweep_all(kv, clock.now(), keep).await {
            tracing::warn!(%error, "old rows were not all deleted");
            return;
        }
        clock.sleep(EVERY_MS).await;
    }
}

async fn sweep_all(kv: &dyn Kv, now: Timestamp, keep: &KeepOptions) -> Result<(), StoreError> {
    let before = |days: u64| Timestamp(now.0.saturating_sub(days.saturating_mul(DAY_MS)));
    let keep =
        Keep { requests_from: before(keep.request_days), commands_from: before(keep.command_days) };
    let snapshot = kv.snapshot().await?;
    let mut organisations = log::organisations(&*snapshot).await?;
    organisations.push(OrgId::PLATFORM);
    for org in organisations {
        let swept = retention::sweep(kv, org, keep).await?;
        if swept.requests > 0 || swept.commands > 0 {
            tracing::info!(%org, requests = swept.requests, commands = swept.commands, "swept");
        }
    }
    Ok(())
}
