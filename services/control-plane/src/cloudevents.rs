//! CloudEvents 1.0 in the binary mode of the NATS protocol binding: headers beside our own payload.

use turnpike_domain::event::Record;
use turnpike_domain::id::OrgId;
use turnpike_wire::event;

use turnpike_wire::time::rfc3339;

/// The headers of an event.
pub(crate) fn headers(record: &Record) -> Vec<(String, String)> {
    let name = record.event.name();
    let org = organisation(record.org);
    [
        ("ce-specversion", "1.0".to_owned()),
        ("ce-id", record.id.to_string()),
        ("ce-source", format!("/orgs/{org}")),
        ("ce-type", format!("dev.turnpike.{name}.v{}", event::version(&record.event))),
        ("ce-time", rfc3339(record.at)),
        ("ce-subject", org),
        ("ce-datacontenttype", "application/cbor".to_owned()),
        ("ce-sequence", record.seq.to_string()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .to_vec()
}

fn organisation(org: OrgId) -> String {
    if org == OrgId::PLATFORM { "platform".to_owned() } else { org.to_string() }
}
