//! What all cores share: the mirror's tables, read without locks.

mod denied;
mod entry;
mod freshness;
#[cfg(test)]
mod legacy;
mod tokens;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::watch;
use turnpike_domain::admit::{Denial, key_works};
use turnpike_domain::id::{GatewayId, OrgId};
use turnpike_domain::secret::{PublicId, Sealed, SecretKind};
use turnpike_domain::state::{Platform, Provider};
use turnpike_domain::time::Timestamp;
use turnpike_runtime::clock::SharedClock;
use turnpike_runtime::metrics::Metrics;
use turnpike_wire::seal::{Purpose, SealingKeys};
use turnpike_wire::secret::{Legacy, Peppers, Presented};

pub use denied::Denied;
use entry::Age;
pub use entry::Entry;
pub use tokens::Delegated;

use crate::config::ServeOptions;
use crate::lease::Fences;
use crate::table::{Slot, Table};
use freshness::{Freshness, age_ms};
use tokens::Tokens;

/// How often somebody who waits for heartbeats looks again.
const IN_STEP_LOOK_MS: u64 = 20;

/// What requests read. The mirror writes it.
pub struct Core {
    clock: SharedClock,
    options: ServeOptions,
    peppers: Peppers,
    decisions: SealingKeys,
    sessions: SealingKeys,
    gateway: GatewayId,
    pub(crate) table: Table,
    platform: ArcSwap<Platform>,
    /// Opened credentials by their sealed form: an opened one can never be taken for another's.
    credentials: ArcSwap<HashMap<Box<[u8]>, ProviderCredential>>,
    freshness: Freshness,
    tokens: Tokens,
    /// The highest fences that were seen.
    fences: Fences,
    /// The organisations that the mirror knows.
    orgs: watch::Sender<Arc<BTreeSet<OrgId>>>,
}

/// A provider's API key, opened. It does not print.
#[derive(Clone, Debug)]
pub struct ProviderCredential(Arc<SecretString>);

impl Core {
    /// Nothing is known yet: every key is answered with `control_plane_stale`. `decisions` seals
    /// why requests are refused.
    #[must_use]
    pub fn new(
        clock: SharedClock,
        options: ServeOptions,
        peppers: Peppers,
        decisions: SealingKeys,
        gateway: GatewayId,
    ) -> Self {
        let freshness = Freshness::new(&*clock);
        let sessions = decisions.also_for(Purpose::McpSession);
        Self {
            clock,
            options,
            peppers,
            decisions,
            sessions,
            gateway,
            table: Table::default(),
            platform: ArcSwap::default(),
            credentials: ArcSwap::default(),
            freshness,
            tokens: Tokens::default(),
            fences: Fences::default(),
            orgs: watch::Sender::default(),
        }
    }

    /// The key of a credential, if its secret is the right one and the key works.
    ///
    /// A secret that does not fit is told apart from one that could not be checked: while the
    /// mirror is stale, or came from the disk and no heartbeat has matched it yet, a secret that it
    /// does not know may have been made meanwhile.
    ///
    /// # Errors
    /// [`Denial::WrongCredentialKind`], [`Denial::Unauthorized`], [`Denial::ControlPlaneStale`],
    /// and those of [`key_works`].
    pub fn identify(&self, presented: &Presented<'_>) -> Result<Entry, Denied> {
        if presented.kind != SecretKind::Model {
            return Err(self
                .denied(Denial::WrongCredentialKind)
                .with_message(belongs(presented.kind)));
        }
        self.table.read(&presented.public_id, |slot| {
            let stored = slot.and_then(|slot| slot.secret(presented.public_id));
            let right = self.peppers.verify(stored, presented);
            let slot = slot.filter(|_| right).ok_or_else(|| self.unknown())?;
            self.entry(slot, presented.public_id, Age::Bounded)
        })
    }

    /// The key of a legacy secret, if one works. It is looked up under every pepper in use, found
    /// or not, so that the time tells nothing.
    ///
    /// # Errors
    /// As [`Self::identify`].
    pub fn identify_legacy(&self, presented: Legacy<'_>) -> Result<Entry, Denied> {
        let mut found = None;
        for candidate in self.peppers.candidates(presented.hash()) {
            let id = candidate.public_id();
            let slot = self.table.get(&id);
            if candidate.is(slot.as_ref().and_then(|slot| slot.secret(id))) {
                found = slot.map(|slot| (slot, id));
            }
        }
        let (slot, id) = found.ok_or_else(|| self.unknown())?;
        self.entry(&slot, id, Age::Bounded)
    }

    /// Plans, models and the platform's providers.
    #[must_use]
    pub fn platform(&self) -> Guard<Arc<Platform>> {
        self.platform.load()
    }

    /// The API key of a provider; `None` if it has none, or if it could not be opened.
    #[must_use]
    pub fn credential(&self, provider: &Provider) -> Option<ProviderCredential> {
        self.opened(provider.spec.credential.as_ref()?)
    }

    /// A credential that was sealed; `None` if it could not be opened.
    #[must_use]
    pub fn opened(&self, sealed: &Sealed) -> Option<ProviderCredential> {
        self.credentials.load().get(&sealed.0).cloned()
    }

    /// Keys in the table; one whose rotation overlaps counts twice.
    #[must_use]
    pub fn keys(&self) -> usize {
        self.table.len()
    }

    /// The mirror's time: the control plane's, carried on by this machine's steady clock.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.now_at(self.clock.boot_ms())
    }

    /// The mirror's time at a steady time that was just read.
    pub(crate) fn now_at(&self, steady_ms: u64) -> Timestamp {
        self.freshness.now(steady_ms)
    }

    /// This machine's clock, for waits and latencies.
    #[must_use]
    pub const fn clock(&self) -> &SharedClock {
        &self.clock
    }

    /// How requests are taken and sent on.
    #[must_use]
    pub const fn options(&self) -> &ServeOptions {
        &self.options
    }

    /// This gateway.
    #[must_use]
    pub const fn gateway(&self) -> GatewayId {
        self.gateway
    }

    /// Registers what is asked for by name: keys and freshness.
    pub fn watch(self: &Arc<Self>, metrics: &Metrics) {
        let core = Arc::clone(self);
        metrics.watch_gauge("mirror_keys", "Keys in the mirror", move || {
            i64::try_from(core.keys()).unwrap_or(i64::MAX)
        });
        let core = Arc::clone(self);
        let help = "Milliseconds since the mirror was completely known";
        metrics.watch_gauge("mirror_age_ms", help, move || {
            let age_ms = age_ms(core.clock.boot_ms(), core.fresh_ms());
            i64::try_from(age_ms).unwrap_or(i64::MAX)
        });
    }

    /// A denial of a request whose key is not known.
    #[must_use]
    pub fn denied(&self, denial: Denial) -> Denied {
        Denied::new(denial, self.now())
    }

    /// What seals the names of MCP sessions.
    pub(crate) const fn sessions(&self) -> &SealingKeys {
        &self.sessions
    }

    /// Looks again at a request that is answered since it was let in: what it would be let in with
    /// now, however old the mirror is; `None`: it would not be let in.
    pub(crate) fn renewed(&self, entry: &Entry) -> Option<Entry> {
        self.look(entry, Age::Any).ok()
    }

    /// Looks again at a request that was let in some time ago and is not answered yet: its key may
    /// have been stopped, or what it came with may have ended, or nobody may know any more.
    ///
    /// # Errors
    /// As [`Self::identify`] and [`Self::identify_token`].
    pub(crate) fn again(&self, entry: &Entry) -> Result<Entry, Denied> {
        self.look(entry, Age::Bounded)
    }

    /// What seals decisions.
    pub(crate) const fn decisions(&self) -> &SealingKeys {
        &self.decisions
    }

    /// Whether the mirror has had no news for five seconds.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        self.freshness.is_stale(&*self.clock)
    }

    /// How long ago the mirror was completely known, but for streams that are behind; never:
    /// `None`.
    pub(crate) fn age_ms(&self) -> Option<u64> {
        let fresh_ms = self.fresh_ms();
        (fresh_ms != freshness::NEVER).then(|| age_ms(self.clock.boot_ms(), fresh_ms))
    }

    /// Up to when the mirror is completely known, but for streams that are behind.
    pub(crate) fn fresh_ms(&self) -> i64 {
        self.freshness.fresh_ms()
    }

    /// The mirror's time at a steady time.
    pub(crate) fn at(&self, steady_ms: i64) -> Timestamp {
        self.freshness.at(steady_ms)
    }

    /// Nobody has told the time yet, or another life of the store begins: it is `now`.
    pub(crate) fn set_now(&self, now: Timestamp) {
        self.freshness.set_now(&*self.clock, now);
    }

    /// The control plane's word of `at` has come; how many milliseconds too late.
    pub(crate) fn hear(&self, at: Timestamp) -> u64 {
        self.freshness.hear(&*self.clock, at)
    }

    /// The control plane has said `now` to who asked it at a steady time.
    pub(crate) fn bound(&self, now: Timestamp, asked_ms: u64) {
        self.freshness.bound(&*self.clock, now, asked_ms);
    }

    pub(crate) fn set_fresh_at(&self, at: Timestamp) {
        self.freshness.set_fresh_at(at);
    }

    /// Everything is known up to a steady time.
    pub(crate) fn set_fresh_ms(&self, steady_ms: u64) {
        self.freshness.set_fresh_ms(steady_ms.cast_signed());
    }

    /// Completes once heartbeats match the mirror.
    pub(crate) async fn in_step(&self) {
        while self.freshness.may_miss(&*self.clock) {
            self.clock.sleep(IN_STEP_LOOK_MS).await;
        }
    }

    /// Says whether heartbeats match the mirror, so that what it does not know does not exist.
    pub(crate) fn set_in_step(&self, in_step: bool) {
        self.freshness.set_in_step(in_step);
    }

    /// The highest fences that were seen of the authorities of budgets.
    pub(crate) const fn fences(&self) -> &Fences {
        &self.fences
    }

    /// The organisations that the mirror knows.
    pub(crate) fn orgs(&self) -> Arc<BTreeSet<OrgId>> {
        Arc::clone(&self.orgs.borrow())
    }

    /// Completes when the mirror knows other organisations than `seen`.
    pub(crate) async fn other_orgs(&self, seen: &BTreeSet<OrgId>) {
        // The sender is our own: it is never gone.
        let _ = self.orgs.subscribe().wait_for(|orgs| **orgs != *seen).await;
    }

    pub(crate) fn set_orgs(&self, orgs: BTreeSet<OrgId>) {
        self.orgs.send_replace(Arc::new(orgs));
    }

    pub(crate) fn set_platform(&self, platform: Platform) {
        self.platform.store(Arc::new(platform));
    }

    pub(crate) fn credentials(&self) -> Arc<HashMap<Box<[u8]>, ProviderCredential>> {
        self.credentials.load_full()
    }

    pub(crate) fn set_credentials(&self, opened: HashMap<Box<[u8]>, ProviderCredential>) {
        self.credentials.store(Arc::new(opened));
    }

    /// The refusal of a secret that is not known, or may not be known yet.
    fn unknown(&self) -> Denied {
        let missed = self.freshness.may_miss(&*self.clock);
        self.denied(if missed { Denial::ControlPlaneStale } else { Denial::Unauthorized })
    }

    fn look(&self, entry: &Entry, age: Age) -> Result<Entry, Denied> {
        let slot = self.table.get(&entry.presented).ok_or_else(|| self.unknown())?;
        match &entry.token {
            None => self.entry(&slot, entry.presented, age),
            Some(token) => self.token_again(&slot, token, age),
        }
    }

    fn entry(&self, slot: &Slot, id: PublicId, age: Age) -> Result<Entry, Denied> {
        self.known(slot, id, age, |slot, now| {
            key_works(&slot.key, id, now).map_err(|denial| Denied::new(denial, now))
        })
    }

    /// What stands in a slot, if it is known well enough to say anything of it, and `works`.
    fn known(
        &self,
        slot: &Slot,
        presented: PublicId,
        age: Age,
        works: impl FnOnce(&Slot, Timestamp) -> Result<(), Denied>,
    ) -> Result<Entry, Denied> {
        let now_ms = self.clock.boot_ms();
        let now = self.now_at(now_ms);
        let org = slot.org.view();
        let bound = org.organisation.settings.max_staleness_ms;
        let age_ms = age_ms(now_ms, slot.org.fresh_ms(self.fresh_ms()));
        let is_unsure = slot.held || bound.is_some_and(|bound| age_ms > bound);
        let checked = if is_unsure && age == Age::Bounded {
            Err(Denied::new(Denial::ControlPlaneStale, now))
        } else {
            works(slot, now)
        };
        let (used_up, seq) = (slot.used_up.at(now), slot.seq);
        let (key, legacy) = (Arc::clone(&slot.key), presented.is_legacy());
        let entry = Entry { org, key, used_up, seq, presented, legacy, token: None };
        match checked {
            Ok(()) => Ok(entry),
            Err(denied) => Err(denied.of(&entry)),
        }
    }
}

impl ProviderCredential {
    pub(crate) fn new(text: &str) -> Self {
        Self(Arc::new(text.into()))
    }

    /// The API key, to be written into a request to its provider. Do not keep it.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

const fn belongs(kind: SecretKind) -> &'static str {
    match kind {
        SecretKind::Model => "A model key belongs here.",
        SecretKind::Management => {
            "This is a management token: it belongs to the management API, not to a gateway."
        }
        SecretKind::Gateway => {
            "This is a gateway's join token: it belongs into the gateway's configuration."
        }
        SecretKind::Invitation => "This is an invitation: it belongs to the console.",
    }
}
