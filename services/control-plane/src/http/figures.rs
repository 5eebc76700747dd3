//! Figures of use per key, kept for a moment so that a list does not read all rows at each page.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError};

use turnpike_domain::id::{KeyId, OrgId};
use turnpike_domain::time::{DAY_MS, HOUR_MS, Timestamp};
use turnpike_store::rows::Total;
use turnpike_store::usage;
use turnpike_wire::api::text::Percent;

use super::ask::Ask;
use crate::problem::Problem;

/// How old figures may be; bookings themselves take up to ten seconds.
const FRESH_MS: u64 = 2_000;
/// Shares of the traffic are read from every hour's rows: they are kept so many times as long as
/// reading them took, so that it never takes more than a tenth of the time.
const KEPT_FOR: u64 = 10;
/// Organisations whose figures are kept; beyond it they are read anew.
const MAX_KEPT: usize = 1_000;
/// The span of a key's share of the traffic.
const SHARE_MS: u64 = 30 * DAY_MS;

/// The figures of an organisation.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    /// Of all time.
    totals: BTreeMap<KeyId, Total>,
    shares: Arc<Shares>,
    pub(crate) complete_up_to: Option<Timestamp>,
}

/// Requests of the last 30 days.
#[derive(Debug, Default)]
struct Shares {
    by_key: BTreeMap<KeyId, u64>,
    all: u64,
    /// When they are to be read anew.
    until_ms: u64,
}

/// Figures that were read a moment ago, by organisation.
#[derive(Default)]
pub(crate) struct FigureCache {
    kept: Mutex<BTreeMap<OrgId, (u64, Arc<Figures>)>>,
}

impl Figures {
    /// What one key used of all time.
    pub(crate) fn total(&self, key: KeyId) -> Total {
        self.totals.get(&key).copied().unwrap_or_default()
    }

    /// A key's share of the organisation's requests of the last 30 days.
    pub(crate) fn share(&self, key: KeyId) -> Percent {
        let of_key = self.shares.by_key.get(&key).copied();
        Percent::of(of_key.unwrap_or_default(), self.shares.all)
    }
}

/// The figures of the organisation of the path, at most [`FRESH_MS`] old.
pub(crate) async fn figures(ask: &Ask) -> Result<Arc<Figures>, Problem> {
    let boot_ms = ask.app().clock.boot_ms();
    let cache = &ask.api.figures;
    let known = cache.get(ask.org);
    if let Some((read_ms, figures)) = &known
        && boot_ms.saturating_sub(*read_ms) <= FRESH_MS
    {
        return Ok(Arc::clone(figures));
    }
    let shares = known.map(|(_, figures)| Arc::clone(&figures.shares));
    let shares = match shares.filter(|shares| boot_ms <= shares.until_ms) {
        Some(shares) => shares,
        None => Arc::new(shares_of(ask).await?),
    };
    let snapshot = ask.snapshot().await?;
    let totals = usage::keys(&*snapshot, ask.org).await?.into_iter().collect();
    let complete_up_to = complete_up_to(ask).await?;
    let figures = Arc::new(Figures { totals, shares, complete_up_to });
    cache.put(ask.org, boot_ms, &figures);
    Ok(figures)
}

/// Up to when every gateway that is online has reported what it served, and that is booked; null
/// while none is, or one has not said so yet.
pub(crate) async fn complete_up_to(ask: &Ask) -> Result<Option<Timestamp>, Problem> {
    let snapshot = ask.snapshot().await?;
    let places = usage::places(&*snapshot, ask.org).await?;
    let gateways = ask.app().gateways(ask.org).await?;
    Ok(ask.app().presence.complete_up_to(ask.org, &gateways, &places))
}

async fn shares_of(ask: &Ask) -> Result<Shares, Problem> {
    let (clock, kv) = (&ask.app().clock, ask.app().streams().kv());
    let began_ms = clock.boot_ms();
    let from = Timestamp(ask.now.0.saturating_sub(SHARE_MS) / HOUR_MS * HOUR_MS);
    let mut shares = Shares::default();
    let add = |row: usage::HourTotal| {
        let of_key = shares.by_key.entry(row.key).or_default();
        *of_key = of_key.saturating_add(row.total.requests);
        shares.all = shares.all.saturating_add(row.total.requests);
        ControlFlow::Continue(())
    };
    usage::each_hour(&**kv, ask.org, from, ask.now.plus_ms(DAY_MS), add).await?;
    let now_ms = clock.boot_ms();
    let kept_ms = now_ms.saturating_sub(began_ms).saturating_mul(KEPT_FOR).max(FRESH_MS);
    shares.until_ms = now_ms.saturating_add(kept_ms);
    Ok(shares)
}

impl FigureCache {
    fn get(&self, org: OrgId) -> Option<(u64, Arc<Figures>)> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.get(&org).map(|(read_ms, figures)| (*read_ms, Arc::clone(figures)))
    }

    fn put(&self, org: OrgId, boot_ms: u64, figures: &Arc<Figures>) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= MAX_KEPT {
            kept.clear();
        }
        kept.insert(org, (boot_ms, Arc::clone(figures)));
    }
}
