//! The request log: found by request, by time, and by the keys that requests came on.

use std::collections::BTreeSet;

use bytes::Bytes;
use futures_util::future::try_join_all;
use turnpike_domain::id::{KeyId, OrgId, RequestId};
use turnpike_domain::time::Timestamp;
use turnpike_wire::spend::{self as form, LogRow};

use crate::error::StoreError;
use crate::keyspace;
use crate::kv::Snapshot;

/// How far a request's time may stand behind its id's, in milliseconds: its body had to arrive and
/// its turn to come.
const LATE_MS: u64 = 600_000;
/// How far it may stand before it: a gateway's time may be set back by what its clock was ahead.
const EARLY_MS: u64 = 10_000;

/// What is looked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Search {
    /// Requests of these keys; `None`: of all.
    pub keys: Option<Vec<KeyId>>,
    /// Requests at this time or later.
    pub from: Option<Timestamp>,
    /// Requests before this time.
    pub until: Option<Timestamp>,
    /// Requests whose ids are below this one: where the page before has ended.
    pub before: Option<RequestId>,
}

/// One row of the request log.
///
/// # Errors
/// [`StoreError`] if it cannot be read.
pub async fn one(
    snapshot: &dyn Snapshot,
    org: OrgId,
    request: RequestId,
) -> Result<Option<LogRow>, StoreError> {
    let value = snapshot.get(&keyspace::request(org, request)).await?;
    value.map(|value| read(&value)).transpose()
}

/// The newest rows that a search may find, at most `limit`; fewer only where nothing older is left.
/// Rows at the edges of the times may lie outside of them: [`Search::fits`] tells.
///
/// # Errors
/// [`StoreError`] if they cannot be read.
pub async fn newest(
    snapshot: &dyn Snapshot,
    org: OrgId,
    search: &Search,
    limit: usize,
) -> Result<Vec<LogRow>, StoreError> {
    let before = search.upper();
    let Some(keys) = &search.keys else {
        let entries = snapshot.scan(keyspace::requests(org, before, limit)).await?;
        return entries.iter().map(|(_, value)| read(value)).collect();
    };
    let of_key = async |key: &KeyId| {
        snapshot.scan(keyspace::requests_of_key(org, *key, before, limit)).await
    };
    let pages = try_join_all(keys.iter().map(of_key)).await?;
    let mut found = BTreeSet::new();
    for (key, _) in pages.iter().flatten() {
        let id = keyspace::read_request_of_key(key);
        found.insert(id.ok_or_else(|| StoreError::row("request of key", "a key's shape"))?);
    }
    // Each page holds the newest of its key, so the newest of all are among them.
    let newest = found.into_iter().rev().take(limit).map(async |id| {
        let row = one(snapshot, org, id).await?;
        row.ok_or_else(|| StoreError::row("request of key", "its request is missing"))
    });
    try_join_all(newest).await
}

/// Where the key's list leads to a row; `None` for one that cannot be read.
pub(crate) fn place_of_key(org: OrgId, row: &[u8]) -> Option<Bytes> {
    let record = form::read_log_row(row).ok()?.record;
    Some(keyspace::request_of_key(org, record.key, record.request))
}

impl Search {
    /// Whether a row's time is one that is looked for.
    #[must_use]
    pub fn fits(&self, row: &LogRow) -> bool {
        let at = row.record.at;
        self.from.is_none_or(|from| at >= from) && self.until.is_none_or(|until| at < until)
    }

    /// Whether nothing older than this row can fit: ids stand in the order of time, to within what
    /// a request takes to be judged.
    #[must_use]
    pub fn is_over(&self, row: &LogRow) -> bool {
        self.from.is_some_and(|from| time_of(row.record.request).plus_ms(LATE_MS) < from)
    }

    /// The first id that is too new.
    fn upper(&self) -> Option<RequestId> {
        let of_time = self.until.map(|until| first_of(until.plus_ms(EARLY_MS)));
        self.before.into_iter().chain(of_time).min()
    }
}

/// The least id of a millisecond: 48 bits of time stand in front (RFC 9562, section 5.7).
pub(crate) fn first_of(time: Timestamp) -> RequestId {
    RequestId(u128::from(time.0) << 80)
}

fn time_of(request: RequestId) -> Timestamp {
    Timestamp(u64::try_from(request.0 >> 80).unwrap_or(u64::MAX))
}

fn read(value: &[u8]) -> Result<LogRow, StoreError> {
    form::read_log_row(value).map_err(|error| StoreError::row("request", error.to_string()))
}
