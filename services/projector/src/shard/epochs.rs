//! The epochs that a shard has heard of lately: how far each is booked, published and told.

use std::collections::BTreeMap;

use turnpike_domain::id::{EpochId, GatewayId, OrgId};
use turnpike_store::booking::{Booked, Delivery};
use turnpike_store::rows::Place;
use turnpike_wire::spend;

/// For how long an epoch is told each second how far it is: its gateway sends again after 2 s, so
/// one that was silent for a minute has been told.
const LATELY_MS: u64 = 60_000;
/// Epochs kept at most; what is forgotten is read again from its place.
const MAX_EPOCHS: usize = 10_000;
/// How often a gateway is asked to fill the same gap: an answer for each message behind the gap
/// would make it send everything many times.
const GAP_MS: u64 = 1_000;

/// A mark, and to whom it is told.
pub(super) type Mark = (OrgId, GatewayId, spend::Booked);
type Key = (OrgId, GatewayId, EpochId);

/// The epochs of one term.
#[derive(Default)]
pub(super) struct Epochs(BTreeMap<Key, Epoch>);

struct Epoch {
    place: Place,
    /// Up to which number the records are published to outside consumers; the place says so one
    /// commit later.
    published: u64,
    heard_ms: u64,
    gap_told_ms: Option<u64>,
}

impl Epochs {
    /// Up to which number this epoch's records are published, as far as is known.
    pub(super) fn published(&self, delivery: &Delivery) -> u64 {
        self.0.get(&key(delivery)).map_or(0, |epoch| epoch.published)
    }

    /// Notes how far a delivery's epoch is published; lower if a publication has failed.
    pub(super) fn set_published(&mut self, delivery: &Delivery, number: u64) {
        if let Some(epoch) = self.0.get_mut(&key(delivery)) {
            epoch.published = number;
        }
    }

    /// How far a delivery's epoch is booked.
    pub(super) fn booked(&self, delivery: &Delivery) -> u64 {
        self.0.get(&key(delivery)).map_or(0, |epoch| epoch.place.number)
    }

    /// Takes what a booking has answered.
    pub(super) fn heard(&mut self, answers: &[Booked], now_ms: u64) {
        for answer in answers {
            let published = answer.place.published;
            let key = (answer.org, answer.gateway, answer.epoch);
            let place = answer.place;
            let fresh = Epoch { place, published, heard_ms: now_ms, gap_told_ms: None };
            let epoch = self.0.entry(key).or_insert(fresh);
            epoch.place = place;
            epoch.published = epoch.published.max(published);
            epoch.heard_ms = now_ms;
        }
        while self.0.len() > MAX_EPOCHS.max(answers.len()) {
            self.0.pop_first();
        }
    }

    /// The marks that answer these deliveries, one for each epoch.
    pub(super) fn answer(
        &mut self,
        deliveries: &[Delivery],
        answers: &[Booked],
        now_ms: u64,
    ) -> Vec<Mark> {
        let mut marks = BTreeMap::new();
        for (delivery, answer) in deliveries.iter().zip(answers) {
            let key = key(delivery);
            let Some(epoch) = self.0.get_mut(&key) else { continue };
            let told_lately =
                epoch.gap_told_ms.is_some_and(|told_ms| now_ms.saturating_sub(told_ms) < GAP_MS);
            let behind = delivery.batch.first > epoch.published.saturating_add(1);
            let gap = (answer.gap || behind) && !told_lately;
            if gap {
                epoch.gap_told_ms = Some(now_ms);
            }
            let before: Option<&Mark> = marks.get(&key);
            let gap = gap || before.is_some_and(|(_, _, mark)| mark.gap);
            marks.insert(key, epoch.mark(key, gap));
        }
        marks.into_values().collect()
    }

    /// Deliveries without records that write down what is published, at most `most`.
    pub(super) fn unsaved(&self, most: usize) -> Vec<Delivery> {
        let unsaved = self.0.iter().filter(|(_, epoch)| epoch.published > epoch.place.published);
        let delivery = |(key, epoch): (&Key, &Epoch)| {
            let (org, gateway, id) = *key;
            let first = epoch.place.number.saturating_add(1);
            let batch = spend::Batch { epoch: id, first, records: Vec::new(), end: false };
            Delivery { org, gateway, batch, published: epoch.published }
        };
        unsaved.take(most).map(delivery).collect()
    }

    /// Forgets the epochs that were silent for long.
    pub(super) fn forget_silent(&mut self, now_ms: u64) {
        self.0.retain(|_, epoch| now_ms.saturating_sub(epoch.heard_ms) < LATELY_MS);
    }

    /// The marks of all epochs.
    pub(super) fn marks(&self) -> Vec<Mark> {
        self.0.iter().map(|(key, epoch)| epoch.mark(*key, false)).collect()
    }
}

impl Epoch {
    /// What the gateway may let go of: what is booked, published, and known to be published by
    /// whoever owns the shard next.
    fn mark(&self, (org, gateway, epoch): Key, gap: bool) -> Mark {
        let number = self.place.number.min(self.place.published);
        let ended = self.place.ended && number == self.place.number;
        let complete_to = (number > 0 || ended).then_some(self.place.at);
        (org, gateway, spend::Booked { epoch, number, complete_to, ended, gap })
    }
}

fn key(delivery: &Delivery) -> Key {
    (delivery.org, delivery.gateway, delivery.batch.epoch)
}
