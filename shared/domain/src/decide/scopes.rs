//! Whether scopes make sense.

use std::collections::BTreeSet;

use super::mistakes::{EMPTY_LIST, Mistakes, step};
use crate::scope::{Allow, McpMode, McpScope, Scopes};
use crate::text::{MAX_LIST_ENTRIES, slug_problem, tool_name_problem};

/// What a list mode without a list is answered with.
const NO_SERVERS: &str = "must name at least one server in the modes allow_list and deny_list: use \
                          allow_all or deny_all without a list";

pub(super) fn check(scopes: &Scopes, mistakes: &mut Mistakes) {
    allow(&scopes.models, "/scopes/models", mistakes);
    allow(&scopes.providers, "/scopes/providers", mistakes);
    if let Some(ranges) = &scopes.addresses {
        size(ranges.len(), "/scopes/ips", mistakes);
    }
    mcp(&scopes.mcp, mistakes);
}

/// A set of slugs, such as the models of a plan.
pub(super) fn allow(names: &Allow, pointer: &str, mistakes: &mut Mistakes) {
    match names {
        Allow::All => {}
        Allow::Only(names) => {
            size(names.len(), pointer, mistakes);
            slugs(names.iter().map(|name| &**name), pointer, mistakes);
        }
    }
}

/// Tells the first of `names` that is no slug: a list of a thousand needs no thousand messages.
pub(super) fn slugs<'a>(
    names: impl Iterator<Item = &'a str>,
    pointer: &str,
    mistakes: &mut Mistakes,
) {
    for (place, name) in names.enumerate() {
        if let Some(problem) = slug_problem(name) {
            mistakes.add(format!("{pointer}/{place}"), problem);
            return;
        }
    }
}

fn size(entries: usize, pointer: &str, mistakes: &mut Mistakes) {
    if entries == 0 {
        mistakes.add(pointer, EMPTY_LIST);
    } else if entries > MAX_LIST_ENTRIES {
        mistakes.add(pointer, format!("must have at most {MAX_LIST_ENTRIES} entries"));
    }
}

fn mcp(scope: &McpScope, mistakes: &mut Mistakes) {
    const SERVERS: &str = "/scopes/mcp/servers";
    const TOOLS: &str = "/scopes/mcp/tools";
    match scope.mode {
        McpMode::AllowList | McpMode::DenyList if scope.servers.is_empty() => {
            mistakes.add(SERVERS, NO_SERVERS);
        }
        McpMode::AllowList | McpMode::DenyList => {}
        McpMode::AllowAll | McpMode::DenyAll => {}
    }
    mistakes.unless(scope.servers.len() <= MAX_LIST_ENTRIES, SERVERS, "has too many entries");
    slugs(scope.servers.iter().map(|server| &**server), SERVERS, mistakes);
    mistakes.unless(scope.tools.len() <= MAX_LIST_ENTRIES, TOOLS, "has too many entries");
    for (server, tools) in &scope.tools {
        let pointer = format!("{TOOLS}/{}", step(server));
        mistakes.note(pointer.as_str(), slug_problem(server));
        size(tools.len(), &pointer, mistakes);
        tool_names(tools, &pointer, mistakes);
    }
}

fn tool_names(tools: &BTreeSet<Box<str>>, pointer: &str, mistakes: &mut Mistakes) {
    for (place, tool) in tools.iter().enumerate() {
        if let Some(problem) = tool_name_problem(tool) {
            mistakes.add(format!("{pointer}/{place}"), problem);
            return;
        }
    }
}
