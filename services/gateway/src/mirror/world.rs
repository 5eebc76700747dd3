//! The mirror's state: every stream folded up to its head, and the key table beside it.

mod doubt;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use turnpike_domain::event::Event;
use turnpike_domain::evolve::{self, Touched};
use turnpike_domain::id::{IncarnationId, KeyId, OrgId};
use turnpike_domain::state::{Head, Key, McpServer, Organisation, Platform, Provider};
use turnpike_domain::time::Timestamp;
use turnpike_wire::heartbeat::LostChange;
use turnpike_wire::record::{FIRST_HASH, Received, Unreadable};
use turnpike_wire::seal::SealingKeys;
use turnpike_wire::snapshot::{Snapshot, State};

use super::aside::Aside;
use super::disk::Times;
use super::lost::Lost;
use crate::core::{Core, ProviderCredential};
use crate::view::{OrgCell, OrgView};

/// Everything that the mirror has folded. Only the mirror's task has it; what it changes is
/// published to the [`Core`] in the same call.
pub(crate) struct World {
    core: Arc<Core>,
    sealing: SealingKeys,
    /// The life of the store that all of it belongs to; `None` before the first snapshot.
    incarnation: Option<IncarnationId>,
    platform: Platform,
    /// What of the platform's stream could not be read.
    aside: Aside,
    orgs: BTreeMap<OrgId, Mirrored>,
    /// Streams in which something stands that the control plane has not decided: the next that it
    /// sends is taken, however old.
    forged: BTreeSet<OrgId>,
    /// Changes that were applied and are gone, not told of yet.
    lost: Vec<(OrgId, LostChange)>,
}

struct Mirrored {
    state: Organisation,
    cell: Arc<OrgCell>,
    /// Keys whose last event could not be read: they may have been stopped.
    held: BTreeSet<KeyId>,
    /// An event about something else could not be read.
    quarantined: bool,
    /// All of it, for people.
    aside: Aside,
    /// Changes that were applied and are gone.
    lost: Lost,
    /// The control plane's time of what was applied last.
    known_at: Timestamp,
}

/// What became of a record.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Applied {
    /// It is applied; the key that it changed, if it changed one.
    Done(Option<KeyId>),
    /// It was known.
    Known,
    /// It does not follow what is known: the stream must be fetched.
    Gap,
    /// It stands in the chain but cannot be read: the last good state is kept.
    Held(Unreadable),
}

/// Why a snapshot was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotInstalled {
    /// The mirror knows more already.
    #[error("the snapshot is older than the mirror")]
    Older,
    /// The store was restored: every stream must be fetched.
    #[error("the snapshot is of another life of the store")]
    OtherLife,
}

impl World {
    pub(crate) fn new(core: Arc<Core>, sealing: SealingKeys) -> Self {
        Self {
            core,
            sealing,
            incarnation: None,
            platform: Platform::default(),
            aside: Aside::default(),
            orgs: BTreeMap::new(),
            forged: BTreeSet::new(),
            lost: Vec::new(),
        }
    }

    pub(crate) const fn incarnation(&self) -> Option<IncarnationId> {
        self.incarnation
    }

    /// The head of a stream; that of nothing if the stream is not known.
    pub(crate) fn head(&self, org: OrgId) -> Head {
        if org == OrgId::PLATFORM {
            return self.platform.head;
        }
        self.orgs.get(&org).map(|org| org.state.head).unwrap_or_default()
    }

    /// Every organisation that is known.
    pub(crate) fn orgs(&self) -> impl Iterator<Item = OrgId> {
        self.orgs.keys().copied()
    }

    pub(crate) fn organisation(&self, org: OrgId) -> Option<&Organisation> {
        self.orgs.get(&org).map(|org| &org.state)
    }

    pub(crate) const fn platform(&self) -> &Platform {
        &self.platform
    }

    /// Whether the mirror is known to be as young as each of its organisations demands.
    pub(crate) fn may_serve(&self) -> bool {
        let Some(age_ms) = self.core.age_ms() else { return false };
        let bounds = self.orgs.values().map(|org| org.state.settings.max_staleness_ms);
        self.incarnation.is_some() && bounds.flatten().min().is_none_or(|bound| age_ms <= bound)
    }

    /// Up to when every stream is completely known, and what time that is measured by.
    pub(crate) fn times(&self) -> Times {
        let mirror_ms = self.core.fresh_ms();
        let each = self.orgs.values().map(|mirrored| mirrored.cell.fresh_ms(mirror_ms));
        let fresh_at = self.core.at(each.min().unwrap_or(mirror_ms));
        Times { fresh_at, mirror: self.core.now(), machine: self.core.clock().now() }
    }

    /// Says whether events of the organisation are missing. What is held stays behind.
    pub(crate) fn set_behind(&self, org: OrgId, behind: bool) {
        let Some(mirrored) = self.orgs.get(&org) else { return };
        if behind {
            mirrored.cell.fall_behind(self.core.fresh_ms());
        } else if !self.is_held(org) {
            mirrored.cell.catch_up();
        }
    }

    /// Folds a record into its stream, if it is the next one.
    pub(crate) fn apply(&mut self, received: &Received) -> Applied {
        let head = self.head(received.org);
        if self.forged.contains(&received.org) {
            return Applied::Gap;
        }
        let follows = received.seq == head.seq.saturating_add(1);
        if follows && received.prev_hash == chain(head) {
            return self.follow(received);
        }
        // Below the head it is a repetition; another record at the head's own place is not.
        let repeated =
            received.seq < head.seq || (received.seq == head.seq && received.hash == head.hash);
        if repeated { Applied::Known } else { Applied::Gap }
    }

    /// Takes streams as a whole; those that are older than the mirror are left out.
    ///
    /// # Errors
    /// The last [`NotInstalled`] of them.
    pub(crate) fn install(&mut self, snapshots: Vec<Snapshot>) -> Result<(), NotInstalled> {
        let mut result = Ok(());
        for snapshot in snapshots {
            result = self.take(snapshot).and(result);
        }
        self.publish_credentials();
        self.publish_orgs();
        result
    }

    /// Starts again with another life of the store: whatever is not among `snapshots` is gone.
    pub(crate) fn start_again(&mut self, snapshots: Vec<Snapshot>) {
        // Another life of the store counts its fences anew.
        self.core.fences().forget();
        self.forged.clear();
        self.incarnation = snapshots.first().map(|snapshot| snapshot.taken.incarnation);
        let mut gone: BTreeSet<OrgId> = self.orgs.keys().copied().collect();
        for Snapshot { state, taken } in snapshots {
            match state {
                State::Platform(platform) => {
                    self.platform = *platform;
                    self.aside.heal();
                }
                State::Organisation(state) => {
                    gone.remove(&state.id);
                    self.replace(*state, taken.at, false);
                }
            }
        }
        for org in gone {
            self.forget(org);
        }
        self.publish_platform();
        self.publish_credentials();
        self.publish_orgs();
    }

    fn take(&mut self, snapshot: Snapshot) -> Result<(), NotInstalled> {
        let Snapshot { taken, state } = snapshot;
        if self.incarnation.is_some_and(|life| life != taken.incarnation) {
            return Err(NotInstalled::OtherLife);
        }
        match state {
            State::Platform(platform) => {
                let forged = self.forged.remove(&OrgId::PLATFORM);
                if platform.head.seq < self.platform.head.seq && !forged {
                    return Err(NotInstalled::Older);
                }
                self.platform = *platform;
                self.aside.heal();
                self.publish_platform();
            }
            State::Organisation(state) => {
                let forged = self.forged.remove(&state.id);
                if state.head.seq < self.head(state.id).seq && !forged {
                    return Err(NotInstalled::Older);
                }
                self.replace(*state, taken.at, forged);
            }
        }
        self.incarnation = Some(taken.incarnation);
        Ok(())
    }

    fn follow(&mut self, received: &Received) -> Applied {
        let Received { org, position, hash, .. } = *received;
        let record = match &received.record {
            Ok(record) => record,
            Err(unreadable) => {
                self.hold(org, Head { seq: received.seq, hash, position }, unreadable.key);
                return Applied::Held(unreadable.clone());
            }
        };
        let (key, touched) = if org == OrgId::PLATFORM {
            let touched = evolve::platform(&mut self.platform, record, hash, position);
            self.publish_platform();
            (None, touched)
        } else {
            let key = key_of(&record.event);
            let is_new = !self.orgs.contains_key(&org);
            let mirrored = self.orgs.entry(org).or_insert_with(|| Mirrored::new(org));
            let before = key.and_then(|key| mirrored.state.keys.get(&key).cloned());
            let touched = evolve::organisation(&mut mirrored.state, record, hash, position);
            mirrored.known_at = mirrored.known_at.max(record.at);
            mirrored.publish(&self.core, touched, before.as_deref());
            if is_new {
                self.publish_orgs();
            }
            (key, touched)
        };
        if touched == Touched::Routing {
            self.publish_credentials();
        }
        Applied::Done(key)
    }

    /// Goes on behind an event that cannot be read.
    fn hold(&mut self, org: OrgId, head: Head, key: Option<KeyId>) {
        let now = self.core.now();
        if org == OrgId::PLATFORM {
            self.aside.hold(head.seq, now, self.platform.head.position);
            self.platform.head = head;
            return;
        }
        let core = Arc::clone(&self.core);
        let mirrored = self.orgs.entry(org).or_insert_with(|| Mirrored::new(org));
        mirrored.aside.hold(head.seq, now, mirrored.state.head.position);
        mirrored.state.head = head;
        mirrored.cell.fall_behind(core.fresh_ms());
        match key {
            Some(key) => {
                mirrored.held.insert(key);
                mirrored.publish(&core, Touched::Key(key), None);
            }
            None => {
                mirrored.quarantined = true;
                mirrored.publish(&core, Touched::Other, None);
            }
        }
    }

    /// Puts a state in the place of the one that is known, key by key. What was `forged` or is
    /// known in parts is no measure of what is lost.
    fn replace(&mut self, state: Organisation, taken_at: Timestamp, forged: bool) {
        let core = Arc::clone(&self.core);
        let mirrored = self.orgs.entry(state.id).or_insert_with(|| Mirrored::new(state.id));
        let before = std::mem::replace(&mut mirrored.state, state);
        if !forged && !mirrored.aside.stands() {
            let lost = mirrored.lost.find((&before, mirrored.known_at), &mirrored.state);
            self.lost.extend(lost.into_iter().map(|change| (mirrored.state.id, change)));
        }
        mirrored.known_at = taken_at;
        mirrored.held.clear();
        mirrored.quarantined = false;
        mirrored.aside.heal();
        mirrored.cell.catch_up();
        for (id, old) in &before.keys {
            if !mirrored.state.keys.contains_key(id) {
                core.table.replace(&mirrored.cell, &mirrored.state, false, Some(old), None);
            }
        }
        // The view first: no key may be seen with settings that are older than it.
        mirrored.publish(&core, Touched::Routing, None);
        for (id, key) in &mirrored.state.keys {
            let old = before.keys.get(id).map(|old| &**old);
            core.table.replace(&mirrored.cell, &mirrored.state, false, old, Some(key));
        }
    }

    /// There is no such organisation.
    pub(crate) fn forget(&mut self, org: OrgId) {
        if let Some(mirrored) = self.orgs.remove(&org) {
            for key in mirrored.state.keys.values() {
                self.core.table.replace(&mirrored.cell, &mirrored.state, false, Some(key), None);
            }
        }
    }

    fn publish_orgs(&self) {
        self.core.set_orgs(self.orgs.keys().copied().collect());
    }

    fn publish_platform(&self) {
        self.core.set_platform(self.platform.clone());
    }

    /// Opens the credentials of all providers and MCP servers that are not open yet. Routing
    /// changes seldom; requests find them open.
    fn publish_credentials(&self) {
        let owned = self.orgs.values().flat_map(|org| org.state.providers.values());
        let providers = self.platform.providers.values().chain(owned);
        let providers = providers.map(|Provider { spec, .. }| (&spec.name, &spec.credential));
        let servers = self.orgs.values().flat_map(|org| org.state.mcp_servers.values());
        let servers = servers.map(|McpServer { spec, .. }| (&spec.name, &spec.credential));
        let before = self.core.credentials();
        let mut opened = HashMap::new();
        for (name, sealed) in providers.chain(servers) {
            let Some(sealed) = sealed else { continue };
            if let Some(open) = before.get(&sealed.0) {
                opened.insert(sealed.0.clone(), open.clone());
                continue;
            }
            let plain = self.sealing.open(sealed);
            match plain.as_ref().map(|plain| std::str::from_utf8(plain)) {
                Ok(Ok(text)) => {
                    opened.insert(sealed.0.clone(), ProviderCredential::new(text));
                }
                Ok(Err(_)) => tracing::error!(%name, "the credential is no text"),
                Err(error) => {
                    tracing::error!(%name, %error, "a credential does not open");
                }
            }
        }
        self.core.set_credentials(opened);
    }
}

impl Mirrored {
    fn new(org: OrgId) -> Self {
        let state = Organisation::new(org);
        let cell = Arc::new(OrgCell::new(OrgView::of(&state, false)));
        let (aside, lost, known_at) = Default::default();
        Self { state, cell, held: BTreeSet::new(), quarantined: false, aside, lost, known_at }
    }

    /// Shows the cores what was touched.
    fn publish(&self, core: &Core, touched: Touched, before: Option<&Key>) {
        match touched {
            Touched::Key(key) => {
                let held = self.held.contains(&key);
                let after = self.state.keys.get(&key);
                core.table.replace(&self.cell, &self.state, held, before, after);
            }
            Touched::Tokens => {}
            Touched::Project(_) | Touched::Routing | Touched::Other => {
                self.cell.set_view(OrgView::of(&self.state, self.quarantined));
            }
        }
    }
}

const fn chain(head: Head) -> [u8; 32] {
    if head.seq == 0 { FIRST_HASH } else { head.hash }
}

/// The key that an event changes: what the audit log names, and whose old secrets must go.
pub(crate) const fn key_of(event: &Event) -> Option<KeyId> {
    match (evolve::touched(event), event) {
        // A budget that is used up changes nothing of its key.
        (_, Event::QuotaHit { .. }) => None,
        (Touched::Key(key), _) => Some(key),
        (Touched::Project(_) | Touched::Tokens | Touched::Routing | Touched::Other, _) => None,
    }
}
