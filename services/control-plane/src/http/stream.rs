//! The stream of an organisation, as it is stored: read forwards, backwards, and as JSON.

use turnpike_domain::event::Who;
use turnpike_domain::id::OrgId;
use turnpike_domain::state::Organisation;
use turnpike_store::error::StoreError;
use turnpike_store::kv::Snapshot;
use turnpike_store::log;
use turnpike_wire::api::audit::{Actor, AuditEntry, Event};
use turnpike_wire::api::text::Text;
use turnpike_wire::event;
use turnpike_wire::keyring::hex;
use turnpike_wire::record::{self, Received};

/// Events behind `after` up to `last`, oldest first, at most one page of the store.
pub(super) async fn page(
    snapshot: &dyn Snapshot,
    org: OrgId,
    after: u64,
    last: u64,
) -> Result<Vec<Received>, StoreError> {
    let logged = log::page(snapshot, org, after, last).await?;
    let open = |logged: &log::Logged| {
        // Where among all commits an event stands is not stored beside it.
        let read = record::decode(&logged.body, turnpike_domain::id::Position::default());
        read.map_err(|why| StoreError::Corrupt {
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

/// An event with its envelope; none if this version cannot read it.
pub(super) fn event(received: &Received, state: &Organisation) -> Option<Event> {
    let record = received.record.as_ref().ok()?;
    Some(Event {
        id: Text(record.id),
        org: Text(record.org),
        seq: record.seq,
        at: Text(record.at),
        actor: actor(record.actor.who, state),
        command_id: Text(record.command),
        r#type: record.event.name().to_owned(),
        version: event::version(&record.event),
        data: event::json(&record.event),
        prev_hash: hex(&received.prev_hash),
        hash: hex(&received.hash),
    })
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
