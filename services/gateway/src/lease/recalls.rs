//! Hears that somebody waits for what this gateway holds and does not need, or for its report.

use std::sync::Arc;

use turnpike_bus::seam::{Feed, Message, ReadError, Start, Topic};
use turnpike_domain::id::OrgId;
use turnpike_wire::authority::Recall;
use turnpike_wire::form;

use super::agent::Means;
use crate::permit::Permits;

/// How long a lost reader rests before it is opened again. Without recalls leases still go back
/// when they are idle.
const REOPEN_MS: u64 = 500;

/// Follows the recalls of one organisation, or of all, until the gateway ends.
pub(super) async fn follow(means: Arc<Means>, permits: Arc<Permits>, org: Option<OrgId>) {
    let stopping = means.stopping.clone();
    let followed = async {
        loop {
            read(&means, &permits, org).await;
            means.clock.sleep(REOPEN_MS).await;
        }
    };
    stopping.run_until_cancelled(followed).await;
}

async fn read(means: &Means, permits: &Permits, org: Option<OrgId>) {
    let mut reader = match means.bus.read(Feed::Recall(org), Start::Now).await {
        Ok(reader) => reader,
        Err(error) => return tracing::debug!(%error, "recalls cannot be read"),
    };
    loop {
        match reader.next().await {
            Ok(Message { topic: Topic::Recall { org }, payload, .. }) => {
                match form::decode::<Recall>(&payload) {
                    Ok(recall) if means.core.fences().of(org).admits(recall.fence) => {
                        match recall.budget {
                            Some((account, unit)) => means.leaves.recall(org, account, unit),
                            None => permits.report(org),
                        }
                    }
                    Ok(_) => {}
                    Err(error) => tracing::warn!(%error, "a recall cannot be read"),
                }
            }
            Ok(_) | Err(ReadError::Trimmed) => {}
            Err(ReadError::Unavailable(_)) => return,
        }
    }
}
