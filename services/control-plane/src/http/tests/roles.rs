//! Every role at every route, from inside and from another organisation (T25 in small).

use serde_json::{Value, json};

use turnpike_domain::admit::Denial;
use turnpike_domain::command::Command;
use turnpike_domain::id::{MemberId, TokenId};
use turnpike_domain::secret::SecretKind;
use turnpike_domain::state::Role;
use turnpike_runtime::entropy;
use turnpike_wire::form::Named as _;

use super::House;
use super::decisions::{decision, seal};
use crate::bootstrap::fresh;
use crate::http::routes;
use crate::order;

pub(super) const ROLES: [&str; 5] = ["viewer", "member", "admin", "owner", "operator"];

/// The least role that each route of changes lets through; what is not here reads.
fn least(id: &str) -> Option<&'static str> {
    Some(match id {
        "createOrg"
        | "createPlatformProvider"
        | "changePlatformProvider"
        | "deletePlatformProvider"
        | "createPlan"
        | "changePlan"
        | "deletePlan"
        | "createModel"
        | "changeModel"
        | "deleteModel"
        | "topUp"
        | "fenceGateway"
        | "listPeppers" => "operator",
        "changeOrg" | "inviteMember" | "changeMember" | "removeMember" => "owner",
        "releaseLostHolds" | "createProject" | "changeProject" | "deleteProject" | "importKeys"
        | "createProvider" | "changeProvider" | "deleteProvider" | "createJoinToken"
        | "removeGateway" | "createMcpServer" | "changeMcpServer" | "deleteMcpServer"
        | "refreshMcp" => "admin",
        "createKey"
        | "changeKey"
        | "deleteKey"
        | "rotateKey"
        | "disableKey"
        | "enableKey"
        | "revokeKey"
        | "activateKey"
        | "revealKey"
        | "migrateKey"
        | "issueEphemeralToken"
        | "revokeEphemeralToken"
        | "createToken"
        | "deleteToken"
        | "deleteJoinToken" => "member",
        _ => return None,
    })
}

/// What reads all of the organisation, and so is not a member's.
fn reads_all(id: &str) -> bool {
    [
        "getWallet",
        "listTopUps",
        "getLedger",
        "listEvents",
        "listAudit",
        "verifyAudit",
        "exportChain",
        "listJoinTokens",
    ]
    .contains(&id)
}

fn rank(role: &str) -> usize {
    ROLES.iter().position(|name| *name == role).unwrap()
}

/// Bodies that each route takes, so that nothing but the role is in the way.
pub(super) fn body(id: &str) -> Option<Value> {
    Some(match id {
        "createOrg" | "createKey" | "createProject" | "createPlan" | "createJoinToken" => {
            json!({ "name": "new" })
        }
        "createToken" => json!({ "name": "new", "role": "viewer" }),
        "inviteMember" => json!({ "email": "n@acme.example", "name": "n", "role": "viewer" }),
        "changeMember" => json!({ "role": "viewer" }),
        "createProvider" | "createPlatformProvider" => {
            json!({ "name": "new", "kind": "openai", "base_url": "https://n.example" })
        }
        "createMcpServer" => json!({ "name": "new", "url": "https://n.example/mcp" }),
        "changeMcpServer" => json!({ "enabled": false }),
        "createModel" => json!({ "name": "new", "context_window": 1, "max_output": 1 }),
        "topUp" => json!({ "amount_usd": "1.00" }),
        "releaseLostHolds" => json!({ "tokens": 1 }),
        "changeKey" | "changeProject" | "changeOrg" | "changePlan" => json!({ "name": "other" }),
        "changeProvider" | "changePlatformProvider" => json!({ "disabled": true }),
        "changeModel" => json!({ "max_output": 2 }),
        _ => return None,
    })
}

pub(super) struct Things {
    key: String,
    project: String,
    plan: String,
    provider: String,
    server: String,
    shared: String,
    token: String,
    member: String,
    decision: String,
}

impl Things {
    pub(super) async fn new(house: &House) -> Self {
        let id = |value: Value| value["id"].as_str().unwrap().to_owned();
        let provider = json!({ "name": "p", "kind": "openai", "base_url": "https://p.example" });
        let server = json!({ "name": "files", "url": "https://p.example/mcp" });
        let shared = house.call(&house.operator, "POST /providers", Some(provider.clone())).await;
        let model = json!({ "name": "m", "context_window": 1, "max_output": 1 });
        let model = house.call(&house.operator, "POST /models", Some(model)).await;
        assert_eq!(model.status, 201, "{}", model.text);
        let key = id(house.key("k").await);
        let decision = decision(house, &key, Denial::KeyRevoked).await;
        Self {
            decision: seal(house, &decision),
            key,
            project: id(house.post("/projects", json!({ "name": "p" })).await.json()),
            plan: house.first.plan.to_string(),
            provider: id(house.post("/providers", provider).await.json()),
            server: id(house.post("/mcp-servers", server).await.json()),
            shared: id(shared.json()),
            token: id(house.post("/tokens", json!({ "name": "t", "role": "viewer" })).await.json()),
            member: house.first.owner.to_string(),
        }
    }

    pub(super) fn fill(&self, org: &str, path: &str) -> String {
        let provider = if path.starts_with("/orgs") { &self.provider } else { &self.shared };
        path.replace("{org}", org)
            .replace("{key}", &self.key)
            .replace("{project}", &self.project)
            .replace("{plan}", &self.plan)
            .replace("{provider}", provider)
            .replace("{server}", &self.server)
            .replace("{token}", &self.token)
            .replace("{member}", &self.member)
            .replace("{ephemeral}", "eph_01h455vb4pex5vsknk084sn02q")
            .replace("{model}", "m")
            .replace("{decision}", &self.decision)
            .replace("/explain", "/explain?model=m")
            .replace("{gateway}", "gw_01h455vb4pex5vsknk084sn02q")
            .replace("{request}", "req_01h455vb4pex5vsknk084sn02q")
    }
}

/// A token of each role, for an owner who owns nothing else.
async fn tokens_of_another(house: &House) -> Vec<String> {
    let (app, member) = (&house.app, MemberId(7));
    let invitation = app.keys.peppers.stored(&fresh(SecretKind::Invitation));
    let (email, name, role) = ("other@acme.example".into(), "Other".into(), Role::Owner);
    let command = Command::InviteMember { member, email, name, role, invitation };
    order::organisation(app, house.org, command).await.unwrap();
    let mut tokens = Vec::new();
    for name in ROLES {
        let secret = fresh(SecretKind::Management);
        let command = Command::CreateToken {
            token: TokenId(entropy::id(app.clock.now())),
            name: name.into(),
            kind: SecretKind::Management,
            role: Role::from_name(name).unwrap(),
            secret: app.keys.peppers.stored(&secret),
            expires_at: None,
        };
        order::on_behalf(app, house.org, Some(member), command).await.unwrap();
        tokens.push(secret.expose().to_owned());
    }
    tokens
}

#[tokio::test(start_paused = true)]
async fn roles_may_what_the_contract_says_and_no_more() {
    let house = House::new().await;
    let things = Things::new(&house).await;
    let org = house.org.to_string();
    let tokens = tokens_of_another(&house).await;
    let mut checked = 0;
    for route in routes().iter().filter(|route| route.spec.known) {
        let spec = &route.spec;
        let line = format!("{} {}", spec.verb.name().to_uppercase(), things.fill(&org, spec.path));
        for (role, token) in ROLES.iter().zip(&tokens) {
            let allowed = match least(spec.id) {
                Some(least) => rank(role) >= rank(least),
                None => *role != "member" || !reads_all(spec.id),
            };
            if allowed && !spec.verb.is_safe() {
                // What is allowed is tried once elsewhere; here it would use the things up.
                continue;
            }
            let got = house.call(token, &line, body(spec.id)).await;
            // A gateway, and what a member does not own, is not there for them.
            let hidden = spec.path.contains("{gateway}")
                || spec.path.contains("{request}")
                || *role == "member"
                    && ["{key}", "{token}", "{decision}"].iter().any(|it| spec.path.contains(it));
            let expected: &[u16] = match (allowed, hidden) {
                (true, false) => &[200],
                (true, true) => &[404],
                (false, false) => &[403],
                (false, true) => &[403, 404],
            };
            assert!(expected.contains(&got.status), "{role} {line}: {} {}", got.status, got.text);
            checked += 1;
        }
    }
    assert!(checked > 150, "{checked}");
    // Nothing was changed by all those that were refused.
    assert_eq!(house.get("/keys").await["data"].as_array().unwrap().len(), 1);
    assert_eq!(house.get("").await["name"], "acme");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_seen_or_changed_from_another_organisation() {
    let house = House::new().await;
    let things = Things::new(&house).await;
    let org = house.org.to_string();
    let (other, owner) = house.other_org("other").await;
    for route in routes().iter().filter(|route| route.spec.known) {
        let spec = &route.spec;
        if !spec.path.contains("{org}") {
            continue;
        }
        let verb = spec.verb.name().to_uppercase();
        let line = format!("{verb} {}", things.fill(&org, spec.path));
        let got = house.call(&owner, &line, body(spec.id)).await;
        assert_eq!(got.status, 404, "{line}: {}", got.text);
        assert!(!got.text.contains("acme"), "{line}");
        // The things of the one under the path of the other are not there either.
        if spec.path.matches('{').count() > 1 {
            let line = format!("{verb} {}", things.fill(&other, spec.path));
            let got = house.call(&owner, &line, body(spec.id)).await;
            assert!([403, 404].contains(&got.status), "{line}: {} {}", got.status, got.text);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn members_have_their_own_keys_and_no_others() {
    let house = House::new().await;
    let (id, token) = house.person("max", "member").await;
    let foreign = house.key("foreign").await["id"].as_str().unwrap().to_owned();
    let keys = house.path("/keys");
    let own = house.call(&token, &format!("POST {keys}"), Some(json!({ "name": "own" }))).await;
    assert_eq!((own.status, &own.json()["owner_id"]), (201, &json!(id)), "{}", own.text);
    let listed = house.call(&token, &format!("GET {keys}"), None).await.json();
    assert_eq!(listed["data"].as_array().unwrap().len(), 1);
    for line in [
        format!("GET {keys}/{foreign}"),
        format!("PATCH {keys}/{foreign}"),
        format!("DELETE {keys}/{foreign}"),
        format!("POST {keys}/{foreign}/rotate"),
        format!("GET {keys}/{foreign}/usage"),
        format!("GET {keys}/{foreign}/propagation"),
    ] {
        let got = house.call(&token, &line, None).await;
        assert_eq!(got.status, 404, "{line}: {}", got.text);
    }
    let mine = own.json()["id"].as_str().unwrap().to_owned();
    let rotated = house.call(&token, &format!("POST {keys}/{mine}/rotate"), None).await;
    assert_eq!(rotated.status, 200, "{}", rotated.text);
    let plan = house.first.plan.to_string();
    let body = json!({ "name": "x", "owner_id": house.first.owner.to_string(), "plan_id": plan });
    assert_eq!(house.call(&token, &format!("POST {keys}"), Some(body)).await.status, 403);
}
