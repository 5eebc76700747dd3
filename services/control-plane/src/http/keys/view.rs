//! What a key looks like at a moment: its state, what it amounts to, and what it used.

use turnpike_domain::id::KeyId;
use turnpike_domain::refusal::Refusal;
use turnpike_domain::state::{Key as Known, Organisation, Status};
use turnpike_domain::time::Timestamp;
use turnpike_wire::api::key::{Key, KeyUsage, LimitsForm, ScopesForm};
use turnpike_wire::api::text::Text;

use crate::auth::Caller;
use crate::http::ask::Ask;
use crate::http::figures::{Figures, figures};
use crate::problem::Problem;

/// A key that the caller may see, with its version.
pub(super) async fn stand(ask: &Ask, caller: &Caller, id: KeyId) -> Result<(Key, u64), Problem> {
    let figures = figures(ask).await?;
    let shown = |state: &Organisation| {
        let key = state.keys.get(&id).filter(|key| caller.requester.may_see(key))?;
        Some((shown(key, state.is_exhausted(id, ask.now), &figures, ask.now), key.seq))
    };
    let found = ask.read(shown).await?;
    found.ok_or_else(|| Refusal::NotFound { noun: "key" }.into())
}

/// A key as it is shown.
pub(super) fn shown(key: &Known, exhausted: bool, figures: &Figures, now: Timestamp) -> Key {
    let (profile, status) = (&key.profile, key.status(now, exhausted));
    let used = figures.key(key.id);
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
        legacy: false,
        created_at: Text(key.created_at),
        rotated_at: key.rotated_at.map(Text),
        last_used_at: (used.total.requests > 0).then_some(Text(used.total.last_at)),
        requests: used.total.requests,
        traffic_share: figures.share(key.id),
        usage: usage(key, figures, now),
    }
}

fn usage(key: &Known, figures: &Figures, now: Timestamp) -> KeyUsage {
    let reset = key.profile.limits.reset;
    let spent = figures.key(key.id).spent(reset);
    KeyUsage {
        cost_usd: Text(spent.cost),
        tokens: spent.tokens,
        resets_at: reset.ends(reset.window(now)).map(Text),
        complete_up_to: figures.complete_up_to.map(Text),
        ..KeyUsage::default()
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
