//! Holds without a word of their gateway: lost after silence, ended with their run, released by
//! hand.

use bytes::Bytes;
use turnpike_domain::id::{EpochId, GatewayId, OrgId};
use turnpike_domain::ledger::Level;
use turnpike_domain::limit::{Account, Unit};
use turnpike_wire::authority::EndRuns;

use super::draft::Draft;
use super::view::View;
use super::{Booker, Work};
#[cfg(feature = "mutations")]
use super::{Mistake, mutation};
use crate::error::StoreError;
use crate::keyspace;
use crate::ledger::rows::{self, LeaseRow};
use crate::paging;

/// Leases that one commit changes: each takes some 200 bytes, and its path as much again. As many
/// records that were put aside are read at once.
const PAGE: usize = 500;

/// A hold that an administrator has released: `LeaseAbandoned`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Release {
    /// The event's place in its organisation's stream: each is carried out once.
    pub seq: u64,
    /// The gateway that held it.
    pub gateway: GatewayId,
    /// Whose budget.
    pub account: Account,
    /// In which unit.
    pub unit: Unit,
    /// How much, in the unit.
    pub amount: i64,
}

/// What becomes of a lease.
enum Fate {
    Stays,
    Forgotten,
}

/// What was done with a page of leases.
enum Page {
    /// The gateway's records are not all booked.
    Early,
    /// More leases follow behind this key.
    Before(Bytes),
    Last,
}

/// What a sweep does to one lease, given its path.
type Change<'a> = &'a mut (dyn FnMut(&mut LeaseRow, Unit, &mut [Level]) -> Fate + Send);

impl Booker {
    /// Gives up waiting for a gateway of an organisation: what it holds counts as lost from now on.
    /// True if it held anything.
    ///
    /// # Errors
    /// As [`Self::book`]; a part may be done then, and doing it again does the rest.
    pub async fn lose(&mut self, org: OrgId, gateway: GatewayId) -> Result<bool, StoreError> {
        let (mut after, mut any) = (None, false);
        loop {
            let (page, lost) = self.lose_page(org, gateway, after.as_ref()).await?;
            any |= lost;
            match page {
                Page::Before(key) => after = Some(key),
                Page::Early | Page::Last => return Ok(any),
            }
        }
    }

    /// Ends the runs of a gateway before the one that speaks: once every place that it names is
    /// booked, their holds are free, or lost if not everything that was spent is known. `false`:
    /// it has to be said again.
    ///
    /// # Errors
    /// As [`Self::book`]; a part may be done then, and saying it again does the rest.
    pub async fn end_runs(
        &mut self,
        org: OrgId,
        gateway: GatewayId,
        call: &EndRuns,
    ) -> Result<bool, StoreError> {
        let mut after = None;
        loop {
            match self.end_page(org, gateway, call, after.as_ref()).await? {
                Page::Early => return Ok(false),
                Page::Before(key) => after = Some(key),
                Page::Last => return Ok(true),
            }
        }
    }

    /// Frees at most so much of what a gateway has lost of an account, once.
    ///
    /// # Errors
    /// As [`Self::book`].
    pub async fn release(&mut self, org: OrgId, release: Release) -> Result<(), StoreError> {
        while !self.release_page(org, release).await? {}
        Ok(())
    }

    pub(super) async fn release_page(
        &mut self,
        org: OrgId,
        release: Release,
    ) -> Result<bool, StoreError> {
        super::insist!(self.release_once(org, release))
    }

    async fn lose_page(
        &mut self,
        org: OrgId,
        gateway: GatewayId,
        after: Option<&Bytes>,
    ) -> Result<(Page, bool), StoreError> {
        super::insist!(self.lose_once(org, gateway, after))
    }

    async fn lose_once(
        &mut self,
        org: OrgId,
        gateway: GatewayId,
        after: Option<&Bytes>,
    ) -> Result<Option<(Page, bool)>, StoreError> {
        let mut work = self.begin().await?;
        let mut draft = Draft::default();
        let mut any = false;
        let change: Change<'_> = &mut |row, _, levels| {
            any |= row.lease.hold() > 0 && !row.lease.lost;
            lose(row, levels);
            Fate::Stays
        };
        let page = sweep(&mut work, &mut draft, (org, gateway), after, change).await?;
        self.finish(work, draft, (page, any)).await
    }

    async fn end_page(
        &mut self,
        org: OrgId,
        gateway: GatewayId,
        call: &EndRuns,
        after: Option<&Bytes>,
    ) -> Result<Page, StoreError> {
        super::insist!(self.end_once(org, gateway, call, after))
    }

    async fn end_once(
        &mut self,
        org: OrgId,
        gateway: GatewayId,
        call: &EndRuns,
        after: Option<&Bytes>,
    ) -> Result<Option<Page>, StoreError> {
        let mut work = self.begin().await?;
        let mut draft = Draft::default();
        let place = |epoch: EpochId| keyspace::place(org, gateway, epoch);
        let places = call.places.iter().map(|(epoch, _)| place(*epoch)).collect();
        work.cache.load_places(&*work.snapshot, places).await?;
        work.cache.load_runs(&*work.snapshot, vec![(org, gateway)]).await?;
        let booked =
            |(epoch, number): &(EpochId, u64)| work.cache.place(&place(*epoch)).number >= *number;
        if !call.places.iter().all(booked) {
            return self.finish(work, draft, Page::Early).await;
        }
        // What could not be read was spent all the same, on whichever lease.
        let torn = call.torn || has_unknown(&work, org, gateway, call).await?;
        if work.cache.oldest_run(org, gateway) < call.run {
            draft.sheet.runs.insert((org, gateway), call.run);
        }
        let change: Change<'_> = &mut |row, _, levels| {
            if row.torn || row.run >= call.run {
                return Fate::Stays;
            }
            if torn && row.lease.hold() > 0 {
                lose(row, levels);
                row.torn = true;
                return Fate::Stays;
            }
            row.lease.free(levels);
            Fate::Forgotten
        };
        let page = sweep(&mut work, &mut draft, (org, gateway), after, change).await?;
        self.finish(work, draft, page).await
    }

    /// Releases of as many leases as one commit changes; `true`: it is carried out.
    async fn release_once(
        &mut self,
        org: OrgId,
        release: Release,
    ) -> Result<Option<bool>, StoreError> {
        let mut work = self.begin().await?;
        let mut draft = Draft::default();
        let done = work.snapshot.get(&keyspace::followed(org)).await?;
        let done = done.map_or(Ok(0), |row| rows::read_number(&row))?;
        if u128::from(release.seq) <= done {
            return self.finish(work, draft, true).await;
        }
        let Release { seq, gateway, account, unit, amount } = release;
        let begun = work.snapshot.get(&keyspace::release(org)).await?;
        let begun = begun.map(|row| rows::read_release(&row)).transpose()?;
        let mut left = begun.filter(|(of, _)| *of == seq).map_or(amount, |(_, left)| left);
        let mut change = |row: &mut LeaseRow, of: Unit, levels: &mut [Level]| {
            if of == unit && row.path.iter().any(|(on, _)| *on == account) {
                left = left.saturating_sub(row.lease.release(levels, left));
            }
            Fate::Stays
        };
        let mut after = None;
        let is_done = loop {
            let page =
                sweep(&mut work, &mut draft, (org, gateway), after.as_ref(), &mut change).await?;
            match page {
                Page::Before(_) if draft.sheet.leases.len() >= PAGE => break false,
                Page::Before(key) => after = Some(key),
                Page::Early | Page::Last => break true,
            }
        };
        if is_done {
            draft.sheet.followed.insert(org, seq);
        } else {
            draft.sheet.releases.insert(org, (seq, left));
        }
        self.finish(work, draft, is_done).await
    }
}

/// Changes the leases of a gateway behind `after`, one page of them.
async fn sweep(
    work: &mut Work,
    draft: &mut Draft,
    (org, gateway): (OrgId, GatewayId),
    after: Option<&Bytes>,
    change: Change<'_>,
) -> Result<Page, StoreError> {
    let all = keyspace::leases(org, gateway, PAGE);
    let scan = after.map_or_else(|| all.clone(), |key| paging::beyond(&all, key));
    let entries = work.snapshot.scan(scan).await?;
    let mut found = Vec::with_capacity(entries.len());
    for (key, value) in &entries {
        let (lease, unit) =
            keyspace::read_lease(key).ok_or_else(|| StoreError::row("lease", "a key's shape"))?;
        found.push(((org, gateway, lease, unit), LeaseRow::read(value)?));
    }
    let mut rows = Vec::new();
    for ((_, _, _, unit), row) in &found {
        rows.extend(row.path.iter().map(|(on, window)| (org, *on, *unit, *window)));
    }
    work.cache.load_accounts(&*work.snapshot, rows).await?;
    // Caps do not matter to what is given up.
    let view = View::default();
    for (key, mut row) in found {
        let (_, _, _, unit) = key;
        let before = row.clone();
        let mut levels = draft.sheet.levels((&work.cache, &view), org, unit, &row.path);
        let fate = change(&mut row, unit, &mut levels);
        draft.sheet.put(&work.cache, org, unit, &levels);
        match fate {
            Fate::Stays if row == before => {}
            Fate::Stays => drop(draft.sheet.leases.insert(key, Some(row))),
            Fate::Forgotten => drop(draft.sheet.leases.insert(key, None)),
        }
    }
    let last = entries.last().filter(|_| entries.len() == PAGE);
    Ok(last.map_or(Page::Last, |(key, _)| Page::Before(key.clone())))
}

fn lose(row: &mut LeaseRow, levels: &mut [Level]) {
    #[cfg(feature = "mutations")]
    if mutation::is_planted(Mistake::FreeWhenSilent) {
        return row.lease.free(levels);
    }
    if row.lease.hold() > 0 {
        row.lease.lose(levels);
    }
}

/// Whether a record of these epochs could not be read, and what it held neither.
async fn has_unknown(
    work: &Work,
    org: OrgId,
    gateway: GatewayId,
    call: &EndRuns,
) -> Result<bool, StoreError> {
    for (epoch, _) in &call.places {
        let mut scan = keyspace::asides(org, gateway, *epoch, PAGE);
        loop {
            let asides = work.snapshot.scan(scan.clone()).await?;
            for (_, value) in &asides {
                if !rows::read_aside(value)? {
                    return Ok(true);
                }
            }
            match asides.last() {
                Some((last, _)) if asides.len() == PAGE => scan = paging::beyond(&scan, last),
                Some(_) | None => break,
            }
        }
    }
    Ok(false)
}
