//! A model key and what it amounts to at a moment.

use crate::event::KeyProfile;
use crate::id::KeyId;
use crate::secret::{Sealed, StoredSecret};
use crate::time::Timestamp;

/// The generation of a new key.
pub const FIRST_GENERATION: u32 = 1;

/// Why a key was revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RevokeReason {
    /// Somebody else may have the secret: activated only with a rotation.
    Compromised,
    /// Nobody needs it.
    Unused,
    /// Something else.
    Other,
}

/// What people have decided about a key; what time and money add is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Standing {
    /// Switched off.
    pub disabled: bool,
    /// Stopped, and why.
    pub revoked: Option<RevokeReason>,
}

/// What a key amounts to at a moment. Where several hold, the first of this order is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    /// Stopped by a person.
    Revoked,
    /// Switched off by a person.
    Inactive,
    /// Its time is over.
    Expired,
    /// A limit is used up.
    Exhausted,
    /// It works.
    Active,
}

/// The secret before the present one, while it still works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreviousSecret {
    /// The old secret.
    pub secret: StoredSecret,
    /// The first moment at which it no longer works; `None`: a legacy secret, which works until
    /// its key's migration is finished.
    pub until: Option<Timestamp>,
}

/// A model key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Its id, for life.
    pub id: KeyId,
    /// What people set.
    pub profile: KeyProfile,
    /// The secret that works.
    pub secret: StoredSecret,
    /// The one before, during an overlap.
    pub previous: Option<Box<PreviousSecret>>,
    /// The secret itself, sealed, where the organisation keeps secrets recoverable.
    pub recoverable: Option<Sealed>,
    /// What people have decided.
    pub standing: Standing,
    /// Counts secrets and stops; tokens made from the key are bound to it.
    pub generation: u32,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it got its present secret, if that is not the first.
    pub rotated_at: Option<Timestamp>,
    /// It was made for one ephemeral token: nobody knows a secret of it.
    pub ephemeral: bool,
    /// The last event that touched it: its version for `If-Match`.
    pub seq: u64,
}

impl Key {
    /// Its secrets, the present one first; another one may have ended.
    pub fn secrets(&self) -> impl Iterator<Item = &StoredSecret> {
        std::iter::once(&self.secret).chain(self.previous.as_ref().map(|previous| &previous.secret))
    }

    /// Whether a legacy secret opens the key at `now`.
    #[must_use]
    pub fn is_legacy(&self, now: Timestamp) -> bool {
        let previous = self.previous.as_ref().filter(|previous| previous.works(now));
        self.secret.public_id.is_legacy()
            || previous.is_some_and(|previous| previous.secret.public_id.is_legacy())
    }

    /// Whether a legacy secret works beside one of ours until somebody ends it.
    #[must_use]
    pub fn is_migrating(&self) -> bool {
        self.previous.as_ref().is_some_and(|previous| previous.until.is_none())
    }

    /// What the key amounts to at `now`, given whether one of its budgets is used up.
    #[must_use]
    pub fn status(&self, now: Timestamp, exhausted: bool) -> Status {
        if self.standing.revoked.is_some() {
            Status::Revoked
        } else if self.standing.disabled {
            Status::Inactive
        } else if self.profile.expires_at.is_some_and(|end| end <= now) {
            Status::Expired
        } else if exhausted {
            Status::Exhausted
        } else {
            Status::Active
        }
    }
}

impl PreviousSecret {
    /// Whether it still opens its key at `now`.
    #[must_use]
    pub fn works(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

impl Status {
    /// The name in the API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Revoked => "revoked",
            Self::Inactive => "inactive",
            Self::Expired => "expired",
            Self::Exhausted => "exhausted",
            Self::Active => "active",
        }
    }
}

impl RevokeReason {
    /// The name in the API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Compromised => "compromised",
            Self::Unused => "unused",
            Self::Other => "other",
        }
    }
}
