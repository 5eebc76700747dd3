//! The leases of all keys, found by every core without a lock.

use std::hash::BuildHasherDefault;
use std::sync::Arc;

use papaya::{Compute, Operation};
use turnpike_domain::id::{KeyId, LeaseId, OrgId};
use turnpike_domain::limit::{Account, Unit};
use turnpike_domain::time::Timestamp;
use turnpike_runtime::entropy;

use super::leaf::Leaf;
use super::terms::Terms;
use crate::table::IdHasher;

/// The present lease of each key that has one.
#[derive(Default)]
pub(super) struct Leaves(papaya::HashMap<KeyId, Arc<Leaf>, BuildHasherDefault<IdHasher>>);

impl Leaves {
    /// The lease for a request, and whether it was made for it: then it needs agents.
    pub(super) fn at(&self, terms: &Terms, now: Timestamp, now_ms: u64) -> (Arc<Leaf>, bool) {
        let leaves = self.0.pin();
        let serves = |leaf: &Leaf| leaf.serves(&terms.shape, now, now_ms);
        if let Some(leaf) = leaves.get(&terms.shape.key).filter(|leaf| serves(leaf)) {
            return (Arc::clone(leaf), false);
        }
        let fresh = Arc::new(Leaf::new(terms, LeaseId(entropy::id(now)), now_ms));
        let placed = leaves.compute(terms.shape.key, |found| match found {
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

    /// Takes a lease out, if it is still the present one of its key.
    pub(super) fn remove(&self, leaf: &Arc<Leaf>) {
        let leaves = self.0.pin();
        let _ = leaves.remove_if(&leaf.key, |_, present| Arc::ptr_eq(present, leaf));
    }

    /// Wants back what is free on every path over `account`.
    pub(super) fn recall(&self, org: OrgId, account: Account, unit: Unit) {
        match account {
            Account::Key(key) => {
                if let Some(leaf) = self.0.pin().get(&key).filter(|leaf| leaf.org == org) {
                    leaf.recall(account, unit);
                }
            }
            Account::Wallet | Account::Project(_) | Account::Ephemeral(_) => {
                for leaf in self.0.pin().values().filter(|leaf| leaf.org == org) {
                    leaf.recall(account, unit);
                }
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}
