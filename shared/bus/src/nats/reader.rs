//! A reader of a stream: an ephemeral consumer that is made anew from the reader's own place.
//!
//! Deliveries are numbered by the server without holes. A hole, a silence without heartbeats, or a
//! new connection means that something on its way was lost: the consumer is thrown away and a new
//! one is made behind the last message that was yielded.

use std::time::Duration;

use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::consumer::push::Config;
use async_nats::jetstream::consumer::{AckPolicy, Consumer, DeliverPolicy};
use async_nats::jetstream::stream::{ConsumerError, ConsumerErrorKind};
use async_nats::{HeaderMap, StatusCode, Subscriber};
use bytes::Bytes;
use futures_util::{FutureExt, StreamExt};
use tokio::task::coop::unconstrained;
use turnpike_domain::time::SECOND_MS;
use turnpike_runtime::clock::deadline;

use super::link::{Link, Reconnections};
use super::passing::sent_id;
use super::{streams, unavailable};
use crate::seam::{BoxFuture, BusError, Feed, Message, ReadError, Reader, Start};
use crate::subject;

/// How often the server speaks when it has nothing to deliver.
const HEARTBEAT_MS: u64 = 2 * SECOND_MS;

/// Silence after which the consumer is taken for lost: two heartbeats and some delay.
const SILENCE_MS: u64 = 5 * SECOND_MS;

/// How long a reader waits for the connection to come back before it says so.
const RESUME_MS: u64 = 10 * SECOND_MS;

/// How long the server keeps a consumer that nobody listens to: longer than it takes to listen.
const ABANDONED: Duration = Duration::from_millis(30 * SECOND_MS);

/// How long the server keeps a consumer that was made for its answer only.
const PROBED: Duration = Duration::from_millis(SECOND_MS);

/// Names the subject to answer when the server waits for a flow control answer that was lost.
const CONSUMER_STALLED: &str = "Nats-Consumer-Stalled";

/// A reader of a kept feed.
pub(super) struct StreamReader {
    link: Link,
    feed: Feed,
    filter: String,
    stream: &'static str,
    /// Where the next consumer begins.
    start: Start,
    /// The sequence of the last message that was looked at.
    place: u64,
    /// Yielded before all else: the place was found to be trimmed.
    trimmed: bool,
    /// Yielded next: it arrived behind a hole.
    held: Option<Message>,
    consumer: Option<Deliveries>,
}

/// What one consumer delivers.
struct Deliveries {
    subscriber: Subscriber,
    reconnections: Reconnections,
    /// The number of the last delivery.
    delivered: u64,
}

impl StreamReader {
    /// Stands when it answers.
    pub(super) async fn open(link: Link, feed: Feed, start: Start) -> Result<Self, BusError> {
        let not_kept = || unavailable("the topic is not kept");
        let stream = streams::name(feed.family()).ok_or_else(not_kept)?;
        let filter = subject::of_feed(&feed);
        let mut reader = Self {
            link,
            feed,
            filter,
            stream,
            start,
            place: 0,
            trimmed: false,
            held: None,
            consumer: None,
        };
        reader.consume().await?;
        Ok(reader)
    }

    async fn wait(&mut self) -> Result<Message, ReadError> {
        loop {
            if let Some(result) = self.take() {
                return result;
            }
            let Some(consumer) = &mut self.consumer else {
                self.resume().await?;
                continue;
            };
            let arrived = tokio::select! {
                biased;
                message = consumer.subscriber.next() => message,
                () = consumer.reconnections.next() => None,
                () = self.link.clock.sleep(SILENCE_MS) => None,
            };
            let result = match arrived {
                Some(message) => self.accept(message),
                None => self.give_up("the deliveries were interrupted"),
            };
            if let Some(result) = result {
                return result;
            }
        }
    }

    /// What is here already.
    fn take(&mut self) -> Option<Result<Message, ReadError>> {
        if std::mem::take(&mut self.trimmed) {
            return Some(Err(ReadError::Trimmed));
        }
        if let Some(message) = self.held.take() {
            return Some(Ok(message));
        }
        loop {
            let next = self.consumer.as_mut()?.subscriber.next();
            let result = match unconstrained(next).now_or_never()? {
                Some(message) => self.accept(message),
                None => self.give_up("the subscription ended"),
            };
            if result.is_some() {
                return result;
            }
        }
    }

    async fn resume(&mut self) -> Result<(), ReadError> {
        let connected = self.link.connected();
        if deadline(&*self.link.clock, RESUME_MS, connected).await.is_none() {
            return Err(ReadError::Unavailable(self.link.trouble()));
        }
        self.consume().await.map_err(|error| ReadError::Unavailable(error.to_string()))
    }

    /// Makes a consumer behind the place. Cancel-safe: a consumer without its listener is
    /// forgotten by the server.
    async fn consume(&mut self) -> Result<(), BusError> {
        let reconnections = self.link.reconnections();
        let start = self.held_start().await?;
        let inbox = self.link.client.new_inbox();
        let floor = self.create_consumer(&inbox, start, ABANDONED).await?;
        // Only now: the server delivers nothing before somebody listens, so that the place in its
        // answer is the one from which it begins.
        let subscribing = self.link.client.subscribe(inbox);
        let subscriber = subscribing.await.map_err(unavailable)?;
        if let Start::After(place) = self.start
            && floor != place
        {
            tracing::info!(stream = self.stream, place, floor, "the place was trimmed");
            self.trimmed = true;
        }
        self.place = floor;
        self.start = Start::After(floor);
        self.consumer = Some(Deliveries { subscriber, reconnections, delivered: 0 });
        Ok(())
    }

    /// Where to begin, given what the stream holds.
    ///
    /// A place before its first message is moved there by the server. A place behind its last one
    /// (its end was lost) is not: the server would wait for messages up to there and skip them. A
    /// consumer of what is new tells the last place; asking for the stream's state would tell a
    /// gateway the subjects of others.
    async fn held_start(&self) -> Result<Start, BusError> {
        let Start::After(place) = self.start else { return Ok(self.start) };
        let inbox = self.link.client.new_inbox();
        let last = self.create_consumer(&inbox, Start::Now, PROBED).await?;
        Ok(if last < place { Start::Oldest } else { self.start })
    }

    /// The sequence behind which the new consumer begins.
    async fn create_consumer(
        &self,
        inbox: &str,
        start: Start,
        abandoned: Duration,
    ) -> Result<u64, BusError> {
        let began_ms = self.link.clock.boot_ms();
        let config = Config {
            // The inbox ends with a name that nobody else makes.
            name: inbox.rsplit('.').next().map(str::to_owned),
            deliver_subject: inbox.to_owned(),
            deliver_policy: match start {
                Start::Oldest => DeliverPolicy::All,
                Start::Now => DeliverPolicy::New,
                Start::After(place) => {
                    DeliverPolicy::ByStartSequence { start_sequence: place.saturating_add(1) }
                }
            },
            ack_policy: AckPolicy::None,
            max_deliver: 1,
            filter_subject: self.filter.clone(),
            flow_control: true,
            idle_heartbeat: Duration::from_millis(HEARTBEAT_MS),
            inactive_threshold: abandoned,
            memory_storage: true,
            num_replicas: 1,
            ..Config::default()
        };
        let created = match self.request_consumer(config.clone()).await? {
            Err(error) if is_missing(&error) => {
                self.link.ensure_streams(began_ms).await?;
                self.request_consumer(config).await?
            }
            created => created,
        };
        Ok(created.map_err(unavailable)?.cached_info().delivered.stream_sequence)
    }

    async fn request_consumer(
        &self,
        config: Config,
    ) -> Result<Result<Consumer<Config>, ConsumerError>, BusError> {
        // The request's subject ends with the filter.
        let interrupted = self.link.interrupted(&self.filter);
        tokio::select! {
            biased;
            created = self.link.context.create_consumer_on_stream(config, self.stream) => {
                Ok(created)
            }
            reason = interrupted => Err(BusError::Unavailable(reason)),
        }
    }

    fn accept(&mut self, message: async_nats::Message) -> Option<Result<Message, ReadError>> {
        match message.status {
            None => self.deliver(message),
            Some(StatusCode::IDLE_HEARTBEAT) => self.heartbeat(&message),
            Some(_) => self.give_up("the server ended the consumer"),
        }
    }

    fn deliver(&mut self, message: async_nats::Message) -> Option<Result<Message, ReadError>> {
        let Some((sequence, delivery)) = message.reply.as_deref().and_then(numbers) else {
            return self.give_up("a delivery has no number");
        };
        let consumer = self.consumer.as_mut()?;
        if delivery != consumer.delivered + 1 {
            return self.give_up("a delivery was lost");
        }
        consumer.delivered = delivery;
        // In the whole of a stream sequences have no holes, but where its limits cut them.
        let whole = self.feed.is_whole() && sequence != self.place.saturating_add(1);
        self.place = sequence;
        self.start = Start::After(sequence);
        let Some(topic) = subject::topic(&message.subject) else {
            tracing::warn!(stream = self.stream, sequence, "a foreign subject is skipped");
            return whole.then_some(Err(ReadError::Trimmed));
        };
        let id = sent_id(&message);
        let message = Message { topic, place: sequence, id, payload: message.payload };
        if whole {
            self.held = Some(message);
            return Some(Err(ReadError::Trimmed));
        }
        Some(Ok(message))
    }

    /// A sign of life; it may ask for an answer, and it tells how many deliveries there were.
    fn heartbeat(&mut self, message: &async_nats::Message) -> Option<Result<Message, ReadError>> {
        if let Some(flow) = &message.reply {
            self.link.send_now(flow.clone(), Bytes::new());
        }
        let headers = message.headers.as_ref()?;
        if let Some(flow) = text(headers, CONSUMER_STALLED) {
            self.link.send_now(flow.into(), Bytes::new());
        }
        let last = text(headers, "Nats-Last-Consumer")?.parse::<u64>().ok()?;
        if last != self.consumer.as_ref()?.delivered {
            return self.give_up("the last deliveries were lost");
        }
        None
    }

    /// Throws the consumer away; the next one begins at the place.
    fn give_up(&mut self, why: &'static str) -> Option<Result<Message, ReadError>> {
        tracing::info!(stream = self.stream, place = self.place, why, "the reader begins anew");
        self.consumer = None;
        None
    }
}

impl Reader for StreamReader {
    fn next(&mut self) -> BoxFuture<'_, Result<Message, ReadError>> {
        Box::pin(self.wait())
    }

    fn ready(&mut self) -> Option<Result<Message, ReadError>> {
        self.take()
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).map(|value| value.as_str())
}

fn is_missing(error: &ConsumerError) -> bool {
    matches!(
        error.kind(),
        ConsumerErrorKind::JetStream(error) if error.error_code() == ErrorCode::STREAM_NOT_FOUND
    )
}

/// The sequence in the stream and the number of the delivery, from the subject of a message's
/// acknowledgement (NATS ADR-15): `$JS.ACK.`, domain and account in the new form, then
/// `<stream>.<consumer>.<tries>.<sequence>.<delivery>.<time>.<pending>`.
fn numbers(reply: &str) -> Option<(u64, u64)> {
    let tokens: Vec<&str> = reply.strip_prefix("$JS.ACK.")?.split('.').collect();
    // Seven tokens in the old form; the new one has two more in front and may grow at its end.
    let tries = if tokens.len() == 7 { 2 } else { 4 };
    let sequence = tokens.get(tries + 1)?.parse().ok()?;
    let delivery = tokens.get(tries + 2)?.parse().ok()?;
    Some((sequence, delivery))
}
