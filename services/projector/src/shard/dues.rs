//! Due rows: each is told by the command that it stands for, in the commit that deletes it.
//!
//! A booking that crosses a threshold leaves its row in its own commit. The row is the duty: it is
//! read again after every failure and by every new owner, and the command's id follows from it, so
//! that whoever tells it, and however often, there is one event. The row of a window that has not
//! begun by this process's day waits: an authority whose day was ahead has named it.

use std::collections::BTreeSet;

use turnpike_domain::id::OrgId;
use turnpike_domain::ledger::Due;
use turnpike_store::execute::ExecuteError;
use turnpike_store::ledger;

use super::{Office, RETRY_MS};
use crate::pending::Pending;

/// How often rows are looked at again whose windows have not begun: days differ by minutes, and
/// nobody is refused meanwhile who would not be refused anyway.
const EARLY_MS: u64 = 5_000;

/// Tells the due rows of every organisation that is added to `due`, for ever.
pub(super) async fn tell(office: &Office, due: &Pending) {
    let mut again = BTreeSet::new();
    loop {
        let mut organisations = std::mem::take(&mut again);
        organisations.extend(std::iter::from_fn(|| due.take()));
        let mut wait_ms = EARLY_MS;
        for org in organisations {
            match tell_of(office, org).await {
                Ok(false) => {}
                Ok(true) => drop(again.insert(org)),
                Err(error) => {
                    office.authority.failures.inc();
                    tracing::warn!(%org, %error, "budgets were not closed or warned about");
                    wait_ms = RETRY_MS;
                    again.insert(org);
                }
            }
        }
        if again.is_empty() {
            due.news().await;
        } else {
            tokio::select! {
                biased;
                () = due.news() => {}
                () = office.clock.sleep(wait_ms) => {}
            }
        }
    }
}

/// Tells what can be told; true if rows are left whose windows have not begun.
async fn tell_of(office: &Office, org: OrgId) -> Result<bool, ExecuteError> {
    let (mut after, mut early) = (None, false);
    loop {
        let dues = ledger::dues(&**office.streams.kv(), org, after.as_ref()).await?;
        let Some(last) = dues.last() else { return Ok(early) };
        after = Some(*last);
        for due in dues {
            if due.window.has_begun(office.clock.now()) {
                tell_one(office, org, due).await?;
            } else {
                early = true;
            }
        }
    }
}

async fn tell_one(office: &Office, org: OrgId, due: Due) -> Result<(), ExecuteError> {
    match office.executor.tell_due(org, due).await {
        Ok(None) => {}
        Ok(Some(executed)) => {
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
    Ok(())
}
