//! What a shard publishes after a commit: settled spend for outside consumers, then the marks.
//!
//! Settled spend is published at least once: a mark says no more than what is known in the store to
//! be published, so after a crash between commit and publication the gateway sends those records
//! again, they are found booked and are published then. Consumers know a record by its request id.

use std::collections::BTreeMap;

use futures_util::{StreamExt as _, stream};
use turnpike_bus::seam::{Publish, Topic};
use turnpike_domain::id::OrgId;
use turnpike_domain::spend::Spend;
use turnpike_store::booking::Delivery;
use turnpike_wire::form;
use turnpike_wire::spend as wire;
use turnpike_wire::time::rfc3339;

use super::Office;
use super::epochs::{Epochs, Mark};

/// Publications on their way at a time: what the bus takes without waiting for each.
const IN_FLIGHT: usize = 256;

/// A record to publish: of which delivery, its number, the message.
pub(super) type Settled = (usize, u64, Publish);
/// The lowest number of each delivery whose publication has failed.
pub(super) type Failed = BTreeMap<usize, u64>;

/// The records of `deliveries` that are booked and were not published yet; they count as published
/// from now on.
pub(super) fn unpublished(
    office: &Office,
    epochs: &mut Epochs,
    deliveries: &[Delivery],
) -> Vec<Settled> {
    let mut messages = Vec::new();
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
                messages.push((index, number, settled(delivery.org, &record, &encoded.0)));
            }
        }
        epochs.set_published(delivery, last);
    }
    messages
}

/// Publishes records, and answers what failed.
pub(super) async fn publish(office: &Office, messages: Vec<Settled>) -> Failed {
    let publications = stream::iter(messages).map(async |(index, number, message)| {
        let taken = office.bus.publish(message).await;
        taken.err().map(|error| (index, number, error))
    });
    let mut failed = Failed::new();
    let mut results = std::pin::pin!(publications.buffer_unordered(IN_FLIGHT));
    while let Some(result) = results.next().await {
        if let Some((index, number, error)) = result {
            office.booking.unpublished.inc();
            tracing::debug!(%error, "settled spend was not published; it will be sent again");
            let lowest = failed.entry(index).or_insert(number);
            *lowest = number.min(*lowest);
        }
    }
    failed
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

/// A record as a message, with CloudEvents headers in binary mode.
fn settled(org: OrgId, record: &Spend, encoded: &[u8]) -> Publish {
    let headers = [
        ("ce-specversion", "1.0".to_owned()),
        ("ce-id", record.request.to_string()),
        ("ce-source", format!("/orgs/{org}")),
        ("ce-type", "dev.turnpike.SpendSettled.v1".to_owned()),
        ("ce-time", rfc3339(record.at)),
        ("ce-subject", record.key.to_string()),
        ("ce-datacontenttype", "application/cbor".to_owned()),
    ];
    Publish {
        topic: Topic::Ledger { org, key: record.key },
        id: record.request.to_string(),
        headers: headers.map(|(name, value)| (name.to_owned(), value)).to_vec(),
        payload: encoded.to_vec().into(),
    }
}
