//! Members: invited, joined, given roles, removed.

use turnpike_domain::command::Command;
use turnpike_domain::event::Event;
use turnpike_domain::id::{MemberId, TokenId};
use turnpike_domain::secret::{Sealed, SecretKind};
use turnpike_domain::state::{MemberState, Role};

use crate::house::{
    ADMIN, House, MEMBER, OTHER, OWNER, VIEWER, admin, invitation, member, operator, owner, person,
    secret,
};

const NEW: MemberId = MemberId(9);

fn role(member: MemberId, role: Role) -> Command {
    Command::ChangeRole { member, role }
}

fn remove(member: MemberId) -> Command {
    Command::RemoveMember { member }
}

fn join(member: MemberId) -> Command {
    Command::JoinMember { member, password: Sealed(Box::new([2])) }
}

#[test]
fn owners_invite_up_to_their_own_role() {
    let bad = Command::InviteMember {
        member: NEW,
        email: "nobody".into(),
        name: "".into(),
        role: Role::Member,
        invitation: secret(7),
    };
    House::furnished().answers(vec![
        (owner(), invitation(NEW, "nora", Role::Owner), "MemberInvited"),
        (owner(), invitation(NEW, "nora", Role::Operator), "needs operator"),
        (operator(), invitation(NEW, "nora", Role::Operator), "MemberInvited"),
        (admin(), invitation(NEW, "nora", Role::Viewer), "needs owner"),
        (owner(), invitation(NEW, "MIA", Role::Member), "name_taken"),
        (owner(), invitation(MEMBER, "nora", Role::Member), "state_conflict"),
        (owner(), bad, "/email /name"),
    ]);
}

#[test]
fn an_invitation_is_answered_once_and_by_the_invited() {
    let mut house = House::furnished();
    house.done(owner(), invitation(NEW, "Nora", Role::Member));
    assert_eq!(&*house.org.members[&NEW].email, "nora@example.com");
    house.answers(vec![
        (person(NEW, Role::Member), join(NEW), "MemberJoined"),
        (owner(), join(NEW), "needs operator"),
        (operator(), join(NEW), "MemberJoined"),
        (operator(), join(MemberId(77)), "not_found"),
        (member(), join(MEMBER), "state_conflict"),
    ]);
    house.done(person(NEW, Role::Member), join(NEW));
    assert!(matches!(house.org.members[&NEW].state, MemberState::Joined { .. }));
}

#[test]
fn roles_are_given_and_taken_by_owners() {
    let mut house = House::furnished();
    house.done(operator(), invitation(NEW, "nora", Role::Operator));
    house.answers(vec![
        (owner(), role(MEMBER, Role::Admin), "MemberRoleChanged"),
        (owner(), role(MEMBER, Role::Member), "nothing"),
        (owner(), role(MEMBER, Role::Operator), "needs operator"),
        (owner(), role(NEW, Role::Viewer), "needs operator"),
        (owner(), remove(NEW), "needs operator"),
        (admin(), role(ADMIN, Role::Owner), "needs owner"),
        (member(), role(OTHER, Role::Viewer), "needs owner"),
        (owner(), role(MemberId(77), Role::Viewer), "not_found"),
    ]);
}

#[test]
fn the_last_owner_who_can_log_in_stays() {
    let mut house = House::furnished();
    house.done(owner(), invitation(NEW, "nora", Role::Owner));
    let last = vec![
        (owner(), role(OWNER, Role::Admin), "state_conflict"),
        (operator(), remove(OWNER), "state_conflict"),
        (owner(), role(OWNER, Role::Owner), "nothing"),
        (operator(), role(OWNER, Role::Operator), "MemberRoleChanged"),
        (owner(), remove(NEW), "MemberRemoved"),
    ];
    house.answers(last);
    house.done(person(NEW, Role::Owner), join(NEW));
    house.answers(vec![
        (owner(), role(OWNER, Role::Admin), "MemberRoleChanged"),
        (owner(), remove(OWNER), "MemberRemoved"),
    ]);
}

#[test]
fn a_removed_member_leaves_keys_but_no_tokens() {
    let mut house = House::furnished();
    let token = TokenId(5);
    house.done(
        member(),
        Command::CreateToken {
            token,
            name: "ci".into(),
            kind: SecretKind::Management,
            role: Role::Member,
            secret: secret(9),
            expires_at: None,
        },
    );
    let events = house.decide(owner(), remove(MEMBER));
    let gone = [Event::TokenDeleted { token }, Event::MemberRemoved { member: MEMBER }];
    assert_eq!(events, Ok(gone.to_vec()));
    house.done(owner(), remove(MEMBER));
    assert!(!house.org.members.contains_key(&MEMBER));
    assert_eq!(house.org.keys.len(), 1, "the key stays for somebody to take over");
    house.answers(vec![
        (owner(), remove(MEMBER), "not_found"),
        (owner(), remove(VIEWER), "MemberRemoved"),
    ]);
}

#[test]
fn a_token_never_may_more_than_the_member_that_it_acts_for() {
    let mut house = House::furnished();
    let token = TokenId(5);
    house.done(
        admin(),
        Command::CreateToken {
            token,
            name: "ci".into(),
            kind: SecretKind::Management,
            role: Role::Admin,
            secret: secret(9),
            expires_at: None,
        },
    );
    let now = |house: &House| house.org.role_of(&house.org.tokens[&token]);
    assert_eq!(now(&house), Some(Role::Admin));
    house.done(owner(), role(ADMIN, Role::Viewer));
    assert_eq!(now(&house), Some(Role::Viewer));
    house.done(owner(), role(ADMIN, Role::Owner));
    assert_eq!(now(&house), Some(Role::Admin));
    let mut orphan = house.org.tokens[&token].clone();
    orphan.owner = Some(MemberId(77));
    assert_eq!(house.org.role_of(&orphan), None);
}
