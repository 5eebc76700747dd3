//! Balances: what the ledger says of accounts in their present windows.

use futures_util::future::{try_join, try_join_all};
use turnpike_domain::ledger::{Level, Row, budgets};
use turnpike_domain::limit::{Account, Unit};
use turnpike_domain::money::NanoUsd;
use turnpike_domain::state::{Key, Organisation};
use turnpike_domain::time::{Reset, Timestamp, Window};
use turnpike_store::ledger;
use turnpike_wire::api::key::KeyUsage;
use turnpike_wire::api::text::Text;

use super::ask::Ask;
use crate::problem::Problem;

/// An account and when it begins anew.
pub(super) type Place = (Account, Reset);

/// The wallet, which never begins anew.
pub(super) const WALLET: Place = (Account::Wallet, Reset::None);

/// What an account has used in its present window.
#[derive(Clone, Copy, Debug)]
pub(super) struct Balance {
    pub(super) account: Account,
    pub(super) resets_at: Option<Timestamp>,
    window: Window,
    usd: Row,
    tokens: Row,
}

/// A key's own account.
pub(super) fn of(key: &Key) -> Place {
    (Account::Key(key.id), key.profile.limits.reset)
}

/// The accounts that a key's requests count against, from the key to the wallet.
pub(super) fn path(state: &Organisation, key: &Key) -> Vec<Place> {
    budgets(state, key).map(|budget| (budget.account, budget.reset)).collect()
}

/// Reads the balances of accounts, in their order.
pub(super) async fn read(ask: &Ask, places: Vec<Place>) -> Result<Vec<Balance>, Problem> {
    let snapshot = ask.snapshot().await?;
    let (snapshot, org, now) = (&*snapshot, ask.org, ask.now);
    let balance = |(account, reset): Place| async move {
        let window = reset.window(now);
        let row = |unit| ledger::row(snapshot, org, account, unit, window);
        let (usd, tokens) = try_join(row(Unit::Usd), row(Unit::Tokens)).await?;
        Ok::<_, Problem>(Balance { account, resets_at: reset.ends(window), window, usd, tokens })
    };
    try_join_all(places.into_iter().map(balance)).await
}

/// Reads the balance of one account.
pub(super) async fn read_one(ask: &Ask, place: Place) -> Result<Balance, Problem> {
    let found = read(ask, vec![place]).await?.pop();
    found.ok_or_else(|| Problem::internal(&"a balance was not read"))
}

impl Balance {
    /// The row of a unit.
    pub(super) const fn row(&self, unit: Unit) -> Row {
        match unit {
            Unit::Usd => self.usd,
            Unit::Tokens => self.tokens,
        }
    }

    /// The account as a level of a path, with the cap that stands.
    pub(super) fn level(&self, state: &Organisation, unit: Unit) -> Level {
        let cap = state.caps.get(&(self.account, unit)).copied().unwrap_or_default();
        Level { account: self.account, window: self.window, cap, row: self.row(unit) }
    }

    /// As keys and projects show it.
    pub(super) fn usage(&self, complete_up_to: Option<Timestamp>) -> KeyUsage {
        let usd = |amount| Text(NanoUsd(amount));
        let count = |tokens: i64| u64::try_from(tokens).unwrap_or(0);
        KeyUsage {
            cost_usd: usd(self.usd.settled),
            tokens: count(self.tokens.settled),
            held_cost_usd: usd(self.usd.held),
            held_tokens: count(self.tokens.held),
            lost_cost_usd: usd(self.usd.lost),
            resets_at: self.resets_at.map(Text),
            complete_up_to: complete_up_to.map(Text),
        }
    }
}
