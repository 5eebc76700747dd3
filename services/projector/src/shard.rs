//! A shard: won by one process at a time, which then books all that arrives for it.

mod epochs;
mod ledger;

use std::sync::Arc;

use tokio::sync::mpsc::UnboundedReceiver;
use tokio_util::sync::CancellationToken;
use turnpike_bus::seam::Bus;
use turnpike_runtime::clock::SharedClock;
use turnpike_store::booking::{Booked, Booker, Delivery, MAX_RECORDS};
use turnpike_store::error::StoreError;
use turnpike_store::kv::{CommitError, Kv};
use turnpike_store::leader::{Role, Term};
use turnpike_store::streams::Streams;

use crate::inbox::{Arrived, Inboxes};
use crate::metrics::BookingMetrics;
use crate::terms::Terms;
use epochs::Epochs;

/// The most bytes of messages booked in one commit (money.md).
const MAX_BYTES: usize = 512_000;
/// How often every epoch that was heard of is told how far it is booked.
const TELL_MS: u64 = 1_000;
/// The wait after a failure of the store.
const RETRY_MS: u64 = 200;

/// What all shards of one process share.
pub(crate) struct Office {
    pub(crate) kv: Arc<dyn Kv>,
    pub(crate) streams: Arc<Streams>,
    pub(crate) bus: Arc<dyn Bus>,
    pub(crate) clock: SharedClock,
    pub(crate) inboxes: Arc<Inboxes>,
    pub(crate) terms: Arc<Terms>,
    pub(crate) metrics: BookingMetrics,
}

/// Books one shard whenever this process owns it, until `stop`; then books what has arrived and
/// gives the shard up.
pub(crate) async fn run(office: Arc<Office>, shard: u8, stop: CancellationToken) {
    let role = Role::new(Arc::clone(&office.kv), office.clock.clone(), &format!("shard/{shard}"));
    while let Some(won) = stop.run_until_cancelled(role.win()).await {
        match won {
            Ok(term) => own(&office, shard, Arc::new(term), &stop).await,
            Err(error) => tracing::warn!(shard, %error, "the shard cannot be won"),
        }
        stop.run_until_cancelled(office.clock.sleep(RETRY_MS)).await;
    }
}

async fn own(office: &Arc<Office>, shard: u8, term: Arc<Term>, stop: &CancellationToken) {
    let lost = office.terms.hold(shard, Arc::clone(&term));
    let inbox = office.inboxes.open(shard);
    let held = Held { office: Arc::clone(office), shard };
    let mut owner = Owner {
        booker: Booker::new(
            Arc::clone(&office.kv),
            Arc::clone(&term),
            shard,
            Arc::clone(&office.streams),
        ),
        office: Arc::clone(office),
        inbox,
        waiting: None,
        epochs: Epochs::default(),
    };
    let ended = tokio::select! {
        biased;
        () = lost.cancelled() => Err(StoreError::Fenced),
        ended = owner.work(stop) => ended,
    };
    if let Err(error) = ended {
        tracing::warn!(shard, %error, "the shard was lost");
        return;
    }
    held.office.inboxes.close(shard);
    if owner.finish().await.is_ok() {
        drop(held);
        term.resign().await;
    }
}

/// Lets go of inbox and term, also when the work panics: nobody would renew for a dead task.
struct Held {
    office: Arc<Office>,
    shard: u8,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.office.inboxes.close(self.shard);
        self.office.terms.release(self.shard);
    }
}

struct Owner {
    office: Arc<Office>,
    booker: Booker,
    inbox: UnboundedReceiver<Arrived>,
    /// Arrived, and had no room in the last commit.
    waiting: Option<Arrived>,
    epochs: Epochs,
}

impl Owner {
    /// Books what arrives until `stop`, or until the shard is lost.
    async fn work(&mut self, stop: &CancellationToken) -> Result<(), StoreError> {
        let clock = self.office.clock.clone();
        let mut told_ms = clock.boot_ms();
        while !stop.is_cancelled() {
            let rest_ms = told_ms.saturating_add(TELL_MS).saturating_sub(clock.boot_ms());
            if self.waiting.is_none() {
                tokio::select! {
                    biased;
                    () = stop.cancelled() => {}
                    arrived = self.inbox.recv() => self.waiting = arrived,
                    () = clock.sleep(rest_ms), if !self.epochs.is_empty() => {}
                }
            }
            let deliveries = self.gather();
            self.book(deliveries).await?;
            if clock.boot_ms().saturating_sub(told_ms) >= TELL_MS {
                told_ms = clock.boot_ms();
                self.epochs.forget_silent(told_ms);
                self.tell().await?;
            }
        }
        Ok(())
    }

    /// Writes down what is published since the last commit, and tells every gateway how far it is.
    async fn tell(&mut self) -> Result<(), StoreError> {
        let unsaved = self.epochs.unsaved(MAX_RECORDS);
        self.save(&unsaved).await?;
        ledger::tell(&self.office, self.epochs.marks()).await;
        Ok(())
    }

    /// Books what is left in the inbox, which is closed.
    async fn finish(&mut self) -> Result<(), StoreError> {
        while self.waiting.is_some() || !self.inbox.is_empty() {
            let deliveries = self.gather();
            self.book(deliveries).await?;
        }
        self.tell().await
    }

    /// Books deliveries in one commit, publishes them, and answers their gateways.
    async fn book(&mut self, deliveries: Vec<Delivery>) -> Result<(), StoreError> {
        if let Some(answers) = self.save(&deliveries).await? {
            ledger::publish(&self.office, &mut self.epochs, &deliveries).await;
            let now_ms = self.office.clock.boot_ms();
            let marks = self.epochs.answer(&deliveries, &answers, now_ms);
            ledger::tell(&self.office, marks).await;
        }
        Ok(())
    }

    /// Commits deliveries, again and again while the store is away: they may be the last copy.
    /// `None`: there are none, or the store holds something that stops them. Only the loss of the
    /// shard is an error.
    async fn save(&mut self, deliveries: &[Delivery]) -> Result<Option<Vec<Booked>>, StoreError> {
        if deliveries.is_empty() {
            return Ok(None);
        }
        let office = &self.office;
        loop {
            match self.booker.book(deliveries, office.clock.now()).await {
                Ok(answers) => {
                    office.metrics.answered(&answers);
                    self.epochs.heard(&answers, office.clock.boot_ms());
                    return Ok(Some(answers));
                }
                Err(StoreError::Fenced) => return Err(StoreError::Fenced),
                Err(error) => {
                    office.metrics.failures.inc();
                    tracing::warn!(%error, "spend was not booked");
                    office.clock.sleep(RETRY_MS).await;
                    if is_final(&error) {
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// Takes what is here, at most one commit's worth.
    fn gather(&mut self) -> Vec<Delivery> {
        let (mut deliveries, mut records, mut bytes) = (Vec::new(), 0_usize, 0_usize);
        while let Some(arrived) = self.waiting.take().or_else(|| self.inbox.try_recv().ok()) {
            // One without records counts too: it may move a place.
            records = records.saturating_add(arrived.delivery.batch.records.len().max(1));
            bytes = bytes.saturating_add(arrived.bytes);
            if !deliveries.is_empty() && (records > MAX_RECORDS || bytes > MAX_BYTES) {
                self.waiting = Some(arrived);
                break;
            }
            let published = self.epochs.published(&arrived.delivery);
            deliveries.push(Delivery { published, ..arrived.delivery });
        }
        deliveries
    }
}

/// Whether trying again cannot help.
const fn is_final(error: &StoreError) -> bool {
    matches!(error, StoreError::Corrupt { .. } | StoreError::Commit(CommitError::TooLarge(_)))
}
