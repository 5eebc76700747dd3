//! `/orgs/{org}/keys/{key}/ephemeral`: tokens made from a key.

use futures_util::future::{try_join, try_join_all};
use turnpike_domain::command::{Command, EphemeralDraft};
use turnpike_domain::ephemeral::{self, Claims};
use turnpike_domain::event::{EphemeralGrant, Event};
use turnpike_domain::id::{EphemeralId, KeyId};
use turnpike_domain::limit::{Account, Unit};
use turnpike_domain::money::NanoUsd;
use turnpike_domain::scope::Attenuation;
use turnpike_domain::secret::PublicId;
use turnpike_domain::state::{Ephemeral as Known, Key as Parent, Organisation, Status};
use turnpike_domain::time::{SECOND_MS, Timestamp, Window};
use turnpike_runtime::entropy;
use turnpike_store::{ledger, usage};
use turnpike_wire::api::ephemeral::{Ephemeral, EphemeralForm, EphemeralUsage, NewKeyForm};
use turnpike_wire::api::input::mistake;
use turnpike_wire::api::key::ScopesForm;
use turnpike_wire::api::page::Page;
use turnpike_wire::api::propagation::Deleted;
use turnpike_wire::api::text::Text;
use turnpike_wire::ephemeral::{EphemeralText, sign};
use zeroize::Zeroizing;

use super::draft as key_draft;
use crate::auth::Caller;
use crate::http::ask::{Ask, PAGE, WAIT};
use crate::http::cursor::Rank;
use crate::http::execute::Done;
use crate::http::reply::Reply;
use crate::http::route::{Answer, BASE, Gives, Route, Verb, shape};
use crate::http::secrets;
use crate::problem::Problem;

pub(super) fn routes() -> Vec<Route> {
    const ALL: &str = "/orgs/{org}/keys/{key}/ephemeral";
    const ONE: &str = "/orgs/{org}/keys/{key}/ephemeral/{ephemeral}";
    vec![
        Route::new(Verb::Get, ALL, "listEphemeralTokens", list)
            .about("Lists the tokens made from the key that have not ended minutes ago.")
            .query(&[PAGE])
            .gives(Gives::Page(shape::<Ephemeral>())),
        Route::new(Verb::Post, ALL, "issueEphemeralToken", issue)
            .about("Makes a token from the key, within what the key may. It is shown this once.")
            .query(&[WAIT])
            .takes::<EphemeralForm>()
            .gives(Gives::Written { thing: shape::<Ephemeral>(), created: true, secret: true }),
        Route::new(Verb::Delete, ONE, "revokeEphemeralToken", revoke)
            .about("Revokes a token before its end; it stops at once.")
            .query(&[WAIT])
            .gives(Gives::Written { thing: shape::<Deleted>(), created: false, secret: false }),
    ]
}

/// The command that makes a key for one token, and the token.
pub(super) fn alone(
    ask: &mut Ask,
    key: KeyId,
    form: NewKeyForm,
) -> Result<(Zeroizing<String>, Command), Problem> {
    if form.expires_at.is_some() {
        let message = "is not of a key whose kind is ephemeral: say expires_in_seconds";
        mistake(&mut ask.mistakes, "/expires_at", message);
    }
    let life_ms = form.expires_in_seconds.map(milliseconds);
    let token = EphemeralId(entropy::id(ask.now));
    // Its secret opens the key as any other would; nobody is ever told it.
    let (_, mut secret) = secrets::mint_key(ask)?;
    let grant = ephemeral::alone(ask.now, life_ms);
    let claims = claims(ask, (key, secret.stored.public_id), (token, ask.now), &grant);
    let text =
        sign(&claims, ask.app().keys.signing.current()).map_err(|long| Problem::internal(&long))?;
    secret.stored.preview = text.preview().into();
    let draft = Box::new(key_draft(&form.into()));
    let command = Command::CreateEphemeralKey { key, token, draft, secret, life_ms };
    Ok((Zeroizing::new(text.expose().to_owned()), command))
}

async fn issue(mut ask: Ask, caller: Caller) -> Answer {
    let key: KeyId = ask.id("key", "key")?;
    let form: EphemeralForm = ask.shape()?;
    let draft = Box::new(EphemeralDraft {
        name: form.name.as_deref().map(Into::into),
        life_ms: form.expires_in_seconds.map(milliseconds),
        attenuation: form.scopes.as_ref().map(Attenuation::from).unwrap_or_default(),
        cost_cap: form.cost_usd.map(|usd| usd.0),
        token_cap: form.tokens,
    });
    let token = EphemeralId(entropy::id(ask.now));
    check_length(&mut ask, (key, token), &draft);
    let command = Command::IssueEphemeral { key, token, draft };
    let done = ask.execute(&caller, command).await?;
    let (made, text) = signed(&ask, &done).await?;
    let (thing, seq) = stand(&ask, &caller, key, made).await?;
    let place = format!("{BASE}/orgs/{}/keys/{key}/ephemeral/{made}", ask.org);
    Ok(done.reply_with(thing, Some(text.expose()))?.created(&place).version(seq))
}

async fn list(ask: Ask, caller: Caller) -> Answer {
    let key: KeyId = ask.id("key", "key")?;
    let span = ask.span(false)?;
    let found = |state: &Organisation| {
        let parent = state.keys.get(&key).filter(|key| caller.requester.may_see(key))?;
        let listed = state.tokens_of(key).map(|(id, token)| {
            (
                (Rank::Number(0), id.0),
                (id, token.clone(), status(state, parent, id, token, ask.now)),
            )
        });
        Some(span.page(listed))
    };
    let page = ask.read(found).await?.ok_or_else(|| Problem::not_found("key"))?;
    let shown = page.data.iter().map(|(id, token, status)| shown(&ask, key, *id, token, *status));
    let data = try_join_all(shown).await?;
    Reply::json(&Page { data, next_cursor: page.next_cursor })
}

async fn revoke(ask: Ask, caller: Caller) -> Answer {
    let key: KeyId = ask.id("key", "key")?;
    let token: EphemeralId = ask.id("ephemeral", "ephemeral token")?;
    ask.execute(&caller, Command::RevokeEphemeral { key, token }).await?.deleted(token)
}

/// A token that the caller may see, with its version.
async fn stand(
    ask: &Ask,
    caller: &Caller,
    key: KeyId,
    id: EphemeralId,
) -> Result<(Ephemeral, u64), Problem> {
    let found = |state: &Organisation| {
        let parent = state.keys.get(&key).filter(|key| caller.requester.may_see(key))?;
        let token = state.ephemerals.get(&(key, id))?;
        Some((token.clone(), status(state, parent, id, token, ask.now)))
    };
    let missing = || Problem::not_found("ephemeral token");
    let (token, status) = ask.read(found).await?.ok_or_else(missing)?;
    Ok((shown(ask, key, id, &token, status).await?, token.seq))
}

async fn shown(
    ask: &Ask,
    key: KeyId,
    id: EphemeralId,
    token: &Known,
    status: Status,
) -> Result<Ephemeral, Problem> {
    let snapshot = ask.snapshot().await?;
    let total = usage::token(&*snapshot, ask.org, id).await?;
    let (account, whole) = (Account::Ephemeral(id), Window::default());
    let row = |unit| ledger::row(&*snapshot, ask.org, account, unit, whole);
    let (usd, tokens) = try_join(row(Unit::Usd), row(Unit::Tokens)).await?;
    let grant = &token.grant;
    Ok(Ephemeral {
        id: Text(id),
        key_id: Text(key),
        name: grant.name.as_deref().map(Into::into),
        status: Text(status),
        revoked: token.revoked,
        created_at: Text(token.created_at),
        expires_at: Text(grant.expires_at),
        scopes: ScopesForm::from(&grant.attenuation),
        cost_usd: grant.cost_cap.map(Text),
        tokens: grant.token_cap,
        used: EphemeralUsage {
            requests: total.requests,
            cost_usd: Text(total.cost),
            tokens: total.input.saturating_add(total.output),
            held_cost_usd: Text(NanoUsd(usd.held.saturating_add(usd.lost))),
            held_tokens: u64::try_from(tokens.held.saturating_add(tokens.lost)).unwrap_or(0),
        },
    })
}

/// What a token amounts to, with its key as it is.
fn status(
    state: &Organisation,
    key: &Parent,
    id: EphemeralId,
    token: &Known,
    now: Timestamp,
) -> Status {
    let used_up = || {
        let account = state.carve_out(key.id, Some(id));
        let is_used_up =
            |account| Unit::BOTH.iter().any(|unit| state.is_used_up(account, *unit, now));
        account.is_some_and(is_used_up)
    };
    match key.status(now, state.is_exhausted(key.id, now)) {
        dead @ (Status::Revoked | Status::Inactive | Status::Expired) => dead,
        Status::Exhausted | Status::Active
            if token.revoked || token.grant.generation != key.generation =>
        {
            Status::Revoked
        }
        Status::Exhausted | Status::Active if token.grant.expires_at <= now => Status::Expired,
        Status::Exhausted => Status::Exhausted,
        Status::Active if used_up() => Status::Exhausted,
        Status::Active => Status::Active,
    }
}

/// The token that a command has made. It is signed after the commit, from what was committed; the
/// same request that lost its answer signs the same text.
async fn signed(ask: &Ask, done: &Done) -> Result<(EphemeralId, EphemeralText), Problem> {
    let issued = done.executed.records.iter().find_map(|record| {
        let Event::EphemeralIssued { key, token, grant } = &record.event else { return None };
        Some((*key, *token, grant, record.at))
    });
    let (key, token, grant, at) =
        issued.ok_or_else(|| Problem::internal(&"an issue left no event"))?;
    let public_id = ask.read(|state| Some(state.keys.get(&key)?.secret.public_id)).await?;
    let public_id = public_id.ok_or_else(|| Problem::not_found("key"))?;
    let claims = claims(ask, (key, public_id), (token, at), grant);
    let text = sign(&claims, ask.app().keys.signing.current());
    Ok((token, text.map_err(|long| Problem::internal(&long))?))
}

/// Refuses scopes that no token has room for, before anything is decided.
fn check_length(ask: &mut Ask, (key, token): (KeyId, EphemeralId), draft: &EphemeralDraft) {
    let longest = EphemeralGrant {
        name: None,
        generation: u32::MAX,
        expires_at: Timestamp(u64::MAX),
        attenuation: draft.attenuation.clone(),
        cost_cap: draft.cost_cap,
        token_cap: draft.token_cap,
        alone: false,
    };
    let at = Timestamp(u64::MAX);
    let claims = claims(ask, (key, PublicId([0; 16])), (token, at), &longest);
    if let Err(long) = sign(&claims, ask.app().keys.signing.current()) {
        mistake(&mut ask.mistakes, "/scopes", format!("must be shorter: {long}"));
    }
}

/// What a token says.
pub(super) fn claims(
    ask: &Ask,
    (key, public_id): (KeyId, PublicId),
    (token, issued_at): (EphemeralId, Timestamp),
    grant: &EphemeralGrant,
) -> Claims {
    Claims {
        token,
        org: ask.org,
        key,
        public_id,
        generation: grant.generation,
        issued_at,
        expires_at: grant.expires_at,
        attenuation: grant.attenuation.clone(),
        cost_cap: grant.cost_cap,
        token_cap: grant.token_cap,
    }
}

fn milliseconds(seconds: u32) -> u64 {
    u64::from(seconds).saturating_mul(SECOND_MS)
}
