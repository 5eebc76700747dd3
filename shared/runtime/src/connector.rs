//! The one way out: every connection that the house opens is made, and can be refused, here.
//!
//! A name is resolved once, its addresses are checked, and the connection goes to a checked
//! address: a name that answers differently the second time gains nothing.

mod address;
mod client;
mod connection;
mod tls;

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use ipnet::IpNet;
use rustls::pki_types::{InvalidDnsNameError, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use turnpike_domain::time::{MINUTE_MS, SECOND_MS};

use crate::clock::{SharedClock, deadline};
use crate::config::{Mistakes, Options};

pub use address::is_public;
pub use client::{ClientError, HttpClient, refusal};
pub use connection::Connection;
pub use tls::TlsError;

/// Addresses of one name that are tried in turn: a name with more is tried again by its caller.
const MAX_ADDRESSES: usize = 4;

/// What may be reached, and how long that may take.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConnectorOptions {
    /// Lets providers, webhooks and MCP servers lie inside the walls: for `dev`, and for operators
    /// whose models run in their own network.
    pub allow_private: bool,
    /// Networks inside the walls that may be reached nevertheless: for operators who have models in
    /// one network and other things in the next.
    pub allowed_networks: Vec<IpNet>,
    /// Milliseconds for one address, TLS included.
    pub connect_timeout_ms: u64,
    /// A PEM file of roots that are trusted besides the system's.
    pub extra_roots: Option<PathBuf>,
}

impl Default for ConnectorOptions {
    fn default() -> Self {
        Self {
            allow_private: false,
            allowed_networks: Vec::new(),
            connect_timeout_ms: 5 * SECOND_MS,
            extra_roots: None,
        }
    }
}

impl Options for ConnectorOptions {
    fn check(&self, mistakes: &mut Mistakes) {
        let sane = (1..=MINUTE_MS).contains(&self.connect_timeout_ms);
        mistakes.unless(sane, "connect_timeout_ms", "is not from 1 to 60000");
        let roots = self.extra_roots.as_ref();
        let readable = roots.is_none_or(|path| path.is_file());
        mistakes.unless(readable, "extra_roots", "is no file");
    }
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The name has no address outside the walls.
    #[error("{host} is a private, loopback or otherwise reserved address")]
    Refused {
        /// The name or address that was asked for.
        host: String,
    },
    /// The name has no address.
    #[error("{host} could not be resolved")]
    Resolve {
        /// The name that was asked for.
        host: String,
        /// The resolver's reason.
        source: io::Error,
    },
    /// No address answered, or TLS failed.
    #[error("{host} could not be reached")]
    Reach {
        /// The name that was asked for.
        host: String,
        /// The reason of the last address tried.
        source: io::Error,
    },
    /// The name cannot stand in a certificate.
    #[error("this is no host name")]
    Name(#[from] InvalidDnsNameError),
}

/// What is spoken on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Bytes as they are.
    Plain,
    /// TLS that offers HTTP/1.1.
    Tls,
    /// TLS that offers HTTP/2 and HTTP/1.1; see [`Connection::is_http2`].
    TlsHttp2,
}

/// The maker of outbound connections. Clones share their trust.
#[derive(Clone)]
pub struct Connector {
    wall: Wall,
    connect_timeout_ms: u64,
    roots: Arc<RootCertStore>,
    http1: Arc<ClientConfig>,
    http2: Arc<ClientConfig>,
    clock: SharedClock,
}

impl Connector {
    /// A connector for these options.
    ///
    /// # Errors
    /// [`TlsError`] if the additional roots cannot be used.
    pub fn new(options: &ConnectorOptions, clock: SharedClock) -> Result<Self, TlsError> {
        let roots = Arc::new(tls::trusted(options.extra_roots.as_deref())?);
        let http1 = tls::client_config(Arc::clone(&roots))?;
        Ok(Self {
            wall: Wall {
                allow_private: options.allow_private,
                allowed: options.allowed_networks.as_slice().into(),
            },
            connect_timeout_ms: options.connect_timeout_ms,
            roots,
            http2: Arc::new(tls::with_http2(http1.clone())),
            http1: Arc::new(http1),
            clock,
        })
    }

    /// One behind the same walls that also trusts the certificates in a PEM text.
    ///
    /// # Errors
    /// [`TlsError`] if there is none among them, or one cannot be used.
    pub fn trusting(&self, pem: &str) -> Result<Self, TlsError> {
        let mut roots = RootCertStore::clone(&self.roots);
        tls::add_pem(&mut roots, pem)?;
        let roots = Arc::new(roots);
        let http1 = tls::client_config(Arc::clone(&roots))?;
        let http2 = Arc::new(tls::with_http2(http1.clone()));
        Ok(Self { roots, http1: Arc::new(http1), http2, ..self.clone() })
    }

    /// Connects to the first address of `host` that answers. `host` is a name or an address, IPv6
    /// with or without brackets.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn connect(
        &self,
        host: &str,
        port: u16,
        transport: Transport,
    ) -> Result<Connection, ConnectError> {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let resolving = self.wall.resolve(host, port);
        let addresses = deadline(&*self.clock, self.connect_timeout_ms, resolving).await;
        let addresses = addresses.unwrap_or_else(|| {
            Err(ConnectError::Resolve { host: host.to_owned(), source: timed_out() })
        })?;
        let tls = match transport {
            Transport::Plain => None,
            Transport::Tls => Some((&self.http1, ServerName::try_from(host.to_owned())?)),
            Transport::TlsHttp2 => Some((&self.http2, ServerName::try_from(host.to_owned())?)),
        };
        let mut last = timed_out();
        for address in addresses.into_iter().take(MAX_ADDRESSES) {
            let opening = open(address, tls.clone());
            match deadline(&*self.clock, self.connect_timeout_ms, opening).await {
                Some(Ok(connection)) => return Ok(connection),
                Some(Err(error)) => last = error,
                None => last = timed_out(),
            }
        }
        Err(ConnectError::Reach { host: host.to_owned(), source: last })
    }

    /// An HTTP client behind the same rule, for webhooks, OIDC and the like.
    ///
    /// # Errors
    /// [`ClientError::Client`] if the library refuses its settings.
    pub fn client(&self) -> Result<HttpClient, ClientError> {
        HttpClient::new(self)
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector").field("wall", &self.wall).finish_non_exhaustive()
    }
}

/// Whether a PEM text holds certificates, all of which can be used as roots.
///
/// # Errors
/// [`TlsError`].
pub fn check_roots(pem: &str) -> Result<(), TlsError> {
    tls::add_pem(&mut RootCertStore::empty(), pem)
}

fn timed_out() -> io::Error {
    io::ErrorKind::TimedOut.into()
}

async fn open(
    address: SocketAddr,
    tls: Option<(&Arc<ClientConfig>, ServerName<'static>)>,
) -> io::Result<Connection> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let Some((config, name)) = tls else { return Ok(Connection::Plain(stream)) };
    let stream = TlsConnector::from(Arc::clone(config)).connect(name, stream).await?;
    Ok(Connection::Tls(Box::new(stream)))
}

/// The rule about addresses.
#[derive(Clone, Debug)]
struct Wall {
    allow_private: bool,
    allowed: Arc<[IpNet]>,
}

impl Wall {
    async fn resolve(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, ConnectError> {
        let unresolved = |source| ConnectError::Resolve { host: host.to_owned(), source };
        let addresses: Vec<SocketAddr> = match host.parse::<IpAddr>() {
            Ok(address) => vec![SocketAddr::new(address, port)],
            Err(_) => tokio::net::lookup_host((host, port)).await.map_err(unresolved)?.collect(),
        };
        if addresses.is_empty() {
            return Err(unresolved(io::ErrorKind::NotFound.into()));
        }
        self.pass(host, addresses)
    }

    /// Those of the addresses of `host` that may be reached.
    fn pass(
        &self,
        host: &str,
        addresses: impl IntoIterator<Item = SocketAddr>,
    ) -> Result<Vec<SocketAddr>, ConnectError> {
        let passed: Vec<SocketAddr> =
            addresses.into_iter().filter(|address| self.lets(address.ip())).collect();
        if passed.is_empty() {
            return Err(ConnectError::Refused { host: host.to_owned() });
        }
        Ok(passed)
    }

    fn lets(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.allow_private
            || is_public(address)
            || self.allowed.iter().any(|network| network.contains(&address))
    }
}

#[cfg(test)]
mod tests;
