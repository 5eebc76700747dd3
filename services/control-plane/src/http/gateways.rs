//! `/orgs/{org}/gateways`: who is online and how far, join tokens, fencing.

use turnpike_domain::command::{Command, PlatformCommand};
use turnpike_domain::event::Event;
use turnpike_domain::id::{GatewayId, TokenId};
use turnpike_domain::secret::SecretKind;
use turnpike_domain::state::Organisation;
use turnpike_runtime::entropy;
use turnpike_wire::api::gateway::{Gateway, Quarantine};
use turnpike_wire::api::propagation::Deleted;
use turnpike_wire::api::text::{Place, Text};
use turnpike_wire::api::token::{JoinTokenForm, Token};

use super::ask::{Ask, PAGE, WAIT};
use super::cursor::Rank;
use super::execute::Done;
use super::reply::Reply;
use super::route::{Answer, BASE, Gives, Route, Verb, shape};
use super::{secrets, tokens};
use crate::auth::Caller;
use crate::presence::Known;
use crate::problem::Problem;

pub(super) fn routes() -> Vec<Route> {
    let gone = || Gives::Written { thing: shape::<Deleted>(), created: false, secret: false };
    vec![
        Route::new(Verb::Get, "/orgs/{org}/gateways", "listGateways", list)
            .about("Lists the gateways that serve the organisation.")
            .query(&[PAGE])
            .gives(Gives::Page(shape::<Gateway>())),
        Route::new(Verb::Get, "/orgs/{org}/gateways/tokens", "listJoinTokens", list_tokens)
            .about("Lists join tokens (admin).")
            .query(&[PAGE])
            .gives(Gives::Page(shape::<Token>())),
        Route::new(Verb::Post, "/orgs/{org}/gateways/tokens", "createJoinToken", create_token)
            .about(
                "Makes a join token (admin; for all organisations: operator). Its secret is \
                    shown this once.",
            )
            .query(&[WAIT])
            .takes::<JoinTokenForm>()
            .gives(Gives::Written { thing: shape::<Token>(), created: true, secret: true }),
        Route::new(
            Verb::Delete,
            "/orgs/{org}/gateways/tokens/{token}",
            "deleteJoinToken",
            delete_token,
        )
        .about("Deletes a join token.")
        .query(&[WAIT])
        .gives(gone()),
        Route::new(Verb::Get, "/orgs/{org}/gateways/{gateway}", "getGateway", get)
            .about("Shows a gateway.")
            .gives(Gives::Thing(shape::<Gateway>())),
        Route::new(Verb::Delete, "/orgs/{org}/gateways/{gateway}", "removeGateway", remove)
            .about("Notes that a gateway will not come back (admin).")
            .query(&[WAIT])
            .gives(gone()),
        Route::new(Verb::Post, "/orgs/{org}/gateways/{gateway}/fence", "fenceGateway", fence)
            .about("Cuts a gateway off (operator): it is granted nothing more; its spend counts.")
            .query(&[WAIT])
            .gives(Gives::Written { thing: shape::<Gateway>(), created: false, secret: false }),
    ]
}

async fn list(ask: Ask, _: Caller) -> Answer {
    let span = ask.span(false)?;
    let boot_ms = ask.app().clock.boot_ms();
    let known = ask.app().gateways(ask.org).await?.into_iter();
    let page = span.page(known.map(|it| ((Rank::Number(0), it.id.0), shown(&it, boot_ms))));
    Reply::json(&page)
}

async fn get(ask: Ask, _: Caller) -> Answer {
    let known = find(&ask).await?;
    let reply = Reply::json(&shown(&known, ask.app().clock.boot_ms()))?;
    Ok(reply.version(known.joined.seq))
}

async fn remove(ask: Ask, caller: Caller) -> Answer {
    let known = find(&ask).await?;
    let gateway = known.id;
    let done = if known.of_platform {
        ask.execute_platform(&caller, PlatformCommand::LeaveGateway { gateway }).await?
    } else {
        ask.execute(&caller, Command::LeaveGateway { gateway }).await?
    };
    done.deleted(gateway)
}

async fn fence(ask: Ask, caller: Caller) -> Answer {
    let known = find(&ask).await?;
    let gateway = known.id;
    let done = if known.of_platform {
        ask.execute_platform(&caller, PlatformCommand::FenceGateway { gateway }).await?
    } else {
        ask.execute(&caller, Command::FenceGateway { gateway }).await?
    };
    let known = find(&ask).await?;
    let thing = shown(&known, ask.app().clock.boot_ms());
    Ok(done.reply(thing)?.version(known.joined.seq))
}

async fn list_tokens(ask: Ask, caller: Caller) -> Answer {
    caller.reads_all()?;
    let span = ask.span(false)?;
    let shared = ask.app().streams().platform(|state| state.tokens.clone()).await?;
    let page = |state: &Organisation| {
        let own = state.tokens.iter().filter(|(_, token)| token.kind == SecretKind::Gateway);
        let own = own.map(|(id, token)| tokens::shown(*id, token, false));
        // Only an operator has business with tokens of all organisations.
        let all = shared.iter().filter(|_| caller.is_operator());
        let all = all.map(|(id, token)| tokens::shown(*id, token, true));
        span.page(own.chain(all).map(|token| ((Rank::Number(0), token.id.0.0), token)))
    };
    Reply::json(&ask.read(page).await?)
}

async fn create_token(mut ask: Ask, caller: Caller) -> Answer {
    let form: JoinTokenForm = ask.shape()?;
    let (plain, secret) = secrets::mint(&ask, SecretKind::Gateway);
    let token = TokenId(entropy::id(ask.now));
    let name = form.name.into_boxed_str();
    let expires_at = form.expires_at.map(|time| time.0);
    let shared = form.all_organisations == Some(true);
    let done = if shared {
        let command = PlatformCommand::CreateToken { token, name, secret, expires_at };
        ask.execute_platform(&caller, command).await?
    } else {
        let (kind, role) = (SecretKind::Gateway, turnpike_domain::state::Role::Viewer);
        let command = Command::CreateToken { token, name, kind, role, secret, expires_at };
        ask.execute(&caller, command).await?
    };
    let (thing, seq) = made(&ask, &done, shared).await?;
    let place = format!("{BASE}/orgs/{}/gateways/tokens", ask.org);
    Ok(done.reply_with(thing, Some(plain.expose()))?.created(&place).version(seq))
}

async fn delete_token(ask: Ask, caller: Caller) -> Answer {
    let token: TokenId = ask.id("token", "token")?;
    let of_platform = |state: &turnpike_domain::state::Platform| state.tokens.contains_key(&token);
    let done = if caller.is_operator() && ask.app().streams().platform(of_platform).await? {
        ask.execute_platform(&caller, PlatformCommand::DeleteToken { token }).await?
    } else {
        ask.execute(&caller, Command::DeleteToken { token }).await?
    };
    done.deleted(token)
}

async fn made(ask: &Ask, done: &Done, shared: bool) -> Result<(Token, u64), Problem> {
    let id = done.made(|event| {
        let Event::TokenCreated { token, .. } = event else { return None };
        Some(*token)
    })?;
    let found = if shared {
        ask.app().streams().platform(|state| state.tokens.get(&id).cloned()).await?
    } else {
        ask.read(|state| state.tokens.get(&id).cloned()).await?
    };
    let token = found.ok_or_else(|| Problem::not_found("token"))?;
    Ok((tokens::shown(id, &token, shared), token.seq))
}

async fn find(ask: &Ask) -> Result<Known, Problem> {
    let id: GatewayId = ask.id("gateway", "gateway")?;
    let mut known = ask.app().gateways(ask.org).await?.into_iter();
    known.find(|known| known.id == id).ok_or_else(|| Problem::not_found("gateway"))
}

fn shown(known: &Known, boot_ms: u64) -> Gateway {
    Gateway {
        id: Text(known.id),
        name: known.joined.name.to_string(),
        online: known.online,
        left: known.joined.left,
        fenced: known.joined.fenced,
        all_organisations: known.of_platform,
        position: known.heard.map(|heard| Place(heard.position)),
        lag_ms: known.heard.map(|heard| boot_ms.saturating_sub(heard.arrived_ms)),
        epoch: known.heard.map(|heard| Text(heard.epoch)),
        quarantine: known.quarantine.map(|told| Quarantine {
            events: told.events,
            last_seq: told.seq,
            at: Text(told.at),
            stands: told.stands,
        }),
        token_id: Text(known.joined.token),
        joined_at: Text(known.joined.joined_at),
    }
}
