//! What the mirror does with each message, each answer and each moment.

use std::sync::Arc;

use turnpike_bus::seam::{Message, Topic};
use turnpike_domain::id::{OrgId, Position};
use turnpike_domain::state::Head;
use turnpike_domain::time::Timestamp;
use turnpike_runtime::entropy;
use turnpike_wire::heartbeat::Heartbeat;
use turnpike_wire::record::{self, Received};
use turnpike_wire::snapshot::{Snapshot, State};

use super::saving::takes_away;
use super::world::{Applied, NotInstalled};
use super::{Answer, Everything, HURRY_MS, MANY_LOST, Mirror, RECEIPTS_A_BEAT, backoff_ms};
use crate::audit;
use crate::receipts::Reached;
use crate::upstairs::{Heads, Joined, Upstairs, UpstairsError};

impl Mirror {
    pub(super) fn message(&mut self, message: &Message) {
        match &message.topic {
            Topic::Events { org, .. } => match record::receive(&message.payload) {
                Ok(received) if received.org == *org => self.event(received),
                // What cannot be read leaves a gap, which is found by the next one.
                Ok(_) => self.refuse(*org, "an event came on a topic that is not its own"),
                Err(error) => self.refuse(*org, &format!("an event cannot be read: {error}")),
            },
            Topic::Heartbeat { .. } => self.beat(&message.payload),
            Topic::Spend { .. }
            | Topic::Booked { .. }
            | Topic::Receipts { .. }
            | Topic::Recall { .. }
            | Topic::Ledger { .. } => {}
        }
    }

    /// Retries, asks for what is lost, and says how fresh the mirror is.
    pub(super) fn tick(&mut self) {
        let now_ms = self.parts.clock.boot_ms();
        self.settle();
        if let Everything::Wanted { at_ms, failures } = self.everything
            && at_ms <= now_ms
        {
            self.everything = Everything::Running { failures };
            let (upstairs, joined) = self.upstairs();
            self.answers.push(Box::pin(async move {
                let mut answer = upstairs.snapshot(&joined, None).await;
                // A restored store may have forgotten that this gateway joined.
                if matches!(answer, Err(UpstairsError::Refused)) && upstairs.join().await.is_ok() {
                    answer = upstairs.snapshot(&joined, None).await;
                }
                Answer::Everything(answer)
            }));
        }
        if self.everything == Everything::Known {
            let lost = self.beats.lost(now_ms);
            if lost.len() > MANY_LOST {
                self.want_everything();
            } else {
                lost.into_iter().for_each(|org| self.fetches.want(org));
            }
            self.fetch(now_ms);
            self.ask_heads(now_ms);
        }
        self.ask_signers(now_ms);
        self.show_health();
    }

    /// Ready while it can serve: a gateway that has no news still serves, up to the staleness that
    /// its organisations allow. That it has none is an alarm, and `mirror_age_ms`.
    fn show_health(&mut self) {
        let stale = self.parts.core.is_stale();
        if stale != self.stale {
            self.stale = stale;
            if stale {
                tracing::error!("the mirror is stale: no news from the control plane");
            } else {
                tracing::info!("the mirror is fresh");
            }
        }
        let ready = !stale || self.parts.world.may_serve();
        if ready != self.ready {
            self.ready = ready;
            let reason = if ready { "the mirror may serve" } else { "the mirror is too old" };
            self.parts.probes.set_ready(ready, reason);
        }
    }

    pub(super) fn answered(&mut self, answer: Answer) {
        let now_ms = self.parts.clock.boot_ms();
        match answer {
            Answer::Everything(Ok(snapshots)) => self.everything(snapshots),
            Answer::Everything(Err(error)) => {
                tracing::warn!(%error, "the streams cannot be fetched");
                if let Everything::Running { failures } = self.everything {
                    let at_ms = now_ms.saturating_add(backoff_ms(failures));
                    let failures = failures.saturating_add(1);
                    self.everything = Everything::Wanted { at_ms, failures };
                }
            }
            Answer::Stream(org, Ok(snapshots)) => self.stream(org, snapshots, now_ms),
            Answer::Stream(org, Err(error)) => {
                tracing::warn!(%org, %error, "a stream cannot be fetched");
                self.fetch_failed(org, now_ms);
            }
            Answer::Signers(answer) => self.take_signers(answer, now_ms),
            Answer::Heads(asked, answer) => {
                self.heads.running = false;
                match answer {
                    Ok(heads) => {
                        self.heads.failures = 0;
                        self.take_heads(&heads, asked, now_ms);
                    }
                    Err(error) => {
                        tracing::warn!(%error, "the heads cannot be fetched");
                        self.heads.at_ms = now_ms.saturating_add(backoff_ms(self.heads.failures));
                        self.heads.failures = self.heads.failures.saturating_add(1);
                    }
                }
            }
        }
        self.settle();
    }

    fn take_heads(&mut self, answer: &Heads, asked: u64, now_ms: u64) {
        if self.parts.world.incarnation() != Some(answer.incarnation) {
            return self.begin_again("the store has begun another life");
        }
        let doubted = self.beats.heads(&self.parts.world, &answer.heads, asked, now_ms);
        if let (Some(asked_ms), Some(now)) = (doubted, answer.now) {
            self.parts.core.bound(now, asked_ms);
        }
    }

    /// All streams must be fetched, as soon as may be.
    pub(super) fn want_everything(&mut self) {
        if self.everything == Everything::Known {
            self.everything = Everything::Wanted { at_ms: 0, failures: 0 };
        }
    }

    fn event(&mut self, received: Received) {
        if self.fetches.holds(received.org) {
            return self.fetches.keep(received);
        }
        let (org, seq) = (received.org, received.seq);
        if let Some(received) = self.fold(received) {
            self.parts.metrics.gaps.inc();
            tracing::info!(%org, seq, "a stream has a gap and is fetched");
            self.fetches.keep(received);
        }
    }

    /// Applies an event, or gives it back if something before it is missing.
    fn fold(&mut self, received: Received) -> Option<Received> {
        let (org, seq, position) = (received.org, received.seq, received.position);
        let described = received.record.as_ref().map(|record| (record.event.name(), record.at));
        let described = described.ok();
        let before = self.parts.world.head(org);
        match self.parts.world.apply(&received) {
            Applied::Done(key) => {
                self.parts.metrics.applied.inc();
                if received.record.as_ref().is_ok_and(|record| takes_away(&record.event)) {
                    self.saver.soon(self.parts.clock.boot_ms());
                }
                self.beats.applied(&self.parts.world, org, self.parts.clock.boot_ms());
                if let (Some(key), Some((what, decided_at))) = (key, described) {
                    let applied_at = self.parts.core.now();
                    let entry =
                        audit::Entry { what, org, key, seq, position, decided_at, applied_at };
                    self.parts.audit.add(&entry);
                }
                if !self.parts.core.is_stale() {
                    self.reached(org, position, self.parts.core.now());
                }
            }
            Applied::Known => {}
            Applied::Gap => {
                if seq == before.seq && self.contradicted(org, before) {
                    return None;
                }
                if seq == before.seq.saturating_add(1) {
                    // The chain goes on from another event than ours. It may be another life of the
                    // store, which counts its fences anew.
                    self.parts.core.fences().forget();
                }
                return Some(received);
            }
            Applied::Held(unreadable) => {
                self.beats.applied(&self.parts.world, org, self.parts.clock.boot_ms());
                self.alarm(&format!("{org} is held at its last good state: {unreadable}"));
                // The control plane's own folding of the event may be readable.
                self.fetches.want(org);
            }
        }
        None
    }

    pub(super) fn heartbeat(&mut self, beat: &Heartbeat) {
        self.hurry();
        if self.parts.world.incarnation() != Some(beat.incarnation) {
            return self.begin_again("the store has begun another life");
        }
        let now_ms = self.parts.clock.boot_ms();
        let (had_begun, needed) = (self.beats.have_begun(), self.beats.needs_heads(now_ms));
        if self.beats.hear(&self.parts.world, beat, now_ms) {
            if !had_begun {
                // Until now the machine's own day had to do.
                self.parts.core.set_now(beat.at);
            } else {
                self.beats.doubt(self.parts.core.hear(beat.at), now_ms);
            }
        }
        if had_begun && !needed && self.beats.needs_heads(now_ms) {
            // All gateways miss the same heartbeat.
            self.heads.at_ms = now_ms.saturating_add(entropy::jitter_ms(HURRY_MS));
        }
        self.settle();
    }

    /// A heartbeat shows that the control plane lives: what has failed is tried again soon.
    fn hurry(&mut self) {
        let soon_ms = self.parts.clock.boot_ms().saturating_add(entropy::jitter_ms(HURRY_MS));
        self.heads.at_ms = self.heads.at_ms.min(soon_ms);
        self.fetches.hurry(soon_ms);
        if let Everything::Wanted { at_ms, .. } = &mut self.everything {
            *at_ms = (*at_ms).min(soon_ms);
        }
    }

    fn settle(&mut self) {
        self.disbelieve();
        let settled = self.beats.settle(&self.parts.world);
        self.matched |= settled.is_some();
        // A secret that is not known may be in what a stream lacks, the signer of a token among
        // keys that are not known yet.
        let lacks = self.beats.lacks_something() || self.signers.wanted();
        self.parts.core.set_in_step(self.matched && !lacks);
        let Some(fresh) = settled else { return };
        // Not beyond now: the control plane's day may have been set back since.
        self.parts.core.set_fresh_at(fresh.at.min(self.parts.core.now()));
        if let Some(asked_ms) = fresh.asked_ms {
            self.parts.core.set_fresh_ms(asked_ms);
        }
        if std::mem::take(&mut self.never_saved_fresh) {
            // A crash before the first regular save must not leave an empty disk.
            self.saver.hurry();
        }
        // Where nothing happened, this is how the control plane hears of us.
        if self.told_next.is_empty() {
            self.told_next.push_back(OrgId::PLATFORM);
            self.told_next.extend(self.parts.world.orgs());
        }
        let some = RECEIPTS_A_BEAT.min(self.told_next.len());
        let told: Vec<OrgId> = self.told_next.drain(..some).collect();
        for org in told {
            if !self.beats.is_behind(org) {
                self.reached(org, fresh.position, fresh.at);
            }
        }
    }

    fn everything(&mut self, snapshots: Vec<Snapshot>) {
        let life = snapshots.first().map(|snapshot| snapshot.taken.incarnation);
        if life.is_none() {
            return self.alarm("the control plane sent no stream at all");
        }
        self.everything = Everything::Known;
        self.parts.metrics.fetched.inc_by(u64::try_from(snapshots.len()).unwrap_or(u64::MAX));
        if life == self.parts.world.incarnation() && !self.begins_again {
            // Where events have overtaken it, the mirror knows better.
            if let Err(NotInstalled::OtherLife) = self.parts.world.install(snapshots) {
                self.want_everything();
            }
        } else {
            self.begins_again = false;
            self.parts.world.start_again(snapshots);
            self.beats.start_again();
        }
        self.tell_lost();
    }

    fn stream(&mut self, org: OrgId, snapshots: Vec<Snapshot>, now_ms: u64) {
        self.parts.metrics.fetched.inc();
        let before = self.parts.world.head(org);
        let Some(snapshot) = snapshots.into_iter().find(|one| stream_of(&one.state) == org) else {
            self.alarm(&format!("{org}: the control plane sent another stream"));
            return self.fetch_failed(org, now_ms);
        };
        match self.parts.world.install(vec![snapshot]) {
            Ok(()) => {
                self.beats.fetched(org);
                self.tell_lost();
                // What still does not follow is forged, or the heartbeats will speak of what is
                // missing before it: to wait for it would hold up what does.
                for received in self.fetches.done(org) {
                    drop(self.fold(received));
                }
                self.tell(org, before);
            }
            Err(NotInstalled::Older) if !self.needs(org) && !self.fetches.holds(org) => {
                // What was late has come while the stream was fetched, and more.
                self.fetches.done(org);
            }
            Err(NotInstalled::Older) if self.fetches.overtaken(org, now_ms) => {}
            Err(NotInstalled::Older) => {
                self.alarm(&format!("{org}: the snapshot is older than the mirror"));
                self.fetch_failed(org, now_ms);
            }
            Err(NotInstalled::OtherLife) => {
                self.fetch_failed(org, now_ms);
                self.begin_again("the store has begun another life");
            }
        }
    }

    /// Whether something of the stream can only be had by fetching it.
    fn needs(&self, org: OrgId) -> bool {
        self.beats.is_behind(org) || self.parts.world.is_held(org)
    }

    fn fetch_failed(&mut self, org: OrgId, now_ms: u64) {
        for received in self.fetches.failed(org, now_ms) {
            self.event(received);
        }
    }

    fn tell(&self, org: OrgId, before: Head) {
        let head = self.parts.world.head(org);
        if head.position > before.position && !self.parts.core.is_stale() {
            self.reached(org, head.position, self.parts.core.now());
        }
    }

    /// Has the control plane told how far the mirror is with a stream, and what it could not read.
    fn reached(&self, org: OrgId, position: Position, at: Timestamp) {
        let world = &self.parts.world;
        // Events behind the last heartbeat may have come since it was sent.
        let position = world.known(org, position.max(world.head(org).position));
        let (quarantine, lost) = (world.quarantine(org), world.lost(org));
        self.parts.receipts.reached(org, Reached { position, at, quarantine, lost });
    }

    fn fetch(&mut self, now_ms: u64) {
        for org in self.fetches.start(now_ms) {
            let (upstairs, joined) = self.upstairs();
            self.answers.push(Box::pin(async move {
                Answer::Stream(org, upstairs.snapshot(&joined, Some(org)).await)
            }));
        }
    }

    fn ask_heads(&mut self, now_ms: u64) {
        if self.heads.running || self.heads.at_ms > now_ms || !self.beats.needs_heads(now_ms) {
            return;
        }
        self.heads.running = true;
        let asked = self.beats.ask(&self.parts.world, now_ms);
        let (upstairs, joined) = self.upstairs();
        self.answers
            .push(Box::pin(async move { Answer::Heads(asked, upstairs.heads(&joined).await) }));
    }

    pub(super) fn upstairs(&self) -> (Arc<dyn Upstairs>, Joined) {
        (Arc::clone(&self.parts.upstairs), self.parts.joined.clone())
    }

    pub(super) fn refuse(&mut self, org: OrgId, what: &str) {
        self.parts.world.refuse(org);
        self.alarm(what);
    }

    pub(super) fn alarm(&self, what: &str) {
        self.parts.metrics.alarms.inc();
        tracing::error!("{what}");
    }
}

fn stream_of(state: &State) -> OrgId {
    match state {
        State::Organisation(organisation) => organisation.id,
        State::Platform(_) => OrgId::PLATFORM,
    }
}
