//! The `Bus` seam: topics that are read from a place, and calls that are answered at once.
//!
//! # Contract
//! * The bus carries; it never keeps the record. It may lose, repeat or reorder what it
//!   acknowledged, and everything above must come out the same. Within one topic it normally
//!   delivers in the order of publication.
//! * [`Bus::publish`] answers when the bus has taken the message. Publishing the same `id` on the
//!   same topic again within two minutes is harmless: readers see it once or twice.
//! * A [`Reader`] yields messages after its place, then follows. Nothing is acknowledged: readers
//!   own their place. If the place is behind what the bus still holds, or the bus lost its record,
//!   it yields [`ReadError::Trimmed`] once and goes on with what is held; the answer is to
//!   bootstrap from the source of truth and to read on from `Start::Now`.
//! * [`Bus::call`] is request and reply with a deadline; nothing is kept, nothing is repeated.
//!   Every server that takes a call hears it, and the first answer counts: who may answer is for
//!   the servers to know (the owner of a shard), not for the bus.
//! * Topics and services are values of this crate: no other crate knows a subject.

use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;
use turnpike_domain::id::{GatewayId, KeyId, OrgId};

/// The largest payload of one message, in bytes: below the 1 MB default of NATS, headers included.
pub const MAX_PAYLOAD_BYTES: usize = 900_000;

/// A future that may be sent to another thread; the seam is object-safe because of it.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Where a message is published.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Topic {
    /// Events of an organisation (or of the platform); `kind` is the event's name, e.g.
    /// `KeyCreated`.
    Events {
        /// Whose event it is.
        org: OrgId,
        /// The event's name.
        kind: String,
    },
    /// The heartbeat of the control plane to one organisation's gateways. Not kept.
    Heartbeat {
        /// Whose heads it names.
        org: OrgId,
    },
    /// Spend records of one gateway. Kept until trimmed.
    Spend {
        /// Whose spend it is.
        org: OrgId,
        /// The gateway that measured it: the enforced subject, never a field of the message.
        gateway: GatewayId,
    },
    /// "The projector booked up to n". Not kept.
    Booked {
        /// Whose spend it was.
        org: OrgId,
        /// The gateway that it is said to.
        gateway: GatewayId,
    },
    /// "Gateway g is at position p." Not kept.
    Receipts {
        /// Whose events were applied.
        org: OrgId,
        /// Who applied them.
        gateway: GatewayId,
    },
    /// "Give back what you need not hold of an account." Not kept.
    Recall {
        /// Whose gateways are asked.
        org: OrgId,
    },
    /// Settled spend for outside consumers. Kept.
    Ledger {
        /// Whose spend it is.
        org: OrgId,
        /// The key that spent.
        key: KeyId,
    },
}

/// What is read: one family of topics, for one organisation or for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Feed {
    /// All events of one organisation, or of all.
    Events(Option<OrgId>),
    /// Heartbeats of one organisation, or of all.
    Heartbeat(Option<OrgId>),
    /// Spend of one organisation's gateways, or of all.
    Spend(Option<OrgId>),
    /// Booked marks for one gateway, of one organisation or of all that it serves.
    Booked(Option<OrgId>, GatewayId),
    /// Receipts of one organisation's gateways, or of all.
    Receipts(Option<OrgId>),
    /// Recalls to the gateways of one organisation, or of all.
    Recall(Option<OrgId>),
    /// Settled spend of one organisation, or of all.
    Ledger(Option<OrgId>),
}

/// Where a reader begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// With the first message that the bus still holds.
    Oldest,
    /// With the first message published after the reader stands.
    Now,
    /// With the first message after this place (a [`Message::place`] seen before).
    After(u64),
}

/// A call's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Service {
    /// Leases and permits of one organisation, asked by one gateway.
    Authority {
        /// Whose money and rates.
        org: OrgId,
        /// Who asks: the enforced subject.
        gateway: GatewayId,
    },
    /// How the rates of one organisation stand, asked by the control plane.
    Rates {
        /// Whose rates.
        org: OrgId,
    },
}

/// What a server answers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Serve {
    /// Lease and permit calls of one organisation, or of all.
    Authority(Option<OrgId>),
    /// Questions of how the rates of one organisation stand, or of all.
    Rates(Option<OrgId>),
}

/// A message as it arrives.
#[derive(Clone, Debug)]
pub struct Message {
    /// Where it was published.
    pub topic: Topic,
    /// The bus's own place for it, growing within one feed; 0 for topics that are not kept.
    pub place: u64,
    /// The publisher's id, if the bus carried one.
    pub id: Option<String>,
    /// The bytes.
    pub payload: Bytes,
}

/// What is published.
#[derive(Clone, Debug)]
pub struct Publish {
    /// Where to.
    pub topic: Topic,
    /// Message id for deduplication (`Nats-Msg-Id`), e.g. the position in the log. Empty: none.
    pub id: String,
    /// Further headers (CloudEvents), sent where the bus knows headers.
    pub headers: Vec<(String, String)>,
    /// The bytes, at most [`MAX_PAYLOAD_BYTES`].
    pub payload: Bytes,
}

/// Why a publication or a call failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BusError {
    /// The bus cannot be reached; the message may or may not have been taken.
    #[error("the bus is unavailable: {0}")]
    Unavailable(String),
    /// Nobody serves this call.
    #[error("nobody answers this call")]
    NoResponders,
    /// No answer within the deadline; the call may have been carried out.
    #[error("no answer in time")]
    Timeout,
    /// The payload is over [`MAX_PAYLOAD_BYTES`].
    #[error("the message is too large: {0} bytes")]
    TooLarge(usize),
}

/// Why a reader yielded no message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The place is behind what the bus still holds, or the bus lost its record: bootstrap.
    #[error("the bus no longer holds the messages after this place")]
    Trimmed,
    /// The connection was lost; the reader is dead. Make a new one from the last place.
    #[error("the bus is unavailable: {0}")]
    Unavailable(String),
}

/// Yields the messages of one feed.
pub trait Reader: Send {
    /// The next message; waits for one. Cancel-safe.
    fn next(&mut self) -> BoxFuture<'_, Result<Message, ReadError>>;
    /// A message that is already here, without waiting.
    fn ready(&mut self) -> Option<Result<Message, ReadError>>;
}

/// A call that waits for its answer.
pub struct Request {
    /// Which service was called, by whom.
    pub service: Service,
    /// The question.
    pub payload: Bytes,
    /// Takes the answer; dropping it leaves the caller to its deadline.
    pub reply: Box<dyn FnOnce(Bytes) + Send>,
}

/// Yields the calls to one server.
pub trait Requests: Send {
    /// The next call; waits for one. Cancel-safe.
    fn next(&mut self) -> BoxFuture<'_, Result<Request, ReadError>>;
}

/// Topics and calls; see the contract at the head of this file.
pub trait Bus: Send + Sync {
    /// Publishes one message and waits until the bus has taken it. Kept topics wait for the
    /// bus's acknowledgement; many publications may be in flight at once.
    fn publish(&self, message: Publish) -> BoxFuture<'_, Result<(), BusError>>;
    /// Opens a reader. It stands when this answers: what is published later is not missed.
    fn read(&self, feed: Feed, start: Start) -> BoxFuture<'_, Result<Box<dyn Reader>, BusError>>;
    /// Asks, and waits at most `deadline_ms` for the answer.
    fn call(
        &self,
        service: Service,
        payload: Bytes,
        deadline_ms: u64,
    ) -> BoxFuture<'_, Result<Bytes, BusError>>;
    /// Begins to answer calls. When several serve, each of them gets each call: one that may not
    /// answer drops it.
    fn serve(&self, serve: Serve) -> BoxFuture<'_, Result<Box<dyn Requests>, BusError>>;
}
