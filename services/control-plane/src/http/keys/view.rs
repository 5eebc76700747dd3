//! What a key looks like at a moment: its state, what it amounts to, and what it used.

use std::sync::Arc;

use turnpike_domain::id::KeyId;
use turnpike_domain::refusal::Refusal;
use turnpike_domain::state::{Key as Known, Organisation, Status};
use turnpike_domain::time::Timestamp;
use turnpike_wire::api::ephemeral::KeyKind;
use turnpike_wire::api::key::{Key, LimitsForm, ScopesForm};
use turnpike_wire::api::text::Text;

use crate::auth::Caller;
use crate::http::ask::Ask;
use crate::http::balances::{self, Balance};
use crate::http::figures::{Figures, figures};
use crate::problem::Problem;

/// A key that the caller may see, with its version.
pub(super) async fn stand(ask: &Ask, caller: &Caller, id: KeyId) -> Result<(Key, u64), Problem> {
    let figures = figures(ask).await?;
    let seen = |state: &Organisation| {
        let key = state.keys.get(&id).filter(|key| caller.requester.may_see(key))?;
        Some((Arc::clone(key), state.is_exhausted(id, ask.now)))
    };
    let missing = || Problem::from(Refusal::NotFound { noun: "key" });
    let (key, exhausted) = ask.read(seen).await?.ok_or_else(missing)?;
    let balance = balances::read_one(ask, balances::of(&key)).await?;
    Ok((shown(&key, exhausted, &figures, &balance, ask.now), key.seq))
}

/// A key as it is shown.
pub(super) fn shown(
    key: &Known,
    exhausted: bool,
    figures: &Figures,
    balance: &Balance,
    now: Timestamp,
) -> Key {
    let (profile, status) = (&key.profile, key.status(now, exhausted));
    let used = figures.total(key.id);
    let metadata = profile.metadata.as_deref();
    Key {
        id: Text(key.id),
        name: profile.name.to_string(),
        owner_id: profile.owner.map(Text),
        project_id: profile.project.map(Text),
        preview: key.secret.preview.to_string(),
        status: Text(status),
        status_reason: reason(key, status),
        plan_id: Text(profile.plan),
        expires_at: profile.expires_at.map(Text),
        limits: LimitsForm::from(&profile.limits),
        scopes: ScopesForm::from(&profile.scopes),
        metadata: metadata.and_then(|text| serde_json::from_str(text).ok()),
        kind: key.ephemeral.then_some(Text(KeyKind::Ephemeral)),
        legacy: key.is_legacy(now),
        created_at: Text(key.created_at),
        rotated_at: key.rotated_at.map(Text),
        last_used_at: (used.requests > 0).then_some(Text(used.used_at())),
        requests: used.requests,
        traffic_share: figures.share(key.id),
        usage: balance.usage(figures.complete_up_to),
    }
}

/// Why a key does not work.
fn reason(key: &Known, status: Status) -> Option<String> {
    let reason = match status {
        Status::Active => return None,
        Status::Revoked => key.standing.revoked.map_or("revoked", |reason| reason.name()),
        Status::Inactive => "disabled by a person",
        Status::Expired => "its expiry date has passed",
        Status::Exhausted => "a cost or token limit is used up",
    };
    Some(reason.to_owned())
}
