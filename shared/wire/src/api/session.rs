//! Sessions of people, and who a caller is.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::input::shape;
use super::member::Member;
use super::org::Org;
use super::text::{OrgRef, RoleName, Time, TokenRef};

shape! {
    /// Who wants to log in.
    LoginForm {
        /// The member's address.
        email: String,
        /// The member's password.
        #[schema(format = "password")]
        password: String,
        /// The organisation, for members of several; absent: the first that fits.
        org_id: Option<OrgRef>,
    }
}

/// Who the caller is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Me {
    /// The caller's organisation.
    pub org: Org,
    /// What the caller may do.
    pub role: RoleName,
    /// The member that the caller is, or acts for.
    pub member: Option<Member>,
    /// The management token in use, if one is.
    pub token_id: Option<TokenRef>,
    /// What writes of a session send as `x-turnpike-csrf`; null for tokens.
    pub csrf: Option<String>,
    /// When session or token end.
    pub expires_at: Option<Time>,
}
