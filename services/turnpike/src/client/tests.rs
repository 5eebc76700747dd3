//! The client at a socket: what it repeats, what it says, what it makes of answers.

use std::net::SocketAddr;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use turnpike_runtime::clock;

use super::{Access, Call, Client};
use crate::failure::Failure;

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

fn access(address: SocketAddr) -> Access {
    let (url, token) = (format!("http://{address}"), Some("mk-tp-secret".into()));
    Access { url, token, token_file: None, org: None }
}

fn client(address: SocketAddr) -> Client {
    Client::new(&access(address), clock::system()).unwrap()
}

/// Takes one request a connection, gives the answers in turn, and tells the heads of the requests.
async fn answer(listener: TcpListener, answers: &[(&str, Value)]) -> Vec<String> {
    let mut heads = Vec::new();
    for (status, body) in answers {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = vec![0; 4_096];
        let length = stream.read(&mut request).await.unwrap();
        heads.push(String::from_utf8_lossy(&request[..length]).to_lowercase());
        let body = body.to_string();
        let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n", body.len());
        let answer = format!("{head}connection: close\r\n\r\n{body}");
        stream.write_all(answer.as_bytes()).await.unwrap();
    }
    heads
}

fn problem(status: u16, code: &str) -> Value {
    json!({
        "type": "about:blank", "title": "No.", "status": status, "code": code,
        "detail": "It was refused.", "request_id": "req_1", "errors": [],
    })
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

#[tokio::test]
async fn a_write_that_may_be_lost_is_made_again_under_the_same_number() {
    let (listener, address) = listen().await;
    let answers = [
        ("503 Service Unavailable", problem(503, "store_unavailable")),
        ("502 Bad Gateway", json!("a proxy")),
        ("201 Created", json!({ "id": "key_1" })),
    ];
    let (client, call) = (client(address), Call::post(["keys"], json!({ "name": "ci" })));
    let (heads, sent) = tokio::join!(answer(listener, &answers), client.send(&call));
    assert_eq!(sent.unwrap()["id"], "key_1");
    let numbers: Vec<_> = heads.iter().map(|head| header(head, "idempotency-key")).collect();
    assert!(numbers[0].is_some_and(|number| number.starts_with("cmd_")), "{numbers:?}");
    assert!(numbers.iter().all(|number| *number == numbers[0]), "{numbers:?}");
    assert_eq!(header(&heads[0], "authorization"), Some("bearer mk-tp-secret"));
}

#[tokio::test]
async fn a_refusal_is_told_and_not_repeated() {
    let (listener, address) = listen().await;
    let (client, call) = (client(address), Call::get(["me"]));
    let answers = [("409 Conflict", problem(409, "name_taken"))];
    let (heads, sent) = tokio::join!(answer(listener, &answers), client.send(&call));
    assert_eq!(sent.unwrap_err().to_string(), "It was refused. (name_taken, req_1)");
    assert_eq!(header(&heads[0], "idempotency-key"), None, "a reading has no number");
}

#[tokio::test]
async fn what_is_no_control_plane_is_named() {
    let (listener, address) = listen().await;
    let (client, call) = (client(address), Call::get(["me"]));
    let answers = [("404 Not Found", json!("an office"))];
    let (_, sent) = tokio::join!(answer(listener, &answers), client.send(&call));
    let told = sent.unwrap_err().to_string();
    assert!(told.contains("404 Not Found \"an office\": is it the address of"), "{told}");
}

#[tokio::test]
async fn the_organisation_is_the_tokens_own_and_asked_for_once() {
    let (listener, address) = listen().await;
    let client = client(address);
    let answers = [("200 OK", json!({ "org": { "id": "org_1" } }))];
    let path = async {
        let first = client.in_org(&["keys"]).await.map(|path| path.join("/"));
        (first, client.in_org(&["keys"]).await.map(|path| path.join("/")))
    };
    let (_, (first, second)) = tokio::join!(answer(listener, &answers), path);
    assert_eq!(first.unwrap(), "orgs/org_1/keys");
    assert_eq!(second.unwrap(), "orgs/org_1/keys");
}

#[tokio::test]
async fn a_token_is_needed_and_a_file_wins() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "mk-tp-of-the-file\n").unwrap();
    let access = |url: &str, token: Option<&str>, path: Option<&std::path::Path>| Access {
        url: url.to_owned(),
        token: token.map(Into::into),
        token_file: path.map(ToOwned::to_owned),
        org: None,
    };
    let made = |access: Access| Client::new(&access, clock::system());
    let url = "http://127.0.0.1:7070";
    let nobody = made(access(url, None, None)).unwrap();
    let asked = nobody.send(&Call::get(["me"])).await;
    assert!(matches!(asked, Err(Failure::Usage(_))));
    assert!(matches!(nobody.named_org(), Err(Failure::Usage(_))));
    assert!(matches!(made(access("here", Some("mk"), None)), Err(Failure::Usage(_))));
    let missing = std::path::Path::new("/nowhere/token");
    assert!(matches!(made(access(url, None, Some(missing))), Err(Failure::Io { .. })));
    let both = made(access(url, Some("mk"), Some(file.path()))).unwrap();
    let token = both.token.unwrap();
    assert_eq!(secrecy::ExposeSecret::expose_secret(&token), "mk-tp-of-the-file");
}

#[tokio::test]
async fn an_invitation_is_accepted_without_a_token() {
    let (listener, address) = listen().await;
    let access = Access { org: Some("org_1".to_owned()), token: None, ..access(address) };
    let client = Client::new(&access, clock::system()).unwrap();
    let path = ["orgs", client.named_org().unwrap(), "members", "accept"];
    let call = Call::post(path, json!({ "invitation": "iv" })).open();
    let answers = [("200 OK", json!({ "id": "mem_1" }))];
    let (heads, sent) = tokio::join!(answer(listener, &answers), client.send(&call));
    assert_eq!(sent.unwrap()["id"], "mem_1");
    assert!(heads[0].starts_with("post /api/v1/orgs/org_1/members/accept "), "{}", heads[0]);
    assert_eq!(header(&heads[0], "authorization"), None);
}
