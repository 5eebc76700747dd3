//! MCP messages from end to end: a caller, the gateway and a scripted server on real sockets.

use std::collections::{BTreeMap, BTreeSet};

use turnpike_domain::id::McpServerId;
use turnpike_domain::scope::{McpMode, McpScope};
use turnpike_domain::state::{McpServer, McpServerSpec};

use super::*;

const INITIALIZE: &str = r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{}}"#;
const LIST: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
const READ: &str =
    r#"{"jsonrpc":"2.0","id":"a","method":"tools/call","params":{"name":"read","arguments":{}}}"#;
const WRITE: &str = r#"{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"write"}}"#;
const TOOLS: &str =
    r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[ {"name":"read"},{"name":"write"} ]}}"#;
const SEEN: &str = r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"read"}]}}"#;
const DONE: &str = r#"{"jsonrpc":"2.0","id":"a","result":{"content":[]}}"#;
/// What one call costs.
const FEE: NanoUsd = NanoUsd(2_000_000);

/// MCP on, and of the server `files` the tool `read` alone.
fn scope() -> McpScope {
    let read = BTreeSet::from(["read".into()]);
    McpScope {
        enabled: true,
        mode: McpMode::AllowList,
        servers: BTreeSet::from(["files".into()]),
        tools: BTreeMap::from([("files".into(), read)]),
    }
}

fn house(core: &TestCore, mcp: McpScope, limits: Limits) -> House {
    let house = House::limited(core, limits.clone());
    change(&house, Some(key(limits, Scopes { mcp, ..Scopes::default() })));
    house
}

/// Puts `after` in the place of the key, or nothing.
fn change(house: &House, after: Option<Arc<Key>>) {
    let mut organisation = Organisation::new(fake::ORG);
    for (number, name) in [(5, "files"), (6, "other")] {
        let spec = McpServerSpec {
            name: name.into(),
            url: format!("http://{}/mcp/", house.providers[0].address).into(),
            credential: Some(Sealed(Box::from(&b"sealed"[..]))),
            credential_header: None,
            headers: vec![("x-account".into(), "7".into())],
            connect_timeout_ms: 5_000,
            answer_timeout_ms: 5_000,
            idle_timeout_ms: 5_000,
            request_fee: FEE,
            disabled: false,
            catalogue: None,
        };
        organisation.mcp_servers.insert(McpServerId(number), McpServer { spec, seq: 4 });
    }
    let before = key(Limits::default(), Scopes::default());
    organisation.keys.extend(after.iter().map(|key| (key.id, Arc::clone(key))));
    let cell = Arc::new(OrgCell::new(OrgView::of(&organisation, false)));
    house.core.table.replace(&cell, &organisation, false, Some(&before), after.as_ref());
}

fn request(method: &str, path: &str, headers: &str, body: &str) -> String {
    let secret = fake::secret(1, 0);
    format!(
        "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
         authorization: Bearer {}\r\ncookie: leak\r\nx-api-key: leak\r\n\
         content-type: application/json\r\naccept: application/json, text/event-stream\r\n\
         {headers}content-length: {}\r\n\r\n{body}",
        secret.expose(),
        body.len()
    )
}

async fn post(house: &House, headers: &str, body: &str) -> String {
    house.ask(&request("POST", "/mcp/files", headers, body)).await
}

/// The error that an answer tells.
fn error(answer: &str) -> serde_json::Value {
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    serde_json::from_str::<serde_json::Value>(body).unwrap()
}

/// Serves one request with `answer`, and tells what came.
async fn serve_one(house: &House, answer: &str) -> String {
    let mut connection = house.providers[0].connection().await;
    let request = connection.request().await;
    answer_json(&mut connection, "200 OK", answer).await;
    request
}

#[test]
fn a_message_passes_with_the_servers_credential_for_the_callers() {
    on_a_core(|core| async move {
        let house = house(&core, scope(), Limits::default());
        let headers = "mcp-protocol-version: 2025-11-25\r\nmcp-param-a: b\r\n";
        let served = serve_one(&house, DONE);
        let (request, answer) = join!(served, post(&house, headers, READ));
        assert!(request.starts_with("POST /mcp/ HTTP/1.1\r\n"), "{request}");
        for sent in
            ["authorization: Bearer provider-secret", "x-account: 7", "mcp-param-a: b", "accept: a"]
        {
            assert!(request.contains(sent), "{sent}: {request}");
        }
        assert!(!request.contains("leak") && !request.contains("tp-"), "{request}");
        assert!(request.ends_with(READ), "{request}");
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with(DONE), "{answer}");
        assert!(answer.contains("x-turnpike-cost-usd: 0.002\r\n"), "{answer}");
        assert!(!answer.contains("leak"), "{answer}");

        let [record] = &house.booked().await[..] else { panic!("one record") };
        let named = (record.server.as_deref(), record.tool.as_deref(), &*record.model);
        assert_eq!(named, (Some("files"), Some("read"), "mcp/files"));
        assert_eq!((record.cost, record.reserved, record.status), (FEE, FEE, 200));
        assert_eq!((record.usage.tokens(), record.provider), (0, None));
    });
}

#[test]
fn tools_that_the_key_may_not_use_are_neither_seen_nor_called() {
    on_a_core(|core| async move {
        let house = house(&core, scope(), Limits::default());
        let (_, answer) = join!(serve_one(&house, TOOLS), post(&house, "", LIST));
        assert!(answer.ends_with(SEEN), "{answer}");
        let refused = post(&house, "", WRITE).await;
        assert!(refused.starts_with("HTTP/1.1 200 OK\r\n"), "{refused}");
        assert!(refused.contains("x-turnpike-error-code: mcp_not_allowed\r\n"), "{refused}");
        let told = error(&refused);
        assert_eq!((&told["id"], &told["error"]["code"]), (&2.into(), &(-32_602).into()));
        let decision = told["error"]["data"]["decision_id"].as_str().unwrap();
        let decision = Decision::open(decision, &fake::decisions()).unwrap();
        let named = (decision.server.as_deref(), decision.tool.as_deref(), decision.denial);
        assert_eq!(named, (Some("files"), Some("write"), Denial::McpNotAllowed));
        let sent =
            "mcp-protocol-version: 2026-07-28\r\nmcp-method: tools/call\r\nmcp-name: write\r\n";
        let refused = post(&house, sent, WRITE).await;
        assert!(refused.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{refused}");
    });
}

#[test]
fn a_stream_of_events_is_filtered_too() {
    on_a_core(|core| async move {
        let house = house(&core, scope(), Limits::default());
        let serve = async {
            let mut connection = house.providers[0].connection().await;
            assert!(connection.request().await.starts_with("GET /mcp/ HTTP/1.1\r\n"));
            begin_events(&mut connection).await;
            let (begin, rest) = TOOLS.split_at(30);
            connection.piece(&format!("id: 7\ndata: {{}}\n\nid: 8\ndata: {begin}")).await;
            connection.piece(&format!("{rest}\n\n")).await;
            connection.piece("").await;
        };
        let asked = request("GET", "/mcp/files", "last-event-id: 6\r\n", "");
        let ((), answer) = join!(serve, house.ask(&asked));
        assert_eq!(unchunked(&answer), format!("id: 7\ndata: {{}}\n\nid: 8\ndata: {SEEN}\n\n"));
    });
}

#[test]
fn what_a_key_may_not_reach_is_refused_before_the_server_hears_of_it() {
    on_a_core(|core| async move {
        let house = house(&core, scope(), Limits::default());
        let modern = "mcp-protocol-version: 2026-07-28\r\n";
        let cases = [
            ("POST", "/mcp/other", "", LIST, 403, -32_602),
            ("POST", "/mcp/nowhere", "", LIST, 404, -32_000),
            ("POST", "/mcp/files", "origin: http://evil.example\r\n", LIST, 403, -32_602),
            ("POST", "/mcp/files", "mcp-protocol-version: 2024-11-05\r\n", LIST, 400, -32_022),
            ("POST", "/mcp/files", modern, LIST, 400, -32_020),
            ("POST", "/mcp/files", "mcp-method: ping\r\n", LIST, 400, -32_020),
            ("POST", "/mcp/files", "mcp-session-id: stolen\r\n", LIST, 404, -32_000),
            ("POST", "/mcp/files", "", "[]", 400, -32_600),
            ("GET", "/mcp/files", modern, "", 405, -32_000),
            ("PUT", "/mcp/files", "", "", 405, -32_000),
        ];
        for (method, path, headers, body, status, code) in cases {
            let answer = house.ask(&request(method, path, headers, body)).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{path}: {answer}");
            assert_eq!(error(&answer)["error"]["code"], code, "{answer}");
            assert_eq!(error(&answer)["jsonrpc"], "2.0");
        }
        let nobody = house.ask("POST /mcp/files HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        let answer = nobody.await;
        assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
        assert!(answer.contains("www-authenticate: Bearer\r\n"), "{answer}");
    });
}

#[test]
fn a_session_belongs_to_its_key() {
    on_a_core(|core| async move {
        let house = house(&core, scope(), Limits::default());
        let begin = async {
            let mut connection = house.providers[0].connection().await;
            connection.request().await;
            let head = "HTTP/1.1 200 OK\r\nmcp-session-id: theirs\r\ncontent-length: 2\r\n\r\n{}";
            connection.write(head).await;
        };
        let ((), answer) = join!(begin, post(&house, "", INITIALIZE));
        let name = answer.lines().find_map(|line| line.strip_prefix("mcp-session-id: ")).unwrap();
        assert!(!name.contains("theirs"));
        let session = format!("mcp-session-id: {name}\r\n");
        let (request, _) = join!(serve_one(&house, TOOLS), post(&house, &session, LIST));
        assert!(request.contains("mcp-session-id: theirs\r\n"), "{request}");
        // The other server's path, though the key may reach it.
        let open = McpScope { enabled: true, ..McpScope::default() };
        let open = Scopes { mcp: open, ..Scopes::default() };
        change(&house, Some(key(Limits::default(), open.clone())));
        let elsewhere = request_to("/mcp/other", &session);
        assert!(house.ask(&elsewhere).await.starts_with("HTTP/1.1 404 "));
        // Another key with the same secret.
        let mut other = Key::clone(&key(Limits::default(), open));
        other.id = fake::key(2);
        change(&house, Some(Arc::new(other)));
        assert!(post(&house, &session, LIST).await.starts_with("HTTP/1.1 404 "));
    });
}

fn request_to(path: &str, headers: &str) -> String {
    request("POST", path, headers, LIST)
}

#[test]
fn a_stopped_key_gets_nothing_more_of_a_stream() {
    on_a_core(|core| async move {
        let open = McpScope { enabled: true, ..McpScope::default() };
        let house = house(&core, open, Limits::default());
        let serve = async {
            let mut connection = house.providers[0].connection().await;
            connection.request().await;
            begin_events(&mut connection).await;
            connection.piece("data: {}\n\n").await;
            connection
        };
        let caller = async {
            let mut stream = TcpStream::connect(house.address).await.unwrap();
            let asked = request("GET", "/mcp/files", "", "");
            stream.write_all(asked.as_bytes()).await.unwrap();
            let mut seen = String::new();
            while !seen.contains("data: {}") {
                let mut piece = [0; 1_024];
                let read = stream.read(&mut piece).await.unwrap();
                assert!(read > 0, "{seen}");
                seen.push_str(std::str::from_utf8(&piece[..read]).unwrap());
            }
            stream
        };
        let (mut connection, mut stream) = join!(serve, caller);
        change(&house, None);
        connection.piece("data: secret\n\n").await;
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.unwrap();
        assert!(!String::from_utf8_lossy(&rest).contains("secret"));
        connection.closed().await;
    });
}

#[test]
fn a_message_that_comes_slowly_is_passed_by_what_its_key_may_when_it_is_there() {
    on_a_core(|core| async move {
        let house = house(&core, scope(), Limits::default());
        let whole = request("POST", "/mcp/files", "", READ);
        let (first, rest) = whole.split_at(whole.len() - 10);
        let mut stream = TcpStream::connect(house.address).await.unwrap();
        stream.write_all(first.as_bytes()).await.unwrap();
        house.core.clock().sleep(2 * LOOK_AGAIN_MS).await;
        let tools = BTreeMap::from([("files".into(), BTreeSet::from(["write".into()]))]);
        let mcp = McpScope { tools, ..scope() };
        change(&house, Some(key(Limits::default(), Scopes { mcp, ..Scopes::default() })));
        stream.write_all(rest.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.contains("x-turnpike-error-code: mcp_not_allowed\r\n"), "{answer}");
        assert_eq!(error(&answer)["id"], "a");
        // Nothing of it has come to the server: what does is the next message.
        let next = WRITE.replace("2,", "3,");
        let (served, _) = join!(serve_one(&house, DONE), post(&house, "", &next));
        assert!(served.ends_with(&next), "{served}");
    });
}

#[test]
fn a_failing_server_costs_nothing_and_is_told_as_json_rpc() {
    on_a_core(|core| async move {
        let house = house(&core, scope(), Limits::default());
        let fail = async {
            let mut connection = house.providers[0].connection().await;
            connection.request().await;
            answer_json(&mut connection, "401 Unauthorized", "{}").await;
        };
        let ((), answer) = join!(fail, post(&house, "", READ));
        assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
        assert_eq!(error(&answer)["error"]["data"]["error_code"], "provider_error");
        assert_eq!(error(&answer)["id"], "a");
        let [record] = &house.booked().await[..] else { panic!("one record") };
        assert_eq!((record.cost, record.status), (NanoUsd::ZERO, 502));
    });
}

#[test]
fn an_answer_that_cannot_be_looked_through_is_not_shown() {
    on_a_core(|core| async move {
        let house = house(&core, scope(), Limits::default());
        let twice = r#"{"id":1,"result":{},"result":{"tools":[{"name":"write"}]}}"#;
        let (_, answer) = join!(serve_one(&house, twice), post(&house, "", LIST));
        assert!(answer.starts_with("HTTP/1.1 502 ") && !answer.contains("write"), "{answer}");
    });
}
