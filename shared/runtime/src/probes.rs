//! The admin port: whether this process has started, is ready and is alive, and its metrics.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::metrics::{CONTENT_TYPE, Metrics};
use crate::tasks::Tasks;

#[derive(Clone, Debug)]
struct Health {
    started: bool,
    ready: bool,
    /// The ports of the traffic are not open yet, whatever else is ready.
    closed: bool,
    /// The process is about to end.
    leaving: bool,
    reason: Arc<str>,
}

/// What the probes answer. Clones are the same.
#[derive(Clone, Debug)]
pub struct Probes {
    health: Arc<watch::Sender<Health>>,
    metrics: Metrics,
}

impl Probes {
    /// Alive, and neither started nor ready.
    #[must_use]
    pub fn new(metrics: Metrics) -> Self {
        let reason = "starting".into();
        let health = Health { started: false, ready: false, closed: false, leaving: false, reason };
        Self { health: Arc::new(watch::Sender::new(health)), metrics }
    }

    /// What the metrics page shows.
    #[must_use]
    pub const fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Says whether traffic may come, and why. The first time that it may, this process has
    /// started.
    pub fn set_ready(&self, ready: bool, reason: &str) {
        self.health.send_modify(|health| {
            if health.leaving {
                return;
            }
            health.started |= ready && !health.closed;
            health.ready = ready;
            health.reason = reason.into();
        });
    }

    /// Says whether the ports of the traffic are open; they count as open until this says no. While
    /// they are not, the probes answer no, and [`Self::ready`] speaks of everything else.
    pub fn set_open(&self, open: bool) {
        self.health.send_modify(|health| {
            health.closed = !open;
            health.started |= health.ready && open;
        });
    }

    /// Says for good that traffic must not come any more: the process is about to end, whatever
    /// becomes ready meanwhile.
    pub fn leave(&self, reason: &str) {
        self.health.send_modify(|health| {
            (health.ready, health.leaving) = (false, true);
            health.reason = reason.into();
        });
    }

    /// True if traffic may come.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let health = self.health.borrow();
        health.ready && !health.closed
    }

    /// Completes once traffic may come, but for ports that are not open yet.
    pub async fn ready(&self) {
        // The sender lives as long as `self`: the only error cannot be.
        let _ = self.health.subscribe().wait_for(|health| health.ready).await;
    }

    /// The routes of the admin port.
    pub fn router(&self) -> Router {
        Router::new()
            .route("/healthz/startup", get(startup))
            .route("/healthz/ready", get(ready))
            .route("/healthz/live", get(live))
            .route("/metrics", get(metrics))
            .with_state(self.clone())
    }

    /// Serves the admin port as one of `tasks`, until they are to end.
    pub fn serve(&self, on: TcpListener, tasks: &Tasks) {
        let (router, stopping) = (self.router(), tasks.stopping());
        tasks.spawn("admin", async move {
            let served = axum::serve(on, router);
            let served = served.with_graceful_shutdown(stopping.cancelled_owned());
            if let Err(error) = served.await {
                tracing::error!(%error, "the admin port failed");
            }
        });
    }

    fn answer(&self, holds: impl Fn(&Health) -> bool) -> (StatusCode, String) {
        let health = self.health.borrow();
        let status = if holds(&health) { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        (status, format!("{}\n", health.reason))
    }
}

async fn startup(State(probes): State<Probes>) -> impl IntoResponse {
    probes.answer(|health| health.started)
}

async fn ready(State(probes): State<Probes>) -> impl IntoResponse {
    probes.answer(|health| health.ready && !health.closed)
}

/// An answer at all is the proof.
async fn live() -> &'static str {
    "alive\n"
}

async fn metrics(State(probes): State<Probes>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], probes.metrics.text())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::system;
    use crate::connector::{Connector, ConnectorOptions};
    use crate::serve::listen;

    async fn get(address: std::net::SocketAddr, path: &str) -> (u16, String) {
        let options = ConnectorOptions { allow_private: true, ..ConnectorOptions::default() };
        let client = Connector::new(&options, system()).unwrap().client().unwrap();
        let url = format!("http://{address}{path}");
        let answer = client.request(reqwest::Method::GET, &url).unwrap().send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    #[tokio::test]
    async fn probes_follow_the_life_of_the_process() {
        let probes = Probes::new(Metrics::new());
        let listener = listen(([127, 0, 0, 1], 0).into()).unwrap();
        let address = listener.local_addr().unwrap();
        let tasks = Tasks::new("test");
        probes.serve(listener, &tasks);

        assert_eq!(get(address, "/healthz/live").await, (200, "alive\n".into()));
        assert_eq!(get(address, "/healthz/startup").await, (503, "starting\n".into()));
        probes.set_ready(true, "the mirror has caught up");
        probes.ready().await;
        assert_eq!(get(address, "/healthz/ready").await.0, 200);
        probes.set_ready(false, "the mirror is too old");
        assert_eq!(get(address, "/healthz/ready").await.0, 503);
        probes.leave("draining");
        // What becomes ready while the process ends brings nobody back.
        probes.set_ready(true, "the mirror has caught up");
        assert_eq!(get(address, "/healthz/ready").await, (503, "draining\n".into()));
        assert_eq!(get(address, "/healthz/startup").await.0, 200, "it has started once");
        assert!(!probes.is_ready());

        let (status, text) = get(address, "/metrics").await;
        assert!(status == 200 && text.ends_with("# EOF\n"), "{text}");
        assert!(tasks.drain(&*system(), 10_000).await);
    }
}
