//! Evolving: the only place where state changes. Total: every event on every state has an answer.

use crate::event::Record;
use crate::id::{KeyId, Position, ProjectId};
use crate::state::{Organisation, Platform};

/// What an event touched, so that indexes beside the state can follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Touched {
    /// One key: made, changed or deleted.
    Key(KeyId),
    /// One project: its limits bind its keys.
    Project(ProjectId),
    /// Tokens of management or joining.
    Tokens,
    /// Providers, plans or models: routes and prices.
    Routing,
    /// Anything else.
    Other,
}

/// Applies an event to the organisation whose stream it stands in. The caller has checked that it is
/// the next one; `hash` is the chain's hash of it.
pub fn organisation(
    _state: &mut Organisation,
    _record: &Record,
    _hash: [u8; 32],
    _position: Position,
) -> Touched {
    Touched::Other
}

/// Applies an event of the platform's stream.
pub fn platform(
    _state: &mut Platform,
    _record: &Record,
    _hash: [u8; 32],
    _position: Position,
) -> Touched {
    Touched::Other
}
