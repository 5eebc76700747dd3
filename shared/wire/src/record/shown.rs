//! Records as JSON: for the management API, webhooks, and people.

use serde::{Serialize, Serializer};
use serde_json::Value;
use turnpike_domain::id::Position;

use super::Received;
use crate::event;
use crate::form::Json;
use crate::hex;
use crate::time::rfc3339;

/// The fields of the envelope in the contract's order. An event that this version cannot read is
/// shown by its envelope, with null for its data.
#[derive(Serialize)]
struct Shown<'a> {
    id: Option<String>,
    org: String,
    seq: u64,
    #[serde(serialize_with = "number")]
    position: Position,
    at: Option<String>,
    actor: Value,
    command_id: Option<String>,
    r#type: &'a str,
    version: u16,
    data: Value,
    prev_hash: String,
    hash: String,
}

impl Serialize for Received {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let known = self.record.as_ref().ok();
        let (name, version) = match &self.record {
            Ok(record) => (record.event.name(), event::version(&record.event)),
            Err(unreadable) => (&*unreadable.name, unreadable.version),
        };
        let shown = Shown {
            id: known.map(|record| record.id.to_string()),
            org: self.org.to_string(),
            seq: self.seq,
            position: self.position,
            at: known.map(|record| rfc3339(record.at)),
            actor: known.map_or(Value::Null, |record| record.actor.json()),
            command_id: known.map(|record| record.command.to_string()),
            r#type: name,
            version,
            data: known.map_or(Value::Null, |record| event::json(&record.event)),
            prev_hash: hex::write(&self.prev_hash),
            hash: hex::write(&self.hash),
        };
        shown.serialize(serializer)
    }
}

/// Positions have up to 96 bits: `serde_json::Value` cannot hold them, a serialiser can write them.
fn number<S: Serializer>(position: &Position, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u128(position.0)
}
