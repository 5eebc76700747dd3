//! What the organisations' streams say about the accounts of one commit.

use std::collections::BTreeMap;

use turnpike_domain::id::OrgId;
use turnpike_domain::ledger::reset_of;
use turnpike_domain::limit::{Account, Unit};
use turnpike_domain::state::{Cap, Organisation};
use turnpike_domain::time::{Reset, Timestamp, Window};

use super::sheet::UNITS;

/// Budgets by account.
#[derive(Default)]
pub(super) struct View(BTreeMap<(OrgId, Account), Budget>);

struct Budget {
    caps: [Cap; 2],
    reset: Reset,
    alert_percents: Box<[u8]>,
}

impl View {
    /// Takes an account from its organisation.
    pub(super) fn note(&mut self, state: &Organisation, account: Account) {
        self.0.entry((state.id, account)).or_insert_with(|| Budget {
            caps: UNITS.map(|unit| state.caps.get(&(account, unit)).copied().unwrap_or_default()),
            reset: reset_of(state, account),
            alert_percents: state.alert_percents(account).into(),
        });
    }

    /// The cap of an account that was noted; none of others.
    pub(super) fn cap(&self, org: OrgId, account: Account, unit: Unit) -> Cap {
        let [usd, tokens] = self.0.get(&(org, account)).map_or_else(Default::default, |it| it.caps);
        match unit {
            Unit::Usd => usd,
            Unit::Tokens => tokens,
        }
    }

    /// The percentages at which alerts are raised for an account that was noted.
    pub(super) fn alert_percents(&self, org: OrgId, account: Account) -> &[u8] {
        self.0.get(&(org, account)).map_or(&[], |budget| &budget.alert_percents)
    }

    /// The window of an account that holds `now`, and the next: whoever named the windows of the
    /// latest leases may have had a clock that is ahead.
    pub(super) fn windows(
        &self,
        org: OrgId,
        account: Account,
        now: Timestamp,
    ) -> impl Iterator<Item = Window> {
        let reset = self.reset(org, account);
        let window = reset.window(now);
        let next = reset.ends(window).map(|end| reset.window(end));
        std::iter::once(window).chain(next)
    }

    /// When the first window of a path ends, if one does.
    pub(super) fn ends_at(&self, org: OrgId, path: &[(Account, Window)]) -> Option<Timestamp> {
        path.iter().filter_map(|(account, window)| self.reset(org, *account).ends(*window)).min()
    }

    fn reset(&self, org: OrgId, account: Account) -> Reset {
        self.0.get(&(org, account)).map_or(Reset::None, |budget| budget.reset)
    }
}
