//! What a shard publishes after a commit: settled spend for outside consumers, then the marks.
//!
//! Settled spend is published at least once: a mark says no more than what is known in the store to
//! be published, so after a crash between commit and publication the gateway sends those records
//! again, they are found booked and are published then. Consumers know a record by its request id.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt as _, stream};
use turnpike_bus::seam::{Publish, Topic};
use turnpike_domain::id::{KeyId, OrgId};
use turnpike_domain::spend::Spend;
use turnpike_domain::state::Organisation;
use turnpike_store::booking::Delivery;
use turnpike_store::error::StoreError;
use turnpike_store::log;
use turnpike_wire::form;
use turnpike_wire::spend as wire;
use turnpike_wire::time::rfc3339;

use super::Office;
use super::epochs::{Epochs, Mark};

/// Publications on their way at a time: what the bus takes without waiting for each.
const IN_FLIGHT: usize = 256;

/// A record to publish.
pub(super) struct Settled {
    /// The place of its delivery among those of the commit.
    delivery: usize,
    number: u64,
    org: OrgId,
    record: Spend,
    /// Its bytes, as they came.
    encoded: Vec<u8>,
}

/// A key as it was when a record was made: after the event of that seq.
type KeyThen = (OrgId, KeyId, u64);
/// The metadata of those keys that had some.
pub(super) type Metadata = BTreeMap<KeyThen, Box<str>>;
/// The lowest number of each delivery whose publication has failed.
pub(super) type Failed = BTreeMap<usize, u64>;

/// The records of `deliveries` that are booked and were not published yet; they count as published
/// from now on.
pub(super) fn unpublished(
    office: &Office,
    epochs: &mut Epochs,
    deliveries: &[Delivery],
) -> Vec<Settled> {
    let mut settled = Vec::new();
    for (index, delivery) in deliveries.iter().enumerate() {
        let published = epochs.published(delivery);
        let booked = epochs.booked(delivery);
        let first = delivery.batch.first;
        if first > published.saturating_add(1) {
            continue;
        }
        let numbered = (first..).zip(&delivery.batch.records);
        let mut last = published;
        for (number, encoded) in numbered.take_while(|(number, _)| *number <= booked) {
            if number <= published {
                continue;
            }
            last = number;
            // What cannot be read was put aside and is not settled.
            if let Ok(record) = wire::decode(&encoded.0) {
                let lag_ms = office.clock.now().since(record.at);
                office.booking.lag_ms.set(i64::try_from(lag_ms).unwrap_or(i64::MAX));
                let (org, encoded) = (delivery.org, encoded.0.clone());
                settled.push(Settled { delivery: index, number, org, record, encoded });
            }
        }
        epochs.set_published(delivery, last);
    }
    settled
}

/// Publishes records with the metadata of their keys, and answers what failed: all, if that could
/// not be read.
pub(super) async fn publish(
    office: &Office,
    settled: Vec<Settled>,
    known: Result<Metadata, StoreError>,
) -> Failed {
    let known = &known;
    let publications = stream::iter(settled).map(async |settled| {
        let (delivery, number) = (settled.delivery, settled.number);
        let why = match known {
            Ok(known) => office.bus.publish(settled.message(known)).await.err()?.to_string(),
            Err(error) => error.to_string(),
        };
        Some((delivery, number, why))
    });
    let mut failed = Failed::new();
    let mut results = std::pin::pin!(publications.buffer_unordered(IN_FLIGHT));
    while let Some(result) = results.next().await {
        if let Some((delivery, number, why)) = result {
            office.booking.unpublished.inc();
            tracing::debug!(why, "settled spend was not published; it will be sent again");
            let lowest = failed.entry(delivery).or_insert(number);
            *lowest = number.min(*lowest);
        }
    }
    failed
}

/// The metadata that the keys of these records had then. Nearly always that is what they have now,
/// which is in memory; else the log is read.
///
/// # Errors
/// [`StoreError`] if the log cannot be read.
pub(super) async fn metadata(office: &Office, settled: &[Settled]) -> Result<Metadata, StoreError> {
    let wanted: BTreeSet<KeyThen> = settled.iter().map(Settled::key_then).collect();
    let mut found = Metadata::new();
    for (org, id, seq) in wanted {
        let now = |state: &Organisation| {
            let key = state.keys.get(&id).filter(|key| key.seq == seq)?;
            Some(key.profile.metadata.clone())
        };
        let metadata = match office.streams.remembered(org, now).await {
            Some(metadata) => metadata,
            None => logged(office, (org, id, seq)).await?,
        };
        if let Some(metadata) = metadata {
            found.insert((org, id, seq), metadata);
        }
    }
    Ok(found)
}

/// The metadata that a key had, by the log. What cannot be made sense of there has none: it would
/// hold up all spend of its organisation for ever.
async fn logged(office: &Office, (org, key, seq): KeyThen) -> Result<Option<Box<str>>, StoreError> {
    let snapshot = office.streams.kv().snapshot().await?;
    match log::profile(&*snapshot, org, key, seq).await {
        Ok(profile) => Ok(profile.and_then(|profile| profile.metadata)),
        Err(error @ StoreError::Corrupt { .. }) => {
            tracing::warn!(%error, %key, seq, "spend is published without its key's metadata");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Takes back that what failed counts as published.
pub(super) fn take_back(epochs: &mut Epochs, deliveries: &[Delivery], failed: Failed) {
    // From the last delivery to the first: the lowest number of an epoch that failed stands.
    for (index, number) in failed.into_iter().rev() {
        if let Some(delivery) = deliveries.get(index) {
            epochs.set_published(delivery, number.saturating_sub(1));
        }
    }
}

/// Tells gateways how far they are booked. What is lost is told again within a second.
pub(super) async fn tell(office: &Office, marks: Vec<Mark>) {
    let publications = stream::iter(marks).map(|(org, gateway, mark)| {
        let topic = Topic::Booked { org, gateway };
        let payload = form::encode(&mark).into();
        office.bus.publish(Publish { topic, id: String::new(), headers: Vec::new(), payload })
    });
    let results = publications.buffer_unordered(IN_FLIGHT);
    results
        .for_each(async |taken| {
            if let Err(error) = taken {
                office.booking.unpublished.inc();
                tracing::debug!(%error, "a mark was not published");
            }
        })
        .await;
}

impl Settled {
    fn key_then(&self) -> KeyThen {
        (self.org, self.record.key, self.record.key_seq)
    }

    /// The message, with CloudEvents headers in binary mode.
    fn message(self, known: &Metadata) -> Publish {
        let metadata = known.get(&self.key_then());
        let Self { org, record, encoded, .. } = self;
        let headers = [
            ("ce-specversion", "1.0".to_owned()),
            ("ce-id", record.request.to_string()),
            ("ce-source", format!("/orgs/{org}")),
            ("ce-type", "dev.turnpike.SpendSettled.v1".to_owned()),
            ("ce-time", rfc3339(record.at)),
            ("ce-subject", record.key.to_string()),
            ("ce-datacontenttype", "application/cbor".to_owned()),
        ];
        let with_metadata = metadata.and_then(|text| wire::settled(&record, text).ok());
        Publish {
            topic: Topic::Ledger { org, key: record.key },
            id: record.request.to_string(),
            headers: headers.map(|(name, value)| (name.to_owned(), value)).to_vec(),
            payload: with_metadata.unwrap_or(encoded).into(),
        }
    }
}
