//! The shelves of all limited accounts, found by every core without a lock.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU32;
use std::sync::{Arc, Mutex, PoisonError};

use papaya::{Compute, HashMap, Operation};
use turnpike_domain::id::OrgId;
use turnpike_domain::limit::Account;

use super::shelf::Shelf;

/// The shelf of each account of which something counts.
#[derive(Default)]
pub(super) struct Shelves {
    shelves: HashMap<Account, Arc<Shelf>>,
    gateways: Mutex<BTreeMap<OrgId, Arc<AtomicU32>>>,
}

impl Shelves {
    /// The shelf of an account, and whether it was made just now: then it needs an agent.
    pub(super) fn at(&self, org: OrgId, account: Account) -> (Arc<Shelf>, bool) {
        let shelves = self.shelves.pin();
        if let Some(shelf) = shelves.get(&account) {
            return (Arc::clone(shelf), false);
        }
        let fresh = Arc::new(Shelf::new(org, account, self.gateways(org)));
        let placed = shelves.compute(account, |found| match found {
            Some((_, shelf)) => Operation::Abort(Arc::clone(shelf)),
            None => Operation::Insert(Arc::clone(&fresh)),
        });
        match placed {
            Compute::Aborted(shelf) => (shelf, false),
            Compute::Inserted(..) | Compute::Updated { .. } | Compute::Removed(..) => (fresh, true),
        }
    }

    /// The shelf of an account, if something of it counts here.
    pub(super) fn known(&self, account: Account) -> Option<Arc<Shelf>> {
        self.shelves.pin().get(&account).map(Arc::clone)
    }

    /// Takes a shelf out, if it is still the one of its account.
    pub(super) fn remove(&self, shelf: &Arc<Shelf>) {
        let shelves = self.shelves.pin();
        let _ = shelves.remove_if(&shelf.account, |_, present| Arc::ptr_eq(present, shelf));
    }

    /// All shelves of an organisation, in the order of their accounts: what a gateway says follows
    /// from what it knows, not from where a map happens to keep it.
    pub(super) fn of(&self, org: OrgId) -> Vec<Arc<Shelf>> {
        let shelves = self.shelves.pin();
        let of_org = shelves.values().filter(|shelf| shelf.org == org).map(Arc::clone);
        let mut ordered: Vec<_> = of_org.collect();
        ordered.sort_unstable_by_key(|shelf| shelf.account);
        ordered
    }

    pub(super) fn len(&self) -> usize {
        self.shelves.len()
    }

    fn gateways(&self, org: OrgId) -> Arc<AtomicU32> {
        let mut gateways = self.gateways.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(gateways.entry(org).or_default())
    }
}
