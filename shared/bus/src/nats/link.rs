//! The connection: its events, its troubles, and what all readers and publishers share.

use std::sync::Arc;
use std::time::Duration;

use async_nats::client::RequestErrorKind;
use async_nats::connection::State;
use async_nats::jetstream::Context;
use async_nats::jetstream::context::ContextBuilder;
use async_nats::{Client, ClientError, Event, RequestError, ServerError, Subject};
use bytes::Bytes;
use futures_util::{FutureExt, StreamExt};
use tokio::sync::{Mutex, watch};
use tokio::task::coop::unconstrained;
use turnpike_domain::time::SECOND_MS;
use turnpike_runtime::clock::{SharedClock, deadline};

use super::options::{NatsOptions, OptionsError};
use super::streams::{self, StreamLimits};
use super::unavailable;
use crate::seam::BusError;

/// How long the server may take to answer [`Link::sync`].
const SYNC_MS: u64 = 5 * SECOND_MS;

/// A connection that is shared by all users of one bus.
#[derive(Clone)]
pub(super) struct Link {
    pub(super) client: Client,
    pub(super) context: Context,
    pub(super) clock: SharedClock,
    limits: Option<StreamLimits>,
    standing: watch::Receiver<Standing>,
    refusals: watch::Receiver<String>,
    /// The steady time at which the streams were last seen to be right.
    ensured_ms: Arc<Mutex<Option<u64>>>,
}

/// How the connection stands.
#[derive(Clone, Debug, Default)]
struct Standing {
    /// Connections made so far.
    connections: u64,
    /// Connections lost so far.
    losses: u64,
    /// Why there is none, or what the server complained of last.
    trouble: String,
}

/// Takes the client's events.
struct Listener {
    standing: watch::Sender<Standing>,
    refusals: watch::Sender<String>,
}

impl Link {
    pub(super) async fn open(
        options: NatsOptions,
        clock: SharedClock,
    ) -> Result<Self, OptionsError> {
        let (standing_sender, standing) = watch::channel(Standing::default());
        let (refusal_sender, refusals) = watch::channel(String::new());
        let listener = Arc::new(Listener { standing: standing_sender, refusals: refusal_sender });
        let client = options
            .to_client_options()
            .await?
            .event_callback(move |event| {
                listener.note(event);
                std::future::ready(())
            })
            .connect(options.addresses()?)
            .await?;
        let context = ContextBuilder::new()
            .timeout(Duration::from_millis(options.ack_ms))
            .max_ack_inflight(options.in_flight)
            .backpressure_on_inflight(true)
            .build(client.clone());
        let limits = options.streams;
        Ok(Self { client, context, clock, limits, standing, refusals, ensured_ms: Arc::default() })
    }

    /// Waits until there is a connection.
    pub(super) async fn connected(&self) {
        let mut standing = self.standing.clone();
        while !self.is_connected() {
            if standing.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Completes when the next connection is made: what was on its way before may be lost.
    pub(super) fn reconnections(&self) -> Reconnections {
        let seen = self.standing.borrow().connections;
        Reconnections { standing: self.standing.clone(), seen }
    }

    /// What is wrong with the connection, for people.
    pub(super) fn trouble(&self) -> String {
        let trouble = self.standing.borrow().trouble.clone();
        if trouble.is_empty() { "not connected".to_owned() } else { trouble }
    }

    /// Without a connection, messages would queue up and be sent when nobody waits any longer.
    pub(super) fn must_be_connected(&self) -> Result<(), BusError> {
        if self.is_connected() { Ok(()) } else { Err(BusError::Unavailable(self.trouble())) }
    }

    fn is_connected(&self) -> bool {
        self.client.connection_state() == State::Connected
    }

    /// Completes with the server's words if it refuses, from now on, what ends with `subject`.
    pub(super) fn refused(&self, subject: &str) -> impl Future<Output = String> + Send + use<> {
        let mut refusals = self.refusals.clone();
        refusals.mark_unchanged();
        let quoted = format!("{subject}\"");
        async move {
            loop {
                if refusals.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
                let refusal = refusals.borrow_and_update().clone();
                if refusal.contains(&quoted) {
                    return refusal;
                }
            }
        }
    }

    /// As [`Link::refused`], and with the reason if the connection is lost: no answer comes then.
    pub(super) fn interrupted(&self, subject: &str) -> impl Future<Output = String> + Send + use<> {
        let refused = self.refused(subject);
        let mut standing = self.standing.clone();
        let seen = standing.borrow().losses;
        async move {
            tokio::select! {
                biased;
                refusal = refused => refusal,
                lost = standing.wait_for(|standing| standing.losses != seen) => {
                    lost.map_or_else(|_| String::new(), |standing| standing.trouble.clone())
                }
            }
        }
    }

    /// Waits until the server has done all that was sent before on this connection.
    pub(super) async fn sync(&self) -> Result<(), BusError> {
        // What we say to ourselves comes back in the server's turn. That nobody hears an inbox
        // would come back too, but not where an operator listens to everything.
        let inbox = Subject::from(self.client.new_inbox());
        let mut echo = self.client.subscribe(inbox.clone()).await.map_err(unavailable)?;
        self.client.publish(inbox, Bytes::new()).await.map_err(unavailable)?;
        match deadline(&*self.clock, SYNC_MS, echo.next()).await {
            Some(Some(_)) => Ok(()),
            Some(None) | None => Err(unavailable("the server did not answer in time")),
        }
    }

    /// Sends without waiting; what does not fit into the queue to the socket is lost.
    pub(super) fn send_now(&self, subject: Subject, payload: Bytes) {
        // Outside of tokio's budget, which would turn a free place into a wait.
        match unconstrained(self.client.publish(subject, payload)).now_or_never() {
            Some(Ok(())) => {}
            Some(Err(error)) => tracing::warn!(%error, "a reply is not sent"),
            None => tracing::warn!("a reply is not sent: too many wait for the connection"),
        }
    }

    /// Makes the streams if this process is told to, unless somebody did since `began_ms`.
    pub(super) async fn ensure_streams(&self, began_ms: u64) -> Result<(), BusError> {
        let Some(limits) = &self.limits else { return Ok(()) };
        let mut ensured_ms = self.ensured_ms.lock().await;
        if ensured_ms.is_some_and(|ensured_ms| ensured_ms > began_ms) {
            return Ok(());
        }
        let ensuring = streams::ensure(&self.context, limits, self.clock.now());
        ensuring.await.map_err(|error| {
            tracing::error!(%error, "the streams cannot be made yet");
            unavailable(error)
        })?;
        *ensured_ms = Some(self.clock.boot_ms());
        Ok(())
    }
}

/// Waits for new connections.
pub(super) struct Reconnections {
    standing: watch::Receiver<Standing>,
    seen: u64,
}

impl Reconnections {
    /// Completes if a connection was made since this was made. Cancel-safe.
    pub(super) async fn next(&mut self) {
        let seen = self.seen;
        if self.standing.wait_for(|standing| standing.connections != seen).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl Listener {
    fn note(&self, event: Event) {
        match event {
            Event::Connected => {
                tracing::info!("connected to NATS");
                self.standing.send_modify(|standing| {
                    standing.connections += 1;
                    standing.trouble.clear();
                });
            }
            Event::Disconnected => {
                tracing::warn!("the connection to NATS is lost");
                self.standing.send_modify(|standing| {
                    standing.losses += 1;
                    "the connection was lost".clone_into(&mut standing.trouble);
                });
            }
            Event::ServerError(ServerError::Other(text)) => self.complaint(text),
            Event::ServerError(
                error @ (ServerError::AuthorizationViolation | ServerError::SlowConsumer(_)),
            ) => self.complaint(error.to_string()),
            Event::ClientError(
                error @ (ClientError::Other(_)
                | ClientError::MaxReconnects
                | ClientError::ServerNotInPool),
            ) => {
                let text = error.to_string();
                // Told once, not each second.
                if self.standing.borrow().trouble != text {
                    tracing::warn!(%error, "NATS cannot be reached");
                }
                self.trouble(text);
            }
            Event::SlowConsumer(subscription) => {
                tracing::warn!(subscription, "a reader is behind and loses messages");
            }
            Event::LameDuckMode => tracing::info!("the NATS server is about to stop"),
            Event::Draining => tracing::debug!("the NATS client is draining"),
            Event::Closed => self.trouble("the client is closed".to_owned()),
        }
    }

    fn complaint(&self, text: String) {
        if text.starts_with("Permissions Violation") {
            tracing::error!(refusal = text, "NATS refuses what this process may not do");
            self.refusals.send_replace(text);
        } else {
            tracing::error!(text, "the NATS server complains");
            self.trouble(text);
        }
    }

    fn trouble(&self, text: String) {
        self.standing.send_modify(|standing| standing.trouble = text);
    }
}

/// What the failure of a call or request means.
pub(super) fn request_error(error: &RequestError) -> BusError {
    match error.kind() {
        RequestErrorKind::TimedOut => BusError::Timeout,
        RequestErrorKind::NoResponders => BusError::NoResponders,
        RequestErrorKind::InvalidSubject
        | RequestErrorKind::MaxPayloadExceeded
        | RequestErrorKind::Other => unavailable(error),
    }
}
