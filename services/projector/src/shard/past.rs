//! Leases of windows that are over: looked for now and then, some of them in each turn.

use std::collections::VecDeque;

use bytes::Bytes;
use turnpike_domain::id::OrgId;
use turnpike_domain::time::HOUR_MS;
use turnpike_store::booking::Booker;
use turnpike_store::error::StoreError;

use super::Office;

/// How often all leases are looked through: windows are a day long at least.
const EVERY_MS: u64 = HOUR_MS;

/// How far one owner has looked.
pub(super) struct Past {
    looked_ms: u64,
    left: VecDeque<OrgId>,
    after: Option<Bytes>,
}

impl Past {
    /// Looks for the first time when what a new owner has to do at once is long done.
    pub(super) const fn new(now_ms: u64) -> Self {
        Self { looked_ms: now_ms, left: VecDeque::new(), after: None }
    }

    /// Looks through one page of leases, if it is time to.
    ///
    /// # Errors
    /// [`StoreError`] if the store failed; the organisation's turn comes again in an hour.
    pub(super) async fn look(
        &mut self,
        office: &Office,
        shard: u8,
        booker: &mut Booker,
    ) -> Result<(), StoreError> {
        let now_ms = office.clock.boot_ms();
        if self.left.is_empty() && now_ms.saturating_sub(self.looked_ms) >= EVERY_MS {
            self.looked_ms = now_ms;
            self.left = office.organisations(shard).await?.into();
        }
        let Some(org) = self.left.pop_front() else { return Ok(()) };
        let after = self.after.take();
        self.after = booker.forget_past(org, after.as_ref(), office.clock.now()).await?;
        if self.after.is_some() {
            self.left.push_front(org);
        }
        Ok(())
    }
}
