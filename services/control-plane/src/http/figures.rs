//! Figures of use per key, kept for a moment so that a list does not read all rows at each page.

use std::collections::BTreeMap;
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
/// Organisations whose figures are kept; beyond it they are read anew.
const MAX_KEPT: usize = 1_000;
/// The span of a key's share of the traffic.
const SHARE_MS: u64 = 30 * DAY_MS;

/// What one key used.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct KeyFigures {
    /// Of all time.
    pub(crate) total: Total,
    /// Requests of the last 30 days.
    recent: u64,
}

/// The figures of an organisation.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    keys: BTreeMap<KeyId, KeyFigures>,
    recent: u64,
    pub(crate) complete_up_to: Option<Timestamp>,
}

/// Figures that were read a moment ago, by organisation.
#[derive(Default)]
pub(crate) struct FigureCache {
    kept: Mutex<BTreeMap<OrgId, (u64, Arc<Figures>)>>,
}

impl Figures {
    /// What one key used.
    pub(crate) fn key(&self, key: KeyId) -> KeyFigures {
        self.keys.get(&key).copied().unwrap_or_default()
    }

    /// A key's share of the organisation's requests of the last 30 days.
    pub(crate) fn share(&self, key: KeyId) -> Percent {
        Percent::of(self.key(key).recent, self.recent)
    }
}

/// The figures of the organisation of the path, at most [`FRESH_MS`] old.
pub(crate) async fn figures(ask: &Ask) -> Result<Arc<Figures>, Problem> {
    let boot_ms = ask.app().clock.boot_ms();
    let cache = &ask.api.figures;
    if let Some(found) = cache.get(ask.org, boot_ms) {
        return Ok(found);
    }
    let figures = Arc::new(read(ask).await?);
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

async fn read(ask: &Ask) -> Result<Figures, Problem> {
    let snapshot = ask.snapshot().await?;
    let from = Timestamp(ask.now.0.saturating_sub(SHARE_MS) / HOUR_MS * HOUR_MS);
    let mut figures = Figures { complete_up_to: complete_up_to(ask).await?, ..Figures::default() };
    for (key, total) in usage::keys(&*snapshot, ask.org).await? {
        figures.keys.insert(key, KeyFigures { total, ..KeyFigures::default() });
    }
    let until = ask.now.plus_ms(DAY_MS);
    for row in usage::hours(&*snapshot, ask.org, from, until).await? {
        let key = figures.keys.entry(row.key).or_default();
        key.recent = key.recent.saturating_add(row.total.requests);
        figures.recent = figures.recent.saturating_add(row.total.requests);
    }
    Ok(figures)
}

impl FigureCache {
    fn get(&self, org: OrgId, boot_ms: u64) -> Option<Arc<Figures>> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let (read_ms, figures) = kept.get(&org)?;
        (boot_ms.saturating_sub(*read_ms) <= FRESH_MS).then(|| Arc::clone(figures))
    }

    fn put(&self, org: OrgId, boot_ms: u64, figures: &Arc<Figures>) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= MAX_KEPT {
            kept.clear();
        }
        kept.insert(org, (boot_ms, Arc::clone(figures)));
    }
}
