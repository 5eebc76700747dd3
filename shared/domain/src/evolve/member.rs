//! Members.

use crate::event::{Event, Record};
use crate::id::MemberId;
use crate::secret::Sealed;
use crate::state::{Member, MemberState, Organisation, Role};

pub(super) fn invited(state: &mut Organisation, record: &Record) {
    let Event::MemberInvited { member, email, name, role, invitation } = &record.event else {
        return;
    };
    state.members.entry(*member).or_insert_with(|| Member {
        email: email.clone(),
        name: name.clone(),
        role: *role,
        state: MemberState::Invited { invitation: invitation.clone() },
        created_at: record.at,
        seq: record.seq,
    });
}

pub(super) fn joined(state: &mut Organisation, id: MemberId, password: &Sealed, seq: u64) {
    if let Some(member) = state.members.get_mut(&id) {
        member.state = MemberState::Joined { password: password.clone() };
        member.seq = seq;
    }
}

pub(super) fn role(state: &mut Organisation, id: MemberId, role: Role, seq: u64) {
    if let Some(member) = state.members.get_mut(&id) {
        member.role = role;
        member.seq = seq;
    }
}
