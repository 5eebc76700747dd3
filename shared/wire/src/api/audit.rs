//! The stream as people read it: events as JSON, audit entries, and the check of the chain.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::text::{CommandRef, EventRef, OrgRef, Place, Time};

/// One event with its envelope. Of an event that this version cannot read `type` is `unreadable`,
/// and what only the event itself says is null.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Event {
    /// Its own id.
    pub id: Option<EventRef>,
    /// Whose stream it stands in.
    pub org: OrgRef,
    /// Its place in that stream: 1, 2, 3 …
    pub seq: u64,
    /// Its place in the order of all commits; null where it was written before that was kept.
    pub position: Option<Place>,
    /// When it was decided.
    pub at: Option<Time>,
    /// Who caused it.
    pub actor: Option<Actor>,
    /// The command that it came from.
    pub command_id: Option<CommandRef>,
    /// Its name.
    pub r#type: String,
    /// The version of its form.
    pub version: u16,
    /// What happened, without secrets; of an unreadable event its name and why.
    #[schema(value_type = Object)]
    pub data: Value,
    /// The hash of the event before, in hexadecimal digits.
    pub prev_hash: String,
    /// Its hash.
    pub hash: String,
}

/// One entry of the audit log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditEntry {
    /// The event's id.
    pub id: EventRef,
    /// The event's place in the stream.
    pub seq: u64,
    /// When.
    pub at: Time,
    /// The event's name.
    pub r#type: String,
    /// Who.
    pub actor: Actor,
    /// From where.
    pub address: Option<String>,
    /// The command that it came from.
    pub command_id: CommandRef,
    /// What happened, without secrets.
    #[schema(value_type = Object)]
    pub data: Value,
}

/// Who caused an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Actor {
    /// `system`, `member`, `token` or `gateway`.
    pub kind: String,
    /// Its id; null for the system.
    pub id: Option<String>,
    /// Its name, if it is still known.
    pub name: Option<String>,
}

/// What the check of the chain found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Verification {
    /// Every event is there, readable, and follows the one before.
    pub ok: bool,
    /// Events that were checked and found good.
    pub checked: u64,
    /// The hash of the last good event, in hexadecimal digits.
    pub head_hash: String,
    /// The seq of the first event that is missing, changed or does not follow.
    pub first_bad: Option<u64>,
}
