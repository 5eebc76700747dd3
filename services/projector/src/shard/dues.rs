//! Due rows: each is told by the command that it stands for, in the commit that deletes it.
//!
//! A booking that crosses a threshold leaves its row in its own commit. The row is the duty: it is
//! read again after every failure and by every new owner, and the command's id follows from it, so
//! that whoever tells it, and however often, there is one event.

use turnpike_domain::id::OrgId;
use turnpike_store::execute::ExecuteError;
use turnpike_store::ledger;

use super::{Office, RETRY_MS};
use crate::pending::Pending;

/// Tells the due rows of every organisation that is added to `due`, for ever.
pub(super) async fn tell(office: &Office, due: &Pending) {
    loop {
        let mut failed = Vec::new();
        while let Some(org) = due.take() {
            if let Err(error) = tell_of(office, org).await {
                office.authority.failures.inc();
                tracing::warn!(%org, %error, "budgets were not closed or warned about");
                failed.push(org);
            }
        }
        if failed.is_empty() {
            due.news().await;
        } else {
            office.clock.sleep(RETRY_MS).await;
            failed.into_iter().for_each(|org| due.add(org));
        }
    }
}

async fn tell_of(office: &Office, org: OrgId) -> Result<(), ExecuteError> {
    loop {
        let dues = ledger::dues(&**office.streams.kv(), org).await?;
        let mut told = 0_usize;
        for due in dues {
            match office.executor.tell_due(org, due).await {
                Ok(None) => {}
                Ok(Some(executed)) => {
                    told = told.saturating_add(1);
                    office.authority.told.inc();
                    for record in executed.records {
                        tracing::info!(%org, event = record.event.name(), ?due, "a budget is told");
                    }
                }
                Err(error @ ExecuteError::Store(_)) => return Err(error),
                Err(error @ (ExecuteError::Refused(_) | ExecuteError::IdempotencyConflict)) => {
                    // Trying again cannot help, and others must not wait for it.
                    office.authority.failures.inc();
                    tracing::error!(%org, ?due, %error, "a budget cannot be told");
                }
            }
        }
        // One reading holds a part only.
        if told == 0 {
            return Ok(());
        }
    }
}
