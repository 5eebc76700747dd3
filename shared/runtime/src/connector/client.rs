//! `reqwest` behind the connector's rule, for every HTTP call off the request path.

use std::error::Error;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Method, RequestBuilder, Url};

use super::{ConnectError, Connector, Wall, tls};

/// The whole of a call, body included, but for one that says otherwise: then the longest silence. A
/// webhook or a token endpoint that takes longer is down.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// Why a client could not be made, or a call not be begun.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The address lies inside the walls.
    #[error(transparent)]
    Refused(#[from] ConnectError),
    /// The text is no URL.
    #[error("this is no URL with http:// or https://")]
    Url,
    /// The library refused its settings.
    #[error("the HTTP client could not be made")]
    Client(#[from] reqwest::Error),
}

/// An HTTP client that follows no redirect, uses no proxy, and reaches only what its connector
/// would. Clones share their connections.
#[derive(Clone, Debug)]
pub struct HttpClient {
    client: reqwest::Client,
    wall: Wall,
}

impl HttpClient {
    pub(super) fn new(connector: &Connector) -> Result<Self, ClientError> {
        let connect_timeout = Duration::from_millis(connector.connect_timeout_ms);
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls::with_http2((*connector.http1).clone()))
            .dns_resolver(connector.wall.clone())
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .referer(false)
            .tcp_nodelay(true)
            .connect_timeout(connect_timeout)
            .timeout(CALL_TIMEOUT)
            .read_timeout(CALL_TIMEOUT)
            .user_agent(concat!("turnpike/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self { client, wall: connector.wall.clone() })
    }

    /// Begins a call. A name is checked when it is resolved; an address in the URL itself never
    /// passes a resolver and is checked here.
    ///
    /// # Errors
    /// [`ClientError::Url`], or [`ClientError::Refused`] for an address inside the walls.
    pub fn request(&self, method: Method, url: &str) -> Result<RequestBuilder, ClientError> {
        let url = Url::parse(url).map_err(|_| ClientError::Url)?;
        let host = url.host_str().filter(|_| matches!(url.scheme(), "http" | "https"));
        let host = host.ok_or(ClientError::Url)?;
        // The URL standard has made every notation of an address canonical: 0x7f.1 is 127.0.0.1.
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        if let Ok(address) = bare.parse::<IpAddr>() {
            self.wall.pass(bare, [SocketAddr::new(address, 0)])?;
        }
        Ok(self.client.request(method, url))
    }
}

/// Why a call was kept from its address, if it was: a name is looked at when the call is made.
#[must_use]
pub fn refusal(failed: &reqwest::Error) -> Option<&ConnectError> {
    let mut cause: Option<&(dyn Error + 'static)> = Some(failed);
    while let Some(error) = cause {
        if let Some(refused @ ConnectError::Refused { .. }) = error.downcast_ref() {
            return Some(refused);
        }
        cause = error.source();
    }
    None
}

impl Resolve for Wall {
    fn resolve(&self, name: Name) -> Resolving {
        let wall = self.clone();
        Box::pin(async move {
            // Port 0 stands for the port of the URL.
            let addresses: Addrs = Box::new(wall.resolve(name.as_str(), 0).await?.into_iter());
            Ok(addresses)
        })
    }
}
