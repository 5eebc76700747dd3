//! `turnpike dev` and the client as a person has them: the built binary, a folder, some ports.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use serde_json::{Value, json};

const TURNPIKE: &str = env!("CARGO_BIN_EXE_turnpike");
/// What `echo` asks for three words in and three words out.
const PRICE_OF_THREE: &str = "0.000009";
/// Questions until an answer must be there: each takes milliseconds.
const MAX_QUESTIONS: usize = 2_000;

/// A running `turnpike dev`.
struct Dev {
    process: Child,
    announced: Value,
}

impl Dev {
    fn start(data: &Path) -> Self {
        let mut process = Command::new(TURNPIKE)
            .args(["dev", "--control", "127.0.0.1:0", "--gateway", "127.0.0.1:0", "--json"])
            .arg("--data")
            .arg(data)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let announced = serde_json::from_str(&line).expect("one JSON line, or see standard error");
        Self { process, announced }
    }

    fn text(&self, field: &str) -> &str {
        self.announced[field].as_str().unwrap_or_else(|| panic!("{field} is not announced"))
    }

    /// Runs the client with a token.
    fn client(&self, token: &str, arguments: &[&str]) -> Output {
        let mut command = Command::new(TURNPIKE);
        command.args(arguments).stdin(Stdio::null()).env_remove("TURNPIKE_ORG");
        command.env("TURNPIKE_URL", self.text("control_url")).env("TURNPIKE_TOKEN", token);
        command.output().unwrap()
    }

    /// Calls a model with three words; the status and the answer.
    fn chat(&self, key: &str) -> (u16, Value) {
        let messages = json!([{ "role": "user", "content": "three short words" }]);
        let body = json!({ "model": "echo-1", "messages": messages }).to_string();
        let url = self.text("gateway_url");
        exchange(
            url,
            &format!("POST /v1/chat/completions HTTP/1.1\r\nauthorization: Bearer {key}\r\n"),
            &body,
        )
    }

    /// What the client says of usage, once `requests` requests are booked.
    fn usage(&self, token: &str, requests: u64) -> Value {
        for _ in 0..MAX_QUESTIONS {
            let said = self.client(token, &["usage", "--by", "model", "--json"]);
            let usage = json_of(&said);
            if usage["total"]["requests"] == requests {
                return usage;
            }
        }
        panic!("{requests} requests are not booked");
    }

    /// Ends it as a crash does.
    fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Ends it as an operator does.
    fn terminate(mut self) {
        let id = self.process.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        assert!(self.process.wait().unwrap().success());
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        // A test that failed; after the others it has ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// One HTTP exchange on a connection of its own.
fn exchange(url: &str, head: &str, body: &str) -> (u16, Value) {
    let address = url.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    let length = body.len();
    let request = format!(
        "{head}host: {address}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\
         connection: close\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap_or_default())
}

fn json_of(said: &Output) -> Value {
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    serde_json::from_slice(&said.stdout).unwrap()
}

fn lines_of(said: &Output) -> Vec<String> {
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    String::from_utf8(said.stdout.clone()).unwrap().lines().map(ToOwned::to_owned).collect()
}

#[test]
fn a_folder_outlives_its_process() {
    let data = tempfile::tempdir().unwrap();
    let first = Dev::start(data.path());
    let (token, key) = (first.text("management_token").to_owned(), first.text("key").to_owned());
    assert_eq!(first.announced.as_object().unwrap().len(), 12, "{}", first.announced);
    assert!(first.announced.as_object().unwrap().values().all(Value::is_string));

    // A call is answered, and costs what `echo` says that it served.
    let (status, answer) = first.chat(&key);
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["choices"][0]["message"]["content"], "three short words");
    let (_, served) = exchange(first.text("echo_url"), "GET /served HTTP/1.1\r\n", "");
    assert_eq!(
        served,
        json!({
            "requests": 1, "input_tokens": 3, "output_tokens": 3, "cost_usd": PRICE_OF_THREE,
        })
    );
    assert_eq!(first.usage(&token, 1)["total"]["cost_usd"], PRICE_OF_THREE);

    // A rotation with its proof: the old secret is dead when the client returns.
    let rotated = first.client(&token, &["key", "rotate", "default", "--wait"]);
    let said = lines_of(&rotated);
    let [fresh] = said.as_slice() else { panic!("not the secret alone: {said:?}") };
    let told = String::from_utf8_lossy(&rotated.stderr);
    assert!(told.contains("\napplied on 1 of 1 gateways, slowest "), "{told}");
    assert_eq!(first.chat(&key).0, 401);
    assert_eq!(first.chat(fresh).0, 200);
    first.usage(&token, 2);

    // Nobody else may use the folder, and what cannot be undone is not done unasked.
    let second = Command::new(TURNPIKE).args(["dev", "--data"]).arg(data.path()).output().unwrap();
    assert_eq!(second.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&second.stderr).contains("in use by another process"));
    let unasked = first.client(&token, &["key", "delete", "default"]);
    assert_eq!(unasked.status.code(), Some(2));
    let refused = first.client(&token, &["key", "create", "x", "--ips", "nowhere"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("--ips: must be"));
    let (org, key_id) = (first.text("org_id").to_owned(), first.text("key_id").to_owned());
    first.kill();

    // After a crash everything is there but what is shown once.
    let again = Dev::start(data.path());
    for once in ["management_token", "key", "owner_password"] {
        assert!(again.announced[once].is_null(), "{once}");
    }
    assert_eq!((again.text("org_id"), again.text("key_id")), (org.as_str(), key_id.as_str()));
    assert_eq!(again.chat(&key).0, 401, "the secret that was rotated away");
    assert_eq!(again.chat(fresh).0, 200);
    assert_eq!(again.usage(&token, 3)["total"]["cost_usd"], "0.000027");
    let verified = again.client(&token, &["audit", "verify", "--json"]);
    assert_eq!(json_of(&verified)["ok"], true);
    again.terminate();
}

#[test]
fn one_key_speaks_every_dialect() {
    let data = tempfile::tempdir().unwrap();
    let dev = Dev::start(data.path());
    let (token, key, url) =
        (dev.text("management_token"), dev.text("key"), dev.text("gateway_url"));
    assert_eq!(dev.chat(key).0, 200);
    let message = json!({
        "model": "echo-1", "max_tokens": 9,
        "messages": [{"role": "user", "content": "three short words"}],
    });
    let head = format!("POST /v1/messages HTTP/1.1\r\nx-api-key: {key}\r\n");
    let (status, answer) = exchange(url, &head, &message.to_string());
    assert_eq!((status, &answer["content"][0]["text"]), (200, &json!("three short words")));
    let content = json!({"contents": [{"parts": [{"text": "three short words"}]}]});
    let head = format!("POST /v1beta/models/echo-1:generateContent?key={key} HTTP/1.1\r\n");
    let (status, answer) = exchange(url, &head, &content.to_string());
    let said = &answer["candidates"][0]["content"]["parts"][0]["text"];
    assert_eq!((status, said), (200, &json!("three short words")));
    assert_eq!(dev.usage(token, 3)["total"]["cost_usd"], "0.000027");
    let (_, served) = exchange(dev.text("echo_url"), "GET /served HTTP/1.1\r\n", "");
    assert_eq!(served["cost_usd"], "0.000027");
}
