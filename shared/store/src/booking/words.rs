//! Words of gateways on their leases: grants, refusals, and what is given back.

use std::collections::BTreeSet;

use turnpike_domain::id::{GatewayId, LeaseId, OrgId};
use turnpike_domain::ledger::{BudgetFigures, Lease, Level, Refused, Standing, path};
use turnpike_domain::limit::{Account, Unit};
use turnpike_domain::state::Organisation;
use turnpike_domain::time::Timestamp;
use turnpike_wire::authority::{LeaseAnswer, LeaseCall};

use super::draft::Draft;
use super::sheet::UNITS;
use super::view::View;
use super::{Booker, Cache};
#[cfg(feature = "mutations")]
use super::{Mistake, mutation};
use crate::error::StoreError;
use crate::ledger::rows::{LeaseRow, Path};

/// The most words of one commit: each moves two rows or a few more, so they stay far within it.
pub const MAX_WORDS: usize = 500;

/// A word that waits to be heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Whose budgets, by the subject that it came on.
    pub org: OrgId,
    /// Who speaks, by the subject that it came on.
    pub gateway: GatewayId,
    /// The word.
    pub call: LeaseCall,
    /// What is known of the gateway.
    pub standing: Standing,
}

/// An ask with the paths that matter to it.
struct Heard<'a> {
    ask: &'a Ask,
    /// What the lease is granted on; empty if there is neither a lease nor a key.
    path: Path,
    /// That is not where the key's requests are counted by now: nothing more is granted on it.
    is_past: bool,
}

impl Ask {
    fn key(&self, unit: Unit) -> (OrgId, GatewayId, LeaseId, Unit) {
        (self.org, self.gateway, self.call.lease, unit)
    }
}

impl Booker {
    /// Hears words, at most [`MAX_WORDS`], in one commit, and answers each.
    ///
    /// A word that is refused counts as not heard: it may be brought again when holds have come
    /// back. May be dropped at any time, as [`Self::book`].
    ///
    /// # Errors
    /// [`StoreError::Fenced`] if another process owns this shard now; else the store failed and
    /// nothing of this call may be assumed: gateways say it again.
    pub async fn hear(
        &mut self,
        asks: &[Ask],
        now: Timestamp,
    ) -> Result<Vec<LeaseAnswer>, StoreError> {
        super::insist!(self.hear_once(asks, now))
    }

    async fn hear_once(
        &mut self,
        asks: &[Ask],
        now: Timestamp,
    ) -> Result<Option<Vec<LeaseAnswer>>, StoreError> {
        let mut work = self.begin().await?;
        let orgs: BTreeSet<OrgId> = asks.iter().map(|ask| ask.org).collect();
        self.catch_up(orgs).await?;
        let leases = asks.iter().flat_map(|ask| UNITS.map(|unit| ask.key(unit))).collect();
        work.cache.load_leases(&*work.snapshot, leases).await?;
        let gateways = asks.iter().map(|ask| (ask.org, ask.gateway)).collect();
        work.cache.load_runs(&*work.snapshot, gateways).await?;
        let (heard, view) = self.find_paths(&work.cache, asks, now).await;
        let mut rows = Vec::new();
        for Heard { ask, path, .. } in &heard {
            let unit = ask.call.unit;
            rows.extend(path.iter().map(|(on, window)| (ask.org, *on, unit, *window)));
        }
        work.cache.load_accounts(&*work.snapshot, rows).await?;
        let mut draft = Draft::default();
        let answer = |heard: &Heard<'_>| self.answer(&mut draft, (&work.cache, &view), heard);
        let answers = heard.iter().map(answer).collect();
        self.finish(work, draft, answers).await
    }

    async fn find_paths<'a>(
        &self,
        cache: &Cache,
        asks: &'a [Ask],
        now: Timestamp,
    ) -> (Vec<Heard<'a>>, View) {
        let (mut heard, mut view) = (Vec::with_capacity(asks.len()), View::default());
        for ask in asks {
            let own = UNITS.iter().find_map(|unit| cache.lease(&ask.key(*unit)));
            let own = own.map(|row| Path::clone(&row.path));
            let read = |state: &Organisation| {
                let present = present(state, &ask.call, now);
                let path = own.unwrap_or_else(|| Path::clone(&present));
                path.iter().for_each(|(account, _)| view.note(state, *account));
                let is_past = present.is_empty() || path != present;
                Heard { ask, path, is_past }
            };
            heard.push(self.streams.remembered(ask.org, read).await);
        }
        (heard, view)
    }

    fn answer(&self, draft: &mut Draft, known: (&Cache, &View), heard: &Heard<'_>) -> LeaseAnswer {
        let (cache, view) = known;
        let Heard { ask, path, is_past } = heard;
        let (Ask { org, gateway, call, standing }, unit) = (ask, ask.call.unit);
        let (sheet, key) = (&mut draft.sheet, ask.key(unit));
        let mut row = sheet.lease(cache, &key).cloned().unwrap_or_else(|| LeaseRow {
            lease: Lease::default(),
            run: call.epoch,
            torn: false,
            path: Path::clone(path),
        });
        let mut levels = sheet.levels(known, *org, unit, path);
        let ended = call.epoch < cache.oldest_run(*org, *gateway);
        let is_past = *is_past;
        #[cfg(feature = "mutations")]
        let is_past = is_past && !mutation::is_planted(Mistake::OutlivePath);
        let standing = Standing { fenced: standing.fenced || is_past || ended, ..*standing };
        let before = row.lease;
        let refused = row.lease.hear(&mut levels, &call.word, standing).err();
        #[cfg(feature = "mutations")]
        mutation::grant_twice(&mut row.lease, before, &call.word);
        if row.lease.hold() > before.hold() {
            sheet.rely_on(*org, unit, &levels);
        }
        let account = refused.as_ref().and_then(stands_against);
        let against = levels.iter_mut().find(|level| Some(level.account) == account);
        let figures = against.map(|level| {
            let figures = level.figures();
            if matches!(refused, Some(Refused::Exhausted { .. })) {
                let percents = view.alert_percents(*org, level.account);
                sheet.dues.extend(level.refused(unit, percents).into_iter().map(|due| (*org, due)));
            }
            figures
        });
        let figures = figures.or_else(|| tightest(&levels));
        let (n, total) = (row.lease.n, row.lease.total);
        let is_known = sheet.lease(cache, &key).is_some();
        if row.lease != before && (is_known || !ended && !path.is_empty()) {
            sheet.leases.insert(key, Some(row));
        }
        sheet.put(cache, *org, unit, &levels);
        let ends_at = view.ends_at(*org, path);
        let (fence, path) = (self.term.fence(), path.to_vec());
        LeaseAnswer { fence, n, total, path, ends_at, refused, figures }
    }
}

/// The path of a call's requests by now; empty if its key, or its token with a budget of its own,
/// is not known (any more).
fn present(state: &Organisation, call: &LeaseCall, now: Timestamp) -> Path {
    let known = state
        .keys
        .get(&call.key)
        .filter(|key| call.token.is_none() || state.carve_out(key.id, call.token).is_some());
    known.map(|key| path(state, key, call.token, now)).unwrap_or_default().into()
}

/// The budget that has the least left: what a gateway tells those who ask for it.
fn tightest(levels: &[Level]) -> Option<BudgetFigures> {
    let capped = levels.iter().filter(|level| level.cap.amount.is_some());
    capped.min_by_key(|level| level.available()).map(Level::figures)
}

const fn stands_against(refused: &Refused) -> Option<Account> {
    match refused {
        Refused::Exhausted { account, .. } | Refused::HeldElsewhere { account } => Some(*account),
        Refused::Fenced => None,
    }
}
