//! MCP servers of an organisation: registered, changed, asked for their tools, removed.

use super::mistakes::Mistakes;
use super::provider::form;
use super::{By, Decision, World, conflict, name_taken};
use crate::event::Event;
use crate::id::McpServerId;
use crate::refusal::Refusal;
use crate::state::{
    MAX_CATALOGUE_BYTES, MAX_MCP_SERVERS, MAX_MCP_TOOLS, MAX_TOOL_DESCRIPTION_BYTES, McpCatalogue,
    McpServerSpec, Role,
};
use crate::text::{path_name_problem, tool_name_problem};

/// Headers that belong to the transport: a credential may not stand in them.
const TRANSPORT: [&str; 13] = [
    "accept",
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "host",
    "keep-alive",
    "last-event-id",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];
/// What the headers of MCP itself begin with.
const MCP_PREFIX: &str = "mcp-";

pub(super) fn change(
    world: World<'_>,
    by: By<'_>,
    id: McpServerId,
    spec: Option<&McpServerSpec>,
) -> Decision {
    by.requester.at_least(Role::Admin)?;
    let servers = &world.organisation.mcp_servers;
    let known = servers.get(&id);
    by.has_seen(known.map_or(0, |server| server.seq))?;
    let Some(spec) = spec else {
        known.ok_or(Refusal::NotFound { noun: "MCP server" })?;
        return Ok(vec![Event::McpServerChanged { server: id, spec: None }]);
    };
    if known.is_some_and(|server| server.spec == *spec) {
        return Ok(Vec::new());
    }
    check(spec)?;
    match known {
        Some(server) if server.spec.name != spec.name => Err(conflict(
            "the name of an MCP server stands in paths and scopes: register another one",
        )),
        None if servers.len() >= MAX_MCP_SERVERS => {
            Err(conflict("the organisation has as many MCP servers as there may be"))
        }
        None if world.organisation.mcp_server(&spec.name).is_some() => {
            Err(name_taken("MCP server", &spec.name))
        }
        Some(_) | None => {
            let spec = Some(Box::new(spec.clone()));
            Ok(vec![Event::McpServerChanged { server: id, spec }])
        }
    }
}

fn check(spec: &McpServerSpec) -> Result<(), Refusal> {
    let mut mistakes = Mistakes::default();
    mistakes.note("/name", path_name_problem(&spec.name));
    mistakes.note("/url", form::url_problem(&spec.url));
    let length = spec.credential.as_ref().map_or(0, |sealed| sealed.0.len());
    mistakes.unless(length <= form::MAX_CREDENTIAL_BYTES, "/credential", "is too long");
    if let Some(name) = &spec.credential_header {
        mistakes.note("/credential_header", credential_header_problem(name));
        mistakes.unless(spec.credential.is_some(), "/credential_header", "needs a credential");
    }
    form::check_headers(&spec.headers, &mut mistakes);
    for (place, (name, _)) in spec.headers.iter().enumerate() {
        let problem = is_transport(name).then_some("is set by the caller or the gateway");
        mistakes.note(format!("/headers/{place}"), problem);
    }
    let waits = [spec.connect_timeout_ms, spec.answer_timeout_ms, spec.idle_timeout_ms];
    form::check_waits(waits, &mut mistakes);
    mistakes.unless(spec.request_fee.0 >= 0, "/request_fee_usd", "must not be negative");
    if let Some(catalogue) = &spec.catalogue {
        check_catalogue(catalogue, &mut mistakes);
    }
    mistakes.finish()
}

fn credential_header_problem(name: &str) -> Option<&'static str> {
    if !form::is_header_name(name) {
        Some("must be a header's name")
    } else if is_transport(name) {
        Some("is set by the caller or the gateway: a credential cannot stand in it")
    } else {
        None
    }
}

fn is_transport(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name.starts_with(MCP_PREFIX) || TRANSPORT.contains(&name.as_str())
}

/// The shell has cut what the server said to these measures.
fn check_catalogue(catalogue: &McpCatalogue, mistakes: &mut Mistakes) {
    let few = catalogue.tools.len() <= MAX_MCP_TOOLS && catalogue.bytes() <= MAX_CATALOGUE_BYTES;
    mistakes.unless(few, "/tools", "has too many entries");
    let sound = catalogue.tools.iter().all(|tool| {
        tool_name_problem(&tool.name).is_none()
            && tool.description.len() <= MAX_TOOL_DESCRIPTION_BYTES
    });
    mistakes.unless(sound, "/tools", "must have sound names and short descriptions");
}
