//! Members: invited, joined, given roles.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::input::shape;
use super::text::{MemberRef, RoleName, Time};

shape! {
    /// Whom to invite.
    InviteForm {
        /// The address, which is also the login name.
        email: String,
        /// A name for people; absent: the address.
        name: Option<String>,
        /// The role from the day of joining; never above your own.
        role: RoleName,
    }
}

shape! {
    /// What changes of a member.
    MemberForm {
        /// The role; never above your own.
        role: RoleName,
    }
}

shape! {
    /// The answer to an invitation.
    AcceptForm {
        /// The invitation's secret, `iv-tp-…`.
        invitation: String,
        /// The new password: 12 to 128 characters.
        #[schema(format = "password")]
        password: String,
    }
}

/// A person of an organisation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Member {
    /// Its id.
    pub id: MemberRef,
    /// Address and login name.
    pub email: String,
    /// Name for people.
    pub name: String,
    /// What the person may do.
    pub role: RoleName,
    /// `invited` or `joined`.
    pub state: String,
    /// When the person was invited.
    pub created_at: Time,
}
