//! The bus over NATS: JetStream for what is kept, plain messages and request/reply for the rest.

mod address;
mod link;
mod login;
mod options;
mod passing;
mod reader;
mod streams;

use std::time::Duration;

use async_nats::jetstream::context::{PublishError, PublishErrorKind};
use async_nats::jetstream::message::PublishMessage;
use async_nats::{HeaderMap, HeaderName, HeaderValue, client};
use bytes::Bytes;
use tokio::task::coop::unconstrained;
use turnpike_runtime::clock::{SharedClock, deadline};

use crate::limits;
use crate::seam::{
    BoxFuture, Bus, BusError, Feed, Publish, Reader, Requests, Serve, Service, Start,
};
use crate::subject;
pub use address::{BusAddress, NoBus};
use link::Link;
pub use login::{BusOptions, connect};
pub use options::{Credentials, NatsOptions, OptionsError, Tls};
use passing::{Calls, PassingReader};
use reader::StreamReader;
pub use streams::{Retention, StreamLimits};

/// How long [`NatsBus::connect`] waits for the first connection before it goes on without: a
/// server that is there answers in milliseconds, and a service must start without one.
const FIRST_CONNECTION_MS: u64 = 2_000;

/// A bus over NATS. Clones share the connection.
#[derive(Clone)]
pub struct NatsBus {
    link: Link,
}

/// Why JetStream did not take a message.
enum PutError {
    /// The stream is not there.
    NoStream,
    Failed(BusError),
}

impl NatsBus {
    /// Connects; answers when the connection stands, or after two seconds without one, and goes on
    /// trying for ever. With [`NatsOptions::streams`] the streams are made or changed to those
    /// limits, now and whenever they are found missing: a cluster that has not yet chosen who leads
    /// its JetStream refuses them for a while.
    ///
    /// # Errors
    /// If an option cannot be used.
    pub async fn connect(options: NatsOptions, clock: SharedClock) -> Result<Self, BusError> {
        let link = Link::open(options, clock).await.map_err(unavailable)?;
        let connected = link.connected();
        if deadline(&*link.clock, FIRST_CONNECTION_MS, connected).await.is_some() {
            // Why they cannot be made is in the log.
            let _ = link.ensure_streams(link.clock.boot_ms()).await;
        } else {
            let trouble = link.trouble();
            tracing::warn!(%trouble, "NATS does not answer yet; the connection is tried further");
        }
        Ok(Self { link })
    }

    async fn publish_kept(&self, subject: &str, message: &Publish) -> Result<(), BusError> {
        let began_ms = self.link.clock.boot_ms();
        match self.put(subject, message).await {
            Ok(()) => Ok(()),
            Err(PutError::Failed(error)) => Err(error),
            Err(PutError::NoStream) => {
                // Its files were lost, or nobody made it yet.
                self.link.ensure_streams(began_ms).await?;
                self.put(subject, message).await.map_err(|error| match error {
                    PutError::Failed(error) => error,
                    PutError::NoStream => unavailable("the stream does not exist"),
                })
            }
        }
    }

    async fn put(&self, subject: &str, message: &Publish) -> Result<(), PutError> {
        let interrupted = self.link.interrupted(subject);
        let acknowledged = async {
            let publish = PublishMessage::build()
                .payload(message.payload.clone())
                .headers(headers(subject, message));
            self.link.context.send_publish(subject.to_owned(), publish).await?.await
        };
        // Outside of tokio's budget, which would let a later publication go first.
        unconstrained(async {
            tokio::select! {
                biased;
                done = acknowledged => done.map(drop).map_err(|error| put_error(&error)),
                reason = interrupted => Err(PutError::Failed(BusError::Unavailable(reason))),
            }
        })
        .await
    }
}

impl Bus for NatsBus {
    fn publish(&self, message: Publish) -> BoxFuture<'_, Result<(), BusError>> {
        Box::pin(async move {
            limits::check(&message)?;
            self.link.must_be_connected()?;
            let subject = subject::of_topic(&message.topic);
            if message.topic.family().kept() {
                return self.publish_kept(&subject, &message).await;
            }
            let headers = headers(&subject, &message);
            let sent = self.link.client.publish_with_headers(subject, headers, message.payload);
            sent.await.map_err(unavailable)
        })
    }

    fn read(&self, feed: Feed, start: Start) -> BoxFuture<'_, Result<Box<dyn Reader>, BusError>> {
        Box::pin(async move {
            self.link.must_be_connected()?;
            if feed.family().kept() {
                let reader = StreamReader::open(self.link.clone(), feed, start).await?;
                return Ok(Box::new(reader) as Box<dyn Reader>);
            }
            let reader = PassingReader::open(&self.link, feed).await?;
            Ok(Box::new(reader) as Box<dyn Reader>)
        })
    }

    fn call(
        &self,
        service: Service,
        payload: Bytes,
        deadline_ms: u64,
    ) -> BoxFuture<'_, Result<Bytes, BusError>> {
        Box::pin(async move {
            limits::check_payload(payload.len())?;
            self.link.must_be_connected()?;
            let subject = subject::of_service(&service);
            let interrupted = self.link.interrupted(&subject);
            let request = client::Request::new()
                .payload(payload)
                .timeout(Some(Duration::from_millis(deadline_ms)));
            tokio::select! {
                biased;
                answer = self.link.client.send_request(subject, request) => match answer {
                    Ok(answer) => Ok(answer.payload),
                    Err(error) => Err(link::request_error(&error)),
                },
                reason = interrupted => Err(BusError::Unavailable(reason)),
            }
        })
    }

    fn serve(&self, serve: Serve) -> BoxFuture<'_, Result<Box<dyn Requests>, BusError>> {
        Box::pin(async move {
            self.link.must_be_connected()?;
            let calls = Calls::open(self.link.clone(), serve).await?;
            Ok(Box::new(calls) as Box<dyn Requests>)
        })
    }
}

fn headers(subject: &str, message: &Publish) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if !message.id.is_empty() {
        let id = subject::message_id(subject, &message.id);
        headers.insert(async_nats::header::NATS_MESSAGE_ID, id.as_str());
    }
    for (name, value) in &message.headers {
        let value = subject::header_value(value);
        match (name.parse::<HeaderName>(), value.parse::<HeaderValue>()) {
            (Ok(name), Ok(value)) => headers.insert(name, value),
            (Err(_), _) | (_, Err(_)) => tracing::error!(name, "a header is left out: not valid"),
        }
    }
    headers
}

fn put_error(error: &PublishError) -> PutError {
    match error.kind() {
        PublishErrorKind::StreamNotFound => PutError::NoStream,
        PublishErrorKind::WrongLastMessageId
        | PublishErrorKind::WrongLastSequence
        | PublishErrorKind::TimedOut
        | PublishErrorKind::BrokenPipe
        | PublishErrorKind::MaxAckPending
        | PublishErrorKind::MaxPayloadExceeded
        | PublishErrorKind::Other => PutError::Failed(unavailable(error)),
    }
}

fn unavailable(error: impl std::fmt::Display) -> BusError {
    BusError::Unavailable(error.to_string())
}
