//! A scripted provider on a real socket, for the tests of this crate.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::rc::Rc;

use bytes::Bytes;
use http::Method;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::LocalSet;
use turnpike_domain::id::{EpochId, KeyId, OrgId, ProviderId, RequestId};
use turnpike_domain::money::Multiplier;
use turnpike_domain::settle::Reservation;
use turnpike_domain::state::{ProviderKind, ProviderSpec};
use turnpike_domain::time::Timestamp;
use turnpike_runtime::clock::{deadline, system};
use turnpike_runtime::connector::{Connector, ConnectorOptions};
use turnpike_runtime::entropy;
use turnpike_runtime::serve::listen;
use turnpike_runtime::tasks::Tasks;

use crate::lane::{Holds, Lane, Opening, Room};
use crate::phase::admit::Admitted;
use crate::sse::{Event, Fate, Scanner};
use crate::upstream::health::Healths;
use crate::upstream::{Bounds, Described, Lines, Outbound, Pool, Remote};

/// More than any step of a test takes.
const PATIENCE_MS: u64 = 60_000;

/// A provider that hands its connections to a test, and counts them.
pub(crate) struct Provider {
    listener: TcpListener,
    pub(crate) address: SocketAddr,
}

impl Provider {
    pub(crate) fn new() -> Self {
        let listener = listen(([127, 0, 0, 1], 0).into()).unwrap();
        let address = listener.local_addr().unwrap();
        Self { listener, address }
    }

    pub(crate) async fn connection(&self) -> Connection {
        let (stream, _) = self.listener.accept().await.unwrap();
        Connection { stream, read: Vec::new() }
    }

    pub(crate) fn remote(&self, pool: &Pool) -> Rc<Remote> {
        let spec = spec(&format!("http://{}", self.address));
        pool.remote(Described { id: ProviderId(1), owner: None, spec: &spec }).unwrap()
    }
}

/// A provider without any limit but those of time.
pub(crate) fn spec(base_url: &str) -> ProviderSpec {
    ProviderSpec {
        name: "p".into(),
        kind: ProviderKind::OpenAi,
        base_url: base_url.into(),
        credential: None,
        headers: Vec::new(),
        serves: Vec::new(),
        connect_timeout_ms: 5_000,
        answer_timeout_ms: 10_000,
        idle_timeout_ms: 20_000,
        total_timeout_ms: 0,
        max_concurrency: 0,
        disabled: false,
        tls_roots: None,
        max_failures: 0,
    }
}

/// One connection, from the provider's side.
pub(crate) struct Connection {
    pub(crate) stream: TcpStream,
    read: Vec<u8>,
}

impl Connection {
    /// Reads one request with a body of known length, and answers its head and body.
    pub(crate) async fn request(&mut self) -> String {
        self.next().await.expect("no request came")
    }

    /// Whether another request comes before the gateway closes the connection.
    pub(crate) async fn is_asked(&mut self) -> bool {
        self.next().await.is_some()
    }

    async fn next(&mut self) -> Option<String> {
        loop {
            let text = String::from_utf8_lossy(&self.read).into_owned();
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let length = head
                    .lines()
                    .find_map(|line| line.strip_prefix("content-length: "))
                    .map_or(0, |length| length.parse().unwrap());
                if body.len() >= length {
                    self.read.drain(..head.len() + 4 + length);
                    return Some(text);
                }
            }
            if !matches!(self.stream.read_buf(&mut self.read).await, Ok(1..)) {
                return None;
            }
        }
    }

    pub(crate) async fn write(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.unwrap();
    }

    /// Answers 200 with a body of known length.
    pub(crate) async fn answer(&mut self, body: &str) {
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
        self.write(head + body).await;
    }

    /// Begins a stream.
    pub(crate) async fn begin_stream(&mut self) {
        self.write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await;
    }

    /// Sends a piece of a stream; an empty one ends it.
    pub(crate) async fn piece(&mut self, bytes: &str) {
        self.write(format!("{:x}\r\n{bytes}\r\n", bytes.len())).await;
    }

    /// Waits until the gateway has closed the connection.
    pub(crate) async fn closed(&mut self) {
        let mut rest = [0; 1024];
        while !matches!(self.stream.read(&mut rest).await, Ok(0) | Err(_)) {}
    }
}

/// A core to run a test on.
pub(crate) struct TestCore {
    pub(crate) pool: Rc<Pool>,
    pub(crate) tasks: Tasks,
    lane: Rc<Lane>,
    _folder: TempDir,
}

impl TestCore {
    fn new() -> Self {
        let tasks = Tasks::new("test");
        let options = ConnectorOptions { allow_private: true, ..ConnectorOptions::default() };
        let connector = Connector::new(&options, system()).unwrap();
        let pool =
            Pool::new(connector, system(), tasks.clone(), (Healths::new(NonZeroUsize::MIN), 0));
        let folder = TempDir::new().unwrap();
        let epoch = EpochId(entropy::id(system().now()));
        let room = Room::new(1 << 20, 1);
        let lane = Rc::new(Lane::create(system(), folder.path(), epoch, room).unwrap());
        Self { pool, tasks, lane, _folder: folder }
    }

    /// The right to one call.
    pub(crate) fn admitted(&self) -> Admitted {
        let opening = Opening {
            request: RequestId(entropy::number()),
            at: Timestamp(0),
            org: OrgId(1),
            key: KeyId(1),
            key_seq: 1,
            token: None,
            legacy: false,
            model: "m".into(),
            server: None,
            tool: None,
            provider: Some(ProviderId(1)),
            price_version: 0,
            prices: None,
            multiplier: Multiplier::default(),
            reservation: Reservation { input: 1, output: 1, ..Reservation::default() },
            streamed: false,
            lease: None,
            started_us: 0,
        };
        Admitted::for_test(self.lane.open(opening, Holds::default()).unwrap())
    }
}

/// Runs `test` as on a core.
pub(crate) fn on_a_core<F: Future<Output = ()>>(test: impl FnOnce(TestCore) -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, async {
        let clock = system();
        let ended = deadline(&*clock, PATIENCE_MS, test(TestCore::new())).await;
        assert!(ended.is_some(), "the test took too long");
    });
}

/// Cuts bytes at some places; a place beyond the end is counted from the front again.
pub(crate) fn cut<'a>(bytes: &'a [u8], places: &[usize]) -> Vec<&'a [u8]> {
    let mut places: Vec<usize> = places.iter().map(|place| place % (bytes.len() + 1)).collect();
    places.sort_unstable();
    places.push(bytes.len());
    let mut from = 0;
    let pieces = places.into_iter().map(|place| &bytes[std::mem::replace(&mut from, place)..place]);
    pieces.collect()
}

pub(crate) fn post(body: &'static str) -> Outbound {
    let body = Bytes::from_static(body.as_bytes());
    Outbound { method: Method::POST, lines: Lines::default(), body }
}

/// A disk on which nothing more can be written.
pub(crate) fn full_disk() -> std::fs::File {
    std::fs::File::options().write(true).open("/dev/full").unwrap()
}

pub(crate) const BOUNDS: Bounds = Bounds { connect_timeout_ms: 5_000, answer_timeout_ms: 10_000 };

/// What happened, in order.
pub(crate) type Told = Rc<RefCell<Vec<String>>>;

/// What a caller gets of a stream that comes in these pieces, if `judge` says which events it gets;
/// `drops`: it may say so of fewer than all.
pub(crate) fn scanned(
    pieces: &[&[u8]],
    drops: bool,
    mut judge: impl FnMut(&Event<'_>) -> Fate,
) -> String {
    let mut scanner = Scanner::new(drops);
    let mut out = Vec::new();
    for piece in pieces {
        let piece = Bytes::copy_from_slice(piece);
        scanner.push(&piece, &mut judge, |bytes| out.extend(bytes));
    }
    scanner.finish(&mut judge, |bytes| out.extend(bytes));
    String::from_utf8(out).unwrap()
}
