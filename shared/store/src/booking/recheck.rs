//! Looking at budgets again whose caps were changed: they may be used up without a booking.

use turnpike_domain::id::OrgId;
use turnpike_domain::limit::{Account, Unit};
use turnpike_domain::time::Timestamp;

use super::Booker;
use super::draft::Draft;
use super::view::View;
use crate::error::StoreError;

/// Budgets that one commit looks at: each may cross a hundred thresholds in two windows, whose due
/// rows take fourteen kilobytes.
const MAX_BUDGETS: usize = 50;

impl Booker {
    /// Looks for thresholds that are crossed since these caps were changed.
    ///
    /// # Errors
    /// As [`Self::book`].
    pub async fn recheck(
        &mut self,
        org: OrgId,
        accounts: &[(Account, Unit)],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        for some in accounts.chunks(MAX_BUDGETS) {
            self.recheck_some(org, some, now).await?;
        }
        Ok(())
    }

    async fn recheck_some(
        &mut self,
        org: OrgId,
        accounts: &[(Account, Unit)],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        super::insist!(self.recheck_once(org, accounts, now))
    }

    async fn recheck_once(
        &mut self,
        org: OrgId,
        accounts: &[(Account, Unit)],
        now: Timestamp,
    ) -> Result<Option<()>, StoreError> {
        let mut work = self.begin().await?;
        self.catch_up([org].into()).await?;
        let mut view = View::default();
        let note = |state: &_| accounts.iter().for_each(|(account, _)| view.note(state, *account));
        self.streams.remembered(org, note).await;
        let windows: Vec<_> = accounts
            .iter()
            .flat_map(|(account, unit)| {
                let windows = view.windows(org, *account, now);
                windows.map(|window| (*unit, [(*account, window)]))
            })
            .collect();
        let row = |(unit, [(account, window)]): &(_, [_; 1])| (org, *account, *unit, *window);
        work.cache.load_accounts(&*work.snapshot, windows.iter().map(row).collect()).await?;
        let mut draft = Draft::default();
        for (unit, path) in &windows {
            let mut levels = draft.sheet.levels((&work.cache, &view), org, *unit, path);
            draft.sheet.cross(&view, org, *unit, &mut levels);
            draft.sheet.put(&work.cache, org, *unit, &levels);
        }
        self.finish(work, draft, ()).await
    }
}
