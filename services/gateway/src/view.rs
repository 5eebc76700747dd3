//! The small parts of an organisation that requests need beside their key.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use arc_swap::ArcSwap;
use turnpike_domain::limit::Account;
use turnpike_domain::state::{McpServer, McpServerSpec, Organisation, Wallet};

/// Later than any time.
const KNOWN: i64 = i64::MAX;

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
    /// The steady time up to which the stream was known completely when it fell behind the others;
    /// [`KNOWN`] while it is not behind.
    behind_ms: AtomicI64,
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
        // Which tools a server has is for people to choose from; here nobody reads it.
        let bare = |server: &McpServer| {
            let spec = McpServerSpec { catalogue: None, ..server.spec.clone() };
            McpServer { spec, seq: server.seq }
        };
        let servers = state.mcp_servers.iter();
        organisation.mcp_servers = servers.map(|(id, server)| (*id, bare(server))).collect();
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
        Self { view: ArcSwap::from_pointee(view), behind_ms: AtomicI64::new(KNOWN) }
    }

    /// The present view.
    pub(crate) fn view(&self) -> Arc<OrgView> {
        self.view.load_full()
    }

    pub(crate) fn set_view(&self, view: OrgView) {
        self.view.store(Arc::new(view));
    }

    /// Steady time up to which the organisation is completely known, given that of the mirror.
    pub(crate) fn fresh_ms(&self, mirror_ms: i64) -> i64 {
        mirror_ms.min(self.behind_ms.load(Ordering::Relaxed))
    }

    /// The stream fell behind when the mirror was fresh up to `at_ms`; it may have been before.
    pub(crate) fn fall_behind(&self, at_ms: i64) {
        self.behind_ms.fetch_min(at_ms, Ordering::Relaxed);
    }

    /// The stream is where the others are.
    pub(crate) fn catch_up(&self) {
        self.behind_ms.store(KNOWN, Ordering::Relaxed);
    }
}
