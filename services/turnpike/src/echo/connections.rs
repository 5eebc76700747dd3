//! Accepts connections and serves HTTP/1.1 on each, up to a limit, until told to stop.

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use turnpike_runtime::clock::SharedClock;
use turnpike_runtime::tasks::Tasks;

/// Above the 10,000 open streams that the house is tested with.
const MOST_CONNECTIONS: usize = 20_000;
/// A pause after a failed accept: the usual cause, too many open files, does not pass at once.
const ACCEPT_PAUSE_MS: u64 = 50;
/// What hyper may hold of an answer: little, so that a word that counts as served is soon sent.
const BUFFER_BYTES: usize = 64 * 1024;

/// The body of an answer.
pub(super) type Body = UnsyncBoxBody<Bytes, Broken>;

/// The connection is closed on purpose, as a script says.
#[derive(Debug, thiserror::Error)]
#[error("broken off by a script")]
pub(super) struct Broken;

/// What every port of `echo` shares.
#[derive(Clone)]
pub(super) struct Connections {
    tasks: Tasks,
    stop: CancellationToken,
    clock: SharedClock,
    free: Arc<Semaphore>,
}

impl Connections {
    /// No connections yet.
    pub(super) fn new(tasks: Tasks, stop: CancellationToken, clock: SharedClock) -> Self {
        Self { tasks, stop, clock, free: Arc::new(Semaphore::new(MOST_CONNECTIONS)) }
    }

    /// Answers what comes to `listener` until told to stop.
    pub(super) async fn accept<A, F>(self, listener: TcpListener, answer: A)
    where
        A: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
        F: Future<Output = Result<Response<Body>, Broken>> + Send + 'static,
    {
        let accepting = async {
            while let Ok(permit) = Arc::clone(&self.free).acquire_owned().await {
                match listener.accept().await {
                    Ok((stream, _)) => {
                        let serving = self.clone().serve(stream, answer.clone());
                        self.tasks.spawn("connection", async move {
                            serving.await;
                            drop(permit);
                        });
                    }
                    Err(error) => {
                        tracing::warn!(%error, "echo cannot accept a connection");
                        self.clock.sleep(ACCEPT_PAUSE_MS).await;
                    }
                }
            }
        };
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = accepting => {}
        }
    }

    async fn serve<A, F>(self, stream: TcpStream, answer: A)
    where
        A: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
        F: Future<Output = Result<Response<Body>, Broken>> + Send + 'static,
    {
        // Without it the second write of an answer waits for the first one's acknowledgement.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection was gone before it was served");
            return;
        }
        let connection = http1::Builder::new()
            .max_buf_size(BUFFER_BYTES)
            .serve_connection(TokioIo::new(stream), service_fn(answer));
        tokio::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = self.stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection of echo broke off");
        }
    }
}
