//! The owner of a shard: one task that hears words and books spend in turn, one commit at a time.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use turnpike_store::booking::{Booked, Booker, Delivery, MAX_RECORDS};
use turnpike_store::error::StoreError;
use turnpike_store::kv::CommitError;
use turnpike_store::leader::Term;
use turnpike_wire::authority::{Call, RunsEnded};
use turnpike_wire::form;

use super::desk::{Asking, Desk, Reply};
use super::epochs::Epochs;
use super::past::Past;
use super::permits::Permits;
use super::silence::Silence;
use super::{Office, RETRY_MS, ledger};
use crate::inbox::{Arrived, Asked, Opened, What};
use crate::pending::Pending;

/// The most bytes of messages booked in one commit (money.md).
const MAX_BYTES: usize = 512_000;
/// How often every epoch that was heard of is told how far it is booked, and silence is looked at.
const TELL_MS: u64 = 1_000;
/// Changed organisations looked at in one turn, so that calls need not wait for all of them.
const MAX_CHANGED: usize = 16;

pub(super) struct Owner {
    office: Arc<Office>,
    shard: u8,
    term: Arc<Term>,
    booker: Booker,
    inbox: Opened,
    /// Arrived, and had no room in the last commit.
    waiting: Option<Arrived>,
    epochs: Epochs,
    desk: Desk,
    permits: Permits,
    silence: Silence,
    past: Past,
    /// Organisations that may have due rows.
    due: Arc<Pending>,
}

impl Owner {
    pub(super) fn new(
        office: Arc<Office>,
        shard: u8,
        term: Arc<Term>,
        inbox: Opened,
        due: Arc<Pending>,
    ) -> Self {
        let (kv, streams) = (Arc::clone(office.streams.kv()), Arc::clone(&office.streams));
        let permits = Permits::new(&*office.clock, term.fence());
        let past = Past::new(office.clock.boot_ms());
        let booker = Booker::new(kv, Arc::clone(&term), shard, streams);
        Self {
            office,
            shard,
            term,
            booker,
            inbox,
            waiting: None,
            epochs: Epochs::default(),
            desk: Desk::default(),
            permits,
            silence: Silence::default(),
            past,
            due,
        }
    }

    /// Works until `stop`, or until the shard is lost.
    pub(super) async fn work(&mut self, stop: &CancellationToken) -> Result<(), StoreError> {
        let clock = self.office.clock.clone();
        let mut told_ms = clock.boot_ms();
        while !stop.is_cancelled() {
            self.wait(stop, told_ms.saturating_add(TELL_MS)).await?;
            self.hear().await?;
            let deliveries = self.gather();
            self.book(deliveries).await?;
            self.follow().await?;
            if clock.boot_ms().saturating_sub(told_ms) >= TELL_MS {
                told_ms = clock.boot_ms();
                self.epochs.forget_silent(told_ms);
                self.permits.tidy(told_ms);
                self.tell().await?;
                self.give_up().await?;
                let forgot = self.past.look(&self.office, self.shard, &mut self.booker).await;
                self.unless_lost(forgot)?;
            }
            self.office.booking.committed(self.booker.take_commits());
            self.booker.take_dues().iter().for_each(|(org, _)| self.due.add(*org));
        }
        Ok(())
    }

    /// Waits until there is something to do, at most until `until_ms`.
    async fn wait(&mut self, stop: &CancellationToken, until_ms: u64) -> Result<(), StoreError> {
        if self.waiting.is_some() || !self.desk.is_idle() || !self.inbox.changed.is_empty() {
            return Ok(());
        }
        let until_ms = self.desk.until_ms().map_or(until_ms, |desk_ms| desk_ms.min(until_ms));
        let rest_ms = until_ms.saturating_sub(self.office.clock.boot_ms());
        let mut asked = None;
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            call = self.inbox.calls.recv() => asked = call,
            arrived = self.inbox.spend.recv() => self.waiting = arrived,
            () = self.inbox.changed.news() => {}
            () = self.office.clock.sleep(rest_ms) => {}
        }
        match asked {
            Some(asked) => self.take(asked).await,
            None => Ok(()),
        }
    }

    /// Takes the calls that are here and hears one commit's worth of words.
    async fn hear(&mut self) -> Result<(), StoreError> {
        while !self.desk.is_full() {
            let Ok(asked) = self.inbox.calls.try_recv() else { break };
            self.take(asked).await?;
        }
        self.desk.hear(&self.office, &self.term, &mut self.booker).await
    }

    /// Goes on answering calls while a publication takes its time.
    async fn meanwhile<T>(
        &mut self,
        publication: impl Future<Output = T>,
    ) -> Result<T, StoreError> {
        let mut publication = std::pin::pin!(publication);
        loop {
            let now_ms = self.office.clock.boot_ms();
            let rest_ms = self.desk.until_ms().map(|until_ms| until_ms.saturating_sub(now_ms));
            let mut asked = None;
            tokio::select! {
                biased;
                done = &mut publication => return Ok(done),
                call = self.inbox.calls.recv(), if !self.inbox.calls.is_closed() => asked = call,
                () = self.office.clock.sleep(rest_ms.unwrap_or(TELL_MS)) => {}
            }
            if let Some(asked) = asked {
                self.take(asked).await?;
            }
            self.hear().await?;
        }
    }

    async fn take(&mut self, asked: Asked) -> Result<(), StoreError> {
        let Asked { org, what, reply } = asked;
        match what {
            What::Call(gateway, Call::Lease(call)) => {
                let since_ms = self.office.clock.boot_ms();
                self.desk.take(Asking { org, gateway, call, since_ms, reply });
            }
            What::Call(gateway, Call::EndRuns(call)) => {
                let done = self.booker.end_runs(org, gateway, &call).await;
                if let Some(ended) = self.unless_lost(done)? {
                    self.desk.moved(org);
                    self.answer(reply, &RunsEnded { fence: self.term.fence(), ended });
                }
            }
            What::Call(gateway, Call::Permit(call)) => {
                let told = self.permits.permit(&self.office, (org, gateway), &call).await;
                if let Some(answer) = self.unless_lost(told)? {
                    self.answer(reply, &answer);
                }
            }
            What::Call(gateway, Call::Recent(call)) => {
                let told = self.permits.recent(&self.office, (org, gateway), call).await;
                if let Some(answer) = self.unless_lost(told)? {
                    self.answer(reply, &answer);
                }
            }
            What::Rates(question) => {
                let told = self.permits.look(&self.office, org, &question).await;
                if let Some(answer) = self.unless_lost(told)? {
                    self.answer(reply, &answer);
                }
            }
        }
        Ok(())
    }

    /// Answers, while this owner may.
    fn answer(&self, reply: Reply, answer: &impl form::Form) {
        if self.term.may_answer() {
            reply(form::encode(answer).into());
        }
    }

    /// Looks at organisations whose streams have grown.
    async fn follow(&mut self) -> Result<(), StoreError> {
        for _ in 0..MAX_CHANGED {
            let Some(org) = self.inbox.changed.take() else { break };
            let followed = self.booker.follow(org, self.office.clock.now()).await;
            // What can never be read must not stand in the way of the others.
            let again = followed.as_ref().is_err_and(|error| !is_final(error));
            if self.unless_lost(followed)?.is_some() {
                self.desk.moved(org);
            } else if again {
                self.inbox.changed.add(org);
                self.office.clock.sleep(RETRY_MS).await;
                break;
            }
        }
        Ok(())
    }

    async fn give_up(&mut self) -> Result<(), StoreError> {
        let looked = self.silence.look(&self.office, self.shard, &mut self.booker).await;
        self.unless_lost(looked).map(|_| ())
    }

    /// `None`: the store has failed, which is counted. Only the loss of the shard is an error.
    fn unless_lost<T>(&self, result: Result<T, StoreError>) -> Result<Option<T>, StoreError> {
        match result {
            Ok(done) => Ok(Some(done)),
            Err(StoreError::Fenced) => Err(StoreError::Fenced),
            Err(error) => {
                self.office.authority.failures.inc();
                tracing::warn!(%error, "the store has failed; it is tried again");
                Ok(None)
            }
        }
    }

    /// Writes down what is published since the last commit, and tells every gateway how far it is.
    async fn tell(&mut self) -> Result<(), StoreError> {
        let unsaved = self.epochs.unsaved(MAX_RECORDS);
        self.save(&unsaved).await?;
        ledger::tell(&self.office, self.epochs.marks()).await;
        Ok(())
    }

    /// Books what is left in the inbox, which is closed.
    pub(super) async fn finish(&mut self) -> Result<(), StoreError> {
        while self.waiting.is_some() || !self.inbox.spend.is_empty() {
            let deliveries = self.gather();
            self.book(deliveries).await?;
        }
        self.tell().await
    }

    /// Books deliveries in one commit, publishes them, and answers their gateways.
    async fn book(&mut self, deliveries: Vec<Delivery>) -> Result<(), StoreError> {
        if let Some(answers) = self.save(&deliveries).await? {
            // What was held is spent: who waits for it need not wait any more.
            deliveries.iter().for_each(|delivery| self.desk.moved(delivery.org));
            let settled = ledger::unpublished(&self.office, &mut self.epochs, &deliveries);
            let office = Arc::clone(&self.office);
            // Not beside the publication: who waits there for a stream's lock is not asked while
            // words are heard, which need the same lock and would wait for ever.
            let known = ledger::metadata(&office, &settled).await;
            let failed = self.meanwhile(ledger::publish(&office, settled, known)).await?;
            ledger::take_back(&mut self.epochs, &deliveries, failed);
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
                    office.booking.answered(&answers);
                    self.epochs.heard(&answers, office.clock.boot_ms());
                    return Ok(Some(answers));
                }
                Err(StoreError::Fenced) => return Err(StoreError::Fenced),
                Err(error) => {
                    office.booking.failures.inc();
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
        while let Some(arrived) = self.waiting.take().or_else(|| self.inbox.spend.try_recv().ok()) {
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
