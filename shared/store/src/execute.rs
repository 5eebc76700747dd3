//! Executing: a command becomes events in one commit, exactly once, however often it is tried.
//!
//! The loop is: read the command's own row (it may have happened already), catch up the stream,
//! decide, commit on the condition that neither head nor row has moved. After `Conflict` or
//! `Unknown` it starts again from the top, where it finds its own row or decides afresh. No answer
//! of the store is trusted beyond that row.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use tokio::sync::OwnedMutexGuard;
use turnpike_domain::authority::Requester;
use turnpike_domain::command::{Command, ImportedKey, Order, PlatformCommand};
use turnpike_domain::decide::{self, World};
use turnpike_domain::event::{Actor, Event, Record, Who};
use turnpike_domain::id::{CommandId, EventId, OrgId, Position};
use turnpike_domain::ledger::Due;
use turnpike_domain::refusal::Refusal;
use turnpike_domain::state::{Organisation, Platform, Role};
use turnpike_runtime::clock::SharedClock;
use turnpike_runtime::entropy;
use turnpike_wire::record;

use crate::error::StoreError;
use crate::keyspace;
use crate::kv::{Batch, CommitError, ReadError, Snapshot, Stamp, Write};
use crate::ledger;
use crate::legacy;
use crate::log::{self, StoredHead};
use crate::streams::{Fold, Streams, catch_up};

/// Tries before a command gives up: with jittered waits this is about three seconds.
const MAX_TRIES: u32 = 20;
/// The longest wait between two tries.
const MAX_WAIT_MS: u64 = 500;
/// The form of a command row.
const ROW_VERSION: u8 = 1;

/// What a shell says of a command besides the order itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Hash of the request: the same command id with another body is a conflict.
    pub body_hash: [u8; 32],
    /// A random number made once per request, outside every retry: after a lost answer the request
    /// knows its own commit by it, and only it still holds the secret.
    pub maker: u128,
}

/// What a command did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Executed {
    /// The events, oldest first; none if what was asked for was so already.
    pub records: Vec<Record>,
    /// At or behind the last of the events: what a gateway must reach to have applied them.
    pub position: Position,
    /// Another request did this before with the same command id.
    pub replayed: bool,
}

/// Why a command was not executed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExecuteError {
    /// A rule said no.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The command id was used with another body.
    #[error("this Idempotency-Key was used before with another request")]
    IdempotencyConflict,
    /// The world said no. The command may be tried again with the same id.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Executes commands on the streams of one store.
#[derive(Clone)]
pub struct Executor {
    streams: Arc<Streams>,
    clock: SharedClock,
}

struct CommandRow {
    attempt: Attempt,
    first_seq: u64,
    last_seq: u64,
}

enum Outcome {
    Done(Executed),
    Again,
}

impl Executor {
    /// An executor on `streams`.
    #[must_use]
    pub fn new(streams: Arc<Streams>, clock: SharedClock) -> Self {
        Self { streams, clock }
    }

    /// The streams that it executes on.
    #[must_use]
    pub fn streams(&self) -> &Arc<Streams> {
        &self.streams
    }

    /// Executes a command to one organisation.
    ///
    /// # Errors
    /// [`ExecuteError`]: refused, or not carried out; then it may be tried again with the same id.
    pub async fn organisation(
        &self,
        org: OrgId,
        order: &Order<Command>,
        attempt: Attempt,
    ) -> Result<Executed, ExecuteError> {
        self.with(org, order, attempt, Vec::new()).await
    }

    /// Tells a threshold that was crossed: closes the budget or raises the alert, as the system.
    /// Its due row goes in the same commit, also where there is nothing to tell any more: then the
    /// answer has no records. `None`: somebody has told it.
    ///
    /// # Errors
    /// As [`Self::organisation`]; the due row stands, and it may be told again.
    pub async fn tell_due(&self, org: OrgId, due: Due) -> Result<Option<Executed>, ExecuteError> {
        let snapshot = self.streams.kv().snapshot().await.map_err(StoreError::from)?;
        let Some((id, settled)) = ledger::due(&*snapshot, org, &due).await? else {
            return Ok(None);
        };
        let actor = Actor { who: Who::System, address: None };
        let order = Order {
            id: CommandId(id),
            requester: Requester { actor, role: Role::Operator, member: None },
            now: self.clock.now(),
            expected: None,
            command: due.command(settled),
        };
        let told = vec![Write::Delete { key: keyspace::due(org, &due) }];
        let attempt = Attempt { body_hash: [0; 32], maker: id };
        self.with(org, &order, attempt, told).await.map(Some)
    }

    /// Executes a command to one organisation, whose commit also writes `beside`.
    async fn with(
        &self,
        org: OrgId,
        order: &Order<Command>,
        attempt: Attempt,
        beside: Vec<Write>,
    ) -> Result<Executed, ExecuteError> {
        let platform = self.streams.shared_platform().await?;
        let mut state = self.streams.lock(org).await;
        let claims = order.command.imported();
        let meta = Meta { beside, claims, ..Meta::of(org, order, attempt) };
        let decide = |state: &Organisation| {
            decide::organisation(World { platform: &platform, organisation: state }, order)
        };
        self.run(&mut state, &meta, decide).await
    }

    /// Executes a command to the platform.
    ///
    /// # Errors
    /// As [`Self::organisation`].
    pub async fn platform(
        &self,
        order: &Order<PlatformCommand>,
        attempt: Attempt,
    ) -> Result<Executed, ExecuteError> {
        let mut state = self.streams.lock_platform().await;
        let meta = Meta::of(OrgId::PLATFORM, order, attempt);
        self.run(&mut state, &meta, |state: &Arc<Platform>| decide::platform(state, order)).await
    }

    async fn run<S: Fold>(
        &self,
        state: &mut OwnedMutexGuard<S>,
        meta: &Meta<'_>,
        decide: impl Fn(&S) -> Result<Vec<Event>, Refusal>,
    ) -> Result<Executed, ExecuteError> {
        for tried in 0..MAX_TRIES {
            match self.once(state, meta, &decide).await {
                Ok(Outcome::Done(executed)) => return Ok(executed),
                // A snapshot that grew too old, or died with its holder, decides nothing.
                Ok(Outcome::Again)
                | Err(ExecuteError::Store(StoreError::Read(ReadError::TooOld))) => {
                    let longest = (2_u64 << tried.min(20)).min(MAX_WAIT_MS);
                    self.clock.sleep(entropy::jitter_ms(longest)).await;
                }
                Err(error) => return Err(error),
            }
        }
        Err(StoreError::Contended.into())
    }

    async fn once<S: Fold>(
        &self,
        state: &mut OwnedMutexGuard<S>,
        meta: &Meta<'_>,
        decide: &impl Fn(&S) -> Result<Vec<Event>, Refusal>,
    ) -> Result<Outcome, ExecuteError> {
        let snapshot = self.streams.kv().snapshot().await.map_err(StoreError::from)?;
        let row_key = keyspace::command(meta.org, meta.command);
        if let Some(row) = snapshot.get(&row_key).await.map_err(StoreError::from)? {
            let row = CommandRow::read(&row)?;
            return found(&*snapshot, meta, &row).await.map(Outcome::Done);
        }
        let head = catch_up(&mut **state, &*snapshot, meta.org).await?;
        let events = decide(state)?;
        for claim in meta.claims {
            if let Some(holder) = legacy::holder(&*snapshot, claim).await? {
                return Err(holder.refusal(meta.org).into());
            }
        }
        let records = meta.records(head, events);
        let too_large = |error: record::TooLarge| Refusal::field("", &error.to_string());
        let mut appended = log::append(head, &records).map_err(too_large)?;
        let row = CommandRow {
            attempt: meta.attempt,
            first_seq: head.seq.saturating_add(1),
            last_seq: appended.head.seq,
        };
        let value = row.bytes();
        appended.writes.push(Write::Put { key: row_key.clone(), value });
        appended.writes.extend(state.caps_after(&records).iter().map(|((account, unit), cap)| {
            Write::Put {
                key: keyspace::cap(meta.org, *account, *unit),
                value: ledger::rows::cap(cap),
            }
        }));
        appended.writes.extend(legacy::writes(meta.org, state.legacy_after(&records)));
        appended.writes.extend(meta.beside.iter().cloned());
        let claimed = meta.claims.iter().flat_map(ImportedKey::digests);
        let claimed = claimed.map(|digest| keyspace::legacy(&digest));
        let unchanged = [keyspace::head(meta.org), row_key].into_iter().chain(claimed).collect();
        let batch = Batch { read_at: snapshot.version(), unchanged, writes: appended.writes };
        match self.streams.kv().commit(batch).await {
            Ok(committed) => {
                let position = apply(&mut **state, &records, &appended.hashes, committed.stamp);
                Ok(Outcome::Done(Executed { records, position, replayed: false }))
            }
            Err(CommitError::Conflict | CommitError::Unknown(_)) => Ok(Outcome::Again),
            Err(CommitError::TooLarge(_)) => {
                Err(Refusal::field("", "is too large to be kept as one event").into())
            }
            Err(error @ CommitError::Unavailable(_)) => Err(StoreError::from(error).into()),
        }
    }
}

/// The seq that followed when the command of a row was carried out: its own first event's, if it
/// had any.
pub(crate) fn next_event(row: &[u8]) -> Result<u64, StoreError> {
    Ok(CommandRow::read(row)?.first_seq)
}

/// What every event of one command shares.
struct Meta<'a> {
    org: OrgId,
    command: CommandId,
    actor: Actor,
    at: turnpike_domain::time::Timestamp,
    attempt: Attempt,
    /// What is written beside the events.
    beside: Vec<Write>,
    /// Keys of secrets that must be nobody's yet.
    claims: &'a [ImportedKey],
}

impl Meta<'_> {
    fn of<C>(org: OrgId, order: &Order<C>, attempt: Attempt) -> Self {
        let (command, actor) = (order.id, order.requester.actor);
        Self { org, command, actor, at: order.now, attempt, beside: Vec::new(), claims: &[] }
    }

    fn records(&self, head: StoredHead, events: Vec<Event>) -> Vec<Record> {
        let first = head.seq.saturating_add(1);
        let numbered = (first..).zip(events);
        let record = |(seq, event)| Record {
            id: EventId(entropy::id(self.at)),
            org: self.org,
            seq,
            at: self.at,
            actor: self.actor,
            command: self.command,
            event,
        };
        numbered.map(record).collect()
    }
}

/// The command has happened already: by this very request, or by an earlier one.
async fn found(
    snapshot: &dyn Snapshot,
    meta: &Meta<'_>,
    row: &CommandRow,
) -> Result<Executed, ExecuteError> {
    if row.attempt.body_hash != meta.attempt.body_hash {
        return Err(ExecuteError::IdempotencyConflict);
    }
    let mut records = Vec::new();
    let mut after = row.first_seq.saturating_sub(1);
    while after < row.last_seq {
        for logged in log::page(snapshot, meta.org, after, row.last_seq).await? {
            records.push(log::open(&logged, Position::default())?.record);
            after = logged.seq;
        }
    }
    let position = log::last_position(snapshot).await?;
    Ok(Executed { records, position, replayed: row.attempt.maker != meta.attempt.maker })
}

/// Applies what was committed and answers the position of the last event.
fn apply<S: Fold>(
    state: &mut S,
    records: &[Record],
    hashes: &[record::Hash],
    stamp: Stamp,
) -> Position {
    let mut position = state.head().position;
    for ((index, event), hash) in (0_u16..).zip(records).zip(hashes) {
        position = keyspace::position(stamp, index);
        state.apply(event, *hash, position);
    }
    position
}

impl CommandRow {
    fn bytes(&self) -> Bytes {
        let mut value = BytesMut::with_capacity(65);
        value.put_u8(ROW_VERSION);
        value.put_slice(&self.attempt.body_hash);
        value.put_u128(self.attempt.maker);
        value.put_u64(self.first_seq);
        value.put_u64(self.last_seq);
        value.freeze()
    }

    fn read(value: &[u8]) -> Result<Self, StoreError> {
        let wrong = || StoreError::row("command", "expected 65 bytes of version 1");
        let (version, rest) = value.split_first().ok_or_else(wrong)?;
        let (body_hash, rest) = rest.split_first_chunk::<32>().ok_or_else(wrong)?;
        let (maker, rest) = rest.split_first_chunk::<16>().ok_or_else(wrong)?;
        let (first_seq, last_seq) = rest.split_first_chunk::<8>().ok_or_else(wrong)?;
        let last_seq: [u8; 8] = last_seq.try_into().map_err(|_| wrong())?;
        if *version != ROW_VERSION {
            return Err(wrong());
        }
        let attempt = Attempt { body_hash: *body_hash, maker: u128::from_be_bytes(*maker) };
        let (first, last) = (u64::from_be_bytes(*first_seq), u64::from_be_bytes(last_seq));
        Ok(Self { attempt, first_seq: first, last_seq: last })
    }
}
