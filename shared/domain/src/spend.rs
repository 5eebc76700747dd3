//! Spend records: what one request cost, numbered by the gateway that served it.

use crate::id::{EphemeralId, KeyId, LeaseId, ProviderId, RequestId};
use crate::meter::Usage;
use crate::money::{Multiplier, NanoUsd};
use crate::time::Timestamp;

/// Where a record's usage comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// The provider reported it.
    Provider,
    /// The gateway counted what passed.
    Counted,
    /// Neither: the reservation stands in for it.
    Estimated,
}

/// One request, as it is booked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spend {
    /// The request.
    pub request: RequestId,
    /// When it was admitted.
    pub at: Timestamp,
    /// The key that it was admitted on.
    pub key: KeyId,
    /// The state of the key (its last event's seq): metadata is looked up with it.
    pub key_seq: u64,
    /// The ephemeral token, if one was used.
    pub token: Option<EphemeralId>,
    /// The model as the caller wrote it.
    pub model: Box<str>,
    /// Who served it.
    pub provider: ProviderId,
    /// The HTTP status that the caller saw; 499 if the caller had gone.
    pub status: u16,
    /// Tokens.
    pub usage: Usage,
    /// Whose word the usage is.
    pub source: Source,
    /// The provider's usage made no sense and was bounded or replaced.
    pub suspect: bool,
    /// The version of the model's price that it was admitted and settled at; 0: unpriced.
    pub price_version: u64,
    /// The plan's multiplier at admission.
    pub multiplier: Multiplier,
    /// What it cost.
    pub cost: NanoUsd,
    /// What was reserved for it.
    pub reserved: NanoUsd,
    /// Tokens that were reserved for it.
    pub reserved_tokens: u64,
    /// The lease that it was reserved on, if its path has a cap.
    pub lease: Option<LeaseId>,
    /// Milliseconds from the request's head to the end of the answer.
    pub latency_ms: u32,
}
