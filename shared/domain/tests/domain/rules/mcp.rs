//! MCP servers: sound addresses and names, one unchanging name each, and who may reach them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use turnpike_domain::admit::{Denial, call_reservation, mcp_server as reach, mcp_tool};
use turnpike_domain::command::{Command, KeyDraft};
use turnpike_domain::id::McpServerId;
use turnpike_domain::money::{Multiplier, NanoUsd};
use turnpike_domain::scope::{Cidr, McpMode, McpScope, Scopes};
use turnpike_domain::secret::Sealed;
use turnpike_domain::state::{
    Key, MAX_CATALOGUE_BYTES, MAX_MCP_SERVERS, McpCatalogue, McpServerSpec, McpTool,
};
use turnpike_domain::time::Timestamp;

use crate::house::{House, admin, fresh, mcp_server, member, outcome, owner, viewer};

const FILES: McpServerId = McpServerId(7);
const HOME: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

fn change(spec: McpServerSpec) -> Command {
    Command::ChangeMcpServer { server: FILES, spec: Some(Box::new(spec)) }
}

fn names(names: &[&str]) -> BTreeSet<Box<str>> {
    names.iter().map(|name| (*name).into()).collect()
}

fn scope(mode: McpMode, servers: &[&str]) -> McpScope {
    McpScope { enabled: true, mode, servers: names(servers), tools: BTreeMap::new() }
}

/// A house with the server `files` and a key of this scope.
fn with(mcp: McpScope) -> (House, Key) {
    let mut house = House::furnished();
    house.done(admin(), change(mcp_server("files")));
    let scopes = Scopes { mcp, ..Scopes::default() };
    let draft = KeyDraft { name: "agent".into(), scopes, ..KeyDraft::default() };
    let key = turnpike_domain::id::KeyId(77);
    let command = Command::CreateKey { key, draft: Box::new(draft), secret: fresh(77) };
    house.done(admin(), command);
    let key = (*house.org.keys[&key]).clone();
    (house, key)
}

#[test]
fn admins_register_and_remove_servers() {
    let mut house = House::furnished();
    let remove = Command::ChangeMcpServer { server: FILES, spec: None };
    house.answers(vec![
        (admin(), change(mcp_server("files")), "McpServerChanged"),
        (owner(), change(mcp_server("files")), "McpServerChanged"),
        (member(), change(mcp_server("files")), "needs admin"),
        (viewer(), change(mcp_server("files")), "needs admin"),
        (admin(), remove.clone(), "not_found"),
    ]);
    house.done(admin(), change(mcp_server("files")));
    let spec = Some(Box::new(mcp_server("files")));
    let twin = Command::ChangeMcpServer { server: McpServerId(8), spec };
    house.answers(vec![
        (admin(), change(mcp_server("files")), "nothing"),
        (admin(), change(mcp_server("other")), "state_conflict"),
        (admin(), twin, "name_taken"),
        (admin(), remove, "McpServerChanged"),
    ]);
}

#[test]
fn names_are_one_segment_of_a_path() {
    let house = House::furnished();
    for name in ["a", "git-hub_2.0", "0"] {
        assert_eq!(outcome(house.decide(admin(), change(mcp_server(name)))), "McpServerChanged");
    }
    for name in ["", ".", "..", "-a", "a/b", "a:b", "a@b", "a b", "ä", &"a".repeat(101)] {
        let said = outcome(house.decide(admin(), change(mcp_server(name))));
        assert_eq!(said, "/name", "{name}");
    }
}

#[test]
fn what_a_server_is_must_be_sound() {
    let plain = || mcp_server("files");
    let credential = || Some(Sealed([1].into()));
    let header = |name: &str| McpServerSpec {
        credential: credential(),
        credential_header: Some(name.into()),
        ..plain()
    };
    let adds = |name: &str| McpServerSpec { headers: vec![(name.into(), "1".into())], ..plain() };
    let tool = |bytes: usize| McpTool {
        name: "a".repeat(100).into(),
        description: "b".repeat(bytes).into(),
    };
    let offers = |tools| McpServerSpec {
        catalogue: Some(McpCatalogue { at: Timestamp(1), tools }),
        ..plain()
    };
    let cases = [
        (McpServerSpec { url: "ftp://a".into(), ..plain() }, "/url"),
        (McpServerSpec { url: "https://me:word@a/mcp".into(), ..plain() }, "/url"),
        (McpServerSpec { connect_timeout_ms: 0, ..plain() }, "/connect_timeout_ms"),
        (McpServerSpec { request_fee: NanoUsd(-1), ..plain() }, "/request_fee_usd"),
        (McpServerSpec { credential_header: Some("x".into()), ..plain() }, "/credential_header"),
        (header("X-Api-Key"), "McpServerChanged"),
        (header("Authorization"), "McpServerChanged"),
        (header("Mcp-Session-Id"), "/credential_header"),
        (header("Host"), "/credential_header"),
        (header("a b"), "/credential_header"),
        (adds("x-team"), "McpServerChanged"),
        (adds("authorization"), "/headers/0"),
        (adds("mcp-protocol-version"), "/headers/0"),
        (adds("accept"), "/headers/0"),
        (offers(vec![tool(200); 200]), "McpServerChanged"),
        (offers(vec![tool(201)]), "/tools"),
        (offers(vec![tool(0); MAX_CATALOGUE_BYTES / 100 + 1]), "/tools"),
        (offers(vec![McpTool { name: "".into(), description: "".into() }]), "/tools"),
    ];
    let house = House::furnished();
    for (place, (spec, said)) in cases.into_iter().enumerate() {
        assert_eq!(outcome(house.decide(admin(), change(spec))), said, "case {place}");
    }
}

#[test]
fn an_organisation_has_two_hundred_servers_at_most() {
    let mut house = House::furnished();
    let add = |id: usize| Command::ChangeMcpServer {
        server: McpServerId(u128::try_from(id).unwrap()),
        spec: Some(Box::new(mcp_server(&format!("server-{id}")))),
    };
    for id in 1..=MAX_MCP_SERVERS {
        house.done(admin(), add(id));
    }
    house.answers(vec![(admin(), add(MAX_MCP_SERVERS + 1), "state_conflict")]);
}

#[test]
fn a_key_reaches_what_its_scope_holds() {
    use McpMode::{AllowAll, AllowList, DenyAll, DenyList};
    let off = McpScope::default();
    let cases = [
        (off, Err(Denial::McpNotAllowed)),
        (scope(AllowAll, &[]), Ok(())),
        (scope(DenyAll, &[]), Err(Denial::McpNotAllowed)),
        (scope(AllowList, &["files"]), Ok(())),
        (scope(AllowList, &["other"]), Err(Denial::McpNotAllowed)),
        (scope(DenyList, &["files"]), Err(Denial::McpNotAllowed)),
        (scope(DenyList, &["other"]), Ok(())),
    ];
    for (mcp, expected) in cases {
        let (house, key) = with(mcp.clone());
        let found = reach(&house.org, &key, "files", HOME).map(|_| ());
        assert_eq!(found, expected, "{mcp:?}");
        assert_eq!(mcp_tool(&key, "files", "read"), expected, "{mcp:?}");
        let unknown = reach(&house.org, &key, "nowhere", HOME).map(|_| ());
        assert_eq!(unknown, Err(Denial::NotFound));
    }
}

#[test]
fn a_tool_list_binds_its_server_only() {
    let tools = BTreeMap::from([("files".into(), names(&["read"]))]);
    let (_, key) = with(McpScope { tools, ..scope(McpMode::AllowAll, &[]) });
    assert_eq!(mcp_tool(&key, "files", "read"), Ok(()));
    assert_eq!(mcp_tool(&key, "files", "remove"), Err(Denial::McpNotAllowed));
    assert_eq!(mcp_tool(&key, "search", "remove"), Ok(()));
}

#[test]
fn addresses_and_switched_off_servers_are_refused() {
    let (mut house, mut key) = with(scope(McpMode::AllowAll, &[]));
    let elsewhere = Cidr::single([192, 0, 2, 1].into());
    key.profile.scopes.addresses = Some(BTreeSet::from([elsewhere]));
    assert_eq!(reach(&house.org, &key, "files", HOME).unwrap_err(), Denial::IpNotAllowed);
    key.profile.scopes.addresses = None;
    house.done(admin(), change(McpServerSpec { disabled: true, ..mcp_server("files") }));
    assert_eq!(reach(&house.org, &key, "files", HOME).unwrap_err(), Denial::NotFound);
}

#[test]
fn a_call_costs_the_fee_at_the_plans_multiplier() {
    let spec = McpServerSpec { request_fee: NanoUsd(1_000_001), ..mcp_server("files") };
    let reserved = call_reservation(&spec, Multiplier(1_500_000));
    assert_eq!((reserved.input, reserved.output), (0, 0));
    assert_eq!(reserved.cost, NanoUsd(1_500_002));
    assert_eq!(call_reservation(&mcp_server("free"), Multiplier(1)).cost, NanoUsd::ZERO);
}
