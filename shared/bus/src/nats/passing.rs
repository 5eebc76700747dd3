//! What is not kept: topics that pass by, and calls.

use async_nats::Subscriber;
use bytes::Bytes;
use futures_util::{FutureExt, StreamExt};

use super::link::Link;
use crate::limits;
use crate::seam::{
    BoxFuture, BusError, Feed, Message, ReadError, Reader, Request, Requests, Serve,
};
use crate::subject;

/// A reader of topics that are not kept. It stays over reconnections; what was published
/// meanwhile is lost.
pub(super) struct PassingReader {
    subscriber: Subscriber,
    refused: BoxFuture<'static, String>,
}

impl PassingReader {
    pub(super) async fn open(link: &Link, feed: Feed) -> Result<Self, BusError> {
        let filter = subject::of_feed(&feed);
        let refused = Box::pin(link.refused(&filter));
        let subscriber = link.client.subscribe(filter).await.map_err(super::unavailable)?;
        link.sync().await?;
        Ok(Self { subscriber, refused })
    }
}

impl Reader for PassingReader {
    fn next(&mut self) -> BoxFuture<'_, Result<Message, ReadError>> {
        Box::pin(async move {
            loop {
                let message = next_message(&mut self.subscriber, &mut self.refused).await?;
                if let Some(message) = passing(message) {
                    return Ok(message);
                }
            }
        })
    }

    fn ready(&mut self) -> Option<Result<Message, ReadError>> {
        loop {
            match self.subscriber.next().now_or_never()? {
                None => return Some(Err(closed())),
                Some(message) => {
                    if let Some(message) = passing(message) {
                        return Some(Ok(message));
                    }
                }
            }
        }
    }
}

/// The calls that this process hears, as every other server does.
pub(super) struct Calls {
    link: Link,
    subscriber: Subscriber,
    refused: BoxFuture<'static, String>,
}

impl Calls {
    pub(super) async fn open(link: Link, serve: Serve) -> Result<Self, BusError> {
        let filter = subject::of_serve(&serve);
        let refused = Box::pin(link.refused(&filter));
        let subscriber = link.client.subscribe(filter).await.map_err(super::unavailable)?;
        link.sync().await?;
        Ok(Self { link, subscriber, refused })
    }
}

impl Requests for Calls {
    fn next(&mut self) -> BoxFuture<'_, Result<Request, ReadError>> {
        Box::pin(async move {
            loop {
                let message = next_message(&mut self.subscriber, &mut self.refused).await?;
                let Some(service) = subject::service(&message.subject) else {
                    tracing::warn!("a call on a foreign subject is not answered");
                    continue;
                };
                let Some(inbox) = message.reply else {
                    tracing::warn!(?service, "a call without an inbox is not answered");
                    continue;
                };
                if !subject::may_reply(&service, &inbox) {
                    tracing::warn!(?service, %inbox, "a call in the name of others is dropped");
                    continue;
                }
                let link = self.link.clone();
                let reply =
                    Box::new(move |bytes: Bytes| match limits::check_payload(bytes.len()) {
                        Ok(()) => link.send_now(inbox, bytes),
                        Err(error) => tracing::error!(%error, "an answer is not sent"),
                    });
                return Ok(Request { service, payload: message.payload, reply });
            }
        })
    }
}

/// The next message of a subscription, unless the server refuses the subscription.
async fn next_message(
    subscriber: &mut Subscriber,
    refused: &mut BoxFuture<'static, String>,
) -> Result<async_nats::Message, ReadError> {
    tokio::select! {
        biased;
        message = subscriber.next() => message.ok_or_else(closed),
        refusal = refused => Err(ReadError::Unavailable(refusal)),
    }
}

fn passing(message: async_nats::Message) -> Option<Message> {
    let Some(topic) = subject::topic(&message.subject) else {
        tracing::warn!("a message on a foreign subject is skipped");
        return None;
    };
    Some(Message { topic, place: 0, id: sent_id(&message), payload: message.payload })
}

/// The publisher's id of a message, if it carries one.
pub(super) fn sent_id(message: &async_nats::Message) -> Option<String> {
    let id = message.headers.as_ref()?.get(async_nats::header::NATS_MESSAGE_ID)?;
    subject::publisher_id(id.as_str())
}

fn closed() -> ReadError {
    ReadError::Unavailable("the client is closed".to_owned())
}
