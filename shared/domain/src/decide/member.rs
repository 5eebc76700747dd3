//! Members: invited, joined, given roles, removed. Nobody gives or takes a role above the own.

use super::mistakes::Mistakes;
use super::{By, Decision, World, conflict, name_taken};
use crate::command::Command;
use crate::event::Event;
use crate::id::MemberId;
use crate::refusal::Refusal;
use crate::secret::Sealed;
use crate::state::{Member, MemberState, Organisation, Role};
use crate::text::email_problem;

pub(super) fn invite(world: World<'_>, by: By<'_>, command: &Command) -> Decision {
    let Command::InviteMember { member, email, name, role, invitation } = command else {
        return Ok(Vec::new());
    };
    let members = &world.organisation.members;
    by.requester.at_least(Role::Owner)?;
    by.requester.at_least(*role)?;
    if members.contains_key(member) {
        return Err(conflict("a member with this id exists"));
    }
    let mut mistakes = Mistakes::default();
    mistakes.note("/email", email_problem(email));
    mistakes.name(name);
    mistakes.finish()?;
    let email = email.to_lowercase().into_boxed_str();
    if members.values().any(|member| member.email == email) {
        return Err(name_taken("member", &email));
    }
    let (member, role) = (*member, *role);
    let (name, invitation) = (name.clone(), invitation.clone());
    Ok(vec![Event::MemberInvited { member, email, name, role, invitation }])
}

pub(super) fn join(world: World<'_>, by: By<'_>, id: MemberId, password: &Sealed) -> Decision {
    if by.requester.member != Some(id) {
        by.requester.at_least(Role::Operator)?;
    }
    let member = find(world.organisation, id)?;
    by.has_seen(member.seq)?;
    match member.state {
        MemberState::Joined { .. } => Err(conflict("the invitation was answered already")),
        MemberState::Invited { .. } => {
            Ok(vec![Event::MemberJoined { member: id, password: password.clone() }])
        }
    }
}

pub(super) fn change_role(world: World<'_>, by: By<'_>, id: MemberId, role: Role) -> Decision {
    let member = manage(world.organisation, by, id)?;
    by.requester.at_least(role)?;
    if member.role == role {
        return Ok(Vec::new());
    }
    if role < Role::Owner {
        keep_an_owner(world.organisation, id)?;
    }
    Ok(vec![Event::MemberRoleChanged { member: id, role }])
}

/// The member's tokens go too: they act for nobody any more. The keys stay, for others to take
/// over.
pub(super) fn remove(world: World<'_>, by: By<'_>, id: MemberId) -> Decision {
    manage(world.organisation, by, id)?;
    keep_an_owner(world.organisation, id)?;
    let tokens = world.organisation.tokens.iter();
    let orphans = tokens.filter(|(_, token)| token.owner == Some(id));
    let gone = orphans.map(|(token, _)| Event::TokenDeleted { token: *token });
    Ok(gone.chain([Event::MemberRemoved { member: id }]).collect())
}

fn manage<'a>(state: &'a Organisation, by: By<'_>, id: MemberId) -> Result<&'a Member, Refusal> {
    by.requester.at_least(Role::Owner)?;
    let member = find(state, id)?;
    by.requester.at_least(member.role)?;
    by.has_seen(member.seq)?;
    Ok(member)
}

fn find(state: &Organisation, id: MemberId) -> Result<&Member, Refusal> {
    state.members.get(&id).ok_or(Refusal::NotFound { noun: "member" })
}

/// Refuses to take away the last owner who can log in: nobody could give the role again.
fn keep_an_owner(state: &Organisation, leaving: MemberId) -> Result<(), Refusal> {
    let owns = |member: &Member| {
        member.role >= Role::Owner && matches!(member.state, MemberState::Joined { .. })
    };
    let mut owners = state.members.iter().filter(|(_, member)| owns(member)).map(|(id, _)| *id);
    let is_last = owners.next() == Some(leaving) && owners.next().is_none();
    if is_last { Err(conflict("the member is the organisation's last owner")) } else { Ok(()) }
}
