//! The control plane over its internal HTTP API.

use std::time::Duration;

use futures_util::StreamExt as _;
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde::de::DeserializeOwned;
use turnpike_bus::seam::BoxFuture;
use turnpike_domain::id::{GatewayId, OrgId};
use turnpike_domain::time::Timestamp;
use turnpike_runtime::config::Secret;
use turnpike_runtime::connector::HttpClient;
use turnpike_wire::heartbeat::MovedHead;
use turnpike_wire::hex;
use turnpike_wire::join::{
    GATEWAY_HEADER, HEADS_PATH, HeadsReply, JOIN_PATH, JoinReply, JoinRequest, LEAVE_PATH,
    SIGNERS_PATH, SNAPSHOT_PATH, SignersReply, StreamHead,
};
use turnpike_wire::sign::{Signers, VerifyingKey};
use turnpike_wire::snapshot::{Assembly, Snapshot, Splitter};

use super::{Heads, Joined, Upstairs, UpstairsError};

/// How long all streams together may take: millions of keys over a slow line. Where nothing comes
/// any more it ends earlier.
const SNAPSHOT_TIMEOUT: Duration = Duration::from_secs(600);
/// The largest JSON answer: the heads of 200,000 organisations.
const MAX_JSON_BYTES: usize = 32 << 20;

/// The control plane at a URL.
pub struct HttpUpstairs {
    client: HttpClient,
    url: String,
    token: Secret,
    name: String,
    /// The id of an earlier run, or the one that it proposes.
    known_as: GatewayId,
}

impl HttpUpstairs {
    /// The control plane at `url`, for the gateway called `name`; `known_as` is the id that it was
    /// given before, or one that nobody has.
    #[must_use]
    pub fn new(
        client: HttpClient,
        url: &str,
        token: Secret,
        name: &str,
        known_as: GatewayId,
    ) -> Self {
        let url = url.trim_end_matches('/').to_owned();
        Self { client, url, token, name: name.to_owned(), known_as }
    }

    fn call(
        &self,
        method: Method,
        path: &str,
        joined: Option<&Joined>,
    ) -> Result<RequestBuilder, UpstairsError> {
        let request = self.client.request(method, &format!("{}{path}", self.url));
        let request = request.map_err(|error| UpstairsError::Unreachable(error.to_string()))?;
        let request = request.bearer_auth(self.token.expose());
        Ok(match joined {
            Some(joined) => request.header(GATEWAY_HEADER, joined.gateway.to_string()),
            None => request,
        })
    }

    async fn take_part(&self) -> Result<Joined, UpstairsError> {
        let gateway = Some(self.known_as.to_string());
        let request = JoinRequest { name: self.name.clone(), gateway };
        let call = self.call(Method::POST, JOIN_PATH, None)?.json(&request);
        let reply: JoinReply = json(send(call).await?).await?;
        Ok(Joined {
            gateway: parse(&reply.gateway)?,
            org: reply.org.as_deref().map(parse).transpose()?,
            signers: signers(&reply.verifying_keys)?,
        })
    }

    async fn fetch(
        &self,
        joined: &Joined,
        org: Option<OrgId>,
    ) -> Result<Vec<Snapshot>, UpstairsError> {
        let path = match org {
            Some(org) => format!("{SNAPSHOT_PATH}?org={org}"),
            None => SNAPSHOT_PATH.to_owned(),
        };
        let call = self.call(Method::GET, &path, Some(joined))?.timeout(SNAPSHOT_TIMEOUT);
        let mut pieces = send(call).await?.bytes_stream();
        let mut splitter = Splitter::default();
        let mut assembly = Assembly::new(joined.signers.clone());
        let mut snapshots = Vec::new();
        let mut within = false;
        while let Some(piece) = pieces.next().await {
            splitter.push(&piece.map_err(unreachable)?);
            while let Some(frame) = splitter.next_frame().map_err(wrong)? {
                let whole = assembly.take(frame).map_err(wrong)?;
                within = whole.is_none();
                if let Some(snapshot) = whole {
                    snapshots.push(snapshot);
                    assembly = Assembly::new(joined.signers.clone());
                }
            }
        }
        if within || splitter.is_cut() {
            return Err(UpstairsError::Wrong("the snapshot is cut".to_owned()));
        }
        Ok(snapshots)
    }

    async fn ask_heads(&self, joined: &Joined) -> Result<Heads, UpstairsError> {
        let call = self.call(Method::GET, HEADS_PATH, Some(joined))?;
        let reply: HeadsReply = json(send(call).await?).await?;
        let heads = reply.heads.iter().map(head).collect::<Result<_, _>>()?;
        let now = reply.now_ms.map(Timestamp);
        Ok(Heads { incarnation: parse(&reply.incarnation)?, now, heads })
    }

    async fn ask_signers(&self, joined: &Joined) -> Result<Signers, UpstairsError> {
        let call = self.call(Method::GET, SIGNERS_PATH, Some(joined))?;
        let reply: SignersReply = json(send(call).await?).await?;
        signers(&reply.verifying_keys)
    }
}

impl Upstairs for HttpUpstairs {
    fn join(&self) -> BoxFuture<'_, Result<Joined, UpstairsError>> {
        Box::pin(self.take_part())
    }

    fn snapshot<'a>(
        &'a self,
        joined: &'a Joined,
        org: Option<OrgId>,
    ) -> BoxFuture<'a, Result<Vec<Snapshot>, UpstairsError>> {
        Box::pin(self.fetch(joined, org))
    }

    fn heads<'a>(&'a self, joined: &'a Joined) -> BoxFuture<'a, Result<Heads, UpstairsError>> {
        Box::pin(self.ask_heads(joined))
    }

    fn signers<'a>(&'a self, joined: &'a Joined) -> BoxFuture<'a, Result<Signers, UpstairsError>> {
        Box::pin(self.ask_signers(joined))
    }

    fn leave<'a>(&'a self, joined: &'a Joined) -> BoxFuture<'a, Result<(), UpstairsError>> {
        Box::pin(async move {
            let call = self.call(Method::POST, LEAVE_PATH, Some(joined))?;
            send(call).await.map(drop)
        })
    }
}

/// Sends a call; an answer that is none of success is an error.
async fn send(call: RequestBuilder) -> Result<Response, UpstairsError> {
    let response = call.send().await.map_err(unreachable)?;
    match response.status() {
        status if status.is_success() => Ok(response),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(UpstairsError::Refused),
        status if status.is_server_error() => Err(UpstairsError::Unreachable(status.to_string())),
        status => Err(UpstairsError::Wrong(status.to_string())),
    }
}

async fn json<T: DeserializeOwned>(response: Response) -> Result<T, UpstairsError> {
    let mut pieces = response.bytes_stream();
    let mut body = Vec::new();
    while let Some(piece) = pieces.next().await {
        body.extend_from_slice(&piece.map_err(unreachable)?);
        if body.len() > MAX_JSON_BYTES {
            return Err(UpstairsError::Wrong("over 32 MiB of JSON".to_owned()));
        }
    }
    serde_json::from_slice(&body).map_err(wrong)
}

fn head(stream: &StreamHead) -> Result<MovedHead, UpstairsError> {
    let hash = bytes32(&stream.hash)?;
    Ok(MovedHead { org: parse(&stream.org)?, seq: stream.seq, hash })
}

fn signers(texts: &[String]) -> Result<Signers, UpstairsError> {
    let key = |text: &String| VerifyingKey::from_bytes(&bytes32(text)?).map_err(wrong);
    let keys = texts.iter().map(key).collect::<Result<Vec<_>, _>>()?;
    if keys.is_empty() { Err(wrong("it has no keys")) } else { Ok(Signers::new(keys)) }
}

fn bytes32(text: &str) -> Result<[u8; 32], UpstairsError> {
    hex::read(text).ok_or_else(|| UpstairsError::Wrong("expected 64 hexadecimal digits".to_owned()))
}

fn parse<T: std::str::FromStr<Err: std::fmt::Display>>(text: &str) -> Result<T, UpstairsError> {
    text.parse().map_err(wrong)
}

fn wrong(error: impl std::fmt::Display) -> UpstairsError {
    UpstairsError::Wrong(error.to_string())
}

fn unreachable(error: reqwest::Error) -> UpstairsError {
    // The URL names a host, never a secret; it is in the log already.
    UpstairsError::Unreachable(error.without_url().to_string())
}
