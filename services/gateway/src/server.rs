//! One core's listener: takes connections, speaks HTTP/1.1 and HTTP/2, drains when it is told to.

mod pace;
mod run;
mod stall;
#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use http::{HeaderValue, Request, Response, header};
use http_body::Body;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use turnpike_runtime::clock::{SharedClock, deadline};
use turnpike_runtime::serve::accept;
use turnpike_runtime::tasks::{Tasks, in_place, unless_cancelled};

use pace::{HeadLimits, Heads, Pace, Paced};
pub use run::serve_core;
use stall::Stall;

/// The first bytes of a connection, which tell HTTP/1.1 from HTTP/2.
const FIRST_BYTES_TIMEOUT_MS: u64 = 30_000;
/// A caller who takes none of an answer for this long is gone.
const STALLED_WRITE_MS: u64 = 60_000;
/// Bytes that a connection buffers in each direction.
const MAX_BUFFER_BYTES: usize = 64 * 1024;
/// Streams of one HTTP/2 connection at a time.
const MAX_STREAMS: u32 = 256;
/// Streams that a caller opened and reset, and that are not yet forgotten ("rapid reset").
const MAX_RESET_STREAMS: usize = 32;
/// What HTTP/2 lets a caller send ahead on one stream, in bytes.
const STREAM_WINDOW_BYTES: u32 = 256 * 1024;
/// What HTTP/2 lets a caller send ahead on one connection, in bytes.
const CONNECTION_WINDOW_BYTES: u32 = 1024 * 1024;
/// How HTTP/2 begins (RFC 9113, 3.4); no HTTP/1.1 method does.
const HTTP2_PREFACE: &[u8] = b"PRI ";

/// What one core's listener takes.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Connections at a time; more wait in the kernel's queue.
    pub max_connections: usize,
    /// Bytes of a request's head. Hyper's own limit of 100 headers stands beside it; setting that
    /// one would cost an allocation a request.
    pub max_head_bytes: usize,
    /// Milliseconds for the head of a request, from its first bytes to its last.
    pub head_timeout_ms: u64,
    /// Milliseconds that a connection may rest between two requests.
    pub idle_timeout_ms: u64,
}

/// What a listener needs from its core.
#[derive(Clone)]
pub struct Means {
    /// What it takes.
    pub bounds: Bounds,
    /// For every limit of time.
    pub clock: SharedClock,
    /// Where connections run. They drain when these are asked to stop.
    pub tasks: Tasks,
    /// Cancelled some time before that, or with it: from then on callers are sent elsewhere, each
    /// behind the answer to what it asks.
    pub leaving: CancellationToken,
}

/// Takes connections until the tasks are asked to stop, and answers their requests with `handle`.
///
/// Returns as soon as it takes no more; what is open goes on among the tasks, which whoever drains
/// them waits for.
pub async fn serve<H, F, B>(listener: TcpListener, handle: H, means: Means)
where
    H: Fn(Request<Incoming>, SocketAddr) -> F + 'static,
    F: Future<Output = Response<B>> + 'static,
    B: Body<Data = Bytes> + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let handle = Rc::new(handle);
    let room = Arc::new(Semaphore::new(means.bounds.max_connections));
    let stopping = means.tasks.stopping();
    loop {
        let next = async {
            let place = Arc::clone(&room).acquire_owned().await;
            (place, accept(&listener, &*means.clock).await)
        };
        let Some((place, (stream, peer))) = stopping.run_until_cancelled(next).await else {
            return;
        };
        let (handle, means_here) = (Rc::clone(&handle), means.clone());
        means.tasks.spawn_local("connection", async move {
            connection(stream, peer, handle, means_here).await;
            drop(place);
        });
    }
}

async fn connection<H, F, B>(stream: TcpStream, peer: SocketAddr, handle: Rc<H>, means: Means)
where
    H: Fn(Request<Incoming>, SocketAddr) -> F + 'static,
    F: Future<Output = Response<B>> + 'static,
    B: Body<Data = Bytes> + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let stopping = means.tasks.stopping();
    let mut first = [0; HTTP2_PREFACE.len()];
    let peeking = deadline(&*means.clock, FIRST_BYTES_TIMEOUT_MS, stream.peek(&mut first));
    let Some(Some(Ok(seen))) = stopping.run_until_cancelled(peeking).await else { return };
    // A preface in pieces is taken for HTTP/1.1 and refused there: no client sends one.
    let speaks_http2 = first[..seen] == *HTTP2_PREFACE;
    let stream = Stall::new(stream, means.clock.clone(), STALLED_WRITE_MS);
    let ended = if speaks_http2 {
        let service = service_fn(move |request| {
            let answering = handle(request, peer);
            async move { Ok::<_, Infallible>(answering.await) }
        });
        let stream = TokioIo::new(stream);
        let connection = pin!(http2_builder(&means).serve_connection(stream, service));
        // A caller is told in time which of its streams are served still.
        until_stopped(connection, http2::Connection::graceful_shutdown, &means.leaving).await
    } else {
        let pace = Pace::new(means.clock.clone());
        let limits = HeadLimits {
            idle_ms: means.bounds.idle_timeout_ms,
            head_ms: means.bounds.head_timeout_ms,
        };
        let heads = Heads::new(Rc::clone(&pace), limits);
        let here = Rc::clone(&pace);
        let service = service_fn(move |request| {
            let busy = here.begin();
            // Apart: a connection has room for it only while it is at work, and nothing moves it.
            in_place(|| handle(request, peer)).map(|mut answer| {
                if busy.is_last() {
                    let last = HeaderValue::from_static("close");
                    answer.headers_mut().insert(header::CONNECTION, last);
                }
                Ok::<_, Infallible>(answer.map(|body| Paced::new(body, busy)))
            })
        });
        let stream = TokioIo::new(stream.waiting_for(heads));
        let connection = http1_builder(means.bounds).serve_connection(stream, service);
        let mut connection = pin!(connection);
        if let Some(ended) = unless_cancelled(&means.leaving, connection.as_mut()).await {
            ended
        } else {
            // One that rests is not closed yet: its caller may be about to speak.
            pace.leave();
            until_stopped(connection, http1::Connection::graceful_shutdown, &stopping).await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "a connection ended badly");
    }
}

/// Runs a connection; once `stopping`, lets it finish what it has begun.
async fn until_stopped<C>(
    mut connection: Pin<&mut C>,
    stop: impl FnOnce(Pin<&mut C>),
    stopping: &CancellationToken,
) -> hyper::Result<()>
where
    C: Future<Output = hyper::Result<()>>,
{
    if let Some(ended) = unless_cancelled(stopping, connection.as_mut()).await {
        return ended;
    }
    stop(connection.as_mut());
    connection.await
}

fn http1_builder(bounds: Bounds) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        // Hyper would make a timer for each request; `pace` has one for each connection.
        .header_read_timeout(None)
        .max_header_size(bounds.max_head_bytes)
        .max_buf_size(MAX_BUFFER_BYTES)
        // Head and body in one place: the kernel takes more for a write from two than a copy costs.
        .writev(false);
    builder
}

fn http2_builder(means: &Means) -> http2::Builder<OnThisCore> {
    let mut builder = http2::Builder::new(OnThisCore(means.tasks.clone()));
    let max_head_bytes = u32::try_from(means.bounds.max_head_bytes).unwrap_or(u32::MAX);
    builder
        .timer(TokioTimer::new())
        .keep_alive_interval(Duration::from_millis(means.bounds.idle_timeout_ms))
        .keep_alive_timeout(Duration::from_millis(FIRST_BYTES_TIMEOUT_MS))
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(max_head_bytes)
        .max_pending_accept_reset_streams(MAX_RESET_STREAMS)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES);
    builder
}

/// Runs the streams of an HTTP/2 connection where the connection runs.
#[derive(Clone)]
struct OnThisCore(Tasks);

impl<F> hyper::rt::Executor<F> for OnThisCore
where
    F: Future + 'static,
{
    fn execute(&self, stream: F) {
        self.0.spawn_local("stream", async move {
            stream.await;
        });
    }
}
