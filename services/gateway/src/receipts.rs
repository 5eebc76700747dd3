//! Tells the control plane how far the mirror is, so that callers can wait for the proof.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::{StreamExt as _, stream};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use turnpike_bus::seam::{Bus, Publish, Topic};
use turnpike_domain::id::{EpochId, GatewayId, OrgId, Position};
use turnpike_domain::time::Timestamp;
use turnpike_runtime::clock::{SharedClock, deadline};
use turnpike_wire::form;
use turnpike_wire::heartbeat::{LostChange, MAX_PROVIDERS, ProviderHealth, Quarantine, Receipt};

use crate::board::{self, Board};
use crate::upstream::health::Healths;

/// How long a receipt waits for others of the same organisation: a bulk command changes thousands
/// of keys at once.
const GATHER_MS: u64 = 5;
/// Receipts on their way at a time.
const IN_FLIGHT: usize = 64;
/// A receipt that was not taken by then is overtaken by the next one.
const PUBLISH_MS: u64 = 1_000;

/// How far the mirror is with one stream.
#[derive(Clone, Debug)]
pub(crate) struct Reached {
    /// Up to where everything is applied.
    pub(crate) position: Position,
    /// The mirror's time.
    pub(crate) at: Timestamp,
    /// What could not be read.
    pub(crate) quarantine: Option<Quarantine>,
    /// Changes of keys that are gone.
    pub(crate) lost: Vec<LostChange>,
}

/// The receipts that wait to be sent; the latest of each organisation stands.
#[derive(Clone)]
pub(crate) struct Receipts {
    board: Board,
    healths: Healths,
    /// The one organisation that is served; `None`: all.
    serves: Option<OrgId>,
    waiting: Arc<Mutex<BTreeMap<OrgId, Reached>>>,
    news: Arc<Notify>,
}

impl Receipts {
    /// Nothing waits; `board` says what was served, `healths` by whom. `serves`: the one
    /// organisation that the gateway joined.
    pub(crate) fn new(board: Board, healths: Healths, serves: Option<OrgId>) -> Self {
        Self { board, healths, serves, waiting: Arc::default(), news: Arc::default() }
    }

    /// The mirror of `org` has come so far.
    pub(crate) fn reached(&self, org: OrgId, reached: Reached) {
        self.lock().insert(org, reached);
        self.news.notify_one();
    }

    /// Sends until `stop`.
    pub(crate) async fn run(
        self,
        bus: Arc<dyn Bus>,
        clock: SharedClock,
        (gateway, epoch): (GatewayId, EpochId),
        stop: CancellationToken,
    ) {
        let gathered = async || {
            self.news.notified().await;
            clock.sleep(GATHER_MS).await;
        };
        while stop.run_until_cancelled(gathered()).await.is_some() {
            let waiting = std::mem::take(&mut *self.lock());
            let lanes = self.board.read();
            let promise = |org| lanes.as_ref().and_then(|lanes| board::promise(lanes, org));
            let sent = stream::iter(waiting)
                .map(|(org, Reached { position, at, quarantine, lost })| {
                    let promise = promise(org);
                    let complete_to = promise.as_ref().map(|promise| promise.complete_to);
                    let spent = promise.map(|promise| promise.spent).unwrap_or_default();
                    let providers = self.providers(org, at, clock.boot_ms());
                    let payload = form::encode(&Receipt {
                        epoch,
                        position,
                        at,
                        complete_to,
                        spent,
                        providers,
                        quarantine,
                        lost,
                    })
                    .into();
                    let topic = Topic::Receipts { org, gateway };
                    bus.publish(Publish { topic, id: String::new(), headers: Vec::new(), payload })
                })
                .buffer_unordered(IN_FLIGHT)
                .for_each(async |result| {
                    if let Err(error) = result {
                        tracing::debug!(%error, "a receipt was not taken");
                    }
                });
            deadline(&*clock, PUBLISH_MS, sent).await;
        }
    }

    /// How the organisation's providers fare. The platform's are told of on its own stream, or, by
    /// a gateway that may say nothing there, on that of the one organisation that it serves.
    fn providers(&self, org: OrgId, at: Timestamp, now_ms: u64) -> Vec<ProviderHealth> {
        if org == OrgId::PLATFORM {
            return self.healths.told(None, at, now_ms);
        }
        let mut told = self.healths.told(Some(org), at, now_ms);
        if self.serves == Some(org) {
            told.extend(self.healths.told(None, at, now_ms));
            told.truncate(MAX_PROVIDERS);
        }
        told
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<OrgId, Reached>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
