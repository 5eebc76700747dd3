//! Tokens made from keys, for as long as they may be presented.

use crate::event::EphemeralGrant;
use crate::id::{EphemeralId, KeyId};
use crate::limit::Account;
use crate::time::{MINUTE_MS, Timestamp};

use super::Organisation;

/// For how long a token is remembered after its end: no clock of a gateway that hears the control
/// plane lags as much behind it, so that a revoked one is not forgotten while it could still pass.
pub const REMEMBERED_MS: u64 = 5 * MINUTE_MS;

/// A token made from a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ephemeral {
    /// What it may do.
    pub grant: EphemeralGrant,
    /// When it was made.
    pub created_at: Timestamp,
    /// Stopped before its end.
    pub revoked: bool,
    /// The last event that touched it.
    pub seq: u64,
}

impl Organisation {
    /// The tokens of a key that are remembered, by id.
    pub fn tokens_of(
        &self,
        key: KeyId,
    ) -> impl DoubleEndedIterator<Item = (EphemeralId, &Ephemeral)> {
        let all = (key, EphemeralId(u128::MIN))..=(key, EphemeralId(u128::MAX));
        self.ephemerals.range(all).map(|((_, id), token)| (*id, token))
    }

    /// The account of a token that has a budget of its own within its key's. Others spend their
    /// key's budget as the key does.
    #[must_use]
    pub fn carve_out(&self, key: KeyId, token: Option<EphemeralId>) -> Option<Account> {
        let token = token?;
        let known = self.ephemerals.get(&(key, token))?;
        let has_own = known.grant.cost_cap.is_some() || known.grant.token_cap.is_some();
        has_own.then_some(Account::Ephemeral(token))
    }
}
