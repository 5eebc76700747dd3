//! The client of the management API: one call, tried again while the control plane is away.

mod answer;
mod call;
mod lookup;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use bytes::BytesMut;
use http::StatusCode;
use reqwest::{Response, Url};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use tokio::sync::OnceCell;
use turnpike_domain::id::CommandId;
use turnpike_domain::time::SECOND_MS;
use turnpike_runtime::clock::SharedClock;
use turnpike_runtime::connector::{Connector, ConnectorOptions, HttpClient};
use turnpike_runtime::entropy;
use turnpike_wire::api::problem::Problem;

use crate::failure::Failure;

pub(crate) use answer::Answer;
pub(crate) use call::Call;
pub(crate) use lookup::Kind;

/// Where `turnpike dev` answers.
const DEFAULT_URL: &str = "http://127.0.0.1:7070";
/// Tries of one call: with the waits between them a control plane has time to restart.
const MAX_TRIES: u32 = 5;
/// The wait before the second try; it doubles with each.
const FIRST_WAIT_MS: u64 = 100;
/// How long a call may take, beside what it waits for gateways.
const CALL_TIMEOUT_MS: u64 = 40 * SECOND_MS;
/// The largest answer that is read: a page of a thousand keys is a few megabytes.
pub(crate) const MAX_ANSWER_BYTES: usize = 64 << 20;
/// What is repeated of an answer that is no problem report.
const MAX_QUOTED_CHARS: usize = 200;
/// The largest file of a secret: a token has 71 characters, a password at most 128.
const MAX_SECRET_BYTES: u64 = 4_096;

/// How the control plane is reached. These options stand beside those of every command: ids of
/// their own keep one that a command calls the same, such as the token to delete, from being taken
/// for them.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Connection")]
pub(crate) struct Access {
    /// Where the control plane answers
    #[arg(id = "access_url", long = "url", global = true, value_name = "URL",
          env = "TURNPIKE_URL", default_value = DEFAULT_URL)]
    url: String,
    /// Management token; prefer the variable or a file: others can read command lines
    #[arg(
        id = "access_token",
        long = "token",
        global = true,
        value_name = "mk-tp-…",
        env = "TURNPIKE_TOKEN",
        hide_env_values = true
    )]
    token: Option<SecretString>,
    /// File that holds the management token; it wins over --token
    #[arg(id = "access_token_file", long = "token-file", global = true, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Organisation [default: the token's own]
    #[arg(
        id = "access_org",
        long = "org",
        global = true,
        value_name = "ORG",
        env = "TURNPIKE_ORG"
    )]
    org: Option<String>,
}

/// The management API, as one token sees it.
pub(crate) struct Client {
    http: HttpClient,
    base: Url,
    token: Option<SecretString>,
    org: OnceCell<String>,
    clock: SharedClock,
}

impl Client {
    /// A client for this access; nothing is called yet.
    ///
    /// # Errors
    /// [`Failure::Usage`] without a URL that can be meant.
    pub(crate) fn new(access: &Access, clock: SharedClock) -> Result<Self, Failure> {
        let base = Url::parse(&access.url).ok().filter(|url| !url.cannot_be_a_base());
        let base = base.ok_or_else(|| {
            Failure::Usage(format!("{} is no URL such as {DEFAULT_URL}", access.url))
        })?;
        let token = match &access.token_file {
            Some(path) => Some(read_secret(path)?),
            None => access.token.clone(),
        };
        // The address is the user's own choice: a control plane mostly stands inside the walls.
        let options = ConnectorOptions { allow_private: true, ..ConnectorOptions::default() };
        let http = Connector::new(&options, clock.clone())?.client()?;
        let org = OnceCell::new_with(access.org.clone());
        Ok(Self { http, base, token, org, clock })
    }

    /// The clock of this client's waits.
    pub(crate) fn clock(&self) -> &SharedClock {
        &self.clock
    }

    /// The organisation that was named, for who has no token of its own yet.
    ///
    /// # Errors
    /// [`Failure::Usage`] if none was.
    pub(crate) fn named_org(&self) -> Result<&str, Failure> {
        let how = || Failure::Usage("Say which organisation has invited you: --org".to_owned());
        self.org.get().map(String::as_str).ok_or_else(how)
    }

    /// The id of the organisation that is asked about.
    ///
    /// # Errors
    /// Those of [`Self::send`].
    pub(crate) async fn org(&self) -> Result<&str, Failure> {
        let own = || async {
            let me = self.send(&Call::get(["me"])).await?;
            let id = me.pointer("/org/id").and_then(Value::as_str);
            id.map(ToOwned::to_owned).ok_or_else(|| self.strange("without an organisation"))
        };
        self.org.get_or_try_init(own).await.map(String::as_str)
    }

    /// Makes a call and answers with its JSON. A call that may have been lost is made again under
    /// the same `Idempotency-Key`, so that it happens once.
    ///
    /// # Errors
    /// What the control plane refused, or why it was not reached.
    pub(crate) async fn send(&self, call: &Call) -> Result<Answer, Failure> {
        let timeout_ms = CALL_TIMEOUT_MS.saturating_add(call.waits_ms);
        let answer = self.open(call, timeout_ms).await?;
        let body = read(answer).await.map_err(|source| self.unreachable(source))?;
        let body = body.ok_or_else(|| self.strange("more than can be read"))?;
        Answer::read(&body).map_err(|_| self.strange("without JSON"))
    }

    /// Makes a call and answers as soon as the answer begins; `timeout_ms` bounds all of it.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub(crate) async fn open(&self, call: &Call, timeout_ms: u64) -> Result<Response, Failure> {
        let command = CommandId(entropy::id(self.clock.now())).to_string();
        let mut wait_ms = FIRST_WAIT_MS;
        for _ in 1..MAX_TRIES {
            match self.once(call, &command, timeout_ms).await {
                Err(failure) if failure.is_passing() => {
                    tracing::debug!(%failure, wait_ms, "trying again");
                    self.clock.sleep(wait_ms + entropy::jitter_ms(wait_ms)).await;
                    wait_ms *= 2;
                }
                settled => return settled,
            }
        }
        self.once(call, &command, timeout_ms).await
    }

    async fn once(&self, call: &Call, command: &str, timeout_ms: u64) -> Result<Response, Failure> {
        let url = call.url(&self.base);
        let timeout = std::time::Duration::from_millis(timeout_ms);
        let request = self.http.request(call.method.clone(), url.as_str())?;
        let mut request = request.timeout(timeout);
        if !call.is_open {
            let how = "set TURNPIKE_TOKEN to a management token, or name a --token-file";
            let token = self.token.as_ref().ok_or_else(|| Failure::Usage(how.to_owned()))?;
            request = request.bearer_auth(token.expose_secret());
        }
        if call.method != http::Method::GET {
            request = request.header("idempotency-key", command);
        }
        if let Some(accept) = call.accept {
            request = request.header(http::header::ACCEPT, accept);
        }
        if let Some(body) = &call.body {
            request = request.json(body);
        }
        if let Some((kind, file)) = &call.file {
            request = request.header(http::header::CONTENT_TYPE, *kind).body(file.clone());
        }
        let answer = request.send().await.map_err(|source| self.unreachable(source))?;
        if answer.status().is_success() { Ok(answer) } else { Err(self.refused(answer).await) }
    }

    async fn refused(&self, answer: Response) -> Failure {
        let status = answer.status();
        let body = read(answer).await.ok().flatten().unwrap_or_default();
        if let Ok(problem) = serde_json::from_slice::<Problem>(&body) {
            return Failure::Refused(Box::new(problem));
        }
        if status == StatusCode::SERVICE_UNAVAILABLE || status == StatusCode::BAD_GATEWAY {
            // A proxy in front of a control plane that restarts.
            return Failure::Away { url: self.base.to_string(), status: status.as_u16() };
        }
        let text = String::from_utf8_lossy(&body);
        let quoted: String = text.chars().take(MAX_QUOTED_CHARS).collect();
        self.strange(&format!("{status} {}", quoted.trim()))
    }

    pub(crate) fn unreachable(&self, source: reqwest::Error) -> Failure {
        Failure::Unreachable { url: self.base.to_string(), source: source.without_url() }
    }

    pub(crate) fn strange(&self, what: &str) -> Failure {
        Failure::Strange { url: self.base.to_string(), what: what.to_owned() }
    }
}

/// The secret that is all of a file.
///
/// # Errors
/// [`Failure::Io`] and [`Failure::Usage`].
pub(crate) fn read_secret(path: &Path) -> Result<SecretString, Failure> {
    let failed = |source| Failure::io(path.display().to_string())(source);
    let length = std::fs::metadata(path).map_err(failed)?.len();
    if length > MAX_SECRET_BYTES {
        return Err(Failure::Usage(format!("{} holds more than a secret", path.display())));
    }
    let text = std::fs::read_to_string(path).map_err(failed)?;
    Ok(text.trim().into())
}

/// The whole body; `None` if it is larger than anything that is sent to a client.
async fn read(mut answer: Response) -> Result<Option<BytesMut>, reqwest::Error> {
    let mut body = BytesMut::new();
    while let Some(chunk) = answer.chunk().await? {
        if body.len() + chunk.len() > MAX_ANSWER_BYTES {
            return Ok(None);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Some(body))
}
