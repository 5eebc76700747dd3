//! The leases of all keys, found by every core without a lock.

use std::hash::{BuildHasherDefault, Hash};
use std::sync::Arc;

use papaya::{Compute, Operation};
use turnpike_domain::id::{EphemeralId, KeyId, LeaseId, OrgId};
use turnpike_domain::limit::{Account, Unit};
use turnpike_domain::time::Timestamp;
use turnpike_runtime::entropy;

use super::leaf::Leaf;
use super::terms::Terms;
use crate::table::IdHasher;

/// Leases by what they are of, read by every core without a lock.
type Map<K> = papaya::HashMap<K, Arc<Leaf>, BuildHasherDefault<IdHasher>>;

/// The present lease of each key that has one, and of each token with a budget of its own.
#[derive(Default)]
pub(super) struct Leaves {
    keys: Map<KeyId>,
    tokens: Map<EphemeralId>,
}

impl Leaves {
    /// The lease for a request, and whether it was made for it: then it needs agents.
    pub(super) fn at(&self, terms: &Terms, now: Timestamp, now_ms: u64) -> (Arc<Leaf>, bool) {
        match terms.shape.token {
            Some(token) => present(&self.tokens, token, terms, now, now_ms),
            None => present(&self.keys, terms.shape.key, terms, now, now_ms),
        }
    }

    /// Takes a lease out, if it is still the present one of its key or token.
    pub(super) fn remove(&self, leaf: &Arc<Leaf>) {
        let is_it = |present: &Arc<Leaf>| Arc::ptr_eq(present, leaf);
        match leaf.token() {
            Some(token) => drop(self.tokens.pin().remove_if(&token, |_, found| is_it(found))),
            None => drop(self.keys.pin().remove_if(&leaf.key, |_, found| is_it(found))),
        }
    }

    /// Wants back what is free on every path over `account`.
    pub(super) fn recall(&self, org: OrgId, account: Account, unit: Unit) {
        let one = |leaf: Option<&Arc<Leaf>>| {
            if let Some(leaf) = leaf.filter(|leaf| leaf.org == org) {
                leaf.recall(account, unit);
            }
        };
        match account {
            Account::Ephemeral(token) => one(self.tokens.pin().get(&token)),
            Account::Key(key) => {
                one(self.keys.pin().get(&key));
                // Few keys have tokens with budgets of their own.
                self.tokens.pin().values().for_each(|leaf| one(Some(leaf)));
            }
            Account::Wallet | Account::Project(_) => {
                self.keys.pin().values().for_each(|leaf| one(Some(leaf)));
                self.tokens.pin().values().for_each(|leaf| one(Some(leaf)));
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        self.keys.len().saturating_add(self.tokens.len())
    }
}

fn present<K: Copy + Eq + Hash>(
    leaves: &Map<K>,
    of: K,
    terms: &Terms,
    now: Timestamp,
    now_ms: u64,
) -> (Arc<Leaf>, bool) {
    let leaves = leaves.pin();
    let serves = |leaf: &Leaf| leaf.serves(&terms.shape, now, now_ms);
    if let Some(leaf) = leaves.get(&of).filter(|leaf| serves(leaf)) {
        return (Arc::clone(leaf), false);
    }
    let fresh = Arc::new(Leaf::new(terms, LeaseId(entropy::id(now)), now_ms));
    let placed = leaves.compute(of, |found| match found {
        Some((_, leaf)) if serves(leaf) => Operation::Abort(Arc::clone(leaf)),
        Some(_) | None => Operation::Insert(Arc::clone(&fresh)),
    });
    match placed {
        Compute::Aborted(leaf) => (leaf, false),
        Compute::Updated { old: (_, old), .. } => {
            old.retire();
            (fresh, true)
        }
        Compute::Inserted(..) | Compute::Removed(..) => (fresh, true),
    }
}
