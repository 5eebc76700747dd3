//! The stream of an organisation, as it is stored: read forwards, backwards, and as JSON.

use serde_json::json;
use turnpike_domain::event::Who;
use turnpike_domain::id::OrgId;
use turnpike_domain::state::Organisation;
use turnpike_store::error::StoreError;
use turnpike_store::kv::Snapshot;
use turnpike_store::log;
use turnpike_wire::api::audit::{Actor, AuditEntry, Event};
use turnpike_wire::api::text::{Place, Text};
use turnpike_wire::event;
use turnpike_wire::hex;
use turnpike_wire::record::{self, Received};

/// The type of an event that this version cannot read: a later one wrote it.
const UNREADABLE: &str = "unreadable";

/// Events behind `after` up to `last`, oldest first, at most one page of the store.
pub(super) async fn page(
    snapshot: &dyn Snapshot,
    org: OrgId,
    after: u64,
    last: u64,
) -> Result<Vec<Received>, StoreError> {
    let logged = log::page(snapshot, org, after, last).await?;
    let positions = log::positions(snapshot, org, after, last).await?;
    let open = |logged: &log::Logged| {
        let position = positions.get(&logged.seq).copied().unwrap_or_default();
        record::decode(&logged.body, position).map_err(|why| StoreError::Corrupt {
            place: format!("event {} of {org}", logged.seq),
            why: why.to_string(),
        })
    };
    logged.iter().map(open).collect()
}

/// Who stands behind an event, with the name that is known now.
pub(super) fn actor(who: Who, state: &Organisation) -> Actor {
    let (kind, id, name) = match who {
        Who::System => ("system", None, None),
        Who::Member(id) => {
            let member = state.members.get(&id);
            ("member", Some(id.to_string()), member.map(|member| member.name.to_string()))
        }
        Who::Token(id) => {
            let token = state.tokens.get(&id);
            ("token", Some(id.to_string()), token.map(|token| token.name.to_string()))
        }
        Who::Gateway(id) => {
            let gateway = state.gateways.get(&id);
            ("gateway", Some(id.to_string()), gateway.map(|gateway| gateway.name.to_string()))
        }
    };
    Actor { kind: kind.to_owned(), id, name }
}

/// An event with its envelope.
pub(super) fn event(received: &Received, state: &Organisation) -> Event {
    let record = received.record.as_ref();
    let known = record.ok();
    let (name, version, data) = match record {
        Ok(record) => {
            let event = &record.event;
            (event.name(), event::version(event), event::json(event))
        }
        Err(unreadable) => {
            let data = json!({ "name": unreadable.name, "why": unreadable.why.to_string() });
            (UNREADABLE, unreadable.version, data)
        }
    };
    Event {
        id: known.map(|record| Text(record.id)),
        org: Text(received.org),
        seq: received.seq,
        position: (received.position.0 > 0).then_some(Place(received.position)),
        at: known.map(|record| Text(record.at)),
        actor: known.map(|record| actor(record.actor.who, state)),
        command_id: known.map(|record| Text(record.command)),
        r#type: name.to_owned(),
        version,
        data,
        prev_hash: hex::write(&received.prev_hash),
        hash: hex::write(&received.hash),
    }
}

/// An event as an entry of the audit log.
pub(super) fn entry(received: &Received, state: &Organisation) -> Option<AuditEntry> {
    let record = received.record.as_ref().ok()?;
    Some(AuditEntry {
        id: Text(record.id),
        seq: record.seq,
        at: Text(record.at),
        r#type: record.event.name().to_owned(),
        actor: actor(record.actor.who, state),
        address: record.actor.address.map(|address| address.to_string()),
        command_id: Text(record.command),
        data: event::json(&record.event),
    })
}

#[cfg(test)]
mod tests {
    use turnpike_domain::event::{Actor, Event as Happened, Record};
    use turnpike_domain::id::{CommandId, EventId, GatewayId, Position};
    use turnpike_domain::time::Timestamp;
    use turnpike_wire::record::FIRST_HASH;

    use super::*;

    #[test]
    fn an_event_of_a_later_version_is_shown_by_its_envelope() {
        let record = Record {
            id: EventId(1),
            org: OrgId(2),
            seq: 3,
            at: Timestamp(4),
            actor: Actor { who: Who::System, address: None },
            command: CommandId(5),
            event: Happened::GatewayLeft { gateway: GatewayId(6) },
        };
        let state = Organisation::new(OrgId(2));
        let mut bytes = record::encode(&record, FIRST_HASH).unwrap().bytes;
        let read = |bytes: &[u8]| record::decode(bytes, Position(7)).unwrap();
        let known = event(&read(&bytes), &state);
        assert_eq!(
            (known.r#type.as_str(), known.position),
            ("GatewayLeft", Some(Place(Position(7))))
        );
        let at = bytes.windows(11).position(|part| part == b"GatewayLeft").unwrap();
        bytes[at..at + 11].copy_from_slice(b"GatewayLost");
        let received = read(&bytes);
        let shown = event(&received, &state);
        assert_eq!((shown.r#type.as_str(), shown.seq, shown.id), ("unreadable", 3, None));
        assert_eq!(
            (shown.hash, &shown.data["name"]),
            (hex::write(&received.hash), &json!("GatewayLost"))
        );
    }
}
