//! Reports: a new authority is told what this gateway has used in its own last minute.

use std::sync::Arc;

use tokio::sync::mpsc;
use turnpike_bus::seam::{BusError, Service};
use turnpike_domain::id::OrgId;
use turnpike_domain::rate::PERMIT_MS;
use turnpike_wire::authority::{Call, RecentAnswer, RecentCall, RecentUse};
use turnpike_wire::form;

use super::agent::Means;

/// Accounts of one part: with all their batches it stays well under a message's bound.
const PART_ACCOUNTS: usize = 500;
/// How long a part may be on its way.
const CALL_MS: u64 = 1_000;
/// How often an ask that is on its way is looked at again: longer than most answers take.
const LOOK_MS: u64 = 2;
/// How often a report is begun again before the next one is waited for.
const MAX_ATTEMPTS: u32 = 3;

/// Reports to whoever asks, until the gateway ends.
pub(super) async fn run(means: Arc<Means>, mut wanted: mpsc::Receiver<OrgId>) {
    let stopping = means.stopping.clone();
    while let Some(Some(org)) = stopping.run_until_cancelled(wanted.recv()).await {
        for _ in 0..MAX_ATTEMPTS {
            match report(&means, org).await {
                Ok(true) => break,
                Ok(false) => {}
                Err(error) => tracing::debug!(%org, %error, "a report was not taken"),
            }
        }
    }
}

/// Sends all parts, one after the other; whether all were taken.
async fn report(means: &Means, org: OrgId) -> Result<bool, BusError> {
    let service = Service::Authority { org, gateway: means.gateway };
    let until_ms = means.clock.boot_ms().saturating_add(PERMIT_MS);
    let mut accounts = Vec::new();
    for shelf in means.shelves.of(org) {
        // What is being asked for would be counted twice: here as used, and by who grants it.
        while shelf.permits().is_asking() && means.clock.boot_ms() < until_ms {
            means.clock.sleep(LOOK_MS).await;
        }
        let used = shelf.permits().report(means.clock.boot_ms());
        if !used.is_empty() {
            accounts.push(RecentUse { account: shelf.account, used });
        }
    }
    let parts = accounts.len().div_ceil(PART_ACCOUNTS).max(1);
    for part in 0..parts {
        let rest = accounts.split_off(accounts.len().min(PART_ACCOUNTS));
        let accounts = std::mem::replace(&mut accounts, rest);
        let number = u32::try_from(part).unwrap_or(u32::MAX);
        let last = part + 1 == parts;
        let call = Call::Recent(RecentCall { epoch: means.run, part: number, last, accounts });
        let answer = means.bus.call(service, form::encode(&call).into(), CALL_MS).await?;
        let answer: RecentAnswer =
            form::decode(&answer).map_err(|error| BusError::Unavailable(error.to_string()))?;
        if answer.begin_again {
            return Ok(false);
        }
    }
    Ok(true)
}
