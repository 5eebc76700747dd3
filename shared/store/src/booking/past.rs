//! Leases of windows that are over: their rows go once nothing more can come of them.

use bytes::Bytes;
use turnpike_domain::id::OrgId;
use turnpike_domain::time::{DAY_MS, Timestamp};

use super::Booker;
use super::draft::Draft;
use super::view::View;
use crate::error::StoreError;
use crate::keyspace;
use crate::ledger::rows::LeaseRow;
use crate::paging;

/// Rows that are looked at in one commit, which deletes them at most.
const PAGE: usize = 500;
/// How long after its window's end a lease is kept of which nothing is held: longer than a word or
/// a record that is late for any reason but a hold, and than days differ.
const KEPT_MS: u64 = DAY_MS;

impl Booker {
    /// Forgets leases of an organisation of which nothing is held and whose first window ended a
    /// day ago, among one page of them behind `after`; the row behind which to go on, if more
    /// follow. What a gateway still says of them is heard as of a new lease.
    ///
    /// # Errors
    /// As [`Self::book`].
    pub async fn forget_past(
        &mut self,
        org: OrgId,
        after: Option<&Bytes>,
        now: Timestamp,
    ) -> Result<Option<Bytes>, StoreError> {
        super::insist!(self.forget_once(org, after, now))
    }

    async fn forget_once(
        &mut self,
        org: OrgId,
        after: Option<&Bytes>,
        now: Timestamp,
    ) -> Result<Option<Option<Bytes>>, StoreError> {
        let work = self.begin().await?;
        let mut draft = Draft::default();
        let all = keyspace::all_leases(org, PAGE);
        let scan = after.map_or_else(|| all.clone(), |key| paging::beyond(&all, key));
        let entries = work.snapshot.scan(scan).await?;
        let mut spent = Vec::new();
        for (key, value) in &entries {
            let shape = || StoreError::row("lease", "a key's shape");
            let gateway = keyspace::read_holder(key).ok_or_else(shape)?;
            let (lease, unit) = keyspace::read_lease(key).ok_or_else(shape)?;
            let row = LeaseRow::read(value)?;
            if row.lease.hold() == 0 {
                spent.push(((org, gateway, lease, unit), row.path));
            }
        }
        let mut view = View::default();
        let accounts = || spent.iter().flat_map(|(_, path)| path.iter());
        let note = |state: &_| accounts().for_each(|(account, _)| view.note(state, *account));
        self.streams.remembered(org, note).await;
        for (key, path) in spent {
            let ended = view.ends_at(org, &path).map(|end| end.plus_ms(KEPT_MS));
            if ended.is_some_and(|end| end <= now) {
                draft.sheet.leases.insert(key, None);
            }
        }
        let last = entries.last().filter(|_| entries.len() == PAGE);
        self.finish(work, draft, last.map(|(key, _)| key.clone())).await
    }
}
