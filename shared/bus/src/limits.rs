//! How large a message may be, the same on every bus.

use crate::seam::{BusError, MAX_PAYLOAD_BYTES, Publish};
use crate::subject;

/// Topic, id and headers of one message, in bytes: with the largest payload it stays below the
/// 1 MB default of NATS (`max_payload` counts the headers), and NATS cuts the connection of a
/// client whose subject passes 4 kB.
pub(crate) const MAX_HEAD_BYTES: usize = 3_000;

/// Refuses what a server would answer by cutting the connection, or not at all.
pub(crate) fn check(message: &Publish) -> Result<(), BusError> {
    check_payload(message.payload.len())?;
    let headers: usize = message.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
    let head = subject::of_topic(&message.topic).len() + message.id.len() + headers;
    if head > MAX_HEAD_BYTES {
        return Err(BusError::TooLarge(message.payload.len().saturating_add(head)));
    }
    Ok(())
}

/// Refuses a payload that is over [`MAX_PAYLOAD_BYTES`].
pub(crate) fn check_payload(bytes: usize) -> Result<(), BusError> {
    if bytes > MAX_PAYLOAD_BYTES { Err(BusError::TooLarge(bytes)) } else { Ok(()) }
}
