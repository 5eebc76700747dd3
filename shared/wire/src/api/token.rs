//! Management tokens, and the join tokens of gateways.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::input::shape;
use super::text::{CredentialName, MemberRef, RoleName, Time, TokenRef};

shape! {
    /// What a management token is to be.
    TokenForm {
        /// 1 to 100 characters.
        name: String,
        /// What its holder may do; never above your own role.
        role: RoleName,
        /// When it stops working; absent: never.
        expires_at: Option<Time>,
    }
}

shape! {
    /// What a join token is to be.
    JoinTokenForm {
        /// 1 to 100 characters.
        name: String,
        /// When it stops working; absent: never.
        expires_at: Option<Time>,
        /// For gateways that serve every organisation (operator); absent: only this one.
        all_organisations: Option<bool>,
    }
}

/// A management token or a join token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Token {
    /// Its id.
    pub id: TokenRef,
    /// Its name.
    pub name: String,
    /// `management` or `gateway`.
    pub kind: CredentialName,
    /// What its holder may do.
    pub role: RoleName,
    /// The member that it acts for.
    pub owner_id: Option<MemberRef>,
    /// The masked secret.
    pub preview: String,
    /// When it stops working.
    pub expires_at: Option<Time>,
    /// When it was made.
    pub created_at: Time,
    /// A join token for gateways that serve every organisation.
    pub all_organisations: bool,
}
