//! The reference: every stream folded from the stored log by itself, with each state it ever had.
//!
//! It reads the store below its hostility. What the house says of itself is compared with it.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::FutureExt as _;
use turnpike_domain::event::Record;
use turnpike_domain::evolve;
use turnpike_domain::id::{CommandId, KeyId, OrgId, Position};
use turnpike_domain::secret::PublicId;
use turnpike_domain::state::{Head, Key, Organisation, Platform};
use turnpike_store::kv::{Kv, Snapshot};
use turnpike_store::log;
use turnpike_wire::record::{self, FIRST_HASH};

/// Events read at once.
const PAGE: usize = 500;

/// All streams.
pub(crate) struct Reference {
    kv: Arc<dyn Kv>,
    at: Position,
    pub(crate) platform: Vec<Platform>,
    pub(crate) orgs: BTreeMap<OrgId, Stream>,
    /// All events in commit order.
    pub(crate) log: Vec<Record>,
    hashes: BTreeMap<OrgId, [u8; 32]>,
}

/// One organisation.
pub(crate) struct Stream {
    /// The state at each seq; the first is that of nothing.
    pub(crate) states: Vec<Organisation>,
    /// The position of each seq.
    pub(crate) positions: Vec<Position>,
    /// The states of each key, by the seq of the event that touched it; `None`: it is gone.
    pub(crate) keys: BTreeMap<KeyId, BTreeMap<u64, Option<Arc<Key>>>>,
}

/// From when on a secret does not open its key any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Death {
    pub(crate) seq: u64,
    pub(crate) position: Position,
}

impl Reference {
    pub(crate) fn new(kv: Arc<dyn Kv>) -> Self {
        Self {
            kv,
            at: Position::default(),
            platform: vec![Platform::default()],
            orgs: BTreeMap::new(),
            log: Vec::new(),
            hashes: BTreeMap::new(),
        }
    }

    /// Folds what has been appended since. Says what is wrong with the log itself.
    pub(crate) fn catch_up(&mut self) -> Result<(), String> {
        let kv = Arc::clone(&self.kv);
        let read = async {
            let snapshot = kv.snapshot().await.map_err(|error| error.to_string())?;
            self.read(&*snapshot).await
        };
        read.now_or_never().unwrap_or_else(|| Err("the store below makes us wait".to_owned()))
    }

    async fn read(&mut self, snapshot: &dyn Snapshot) -> Result<(), String> {
        loop {
            let page = log::feed(snapshot, self.at, PAGE).await;
            let page = page.map_err(|error| error.to_string())?;
            let full = page.len() == PAGE;
            for placed in page {
                self.at = placed.position;
                self.fold(placed)?;
            }
            if !full {
                return Ok(());
            }
        }
    }

    fn fold(&mut self, placed: log::Placed) -> Result<(), String> {
        let log::Placed { position, logged } = placed;
        let received = record::decode(&logged.body, position).map_err(|error| error.to_string())?;
        let record = received.record.map_err(|error| error.to_string())?;
        let (org, seq) = (record.org, record.seq);
        let before = self.hashes.insert(org, received.hash).unwrap_or(FIRST_HASH);
        if received.prev_hash != before || org != logged.org {
            return Err(format!("the chain of {org} breaks at {seq}"));
        }
        let last = self.head(org);
        if seq != last + 1 || seq != logged.seq {
            return Err(format!("{org}: {seq} follows {last}"));
        }
        if org == OrgId::PLATFORM {
            let mut next = self.platform.last().cloned().unwrap_or_default();
            evolve::platform(&mut next, &record, received.hash, position);
            self.platform.push(next);
        } else {
            let stream = self.orgs.entry(org).or_insert_with(|| Stream::new(org));
            stream.fold(&record, received.hash, position);
        }
        self.log.push(record);
        Ok(())
    }

    fn head(&self, org: OrgId) -> u64 {
        let states = match self.orgs.get(&org) {
            Some(stream) => stream.states.len(),
            None if org == OrgId::PLATFORM => self.platform.len(),
            None => 1,
        };
        u64::try_from(states).unwrap_or(u64::MAX) - 1
    }

    /// The organisation as it is now.
    pub(crate) fn organisation(&self, org: OrgId) -> Option<&Organisation> {
        self.orgs.get(&org)?.states.last()
    }

    /// The platform as it is now.
    pub(crate) fn latest_platform(&self) -> &Platform {
        &self.platform[self.platform.len() - 1]
    }

    /// How many events each command has.
    pub(crate) fn events_of_commands(&self) -> BTreeMap<CommandId, usize> {
        let mut counts = BTreeMap::new();
        for record in &self.log {
            *counts.entry(record.command).or_default() += 1;
        }
        counts
    }
}

impl Stream {
    fn new(org: OrgId) -> Self {
        Self {
            states: vec![Organisation::new(org)],
            positions: vec![Position::default()],
            keys: BTreeMap::new(),
        }
    }

    fn fold(&mut self, record: &Record, hash: [u8; 32], position: Position) {
        let mut next = self.states[self.states.len() - 1].clone();
        let touched = evolve::organisation(&mut next, record, hash, position);
        if let evolve::Touched::Key(key) = touched {
            self.keys.entry(key).or_default().insert(record.seq, next.keys.get(&key).cloned());
        }
        self.states.push(next);
        self.positions.push(position);
    }

    pub(crate) fn state(&self, seq: u64) -> Option<&Organisation> {
        self.states.get(usize::try_from(seq).ok()?)
    }

    /// The first event behind `after` from which on the secret does not open the key by decision
    /// (time is another matter).
    pub(crate) fn death(&self, key: KeyId, secret: PublicId, after: u64) -> Option<Death> {
        let states = self.keys.get(&key)?.range(after + 1..);
        let dead = |state: &Option<Arc<Key>>| !state.as_ref().is_some_and(|key| opens(key, secret));
        let (seq, _) = states.into_iter().find(|(_, state)| dead(state))?;
        let position = self.positions[usize::try_from(*seq).ok()?];
        Some(Death { seq: *seq, position })
    }
}

/// Whether the secret opens the key, leaving time aside.
pub(crate) fn opens(key: &Key, secret: PublicId) -> bool {
    let fits = key.secret.public_id == secret
        || key.previous.as_ref().is_some_and(|old| old.secret.public_id == secret);
    fits && !key.standing.disabled && key.standing.revoked.is_none()
}

/// Whether two folds are the same. The position of a head is left aside: whoever did not see the
/// commit of the last event does not know it.
pub(crate) fn same_platform(one: &Platform, other: &Platform) -> bool {
    same_head(one.head, other.head)
        && one.plans == other.plans
        && one.models == other.models
        && one.providers == other.providers
        && one.tokens == other.tokens
        && one.gateways == other.gateways
}

/// As [`same_platform`].
pub(crate) fn same_organisation(one: &Organisation, other: &Organisation) -> bool {
    let head = Head { position: one.head.position, ..other.head };
    same_head(one.head, other.head) && *one == Organisation { head, ..other.clone() }
}

pub(crate) fn same_head(one: Head, other: Head) -> bool {
    (one.seq, one.hash) == (other.seq, other.hash)
}
