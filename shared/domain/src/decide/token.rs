//! Management tokens, which act for people, and join tokens, which let gateways in.

use super::mistakes::Mistakes;
use super::{By, Decision, World, conflict};
use crate::command::Command;
use crate::event::Event;
use crate::id::TokenId;
use crate::refusal::Refusal;
use crate::secret::{SecretKind, StoredSecret};
use crate::state::{Platform, Role};
use crate::time::Timestamp;

pub(super) fn create(world: World<'_>, by: By<'_>, command: &Command) -> Decision {
    let Command::CreateToken { token, name, kind, role, secret, expires_at } = command else {
        return Ok(Vec::new());
    };
    let mut mistakes = Mistakes::default();
    let role = match kind {
        SecretKind::Management => {
            by.requester.at_least(Role::Member)?;
            by.requester.at_least(*role)?;
            *role
        }
        SecretKind::Gateway => {
            by.requester.at_least(Role::Admin)?;
            Role::Viewer
        }
        SecretKind::Model | SecretKind::Invitation => {
            by.requester.at_least(Role::Member)?;
            mistakes.add("/kind", "must be management or gateway");
            *role
        }
    };
    if world.organisation.tokens.contains_key(token) {
        return Err(conflict("a token with this id exists"));
    }
    mistakes.name(name);
    mistakes.expiry(*expires_at, by.now);
    mistakes.finish()?;
    Ok(vec![Event::TokenCreated {
        token: *token,
        name: name.clone(),
        kind: *kind,
        role,
        owner: by.member(world.organisation),
        secret: secret.clone(),
        expires_at: *expires_at,
    }])
}

/// One's own token, or as an admin anybody's up to the own role.
pub(super) fn delete(world: World<'_>, by: By<'_>, id: TokenId) -> Decision {
    by.requester.at_least(Role::Member)?;
    let missing = Refusal::NotFound { noun: "token" };
    let token = world.organisation.tokens.get(&id).ok_or(missing.clone())?;
    let own = token.owner.is_some() && token.owner == by.requester.member;
    if !own && by.requester.role < Role::Admin {
        return Err(missing);
    }
    if !own {
        by.requester.at_least(token.role)?;
    }
    by.has_seen(token.seq)?;
    Ok(vec![Event::TokenDeleted { token: id }])
}

/// A join token for gateways that serve every organisation.
pub(super) fn create_shared(
    state: &Platform,
    by: By<'_>,
    id: TokenId,
    name: &str,
    secret: &StoredSecret,
    expires_at: Option<Timestamp>,
) -> Decision {
    by.requester.at_least(Role::Operator)?;
    if state.tokens.contains_key(&id) {
        return Err(conflict("a token with this id exists"));
    }
    let mut mistakes = Mistakes::default();
    mistakes.name(name);
    mistakes.expiry(expires_at, by.now);
    mistakes.finish()?;
    Ok(vec![Event::TokenCreated {
        token: id,
        name: name.into(),
        kind: SecretKind::Gateway,
        role: Role::Viewer,
        owner: None,
        secret: secret.clone(),
        expires_at,
    }])
}

pub(super) fn delete_shared(state: &Platform, by: By<'_>, id: TokenId) -> Decision {
    by.requester.at_least(Role::Operator)?;
    let token = state.tokens.get(&id).ok_or(Refusal::NotFound { noun: "token" })?;
    by.has_seen(token.seq)?;
    Ok(vec![Event::TokenDeleted { token: id }])
}
