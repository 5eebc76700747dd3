//! Following organisations' own events: caps that were changed, holds that were released by hand.

use std::collections::BTreeSet;

use turnpike_domain::event::Event;
use turnpike_domain::evolve;
use turnpike_domain::id::{OrgId, Position};
use turnpike_domain::limit::{Account, Unit};
use turnpike_domain::time::Timestamp;

use super::draft::Draft;
use super::sheet::UNITS;
use super::{Booker, Release};
use crate::error::StoreError;
use crate::keyspace;
use crate::ledger::rows;
use crate::log;

/// What a page of a stream says about budgets.
struct News {
    /// Accounts whose caps may have changed.
    accounts: BTreeSet<Account>,
    releases: Vec<Release>,
    /// The seq of the page's last event.
    last: u64,
}

impl Booker {
    /// Looks at the events of an organisation since it was last followed, by whichever booker: caps
    /// that were changed are looked at, holds that were released are freed, each once. True if
    /// there were any events.
    ///
    /// # Errors
    /// As [`Self::book`]; a part may be done then, and following again does the rest.
    pub async fn follow(&mut self, org: OrgId, now: Timestamp) -> Result<bool, StoreError> {
        let mut any = false;
        while let Some(news) = self.news(org).await? {
            any = true;
            let caps: Vec<(Account, Unit)> =
                news.accounts.iter().flat_map(|one| UNITS.map(|unit| (*one, unit))).collect();
            // First, because to look again is harmless: what follows moves the place.
            self.recheck(org, &caps, now).await?;
            for release in news.releases {
                self.release(org, release).await?;
            }
            self.followed(org, news.last).await?;
        }
        Ok(any)
    }

    /// The next page of events, if there is one.
    async fn news(&self, org: OrgId) -> Result<Option<News>, StoreError> {
        let snapshot = self.kv.snapshot().await?;
        let place = snapshot.get(&keyspace::followed(org)).await?;
        let place = place.map_or(Ok(0), |row| rows::read_number(&row))?;
        let after = u64::try_from(place).unwrap_or(u64::MAX);
        let head = log::head(&*snapshot, org).await?;
        let page = log::page(&*snapshot, org, after, head.seq).await?;
        let Some(last) = page.last().map(|logged| logged.seq) else { return Ok(None) };
        let (mut accounts, mut releases) = (BTreeSet::new(), Vec::new());
        for logged in &page {
            let record = log::open(logged, Position::default())?.record;
            if let Event::LeaseAbandoned { gateway, account, unit, amount } = record.event {
                releases.push(Release { seq: record.seq, gateway, account, unit, amount });
            } else {
                accounts.insert(evolve::account(&record.event));
            }
        }
        Ok(Some(News { accounts, releases, last }))
    }

    /// Notes how far an organisation is followed.
    async fn followed(&mut self, org: OrgId, seq: u64) -> Result<(), StoreError> {
        super::insist!(self.followed_once(org, seq))
    }

    async fn followed_once(&mut self, org: OrgId, seq: u64) -> Result<Option<()>, StoreError> {
        let work = self.begin().await?;
        let mut draft = Draft::default();
        draft.sheet.followed.insert(org, seq);
        self.finish(work, draft, ()).await
    }
}
