//! `/orgs/{org}/tokens`: management tokens, which act for people.

use turnpike_domain::authority::Requester;
use turnpike_domain::command::Command;
use turnpike_domain::event::Event;
use turnpike_domain::id::TokenId;
use turnpike_domain::secret::SecretKind;
use turnpike_domain::state::{Organisation, Role, Token as Known};
use turnpike_runtime::entropy;
use turnpike_wire::api::propagation::Deleted;
use turnpike_wire::api::text::Text;
use turnpike_wire::api::token::{Token, TokenForm};

use super::ask::{Ask, PAGE, WAIT};
use super::cursor::Rank;
use super::reply::Reply;
use super::route::{Answer, BASE, Gives, Route, Verb, shape};
use super::secrets;
use crate::auth::Caller;
use crate::problem::Problem;

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::new(Verb::Get, "/orgs/{org}/tokens", "listTokens", list)
            .about("Lists management tokens; a member sees their own.")
            .query(&[PAGE])
            .gives(Gives::Page(shape::<Token>())),
        Route::new(Verb::Post, "/orgs/{org}/tokens", "createToken", create)
            .about("Makes a management token. Its secret is shown this once.")
            .query(&[WAIT])
            .takes::<TokenForm>()
            .gives(Gives::Written { thing: shape::<Token>(), created: true, secret: true }),
        Route::new(Verb::Get, "/orgs/{org}/tokens/{token}", "getToken", get)
            .about("Shows a management token.")
            .gives(Gives::Thing(shape::<Token>())),
        Route::new(Verb::Delete, "/orgs/{org}/tokens/{token}", "deleteToken", delete)
            .about("Deletes a token; it stops at once.")
            .query(&[WAIT])
            .gives(Gives::Written { thing: shape::<Deleted>(), created: false, secret: false }),
    ]
}

/// A token as it is shown.
pub(super) fn shown(id: TokenId, token: &Known, all_organisations: bool) -> Token {
    Token {
        id: Text(id),
        name: token.name.to_string(),
        kind: Text(token.kind),
        role: Text(token.role),
        owner_id: token.owner.map(Text),
        preview: token.secret.preview.to_string(),
        expires_at: token.expires_at.map(Text),
        created_at: Text(token.created_at),
        all_organisations,
    }
}

async fn list(ask: Ask, caller: Caller) -> Answer {
    let span = ask.span(false)?;
    let page = |state: &Organisation| {
        let seen = state.tokens.iter().filter(|(_, token)| sees(&caller.requester, token));
        span.page(seen.map(|(id, token)| ((Rank::Number(0), id.0), shown(*id, token, false))))
    };
    Reply::json(&ask.read(page).await?)
}

async fn create(mut ask: Ask, caller: Caller) -> Answer {
    let form: TokenForm = ask.shape()?;
    let (plain, secret) = secrets::mint(&ask, SecretKind::Management);
    let command = Command::CreateToken {
        token: TokenId(entropy::id(ask.now)),
        name: form.name.into(),
        kind: SecretKind::Management,
        role: form.role.0,
        secret,
        expires_at: form.expires_at.map(|time| time.0),
    };
    let done = ask.execute(&caller, command).await?;
    let made = done.made(|event| {
        let Event::TokenCreated { token, .. } = event else { return None };
        Some(*token)
    })?;
    let (thing, seq) = stand(&ask, &caller, made).await?;
    let place = format!("{BASE}/orgs/{}/tokens/{made}", ask.org);
    Ok(done.reply_with(thing, Some(plain.expose()))?.created(&place).version(seq))
}

async fn get(ask: Ask, caller: Caller) -> Answer {
    let (thing, seq) = stand(&ask, &caller, ask.id("token", "token")?).await?;
    Ok(Reply::json(&thing)?.version(seq))
}

async fn delete(ask: Ask, caller: Caller) -> Answer {
    let token: TokenId = ask.id("token", "token")?;
    ask.execute(&caller, Command::DeleteToken { token }).await?.deleted(token)
}

async fn stand(ask: &Ask, caller: &Caller, id: TokenId) -> Result<(Token, u64), Problem> {
    let found = ask
        .read(|state| {
            let token = state.tokens.get(&id).filter(|token| sees(&caller.requester, token))?;
            Some((shown(id, token, false), token.seq))
        })
        .await?;
    found.ok_or_else(|| Problem::not_found("token"))
}

/// Whether a management token may be seen: members see their own.
fn sees(by: &Requester, token: &Known) -> bool {
    let own = by.member.is_some() && token.owner == by.member;
    token.kind == SecretKind::Management && (own || by.role != Role::Member)
}
