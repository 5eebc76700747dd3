//! Who may do what: the table of roles.

use crate::event::Actor;
use crate::id::MemberId;
use crate::refusal::Refusal;
use crate::state::{Key, Role};

/// Who asks, and with which right. The shell makes it from a session or a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Requester {
    /// The person or program, as events name it.
    pub actor: Actor,
    /// What it may do here.
    pub role: Role,
    /// The member that it is, or acts for.
    pub member: Option<MemberId>,
}

impl Requester {
    /// Refuses anyone under `needed`.
    ///
    /// # Errors
    /// [`Refusal::Forbidden`].
    pub fn at_least(&self, needed: Role) -> Result<(), Refusal> {
        if self.role >= needed { Ok(()) } else { Err(Refusal::Forbidden { needed }) }
    }

    /// Whether this key may be seen: viewers and admins see all, members their own.
    #[must_use]
    pub fn may_see(&self, key: &Key) -> bool {
        match self.role {
            Role::Viewer | Role::Admin | Role::Owner | Role::Operator => true,
            Role::Member => self.owns(key),
        }
    }

    /// Refuses whoever may not change this key. A key that may not even be seen is not found.
    ///
    /// # Errors
    /// [`Refusal::Forbidden`] or [`Refusal::NotFound`].
    pub fn may_change(&self, key: &Key) -> Result<(), Refusal> {
        if !self.may_see(key) {
            return Err(Refusal::NotFound { noun: "key" });
        }
        self.at_least(Role::Member)
    }

    /// Whether the key belongs to the member that asks.
    #[must_use]
    pub fn owns(&self, key: &Key) -> bool {
        self.member.is_some() && key.profile.owner == self.member
    }
}
