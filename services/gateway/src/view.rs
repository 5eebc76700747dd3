//! The small parts of an organisation that requests need beside their key.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use turnpike_domain::limit::Account;
use turnpike_domain::state::{Organisation, Wallet};
use turnpike_domain::time::Timestamp;

/// Later than any time.
const KNOWN: u64 = u64::MAX;

/// An organisation without its keys, people and tokens; swapped as a whole when one part changes.
#[derive(Clone, Debug)]
pub struct OrgView {
    /// Settings, providers, projects; caps and hits of the wallet and the projects. Maps of what
    /// grows with the number of keys are empty.
    pub organisation: Organisation,
    /// An event could not be read: what is known is served, and an alarm stands.
    pub quarantined: bool,
}

/// Where the present view of an organisation is found, and how fresh it is.
pub(crate) struct OrgCell {
    view: ArcSwap<OrgView>,
    /// The time up to which the stream was known completely when it fell behind the others;
    /// [`KNOWN`] while it is not behind.
    behind_at: AtomicU64,
}

impl OrgView {
    pub(crate) fn of(state: &Organisation, quarantined: bool) -> Self {
        let few = |account: &Account| match account {
            Account::Wallet | Account::Project(_) => true,
            Account::Key(_) | Account::Ephemeral(_) => false,
        };
        let mut organisation = Organisation::new(state.id);
        organisation.head = state.head;
        organisation.name.clone_from(&state.name);
        organisation.settings = state.settings;
        organisation.projects.clone_from(&state.projects);
        organisation.providers.clone_from(&state.providers);
        let (topped_up, exhausted) = (state.wallet.topped_up, state.wallet.exhausted);
        organisation.wallet = Wallet { topped_up, exhausted, top_ups: Vec::new() };
        let caps = state.caps.iter().filter(|((account, _), _)| few(account));
        organisation.caps = caps.map(|(account, cap)| (*account, *cap)).collect();
        let hits = state.hits.iter().filter(|((account, _), _)| few(account));
        organisation.hits = hits.map(|(account, hit)| (*account, *hit)).collect();
        Self { organisation, quarantined }
    }
}

impl OrgCell {
    pub(crate) fn new(view: OrgView) -> Self {
        Self { view: ArcSwap::from_pointee(view), behind_at: AtomicU64::new(KNOWN) }
    }

    /// The present view.
    pub(crate) fn view(&self) -> Arc<OrgView> {
        self.view.load_full()
    }

    pub(crate) fn set_view(&self, view: OrgView) {
        self.view.store(Arc::new(view));
    }

    /// Up to when the organisation is completely known, given up to when the mirror is.
    pub(crate) fn fresh_at(&self, mirror: Timestamp) -> Timestamp {
        mirror.min(Timestamp(self.behind_at.load(Ordering::Relaxed)))
    }

    /// The stream fell behind when the mirror was fresh up to `at`; it may have been behind before.
    pub(crate) fn fall_behind(&self, at: Timestamp) {
        self.behind_at.fetch_min(at.0, Ordering::Relaxed);
    }

    /// The stream is where the others are.
    pub(crate) fn catch_up(&self) {
        self.behind_at.store(KNOWN, Ordering::Relaxed);
    }
}
