//! Leadership: one owner of a role at a time, known by a fencing number.
//!
//! The fence and the renewal are two rows. Every commit of the owner guards the fence, so that an
//! owner who was replaced cannot write; the renewal is written each second and guarded by nobody,
//! so that renewing never conflicts with working. A candidate takes over only after it has itself
//! watched the renewal stand still, by its own steady clock: no two clocks are compared.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::future::join_all;
use turnpike_runtime::clock::SharedClock;
use turnpike_runtime::entropy;

use crate::error::StoreError;
use crate::keyspace;
use crate::kv::{Batch, CommitError, Kv, Snapshot, Version, Write};

/// How often an owner renews.
pub const RENEW_MS: u64 = 1_000;
/// For how long after sending its last successful renewal an owner may still answer others.
pub const ANSWER_MS: u64 = 3_000;
/// How long a renewal must have stood still before a candidate takes over: longer than
/// [`ANSWER_MS`], so that two owners never answer at the same time.
pub const TAKE_OVER_MS: u64 = 5_000;
/// The wait after a renewal that failed: a few lost answers in a row must not cost the role.
const RETRY_MS: u64 = 250;
/// How often a candidate looks.
const LOOK_MS: u64 = 500;
/// Tries of one common renewal: another is needed only when a term was lost at that very moment.
const MAX_RENEWALS: u32 = 4;

/// A role that one process has at a time.
#[derive(Clone)]
pub struct Role {
    kv: Arc<dyn Kv>,
    clock: SharedClock,
    name: String,
}

/// The time in which this process has a role.
pub struct Term {
    role: Role,
    fence: u64,
    /// Until when it may answer others, on its own steady clock.
    answers_until_ms: AtomicU64,
}

impl Role {
    /// The role `name` in the store.
    #[must_use]
    pub fn new(kv: Arc<dyn Kv>, clock: SharedClock, name: &str) -> Self {
        Self { kv, clock, name: name.into() }
    }

    /// Waits until this process has the role. Cancel-safe: an abandoned candidacy that still
    /// succeeds is taken over like any other silent owner.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read.
    pub async fn win(&self) -> Result<Term, StoreError> {
        self.win_if(|| true).await
    }

    /// As [`Self::win`], but a role that was given up is taken only while `wants` it; one that
    /// nobody took over for [`TAKE_OVER_MS`] is taken in any case.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read.
    pub async fn win_if(&self, wants: impl Fn() -> bool) -> Result<Term, StoreError> {
        let mut seen: Option<(Option<Bytes>, u64)> = None;
        loop {
            let snapshot = self.kv.snapshot().await?;
            let fence = snapshot.get(&keyspace::fence(&self.name)).await?;
            let renewal = snapshot.get(&keyspace::renewal(&self.name)).await?;
            let now_ms = self.clock.boot_ms();
            let still_since_ms = match &seen {
                Some((before, since_ms)) if *before == renewal => *since_ms,
                Some(_) | None => now_ms,
            };
            seen = Some((renewal.clone(), still_since_ms));
            let vacant = fence.is_none() || renewal.as_ref().is_some_and(|value| value.is_empty());
            if (vacant && wants()) || now_ms.saturating_sub(still_since_ms) >= TAKE_OVER_MS {
                let next = read_number(fence.as_deref())?.saturating_add(1);
                let rows = vec![keyspace::fence(&self.name), keyspace::renewal(&self.name)];
                if self.write(snapshot.version(), rows, next, Some(next)).await? {
                    return Ok(Term::new(self.clone(), next, now_ms));
                }
            }
            self.clock.sleep(LOOK_MS.saturating_add(entropy::jitter_ms(LOOK_MS / 5))).await;
        }
    }

    /// Writes a renewal, and the fence if one is given; `false`: somebody else came first.
    async fn write(
        &self,
        read_at: Version,
        unchanged: Vec<Bytes>,
        owner: u64,
        fence: Option<u64>,
    ) -> Result<bool, StoreError> {
        let mut writes = vec![self.renewal(owner)];
        writes.extend(fence.map(|number| Write::Put {
            key: keyspace::fence(&self.name),
            value: Bytes::copy_from_slice(&number.to_be_bytes()),
        }));
        match self.kv.commit(Batch { read_at, unchanged, writes }).await {
            Ok(_) => Ok(true),
            Err(CommitError::Conflict) => Ok(false),
            // It may have landed. A candidate looks again and finds a moving or a still renewal; it
            // never assumes that it won.
            Err(CommitError::Unknown(_)) if fence.is_some() => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn renewal(&self, owner: u64) -> Write {
        let mut value = BytesMut::with_capacity(24);
        value.put_u64(owner);
        value.put_u128(entropy::number());
        Write::Put { key: keyspace::renewal(&self.name), value: value.freeze() }
    }
}

/// Renews many terms of one process in one commit. Answers those that were lost to others. One
/// whose fence cannot be read is left out, and costs the others nothing.
///
/// # Errors
/// [`StoreError`] if the store failed; no term is known to be lost or renewed then, and the owner
/// may try again until [`Term::may_answer`] says no.
pub async fn renew_all(terms: &[Arc<Term>]) -> Result<Vec<Arc<Term>>, StoreError> {
    let Some(first) = terms.first() else { return Ok(Vec::new()) };
    let Role { kv, clock, .. } = &first.role;
    for _ in 0..MAX_RENEWALS {
        let sent_ms = clock.boot_ms();
        let snapshot = kv.snapshot().await?;
        let (mut kept, mut lost, mut unread) = (Vec::new(), Vec::new(), None);
        // All at once: on a distributed store each is a round trip.
        let checks = join_all(terms.iter().map(|term| term.check(&*snapshot))).await;
        for (term, checked) in terms.iter().zip(checks) {
            match checked {
                Ok(()) => kept.push(term),
                Err(StoreError::Fenced) => lost.push(Arc::clone(term)),
                Err(error) => unread = Some(error),
            }
        }
        if let (true, true, Some(error)) = (kept.is_empty(), lost.is_empty(), unread) {
            return Err(error);
        }
        let unchanged = kept.iter().map(|term| term.guard()).collect();
        let writes = kept.iter().map(|term| term.role.renewal(term.fence)).collect();
        match kv.commit(Batch { read_at: snapshot.version(), unchanged, writes }).await {
            Ok(_) => {
                for term in kept {
                    term.renewed(sent_ms);
                }
                return Ok(lost);
            }
            // One of them was lost meanwhile: look again which.
            Err(CommitError::Conflict) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(StoreError::Contended)
}

impl Term {
    fn new(role: Role, fence: u64, sent_ms: u64) -> Self {
        let answers_until_ms = AtomicU64::new(sent_ms.saturating_add(ANSWER_MS));
        Self { role, fence, answers_until_ms }
    }

    fn renewed(&self, sent_ms: u64) {
        self.answers_until_ms.store(sent_ms.saturating_add(ANSWER_MS), Ordering::Release);
    }

    /// The fencing number: greater than that of every earlier owner.
    #[must_use]
    pub const fn fence(&self) -> u64 {
        self.fence
    }

    /// The row that every commit of this owner lists in `unchanged`.
    #[must_use]
    pub fn guard(&self) -> Bytes {
        keyspace::fence(&self.role.name)
    }

    /// Whether this owner may still answer others: its last successful renewal was sent less than
    /// [`ANSWER_MS`] ago.
    #[must_use]
    pub fn may_answer(&self) -> bool {
        self.role.clock.boot_ms() < self.answers_until_ms.load(Ordering::Acquire)
    }

    /// Whether the fence at `snapshot` is still this owner's. A commit that reads at the snapshot
    /// and guards the fence is then this owner's or nobody's.
    ///
    /// # Errors
    /// [`StoreError::Fenced`] if it is not; others if it cannot be read.
    pub async fn check(&self, snapshot: &dyn Snapshot) -> Result<(), StoreError> {
        let fence = snapshot.get(&self.guard()).await?;
        if read_number(fence.as_deref())? == self.fence { Ok(()) } else { Err(StoreError::Fenced) }
    }

    /// Renews once.
    ///
    /// # Errors
    /// [`StoreError::Fenced`] if another process has taken over; others if the store failed, then
    /// the owner may try again until [`Self::may_answer`] says no.
    pub async fn renew(&self) -> Result<(), StoreError> {
        for _ in 0..MAX_RENEWALS {
            let sent_ms = self.role.clock.boot_ms();
            let snapshot = self.role.kv.snapshot().await?;
            self.check(&*snapshot).await?;
            let guard = vec![self.guard()];
            if self.role.write(snapshot.version(), guard, self.fence, None).await? {
                self.renewed(sent_ms);
                return Ok(());
            }
            // A conflict is no proof: the snapshot may have been too old to tell. Look again.
        }
        Err(StoreError::Contended)
    }

    /// Renews each second until the role is lost, or until the store has failed for so long that
    /// a successor may answer.
    pub async fn keep(&self) -> StoreError {
        let mut wait_ms = RENEW_MS;
        loop {
            self.role.clock.sleep(wait_ms).await;
            wait_ms = match self.renew().await {
                Ok(()) => RENEW_MS,
                Err(StoreError::Fenced) => return StoreError::Fenced,
                Err(error) if !self.may_answer() => return error,
                Err(error) => {
                    tracing::warn!(role = self.role.name, %error, "renewal failed");
                    RETRY_MS
                }
            };
        }
    }

    /// Gives the role up, so that a successor need not wait. Best effort; this owner does not
    /// answer any more, whatever becomes of it. Its renewals have ended before.
    pub async fn resign(&self) {
        self.answers_until_ms.store(0, Ordering::Release);
        let Ok(snapshot) = self.role.kv.snapshot().await else { return };
        if self.check(&*snapshot).await.is_err() {
            return;
        }
        let writes =
            vec![Write::Put { key: keyspace::renewal(&self.role.name), value: Bytes::new() }];
        let batch = Batch { read_at: snapshot.version(), unchanged: vec![self.guard()], writes };
        if let Err(error) = self.role.kv.commit(batch).await {
            tracing::debug!(role = self.role.name, %error, "the role was not given up");
        }
    }
}

fn read_number(value: Option<&[u8]>) -> Result<u64, StoreError> {
    let Some(value) = value else { return Ok(0) };
    let bytes = value.try_into().map_err(|_| StoreError::row("fence", "expected 8 bytes"))?;
    Ok(u64::from_be_bytes(bytes))
}
