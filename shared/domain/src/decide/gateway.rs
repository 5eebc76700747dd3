//! Gateways: they join and leave by themselves; the operator can cut one off.

use std::collections::BTreeMap;

use super::mistakes::Mistakes;
use super::{By, Decision, conflict};
use crate::event::{Event, Who};
use crate::id::{GatewayId, TokenId};
use crate::refusal::Refusal;
use crate::secret::SecretKind;
use crate::state::{Gateway, Role, Token};

type Gateways = BTreeMap<GatewayId, Gateway>;
type Tokens = BTreeMap<TokenId, Token>;

/// The shell has checked the token's secret; the token may have been deleted since.
pub(super) fn join(
    by: By<'_>,
    (gateways, tokens): (&Gateways, &Tokens),
    id: GatewayId,
    name: &str,
    token: TokenId,
) -> Decision {
    if by.requester.actor.who != Who::Gateway(id) {
        by.requester.at_least(Role::Operator)?;
    }
    let works = |token: &&Token| {
        token.kind == SecretKind::Gateway && token.expires_at.is_none_or(|end| by.now < end)
    };
    tokens.get(&token).filter(works).ok_or(Refusal::NotFound { noun: "join token" })?;
    let known = gateways.get(&id);
    if known.is_some_and(|gateway| gateway.fenced) {
        return Err(conflict("the gateway was fenced: let it join under another id"));
    }
    let mut mistakes = Mistakes::default();
    mistakes.name(name);
    mistakes.finish()?;
    if known.is_some_and(|it| !it.left && *it.name == *name && it.token == token) {
        return Ok(Vec::new());
    }
    Ok(vec![Event::GatewayJoined { gateway: id, name: name.into(), token }])
}

pub(super) fn leave(by: By<'_>, gateways: &Gateways, id: GatewayId) -> Decision {
    if by.requester.actor.who != Who::Gateway(id) {
        by.requester.at_least(Role::Admin)?;
    }
    let gateway = find(by, gateways, id)?;
    Ok(if gateway.left { Vec::new() } else { vec![Event::GatewayLeft { gateway: id }] })
}

pub(super) fn fence(by: By<'_>, gateways: &Gateways, id: GatewayId) -> Decision {
    by.requester.at_least(Role::Operator)?;
    let gateway = find(by, gateways, id)?;
    Ok(if gateway.fenced { Vec::new() } else { vec![Event::GatewayFenced { gateway: id }] })
}

fn find<'a>(by: By<'_>, gateways: &'a Gateways, id: GatewayId) -> Result<&'a Gateway, Refusal> {
    let gateway = gateways.get(&id).ok_or(Refusal::NotFound { noun: "gateway" })?;
    by.has_seen(gateway.seq)?;
    Ok(gateway)
}
