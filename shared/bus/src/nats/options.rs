//! How to reach the NATS servers; secrets are never printed.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use async_nats::{ConnectOptions, ServerAddr};
use turnpike_domain::id::GatewayId;
use turnpike_domain::time::SECOND_MS;
use turnpike_runtime::entropy;

use super::streams::StreamLimits;
use crate::subject;

/// Messages that one subscription may hold in this process. JetStream's flow control lets at most
/// 32 MB be on their way; with the 128 bytes that a message takes at least, all of it fits.
const SUBSCRIPTION_MESSAGES: usize = 256 * 1_024;

/// Commands that wait for the socket: more publications than may be in flight, and the answers to
/// as many calls.
const QUEUED_COMMANDS: usize = 16 * 1_024;

/// How long one attempt to connect may take, TLS and login included. An attempt into a network that
/// drops everything ends before the network's healing would be noticed late.
const CONNECT: Duration = Duration::from_millis(2 * SECOND_MS);

/// The wait before the first attempt to connect; it doubles up to the last. A key that was revoked
/// during a partition is refused within two seconds of its end, of which this is one.
const FIRST_RETRY_MS: u64 = 20;
const LAST_RETRY_MS: u64 = SECOND_MS;

/// An option that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OptionsError {
    /// No server is named.
    #[error("no NATS server is named")]
    NoServers,
    /// A server's address is not of the form `nats://host:port`. It is not shown: it may hold a
    /// password.
    #[error("server {0} is not of the form nats://host:port")]
    Address(usize),
    /// The file with the credentials cannot be read.
    #[error("the credentials file cannot be read: {0}")]
    CredentialsFile(#[source] std::io::Error),
    /// The client cannot be made of these options.
    #[error("the NATS client cannot be made: {0}")]
    Client(#[from] async_nats::ConnectError),
}

/// Who this process is to the server.
#[derive(Clone, Default)]
pub enum Credentials {
    /// Whoever the server takes without credentials.
    #[default]
    Anonymous,
    /// A name and a password.
    User {
        /// The name.
        name: String,
        /// The password.
        password: String,
    },
    /// A token.
    Token(String),
    /// The seed of an nkey.
    NkeySeed(String),
    /// A `.creds` file with a JWT and its seed.
    File(PathBuf),
}

/// How the connection is encrypted.
#[derive(Clone, Debug, Default)]
pub struct Tls {
    /// Whether a connection without TLS is refused.
    pub required: bool,
    /// Further root certificates, PEM.
    pub roots: Option<PathBuf>,
    /// This process's certificate and key, PEM.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// How to reach the servers, and what may be asked of them.
#[derive(Clone)]
pub struct NatsOptions {
    /// One or more servers of one cluster, `nats://host:port` or `tls://host:port`.
    pub servers: Vec<String>,
    /// The name that the server's monitoring shows.
    pub name: String,
    /// Who this is.
    pub credentials: Credentials,
    /// Replies go to `_INBOX_<gateway>.>`, which nobody else may read; `None`: to `_INBOX.>`.
    pub gateway: Option<GatewayId>,
    /// Encryption.
    pub tls: Tls,
    /// Silence after which the connection is tested, in milliseconds.
    pub ping_interval_ms: u64,
    /// How long JetStream may take to acknowledge, in milliseconds.
    pub ack_ms: u64,
    /// Publications that may wait for their acknowledgement at once; further ones wait.
    pub in_flight: usize,
    /// The streams' limits, given to the processes that make and change the streams.
    pub streams: Option<StreamLimits>,
}

impl NatsOptions {
    /// The defaults for one server.
    #[must_use]
    pub fn new(server: &str, name: &str) -> Self {
        Self {
            servers: vec![server.to_owned()],
            name: name.to_owned(),
            credentials: Credentials::Anonymous,
            gateway: None,
            tls: Tls::default(),
            // Two missed answers cut the connection: a silent partition is noticed in 30 s.
            ping_interval_ms: 10 * SECOND_MS,
            ack_ms: 5 * SECOND_MS,
            // With 512 in flight JetStream takes what its disk gives; twice leaves slack.
            in_flight: 1_024,
            streams: None,
        }
    }

    pub(super) fn addresses(&self) -> Result<Vec<ServerAddr>, OptionsError> {
        if self.servers.is_empty() {
            return Err(OptionsError::NoServers);
        }
        let parse = |(index, text): (usize, &String)| {
            text.parse().map_err(|_| OptionsError::Address(index + 1))
        };
        self.servers.iter().enumerate().map(parse).collect()
    }

    pub(super) async fn to_client_options(&self) -> Result<ConnectOptions, OptionsError> {
        let mut options = ConnectOptions::new()
            .name(&self.name)
            .ping_interval(Duration::from_millis(self.ping_interval_ms))
            .request_timeout(Some(Duration::from_millis(self.ack_ms)))
            .subscription_capacity(SUBSCRIPTION_MESSAGES)
            .client_capacity(QUEUED_COMMANDS)
            .require_tls(self.tls.required)
            .connection_timeout(CONNECT)
            .reconnect_delay_callback(reconnect_delay)
            .retry_on_initial_connect();
        if let Some(gateway) = self.gateway {
            options = options.custom_inbox_prefix(subject::gateway_inbox(gateway));
        }
        if let Some(roots) = &self.tls.roots {
            options = options.add_root_certificates(roots.clone());
        }
        if let Some((certificate, key)) = &self.tls.identity {
            options = options.add_client_certificate(certificate.clone(), key.clone());
        }
        Ok(match &self.credentials {
            Credentials::Anonymous => options,
            Credentials::User { name, password } => {
                options.user_and_password(name.clone(), password.clone())
            }
            Credentials::Token(token) => options.token(token.clone()),
            Credentials::NkeySeed(seed) => options.nkey(seed.clone()),
            Credentials::File(path) => {
                options.credentials_file(path).await.map_err(OptionsError::CredentialsFile)?
            }
        })
    }
}

/// The wait before an attempt to connect, the first of which is 1: at most a second, half of it
/// jitter, because all clients lose a server at once.
fn reconnect_delay(attempt: usize) -> Duration {
    let doublings = attempt.saturating_sub(1).min(16);
    let longest = (FIRST_RETRY_MS << doublings).min(LAST_RETRY_MS);
    Duration::from_millis(longest / 2 + entropy::jitter_ms(longest / 2))
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anonymous => f.write_str("Anonymous"),
            Self::User { name, .. } => write!(f, "User({name:?}, hidden)"),
            Self::Token(_) => f.write_str("Token(hidden)"),
            Self::NkeySeed(_) => f.write_str("NkeySeed(hidden)"),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
        }
    }
}

impl fmt::Debug for NatsOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // An address may hold a password: only its host and port are shown.
        let servers: Vec<_> = self.addresses().unwrap_or_default();
        let hosts: Vec<_> =
            servers.iter().map(|server| format!("{}:{}", server.host(), server.port())).collect();
        f.debug_struct("NatsOptions")
            .field("servers", &hosts)
            .field("name", &self.name)
            .field("credentials", &self.credentials)
            .field("gateway", &self.gateway)
            .field("tls", &self.tls)
            .field("ping_interval_ms", &self.ping_interval_ms)
            .field("ack_ms", &self.ack_ms)
            .field("in_flight", &self.in_flight)
            .field("streams", &self.streams)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_to_connect_are_never_far_apart() {
        for attempt in (0..100).chain([usize::MAX]) {
            let delay = reconnect_delay(attempt);
            let least_ms = if attempt < 7 { FIRST_RETRY_MS } else { LAST_RETRY_MS } / 2;
            let bounds = Duration::from_millis(least_ms)..=Duration::from_millis(LAST_RETRY_MS);
            assert!(bounds.contains(&delay), "{attempt}: {delay:?}");
        }
    }

    #[test]
    fn secrets_are_not_printed() {
        let secret = "hunter2";
        let mut options = NatsOptions::new(&format!("nats://me:{secret}@127.0.0.1:4222"), "test");
        for credentials in [
            Credentials::User { name: "me".to_owned(), password: secret.to_owned() },
            Credentials::Token(secret.to_owned()),
            Credentials::NkeySeed(secret.to_owned()),
        ] {
            options.credentials = credentials;
            let printed = format!("{options:?}");
            assert!(!printed.contains(secret), "{printed}");
            assert!(printed.contains("127.0.0.1:4222"), "{printed}");
        }
        options.servers = vec![format!("{secret} no address")];
        let mistake = options.addresses().unwrap_err().to_string();
        assert!(!mistake.contains(secret), "{mistake}");
    }
}
