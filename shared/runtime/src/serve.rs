//! Listeners: how a port is opened, and how connections are taken from it.

use std::io;
use std::net::SocketAddr;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};

use crate::clock::Clock;

/// Connections that wait to be taken. A burst of reconnecting clients is larger than the usual 128;
/// the kernel cuts it to `net.core.somaxconn`.
const BACKLOG: i32 = 4_096;
/// The wait after a failed accept: the process is out of file descriptors until a stream ends, and
/// asking at once would only burn the core that ends it.
const ACCEPT_PAUSE_MS: u64 = 20;

/// An address that an option names and that cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} (option {option})")]
pub struct ListenError {
    /// The address.
    pub address: SocketAddr,
    /// The option that names it.
    pub option: &'static str,
    /// The operating system's reason.
    pub source: io::Error,
}

/// The port that `option` names, for this process alone, and its address.
///
/// # Errors
/// [`ListenError`].
pub fn listen_as_told(
    option: &'static str,
    address: SocketAddr,
) -> Result<(TcpListener, SocketAddr), ListenError> {
    let failed = |source| ListenError { address, option, source };
    let listener = listen(address).map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

/// A port of this process alone.
///
/// # Errors
/// The operating system's: the address is taken, or not ours.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    bind(address, false)
}

/// A port that several listeners share, one a core; the kernel spreads connections over them. The
/// first of them may ask for port 0, the others for the port that it got.
///
/// # Errors
/// The operating system's: the address is taken, or not ours.
pub fn listen_shared(address: SocketAddr) -> io::Result<TcpListener> {
    bind(address, true)
}

fn bind(address: SocketAddr, shared: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A restart must not wait for the old connections to be forgotten.
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// The next connection. Failures are logged and waited out; cancel-safe.
pub async fn accept(listener: &TcpListener, clock: &dyn Clock) -> (TcpStream, SocketAddr) {
    loop {
        let error = match listener.accept().await {
            Ok((stream, peer)) => match stream.set_nodelay(true) {
                Ok(()) => return (stream, peer),
                // Gone already.
                Err(_) => continue,
            },
            Err(error) => error,
        };
        tracing::warn!(%error, "a connection could not be taken");
        clock.sleep(ACCEPT_PAUSE_MS).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;

    #[tokio::test]
    async fn a_connection_sends_small_packets_at_once() {
        let listener = listen(([127, 0, 0, 1], 0).into()).unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, peer) = accept(&listener, &SystemClock).await;
        assert!(stream.nodelay().unwrap());
        assert_eq!(peer, client.local_addr().unwrap());
    }

    #[tokio::test]
    async fn only_those_who_agree_share_a_port() {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let shared = listen_shared(any).unwrap();
        let address = shared.local_addr().unwrap();
        assert_eq!(listen_shared(address).unwrap().local_addr().unwrap(), address);

        let alone = listen(any).unwrap();
        let refused = listen_shared(alone.local_addr().unwrap()).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::AddrInUse);
    }
}
