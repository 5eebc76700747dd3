//! Organisations that wait for some work to be done on them; each waits once.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;
use turnpike_domain::id::OrgId;

/// A set to which some add and from which one takes.
#[derive(Default)]
pub(crate) struct Pending {
    organisations: Mutex<BTreeSet<OrgId>>,
    news: Notify,
}

impl Pending {
    /// Adds one, if it does not wait already.
    pub(crate) fn add(&self, org: OrgId) {
        self.organisations.lock().unwrap_or_else(PoisonError::into_inner).insert(org);
        self.news.notify_one();
    }

    /// Takes one out, if one waits.
    pub(crate) fn take(&self) -> Option<OrgId> {
        self.organisations.lock().unwrap_or_else(PoisonError::into_inner).pop_first()
    }

    /// Whether none waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.organisations.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Waits until one may wait. For one caller at a time; cancel-safe.
    pub(crate) async fn news(&self) {
        self.news.notified().await;
    }
}
