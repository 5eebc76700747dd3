//! The provider `echo`: speaks OpenAI, Anthropic and Gemini, and counts what it truly served.
//!
//! A token is a word, split by white space. Input is every text part of the request, output the
//! last user text, kept verbatim and cut at the output maximum. Text parts that carry a
//! `cache_control` member are cached input; nothing else is. Lists of models and counts of tokens
//! are free and are not counted as served. [`served::Served`] says when a word counts.

mod admin;
mod anthropic;
mod ask;
mod connections;
mod form;
mod gemini;
mod media;
pub mod model;
mod openai;
mod provider;
mod refusal;
mod reply;
mod responses;
mod route;
pub mod script;
pub mod served;
mod vectors;
mod words;

#[cfg(test)]
mod socket_tests;

use std::net::SocketAddr;
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::{Request, Response};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use turnpike_runtime::clock::SharedClock;
use turnpike_runtime::tasks::Tasks;

use self::connections::{Body, Broken, Connections};
use self::provider::Provider;

/// How long running answers may take to end once `echo` is told to stop.
const DRAIN_MS: u64 = 1_000;

/// What `echo` is started with.
#[derive(Clone)]
pub struct EchoOptions {
    /// Where the models answer; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where `GET /served` answers; port 0 takes a free one.
    pub served: SocketAddr,
    /// Whether [`script::Script`]s are obeyed. For tests only.
    pub scripted: bool,
    /// Paces `echo-slow` and dates the answers.
    pub clock: SharedClock,
}

/// A running `echo`.
pub struct Echo {
    /// Where the models answer.
    pub address: SocketAddr,
    /// Where `GET /served` answers.
    pub served_address: SocketAddr,
    tasks: Tasks,
    clock: SharedClock,
    stop: CancellationToken,
}

/// Why `echo` did not start.
#[derive(Debug, thiserror::Error)]
pub enum EchoFailure {
    /// An address cannot be listened on.
    #[error("echo cannot listen on {address}")]
    Listen {
        /// The address that was asked for.
        address: SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
}

/// Starts `echo`; it has both its ports when this returns, and runs until `stop`.
///
/// # Errors
/// Where one of the addresses cannot be listened on.
pub async fn serve(options: EchoOptions, stop: CancellationToken) -> Result<Echo, EchoFailure> {
    let (listener, address) = listen(options.listen).await?;
    let (served_listener, served_address) = listen(options.served).await?;
    let tasks = Tasks::new("echo");
    let provider = Arc::new(Provider::new(options.clock.clone(), options.scripted));
    let connections = Connections::new(tasks.clone(), stop.clone(), options.clock.clone());
    let calls = Arc::clone(&provider);
    tasks.spawn(
        "models",
        connections.clone().accept(listener, move |request| models(Arc::clone(&calls), request)),
    );
    tasks.spawn(
        "served",
        connections
            .accept(served_listener, move |request| admin::answer(Arc::clone(&provider), request)),
    );
    Ok(Echo { address, served_address, tasks, clock: options.clock, stop })
}

impl Echo {
    /// Completes once `echo` has been stopped and its answers have ended, or a second later.
    pub async fn finished(self) {
        self.stop.cancelled().await;
        self.tasks.drain(&*self.clock, DRAIN_MS).await;
    }
}

/// Answers on the port of the models. Whoever knows only that one finds the counts there too.
async fn models(
    provider: Arc<Provider>,
    request: Request<Incoming>,
) -> Result<Response<Body>, Broken> {
    if request.uri().path() == admin::SERVED {
        admin::answer(provider, request).await
    } else {
        provider.answer(request).await
    }
}

async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), EchoFailure> {
    let failed = |source| EchoFailure::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}
