//! Retention: rows of the request log and of commands that are older than anybody asks for.
//!
//! Request ids are UUIDv7, so the request log is cut at an id. A command's row holds no time, but
//! the event that was appended next, by the command itself or by a later one, is not older than the
//! row: when that event is old enough, so is the row. A row that no event has followed stays until
//! one does. Places stay for ever: without its place an epoch could be booked twice.

use bytes::Bytes;
use turnpike_domain::id::{OrgId, Position};
use turnpike_domain::time::Timestamp;

use crate::error::StoreError;
use crate::execute;
use crate::keyspace;
use crate::kv::{Batch, Kv, Scan, Snapshot, Write};
use crate::log;
use crate::paging;
use crate::requests;

/// Rows of one commit: small enough for every engine's limits, and nobody waits for it long.
const PAGE: usize = 1_000;

/// What was deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Swept {
    /// Rows of the request log.
    pub requests: u64,
    /// Rows of commands: the commands could be repeated now.
    pub commands: u64,
}

/// From when on rows are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// Requests admitted from here on.
    pub requests_from: Timestamp,
    /// Commands from here on.
    pub commands_from: Timestamp,
}

/// Deletes the rows of one organisation that are older than what is kept. Safe to run anywhere, at
/// any time and more than once.
///
/// # Errors
/// [`StoreError`]; what was deleted until then is gone.
pub async fn sweep(kv: &dyn Kv, org: OrgId, keep: Keep) -> Result<Swept, StoreError> {
    let requests = sweep_requests(kv, org, keep.requests_from).await?;
    let commands = commands(kv, org, keep.commands_from).await?;
    Ok(Swept { requests, commands })
}

async fn sweep_requests(kv: &dyn Kv, org: OrgId, from: Timestamp) -> Result<u64, StoreError> {
    let first_kept = requests::first_of(from);
    let older = keyspace::requests(org, Some(first_kept), PAGE);
    let scan = Scan { reverse: false, ..older };
    let mut deleted = 0_u64;
    loop {
        let snapshot = kv.snapshot().await?;
        let rows = snapshot.scan(scan.clone()).await?;
        let last = rows.len() < PAGE;
        let places = rows.iter().filter_map(|(_, row)| requests::place_of_key(org, row)).collect();
        let keys = rows.into_iter().map(|(key, _)| key).collect();
        deleted = deleted.saturating_add(delete(kv, &*snapshot, keys, places).await?);
        if last {
            return Ok(deleted);
        }
    }
}

async fn commands(kv: &dyn Kv, org: OrgId, from: Timestamp) -> Result<u64, StoreError> {
    let mut scan = keyspace::commands(org, PAGE);
    let mut deleted = 0_u64;
    let young = first_young(&*kv.snapshot().await?, org, from).await?;
    loop {
        let snapshot = kv.snapshot().await?;
        let rows = snapshot.scan(scan.clone()).await?;
        let Some((last, _)) = rows.last() else { return Ok(deleted) };
        scan = paging::beyond(&scan, last);
        let done = rows.len() < PAGE;
        let mut old = Vec::new();
        for (key, row) in rows {
            if execute::next_event(&row)? < young {
                old.push(key);
            }
        }
        deleted = deleted.saturating_add(delete(kv, &*snapshot, old, Vec::new()).await?);
        if done {
            return Ok(deleted);
        }
    }
}

/// The seq of the first event at or after `from`; behind the head if there is none. Found by
/// halves: events stand in the order of their commits, and so nearly in that of their times.
async fn first_young(
    snapshot: &dyn Snapshot,
    org: OrgId,
    from: Timestamp,
) -> Result<u64, StoreError> {
    let (mut low, mut high) = (1, log::head(snapshot, org).await?.seq.saturating_add(1));
    while low < high {
        let middle = low.midpoint(high);
        let page = log::page(snapshot, org, middle.saturating_sub(1), middle).await?;
        let Some(logged) = page.first() else { return Ok(low) };
        let event = log::open(logged, Position::default())?.record;
        if event.at < from {
            low = middle.saturating_add(1);
        } else {
            high = middle;
        }
    }
    Ok(low)
}

/// Deletes rows together with those `places` that only lead to them; answers how many rows.
async fn delete(
    kv: &dyn Kv,
    snapshot: &dyn Snapshot,
    keys: Vec<Bytes>,
    places: Vec<Bytes>,
) -> Result<u64, StoreError> {
    let rows = u64::try_from(keys.len()).unwrap_or(u64::MAX);
    if rows > 0 {
        let writes = keys.iter().cloned().chain(places);
        let writes = writes.map(|key| Write::Delete { key }).collect();
        // Guarded, so that a commit that lands late never deletes what was written again.
        kv.commit(Batch { read_at: snapshot.version(), unchanged: keys, writes }).await?;
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use turnpike_domain::authority::Requester;
    use turnpike_domain::command::{Command, Order};
    use turnpike_domain::event::{Actor, Who};
    use turnpike_domain::id::{CommandId, RequestId};
    use turnpike_domain::state::{Role, Settings};
    use turnpike_domain::time::DAY_MS;
    use turnpike_runtime::clock::system;

    use super::*;
    use crate::engines;
    use crate::execute::{Attempt, ExecuteError, Executor};
    use crate::streams::Streams;

    const ORG: OrgId = OrgId(5);
    const DAY: Timestamp = Timestamp(DAY_MS);

    async fn put(kv: &dyn Kv, key: Bytes) {
        let writes = vec![Write::Put { key, value: Bytes::new() }];
        kv.commit(Batch { writes, ..Batch::default() }).await.unwrap();
    }

    fn keep(from: Timestamp) -> Keep {
        Keep { requests_from: from, commands_from: from }
    }

    #[tokio::test]
    async fn the_request_log_is_cut_at_a_time_over_many_commits() {
        let kv = engines::fresh();
        for request in 0..2_500_u64 {
            let id = u128::from(DAY.0 + request) << 80 | 7 << 76;
            put(&*kv, keyspace::request(ORG, RequestId(id))).await;
        }
        put(&*kv, keyspace::request(OrgId(6), RequestId(0))).await;
        let swept = sweep(&*kv, ORG, keep(DAY.plus_ms(2_100))).await.unwrap();
        assert_eq!(swept, Swept { requests: 2_100, commands: 0 });
        assert_eq!(sweep(&*kv, ORG, keep(DAY.plus_ms(2_100))).await.unwrap(), Swept::default());
        let snapshot = kv.snapshot().await.unwrap();
        let left = snapshot.scan(keyspace::requests(ORG, None, 9_000)).await.unwrap();
        assert_eq!(left.len(), 400);
        assert!(snapshot.get(&keyspace::request(OrgId(6), RequestId(0))).await.unwrap().is_some());
    }

    /// Renames the organisation on a day; the second command of a day changes nothing.
    async fn rename(executor: &Executor, id: u64, day: u64) -> Result<(), ExecuteError> {
        let name: Box<str> = format!("day {day}").into();
        let command = if id == 0 {
            Command::CreateOrg { name, settings: Settings::default(), plans: None }
        } else {
            Command::ChangeOrg { name: Some(name), settings: None, plans: None }
        };
        let actor = Actor { who: Who::System, address: None };
        let requester = Requester { actor, role: Role::Operator, member: None };
        let (id, now) = (CommandId(id.into()), Timestamp(day * DAY_MS));
        let order = Order { id, requester, now, expected: None, command };
        let attempt = Attempt { body_hash: [0; 32], maker: 0 };
        executor.organisation(ORG, &order, attempt).await.map(|_| ())
    }

    #[tokio::test]
    async fn a_command_is_forgotten_once_an_old_event_has_followed_it() {
        let kv: Arc<dyn Kv> = engines::fresh();
        let executor = Executor::new(Arc::new(Streams::new(Arc::clone(&kv))), system());
        for id in 0..20 {
            rename(&executor, id, id / 2).await.unwrap();
        }
        // Days 0 to 4 have two commands each. The second of day 4 is followed by an event of day 5.
        let swept = sweep(&*kv, ORG, keep(Timestamp(5 * DAY_MS))).await.unwrap();
        assert_eq!(swept, Swept { requests: 0, commands: 9 });
        let snapshot = kv.snapshot().await.unwrap();
        let row = async |id| snapshot.get(&keyspace::command(ORG, CommandId(id))).await.unwrap();
        assert!(row(8).await.is_none() && row(9).await.is_some() && row(19).await.is_some());
        // Nothing has followed the last command, however long ago it was.
        let swept = sweep(&*kv, ORG, keep(Timestamp(90 * DAY_MS))).await.unwrap();
        assert_eq!(swept.commands, 10);
    }
}
