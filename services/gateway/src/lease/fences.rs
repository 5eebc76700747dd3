//! The highest fence that was seen of each organisation's authority: an older one is not heard.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use turnpike_domain::id::OrgId;

/// The fences of all organisations.
#[derive(Debug, Default)]
pub(crate) struct Fences(Mutex<BTreeMap<OrgId, Fence>>);

/// That of one organisation. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fence(Arc<AtomicU64>);

impl Fences {
    /// The fence of an organisation's authority.
    pub(crate) fn of(&self, org: OrgId) -> Fence {
        let mut fences = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        fences.entry(org).or_default().clone()
    }

    /// Hears everybody again.
    pub(crate) fn forget(&self) {
        let fences = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        fences.values().for_each(|fence| fence.0.store(0, Ordering::Relaxed));
    }
}

impl Fence {
    /// Whether what carries this fence is heard; what carries a lower one is not from now on.
    pub(crate) fn admits(&self, fence: u64) -> bool {
        self.0.fetch_max(fence, Ordering::Relaxed) <= fence
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lower_fence_is_not_heard_after_a_higher_one() {
        let fences = Fences::default();
        let (one, same, other) = (fences.of(OrgId(1)), fences.of(OrgId(1)), fences.of(OrgId(2)));
        assert!(one.admits(5) && same.admits(5) && other.admits(1));
        assert!(same.admits(6) && !one.admits(5));
        fences.forget();
        assert!(one.admits(2) && !same.admits(1));
    }
}
