//! Puts requests into the request log that no provider was to serve: the refused ones, and what the
//! gateway answers by itself.

use http::Response;
use turnpike_domain::id::{KeyId, RequestId};
use turnpike_domain::spend::Spend;
use turnpike_domain::time::Timestamp;

use super::{Arrival, Site};
use crate::core::Denied;
use crate::respond::Outgoing;

/// Notes a refusal whose `decision` the caller is told. Without a known key it belongs to nobody
/// and is only counted; with an admission it is booked already.
pub(super) fn refused(
    site: &Site,
    (request, started_us): (RequestId, u64),
    denied: &Denied,
    decision: &str,
) {
    let Some(subject) = denied.subject.as_deref().filter(|_| !denied.booked) else { return };
    let mut record = bare(site, (request, denied.at, started_us), (subject.key, subject.key_seq));
    record.model = subject.model.clone().unwrap_or_default();
    record.status = denied.status();
    record.denial = Some(denied.denial);
    record.decision = Some(decision.into());
    record.legacy = subject.legacy;
    record.token = denied.token;
    (record.server, record.tool) = (subject.server.clone(), subject.tool.clone());
    site.lane.note(subject.org, record);
}

/// Notes what the gateway has answered by itself.
pub(super) fn answered(
    site: &Site,
    arrival: &Arrival,
    response: Response<Outgoing>,
) -> Response<Outgoing> {
    let (entry, now) = (&arrival.entry, site.core.now());
    let of = (arrival.request, now, arrival.started_us);
    let mut record = bare(site, of, (entry.key.id, entry.key.seq));
    record.status = response.status().as_u16();
    record.legacy = entry.legacy;
    record.token = entry.token.as_ref().map(|token| token.claims.token);
    site.lane.note(entry.org_id(), record);
    response
}

/// The record of a request that used nothing.
fn bare(
    site: &Site,
    (request, at, started_us): (RequestId, Timestamp, u64),
    (key, key_seq): (KeyId, u64),
) -> Spend {
    let elapsed_us = site.core.clock().boot_us().saturating_sub(started_us);
    Spend {
        latency_ms: u32::try_from(elapsed_us / 1_000).unwrap_or(u32::MAX),
        ..Spend::unused(request, at, key, key_seq)
    }
}
