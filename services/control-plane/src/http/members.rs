//! `/orgs/{org}/members`: invited, joined, given roles, removed.

use turnpike_domain::authority::Requester;
use turnpike_domain::command::Command;
use turnpike_domain::event::{Actor, Event, Who};
use turnpike_domain::id::MemberId;
use turnpike_domain::secret::SecretKind;
use turnpike_domain::state::{Member as Known, MemberState, Organisation, Role};
use turnpike_runtime::entropy;
use turnpike_wire::api::input::mistake;
use turnpike_wire::api::member::{AcceptForm, InviteForm, Member, MemberForm};
use turnpike_wire::api::propagation::Deleted;
use turnpike_wire::api::text::Text;
use turnpike_wire::secret;

use super::ask::{Ask, PAGE, WAIT};
use super::cursor::Rank;
use super::reply::Reply;
use super::route::{Answer, BASE, Gives, Route, Verb, shape};
use super::secrets;
use crate::auth::{Caller, turns};
use crate::problem::Problem;

/// What an invitation that cannot be answered is answered with.
const NO_INVITATION: &str = "the invitation is unknown, or was answered already";

pub(super) fn routes() -> Vec<Route> {
    let written = |created, secret| Gives::Written { thing: shape::<Member>(), created, secret };
    vec![
        Route::new(Verb::Get, "/orgs/{org}/members", "listMembers", list)
            .about("Lists the organisation's people.")
            .query(&[PAGE])
            .gives(Gives::Page(shape::<Member>())),
        Route::new(Verb::Post, "/orgs/{org}/members", "inviteMember", invite)
            .about("Invites a person (owner); the secret is what they accept with.")
            .query(&[WAIT])
            .takes::<InviteForm>()
            .gives(written(true, true)),
        Route::open(Verb::Post, "/orgs/{org}/members/accept", "acceptInvitation", accept)
            .about("Answers an invitation with a password. Needs no other credential.")
            .takes::<AcceptForm>()
            .gives(Gives::Thing(shape::<Member>())),
        Route::new(Verb::Get, "/orgs/{org}/members/{member}", "getMember", get)
            .about("Shows a person.")
            .gives(Gives::Thing(shape::<Member>())),
        Route::new(Verb::Patch, "/orgs/{org}/members/{member}", "changeMember", change)
            .about("Gives a person another role (owner).")
            .query(&[WAIT])
            .takes::<MemberForm>()
            .gives(written(false, false)),
        Route::new(Verb::Delete, "/orgs/{org}/members/{member}", "removeMember", remove)
            .about("Removes a person (owner); their tokens go, their keys stay.")
            .query(&[WAIT])
            .gives(Gives::Written { thing: shape::<Deleted>(), created: false, secret: false }),
    ]
}

/// A member as it is shown.
pub(super) fn shown(id: MemberId, member: &Known) -> Member {
    let state = match &member.state {
        MemberState::Invited { .. } => "invited",
        MemberState::Joined { .. } => "joined",
    };
    Member {
        id: Text(id),
        email: member.email.to_string(),
        name: member.name.to_string(),
        role: Text(member.role),
        state: state.to_owned(),
        created_at: Text(member.created_at),
    }
}

async fn list(ask: Ask, _: Caller) -> Answer {
    let span = ask.span(false)?;
    let page = |state: &Organisation| {
        let all = state.members.iter();
        span.page(all.map(|(id, member)| ((Rank::Number(0), id.0), shown(*id, member))))
    };
    Reply::json(&ask.read(page).await?)
}

async fn invite(mut ask: Ask, caller: Caller) -> Answer {
    let form: InviteForm = ask.shape()?;
    let (plain, invitation) = secrets::mint(&ask, SecretKind::Invitation);
    let name = form.name.unwrap_or_else(|| form.email.clone()).into();
    let command = Command::InviteMember {
        member: MemberId(entropy::id(ask.now)),
        email: form.email.into(),
        name,
        role: form.role.0,
        invitation,
    };
    let done = ask.execute(&caller, command).await?;
    let made = done.made(|event| {
        let Event::MemberInvited { member, .. } = event else { return None };
        Some(*member)
    })?;
    let (thing, seq) = stand(&ask, made).await?;
    let place = format!("{BASE}/orgs/{}/members/{made}", ask.org);
    Ok(done.reply_with(thing, Some(plain.expose()))?.created(&place).version(seq))
}

async fn accept(mut ask: Ask) -> Answer {
    let form: AcceptForm = ask.shape()?;
    if let Some(problem) = turns::problem(&form.password) {
        mistake(&mut ask.mistakes, "/password", problem);
    }
    if !ask.mistakes.is_empty() {
        return Err(Problem::invalid(std::mem::take(&mut ask.mistakes)));
    }
    ask.org = ask.id("org", "organisation")?;
    let refused = || Problem::unauthorized(NO_INVITATION);
    if !ask.app().directory.organisations().contains(&ask.org) {
        return Err(refused());
    }
    let presented = secret::parse(&form.invitation).map_err(|_| refused())?;
    let invited = |state: &Organisation| {
        let found = state.members.iter().find_map(|(id, member)| match &member.state {
            MemberState::Invited { invitation } if invitation.public_id == presented.public_id => {
                Some((*id, invitation.clone()))
            }
            MemberState::Invited { .. } | MemberState::Joined { .. } => None,
        });
        found.filter(|_| presented.kind == SecretKind::Invitation)
    };
    let found = ask.app().streams().organisation(ask.org, invited).await?;
    let peppers = &ask.app().keys.peppers;
    let right = peppers.verify(found.as_ref().map(|(_, stored)| stored), &presented);
    let (member, _) = found.filter(|_| right).ok_or_else(refused)?;
    let sealed = ask.api.passwords.keep(ask.app(), form.password).await?;
    let actor = Actor { who: Who::Member(member), address: ask.address };
    let requester = Requester { actor, role: Role::Viewer, member: Some(member) };
    let caller = Caller { requester, home: ask.org, token: None, csrf: None, expires_at: None };
    ask.execute(&caller, Command::JoinMember { member, password: sealed }).await?;
    let (thing, seq) = stand(&ask, member).await?;
    Ok(Reply::json(&thing)?.version(seq))
}

async fn get(ask: Ask, _: Caller) -> Answer {
    let (thing, seq) = stand(&ask, ask.id("member", "member")?).await?;
    Ok(Reply::json(&thing)?.version(seq))
}

async fn change(mut ask: Ask, caller: Caller) -> Answer {
    let member = ask.id("member", "member")?;
    let (now, _) = stand(&ask, member).await?;
    let form: MemberForm = ask.merged(serde_json::json!({ "role": now.role }))?;
    let done = ask.execute(&caller, Command::ChangeRole { member, role: form.role.0 }).await?;
    let (thing, seq) = stand(&ask, member).await?;
    Ok(done.reply(thing)?.version(seq))
}

async fn remove(ask: Ask, caller: Caller) -> Answer {
    let member: MemberId = ask.id("member", "member")?;
    ask.execute(&caller, Command::RemoveMember { member }).await?.deleted(member)
}

async fn stand(ask: &Ask, id: MemberId) -> Result<(Member, u64), Problem> {
    let found = ask
        .read(|state| state.members.get(&id).map(|member| (shown(id, member), member.seq)))
        .await?;
    found.ok_or_else(|| Problem::not_found("member"))
}
