//! Management and join tokens.

use turnpike_domain::authority::Requester;
use turnpike_domain::command::Command;
use turnpike_domain::id::TokenId;
use turnpike_domain::secret::SecretKind;
use turnpike_domain::state::Role;
use turnpike_domain::time::Timestamp;

use crate::house::{House, JOIN, NOW, admin, member, operator, other, owner, secret, viewer};

const NEW: TokenId = TokenId(9);

fn token(kind: SecretKind, role: Role) -> Command {
    let (name, secret) = ("ci".into(), secret(9));
    Command::CreateToken { token: NEW, name, kind, role, secret, expires_at: None }
}

#[test]
fn a_token_never_has_more_than_its_maker() {
    let management = |role| token(SecretKind::Management, role);
    House::furnished().answers(vec![
        (member(), management(Role::Member), "TokenCreated"),
        (member(), management(Role::Viewer), "TokenCreated"),
        (member(), management(Role::Admin), "needs admin"),
        (admin(), management(Role::Owner), "needs owner"),
        (owner(), management(Role::Operator), "needs operator"),
        (operator(), management(Role::Operator), "TokenCreated"),
        (viewer(), management(Role::Viewer), "needs member"),
        (admin(), token(SecretKind::Gateway, Role::Viewer), "TokenCreated"),
        (member(), token(SecretKind::Gateway, Role::Viewer), "needs admin"),
        (admin(), token(SecretKind::Model, Role::Viewer), "/kind"),
        (admin(), token(SecretKind::Invitation, Role::Viewer), "/kind"),
    ]);
}

#[test]
fn a_join_token_may_nothing_else() {
    let mut house = House::furnished();
    house.done(admin(), token(SecretKind::Gateway, Role::Owner));
    assert_eq!(house.org.tokens[&NEW].role, Role::Viewer);
}

#[test]
fn input_is_checked_and_ids_are_used_once() {
    let wrong = Command::CreateToken {
        token: NEW,
        name: "".into(),
        kind: SecretKind::Management,
        role: Role::Member,
        secret: secret(9),
        expires_at: Some(NOW),
    };
    let again = Command::CreateToken {
        token: JOIN,
        name: "again".into(),
        kind: SecretKind::Management,
        role: Role::Member,
        secret: secret(9),
        expires_at: Some(Timestamp(NOW.0 + 1)),
    };
    House::furnished()
        .answers(vec![(member(), wrong, "/name /expires_at"), (member(), again, "state_conflict")]);
}

#[test]
fn tokens_are_deleted_by_their_owner_or_by_admins_up_to_their_role() {
    let delete = || Command::DeleteToken { token: NEW };
    type Case = (Requester, Role, Vec<(Requester, &'static str)>);
    let cases: Vec<Case> = vec![
        (
            member(),
            Role::Member,
            vec![
                (member(), "TokenDeleted"),
                (other(), "not_found"),
                (viewer(), "needs member"),
                (admin(), "TokenDeleted"),
            ],
        ),
        (
            owner(),
            Role::Owner,
            vec![(owner(), "TokenDeleted"), (admin(), "needs owner"), (member(), "not_found")],
        ),
        (operator(), Role::Operator, vec![(owner(), "needs operator")]),
    ];
    for (maker, role, answers) in cases {
        let mut house = House::furnished();
        house.done(maker, token(SecretKind::Management, role));
        house.answers(answers.into_iter().map(|(by, said)| (by, delete(), said)).collect());
        house.done(operator(), delete());
        house.answers(vec![(operator(), delete(), "not_found")]);
    }
}
