//! A key as one request has found it.

use std::sync::Arc;

use turnpike_domain::admit::Denial;
use turnpike_domain::id::OrgId;
use turnpike_domain::secret::PublicId;
use turnpike_domain::state::{Key, LimitStatus};
use turnpike_domain::time::Timestamp;

use super::{Delegated, Denied};
use crate::table::Spent;
use crate::view::OrgView;

/// A key as the request path sees it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The organisation, without its keys.
    pub org: Arc<OrgView>,
    /// The key.
    pub key: Arc<Key>,
    /// The key's own budget that is used up, if one is.
    pub used_up: Option<Spent>,
    /// The last event of the organisation that was about the key.
    pub seq: u64,
    /// What the presented secret stands under; of a token, its key's.
    pub presented: PublicId,
    /// The caller came with the key's legacy secret.
    pub legacy: bool,
    /// The ephemeral token that was presented, if one was; `key` is narrowed to it then.
    pub token: Option<Arc<Delegated>>,
}

/// How old what is known of a credential may be.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Age {
    /// As its organisation allows: nothing begins on what nobody may know any more.
    Bounded,
    /// What has begun goes on until it is known that it may not.
    Any,
}

impl Entry {
    /// A denial of a request with this key.
    #[must_use]
    pub fn denied(&self, denial: Denial, now: Timestamp) -> Denied {
        Denied::new(denial, now).of(self)
    }

    /// The key whose budgets are used: of a token, the key that it was made from.
    #[must_use]
    pub fn payer(&self) -> &Key {
        self.token.as_ref().map_or(&self.key, |token| &token.of)
    }

    /// The organisation.
    #[must_use]
    pub fn org_id(&self) -> OrgId {
        self.org.organisation.id
    }

    /// The status with which a used-up budget is refused.
    #[must_use]
    pub fn limit_status(&self) -> LimitStatus {
        self.org.organisation.settings.limit_status
    }
}
