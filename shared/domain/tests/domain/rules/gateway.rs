//! Gateways: they join and leave; the operator fences.

use turnpike_domain::command::{Command, PlatformCommand};
use turnpike_domain::id::{GatewayId, TokenId};
use turnpike_domain::secret::SecretKind;
use turnpike_domain::state::Role;

use crate::house::{
    GATEWAY, House, JOIN, NOW, admin, gateway, join_token, member, operator, outcome, owner, secret,
};

const SECOND: GatewayId = GatewayId(2);

fn join(gateway: GatewayId, name: &str, token: TokenId) -> Command {
    Command::JoinGateway { gateway, name: name.into(), token }
}

const LEAVE: Command = Command::LeaveGateway { gateway: GATEWAY };
const FENCE: Command = Command::FenceGateway { gateway: GATEWAY };

#[test]
fn a_gateway_joins_under_its_own_id_with_a_join_token() {
    let mut house = House::furnished();
    let management = TokenId(7);
    house.done(
        admin(),
        Command::CreateToken {
            token: management,
            name: "ci".into(),
            kind: SecretKind::Management,
            role: Role::Admin,
            secret: secret(9),
            expires_at: None,
        },
    );
    house.answers(vec![
        (gateway(SECOND), join(SECOND, "two", JOIN), "GatewayJoined"),
        (operator(), join(SECOND, "two", JOIN), "GatewayJoined"),
        (gateway(GATEWAY), join(SECOND, "two", JOIN), "needs operator"),
        (admin(), join(SECOND, "two", JOIN), "needs operator"),
        (gateway(SECOND), join(SECOND, "two", TokenId(77)), "not_found"),
        (gateway(SECOND), join(SECOND, "two", management), "not_found"),
        (gateway(SECOND), join(SECOND, "", JOIN), "/name"),
    ]);
    house.done(admin(), Command::DeleteToken { token: JOIN });
    house.answers(vec![(gateway(GATEWAY), join(GATEWAY, "gate", JOIN), "not_found")]);
}

#[test]
fn joining_again_is_news_only_if_something_changed() {
    let mut house = House::furnished();
    house.done(admin(), join_token(TokenId(2)));
    house.answers(vec![
        (gateway(GATEWAY), join(GATEWAY, "gate", JOIN), "nothing"),
        (gateway(GATEWAY), join(GATEWAY, "gate 2", JOIN), "GatewayJoined"),
        (gateway(GATEWAY), join(GATEWAY, "gate", TokenId(2)), "GatewayJoined"),
        (gateway(GATEWAY), LEAVE, "GatewayLeft"),
        (gateway(SECOND), LEAVE, "needs admin"),
        (member(), LEAVE, "needs admin"),
        (admin(), LEAVE, "GatewayLeft"),
    ]);
    house.done(gateway(GATEWAY), LEAVE);
    house.answers(vec![
        (gateway(GATEWAY), LEAVE, "nothing"),
        (gateway(GATEWAY), join(GATEWAY, "gate", JOIN), "GatewayJoined"),
        (admin(), Command::LeaveGateway { gateway: SECOND }, "not_found"),
    ]);
}

#[test]
fn a_fence_is_the_operators_and_final() {
    let mut house = House::furnished();
    house.answers(vec![
        (owner(), FENCE, "needs operator"),
        (operator(), FENCE, "GatewayFenced"),
        (operator(), Command::FenceGateway { gateway: SECOND }, "not_found"),
    ]);
    house.done(operator(), FENCE);
    house.answers(vec![
        (operator(), FENCE, "nothing"),
        (gateway(GATEWAY), join(GATEWAY, "gate", JOIN), "state_conflict"),
        (gateway(GATEWAY), LEAVE, "GatewayLeft"),
    ]);
    house.done(gateway(GATEWAY), LEAVE);
    assert!(house.org.gateways[&GATEWAY].fenced, "leaving lifts no fence");
}

#[test]
fn gateways_of_the_platform_keep_the_same_rules() {
    let mut house = House::furnished();
    let token = |token, name: &str, expires_at| PlatformCommand::CreateToken {
        token,
        name: name.into(),
        secret: secret(9),
        expires_at,
    };
    let join = |token| PlatformCommand::JoinGateway { gateway: SECOND, name: "two".into(), token };
    let fence = PlatformCommand::FenceGateway { gateway: SECOND };
    let leave = PlatformCommand::LeaveGateway { gateway: SECOND };
    let delete = PlatformCommand::DeleteToken { token: TokenId(1) };
    house.platform_answers(vec![
        (token(TokenId(1), "", Some(NOW)), "/name /expires_at"),
        (delete.clone(), "not_found"),
        (fence.clone(), "not_found"),
    ]);
    house.run(operator(), token(TokenId(1), "all", None));
    house.run(gateway(SECOND), join(TokenId(1)));
    house.platform_answers(vec![
        (token(TokenId(1), "all", None), "state_conflict"),
        (join(TokenId(1)), "nothing"),
        (join(TokenId(2)), "not_found"),
        (leave, "GatewayLeft"),
        (delete.clone(), "TokenDeleted"),
        (fence.clone(), "GatewayFenced"),
    ]);
    assert_eq!(outcome(house.decide_platform(owner(), fence.clone())), "needs operator");
    assert_eq!(outcome(house.decide_platform(owner(), delete)), "needs operator");
    house.run(operator(), fence);
    house.platform_answers(vec![(join(TokenId(1)), "state_conflict")]);
}
