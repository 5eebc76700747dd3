//! The rule behind a refusal that an ephemeral token met and its key would not have.

use turnpike_domain::admit::Denial;
use turnpike_domain::event::{EphemeralGrant, Event};
use turnpike_domain::id::EphemeralId;
use turnpike_domain::state::Status;
use turnpike_wire::decision::Decision;
use turnpike_wire::record::Received;

use super::past::Past;
use super::rule::Behind;

/// The token's own rule; `None`: it was the key's that said no.
pub(super) fn behind<'a>(decision: &Decision, past: &'a Past) -> Option<Behind<'a>> {
    let token = decision.token?;
    let (issued, grant) = issued(past, token)?;
    let rule = |name, says| Some(Behind::new(name, says, Some(issued)));
    let status = past.key(decision.key).map(|key| key.status(decision.at, false));
    let attenuation = &grant.attenuation;
    if decision.denial == Denial::KeyRevoked && status != Some(Status::Revoked) {
        return Some(ended(past, token).unwrap_or_else(|| {
            let says = "The key was rotated, revoked or deleted after the token was made.";
            let since = past.newest(|event| {
                matches!(event, Event::KeyRotated { .. } | Event::KeyRevoked { .. })
            });
            Behind::new("token.generation", says, since)
        }));
    }
    if decision.denial == Denial::KeyExpired && status != Some(Status::Expired) {
        return rule("token.expires_at", "The token's time was over.");
    }
    let model = decision.model.as_deref().unwrap_or_default();
    if decision.denial == Denial::ModelNotAllowed && !attenuation.models.holds(model) {
        return rule("token.scopes.models", "The model is not on the token's list.");
    }
    let ranges = attenuation.addresses.as_ref().zip(decision.address);
    let beyond =
        ranges.is_some_and(|(ranges, address)| !ranges.iter().any(|range| range.holds(address)));
    if decision.denial == Denial::IpNotAllowed && beyond {
        return rule("token.scopes.ips", "The client's address is not on the token's list.");
    }
    None
}

/// The event that made a token, with what it gave.
pub(super) fn issued(past: &Past, id: EphemeralId) -> Option<(&Received, &EphemeralGrant)> {
    let found =
        past.newest(|event| matches!(event, Event::EphemeralIssued { token, .. } if *token == id))?;
    let record = found.record.as_ref().ok()?;
    let Event::EphemeralIssued { grant, .. } = &record.event else { return None };
    Some((found, grant))
}

fn ended(past: &Past, id: EphemeralId) -> Option<Behind<'_>> {
    let revoked = past
        .newest(|event| matches!(event, Event::EphemeralRevoked { token, .. } if *token == id))?;
    Some(Behind::new("token.status", "The token was revoked.", Some(revoked)))
}
