//! `/session` and `/me`: login, logout, who am I.

use axum::http::header;
use turnpike_domain::id::{MemberId, OrgId};
use turnpike_domain::secret::Sealed;
use turnpike_domain::state::{MemberState, Organisation};
use turnpike_wire::api::member::Member;
use turnpike_wire::api::org::Org;
use turnpike_wire::api::session::{LoginForm, Me};
use turnpike_wire::api::text::Text;

use super::ask::Ask;
use super::members;
use super::reply::Reply;
use super::route::{Answer, Gives, Route, Verb, shape};
use crate::auth::Caller;
use crate::auth::session::Session;
use crate::auth::throttle::{PER_ACCOUNT, PER_ADDRESS};
use crate::problem::{Code, Problem};

/// What a wrong login is answered with, whatever was wrong.
const WRONG: &str = "address and password do not fit together";

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::open(Verb::Post, "/session", "login", login)
            .about("Logs a member in: sets the session cookie and tells the CSRF token.")
            .takes::<LoginForm>()
            .gives(Gives::Thing(shape::<Me>())),
        Route::open(Verb::Delete, "/session", "logout", logout)
            .about("Makes the browser forget the session.")
            .gives(Gives::Other("application/json")),
        Route::new(Verb::Get, "/me", "me", me)
            .about("Tells who the caller is and what they may do.")
            .gives(Gives::Thing(shape::<Me>())),
    ]
}

async fn login(mut ask: Ask) -> Answer {
    let form: LoginForm = ask.shape()?;
    if !ask.mistakes.is_empty() {
        return Err(Problem::invalid(std::mem::take(&mut ask.mistakes)));
    }
    let email = form.email.to_lowercase();
    throttle(&ask, &email)?;
    let member = fitting(&ask, &email, form).await?;
    let (org, member) = member.ok_or_else(|| Problem::unauthorized(WRONG))?;
    forgive(&ask, &email);
    let session = Session::begin(org, member, ask.now);
    ask.org = org;
    let told = ask.read(|state| told(state, member, &session)).await?;
    let reply = Reply::json(&told.ok_or_else(|| Problem::unauthorized(WRONG))?)?;
    Ok(reply.with(header::SET_COOKIE, &ask.api.sessions.set_cookie(&session)?))
}

async fn logout(ask: Ask) -> Answer {
    let reply = Reply::json(&serde_json::json!({}))?;
    Ok(reply.with(header::SET_COOKIE, &ask.api.sessions.clear_cookie()))
}

async fn me(mut ask: Ask, caller: Caller) -> Answer {
    ask.org = caller.home;
    let told = |state: &Organisation| Me {
        org: Org::of(state),
        role: Text(caller.requester.role),
        member: caller.requester.member.and_then(|id| find(state, id)),
        token_id: caller.token.map(Text),
        csrf: caller.csrf.clone(),
        expires_at: caller.expires_at.map(Text),
    };
    Reply::json(&ask.read(told).await?)
}

/// The membership that address and password fit. There is always exactly one hash made for each
/// membership, and one where there is none.
async fn fitting(
    ask: &Ask,
    email: &str,
    form: LoginForm,
) -> Result<Option<(OrgId, MemberId)>, Problem> {
    let app = ask.app();
    let mut memberships = app.directory.members(email);
    memberships.retain(|(org, _)| form.org_id.is_none_or(|wanted| wanted.0 == *org));
    let mut known = Vec::new();
    for (org, member) in memberships {
        let sealed = |state: &Organisation| sealed(state, member);
        if let Some(sealed) = app.streams().organisation(org, sealed).await? {
            known.push(((org, member), sealed));
        }
    }
    let passwords = &ask.api.passwords;
    if known.is_empty() {
        passwords.matches(app, None, form.password).await?;
        return Ok(None);
    }
    for (member, sealed) in known {
        let password = form.password.clone();
        if passwords.matches(app, Some(&sealed), password).await? {
            return Ok(Some(member));
        }
    }
    Ok(None)
}

fn sealed(state: &Organisation, member: MemberId) -> Option<Sealed> {
    match &state.members.get(&member)?.state {
        MemberState::Invited { .. } => None,
        MemberState::Joined { password } => Some(password.clone()),
    }
}

fn throttle(ask: &Ask, email: &str) -> Result<(), Problem> {
    let boot_ms = ask.app().clock.boot_ms();
    let throttle = &ask.api.throttle;
    let address = ask.address.map(|address| address.to_string());
    let by_address =
        address.map_or(Ok(()), |address| throttle.guess(address.as_bytes(), PER_ADDRESS, boot_ms));
    by_address.and_then(|()| throttle.guess(email.as_bytes(), PER_ACCOUNT, boot_ms)).map_err(
        |seconds| Problem {
            retry_after: Some(seconds),
            ..Problem::new(Code::RateLimited, "too many attempts to log in: come back later")
        },
    )
}

fn forgive(ask: &Ask, email: &str) {
    ask.api.throttle.right(email.as_bytes());
    if let Some(address) = ask.address {
        ask.api.throttle.right(address.to_string().as_bytes());
    }
}

fn told(state: &Organisation, id: MemberId, session: &Session) -> Option<Me> {
    let member = state.members.get(&id)?;
    Some(Me {
        org: Org::of(state),
        role: Text(member.role),
        member: Some(members::shown(id, member)),
        token_id: None,
        csrf: Some(session.csrf_text()),
        expires_at: Some(Text(session.until)),
    })
}

fn find(state: &Organisation, id: MemberId) -> Option<Member> {
    state.members.get(&id).map(|member| members::shown(id, member))
}
