//! Who calls: the holder of a management token, or a person with a session.

pub(crate) mod session;
pub(crate) mod throttle;
pub(crate) mod turns;

use axum::http::header;
use turnpike_domain::authority::Requester;
use turnpike_domain::event::{Actor, Who};
use turnpike_domain::id::{OrgId, TokenId};
use turnpike_domain::refusal::Refusal;
use turnpike_domain::secret::SecretKind;
use turnpike_domain::state::{MemberState, Organisation, Role};
use turnpike_domain::time::Timestamp;
use turnpike_wire::{ephemeral, secret};

use crate::http::ask::Ask;
use crate::problem::{Code, Problem};

/// What a write of a session must carry, so that another site cannot make a browser send one.
pub(crate) const CSRF_HEADER: &str = "x-turnpike-csrf";

/// Where an ephemeral token belongs.
const EPHEMERAL_BELONGS: &str = "this is an ephemeral token (ek-…): it belongs to a gateway; the \
                                 management API takes a management token (mk-…)";

/// Somebody who is known.
pub(crate) struct Caller {
    /// As commands name it.
    pub(crate) requester: Requester,
    /// The organisation that the credential belongs to.
    pub(crate) home: OrgId,
    /// The token in use, if it is one.
    pub(crate) token: Option<TokenId>,
    /// What a session's writes must carry.
    pub(crate) csrf: Option<String>,
    /// When the credential stops working.
    pub(crate) expires_at: Option<Timestamp>,
}

impl Caller {
    /// Whether the caller may know of an organisation at all.
    pub(crate) fn reaches(&self, org: OrgId) -> bool {
        self.home == org || self.is_operator()
    }

    /// Whether the caller may do what is the platform's.
    pub(crate) fn is_operator(&self) -> bool {
        self.requester.role == Role::Operator
    }

    /// Refuses whoever reads only what is their own.
    pub(crate) fn reads_all(&self) -> Result<(), Problem> {
        match self.requester.role {
            Role::Viewer | Role::Admin | Role::Owner | Role::Operator => Ok(()),
            Role::Member => Err(Refusal::Forbidden { needed: Role::Admin }.into()),
        }
    }
}

/// Finds out who calls.
pub(crate) async fn caller(ask: &Ask) -> Result<Caller, Problem> {
    let mut given = ask.headers.get_all(header::AUTHORIZATION).iter();
    match (given.next(), given.next()) {
        (Some(_), Some(_)) => Err(Problem::unauthorized("two credentials were sent")),
        (Some(value), None) => {
            let (scheme, text) =
                value.to_str().ok().and_then(|text| text.split_once(' ')).unwrap_or_default();
            if !scheme.eq_ignore_ascii_case("bearer") {
                return Err(Problem::unauthorized("the Authorization must be Bearer and a token"));
            }
            by_token(ask, text.trim()).await
        }
        (None, _) => by_session(ask).await,
    }
}

async fn by_token(ask: &Ask, text: &str) -> Result<Caller, Problem> {
    if ephemeral::is_token(text) {
        return Err(Problem::new(Code::WrongCredentialKind, EPHEMERAL_BELONGS));
    }
    let presented = secret::parse(text)
        .map_err(|why| Problem::unauthorized(&format!("the management token is refused: {why}")))?;
    if let Some(belongs) = elsewhere(presented.kind) {
        return Err(Problem::new(Code::WrongCredentialKind, belongs));
    }
    let app = ask.app();
    let unknown = || Problem::unauthorized("the management token is unknown, deleted or expired");
    let listed = app.token(&presented).await?.ok_or_else(unknown)?;
    // The directory finds; the stream says what holds now.
    let holds = |state: &Organisation| {
        let token = state.tokens.get(&listed.id)?;
        let alive = token.expires_at.is_none_or(|end| ask.now < end);
        let role = state.role_of(token).filter(|_| alive)?;
        (token.kind == SecretKind::Management).then_some((role, token.owner, token.expires_at))
    };
    let found = app.streams().organisation(listed.org, holds).await?;
    let (role, member, expires_at) = found.ok_or_else(unknown)?;
    let actor = Actor { who: Who::Token(listed.id), address: ask.address };
    let requester = Requester { actor, role, member };
    Ok(Caller { requester, home: listed.org, token: Some(listed.id), csrf: None, expires_at })
}

async fn by_session(ask: &Ask) -> Result<Caller, Problem> {
    let needed =
        || Problem::unauthorized("a management token (Bearer mk-tp-…) or a session is needed");
    let cookie = session::cookie(&ask.headers).ok_or_else(needed)?;
    let ended = || Problem::unauthorized("the session has ended: log in again");
    let session = ask.api.sessions.open(cookie, ask.now).ok_or_else(ended)?;
    let holds = |state: &Organisation| {
        let member = state.members.get(&session.member)?;
        matches!(member.state, MemberState::Joined { .. }).then_some(member.role)
    };
    let role = ask.app().streams().organisation(session.org, holds).await?.ok_or_else(ended)?;
    let csrf = session.csrf_text();
    if !ask.method.is_safe() && ask.header(CSRF_HEADER) != Some(csrf.as_str()) {
        let detail = "writes of a session carry x-turnpike-csrf, which login and /me tell";
        return Err(Problem::new(Code::Forbidden, detail));
    }
    let actor = Actor { who: Who::Member(session.member), address: ask.address };
    let requester = Requester { actor, role, member: Some(session.member) };
    let expires_at = Some(session.until);
    Ok(Caller { requester, home: session.org, token: None, csrf: Some(csrf), expires_at })
}

/// Where a credential of another kind belongs.
const fn elsewhere(kind: SecretKind) -> Option<&'static str> {
    match kind {
        SecretKind::Management => None,
        SecretKind::Model => Some(
            "this is a model key (sk-…): it belongs to a gateway; the management API takes a \
             management token (mk-…)",
        ),
        SecretKind::Gateway => Some(
            "this is a join token (gk-…): it lets a gateway join; the management API takes a \
             management token (mk-…)",
        ),
        SecretKind::Invitation => Some(
            "this is an invitation (iv-…): it is answered at the organisation's members/accept; \
             the management API takes a management token (mk-…)",
        ),
    }
}
