//! Spend records: what one request cost, numbered by the gateway that served it.

use crate::admit::Denial;
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
    /// When it was admitted, or refused.
    pub at: Timestamp,
    /// The key that it came on.
    pub key: KeyId,
    /// The state of the key (its last event's seq): metadata is looked up with it.
    pub key_seq: u64,
    /// The ephemeral token, if one was used.
    pub token: Option<EphemeralId>,
    /// The model as the caller wrote it; of a tool call `mcp/` and the server's name; empty if it
    /// asked for none, or was refused before.
    pub model: Box<str>,
    /// Who served it, or was to; `None`: nobody was.
    pub provider: Option<ProviderId>,
    /// The HTTP status that the caller saw; 499 if the caller had gone.
    pub status: u16,
    /// Tokens.
    pub usage: Usage,
    /// Whose word the usage is.
    pub source: Source,
    /// The provider's usage made no sense and was bounded or replaced.
    pub suspect: bool,
    /// The version of the model's price, or the event that set the MCP server's fee, that it was
    /// admitted and settled at; 0: unpriced.
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
    /// The caller came with the key's legacy secret.
    pub legacy: bool,
    /// Milliseconds from the request's head to the end of the answer.
    pub latency_ms: u32,
    /// Why it ended without a provider's answer, if a rule or a failure of ours says so.
    pub denial: Option<Denial>,
    /// It was never admitted: a rule refused it, or the gateway answered it by itself. It has no
    /// lease, costs nothing and moves no ledger.
    pub unmetered: bool,
    /// How many more requests of the same key and end the record stands for, whose ids are in no
    /// record of their own.
    pub repeats: u32,
    /// How many ways were tried in vain before the last one: providers that did not answer, or had
    /// all the requests that they may have.
    pub failovers: u32,
    /// The id that explains the refusal, as the caller was told it.
    pub decision: Option<Box<str>>,
    /// The MCP server's name, of a tool call.
    pub server: Option<Box<str>>,
    /// The tool's name, of a tool call.
    pub tool: Option<Box<str>>,
    /// The caller asked for a stream.
    pub streamed: bool,
}

impl Spend {
    /// A request of the state `key_seq` of a key that used nothing and was never admitted, and of
    /// which nothing else is known.
    #[must_use]
    pub fn unused(request: RequestId, at: Timestamp, key: KeyId, key_seq: u64) -> Self {
        Self {
            request,
            at,
            key,
            key_seq,
            token: None,
            model: Box::default(),
            provider: None,
            status: 0,
            usage: Usage::default(),
            source: Source::Counted,
            suspect: false,
            price_version: 0,
            multiplier: Multiplier::default(),
            cost: NanoUsd::ZERO,
            reserved: NanoUsd::ZERO,
            reserved_tokens: 0,
            lease: None,
            legacy: false,
            latency_ms: 0,
            denial: None,
            unmetered: true,
            repeats: 0,
            failovers: 0,
            decision: None,
            server: None,
            tool: None,
            streamed: false,
        }
    }

    /// Whether it can be what a gateway has seen: nothing costs less than nothing, and what was not
    /// admitted costs nothing.
    #[must_use]
    pub const fn is_sound(&self) -> bool {
        let bound = self.cost.0 != 0 || self.reserved.0 != 0 || self.lease.is_some();
        self.cost.0 >= 0 && !(self.unmetered && (bound || self.usage.tokens() != 0))
    }
}
