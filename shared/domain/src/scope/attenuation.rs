//! What a token takes away from the scopes of its key.

use std::collections::{BTreeMap, BTreeSet};

use super::{Allow, Cidr, McpMode, McpScope, Scopes};

/// Scopes that narrow a key's: what says nothing leaves as the key has it.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Attenuation {
    /// Models by name.
    pub models: Allow,
    /// Providers by name.
    pub providers: Allow,
    /// Client addresses; `None`: those of the key.
    pub addresses: Option<BTreeSet<Cidr>>,
    /// MCP servers and tools; `None`: those of the key.
    pub mcp: Option<McpScope>,
}

impl Attenuation {
    /// What may be touched with it by the holder of `scopes`: what both allow. It is worked out at
    /// each use, so that a key that was narrowed later narrows its tokens.
    #[must_use]
    pub fn of(&self, scopes: &Scopes) -> Scopes {
        Scopes {
            models: self.models.and(&scopes.models),
            providers: self.providers.and(&scopes.providers),
            addresses: addresses(self.addresses.as_ref(), scopes.addresses.as_ref()),
            mcp: self.mcp.as_ref().map_or_else(|| scopes.mcp.clone(), |mcp| mcp.and(&scopes.mcp)),
        }
    }
}

impl Allow {
    /// What both sets hold.
    fn and(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::All, set) | (set, Self::All) => set.clone(),
            (Self::Only(mine), Self::Only(theirs)) => {
                Self::Only(mine.intersection(theirs).cloned().collect())
            }
        }
    }
}

impl McpScope {
    /// What both rules allow.
    fn and(&self, other: &Self) -> Self {
        let (mode, servers) = both(self, other);
        Self {
            enabled: self.enabled && other.enabled,
            mode,
            servers,
            tools: both_tools(&self.tools, &other.tools),
        }
    }
}

fn both(one: &McpScope, other: &McpScope) -> (McpMode, BTreeSet<Box<str>>) {
    match (one.mode, other.mode) {
        (McpMode::AllowAll, mode) => (mode, other.servers.clone()),
        (mode, McpMode::AllowAll) => (mode, one.servers.clone()),
        (McpMode::DenyAll, _) | (_, McpMode::DenyAll) => (McpMode::DenyAll, BTreeSet::new()),
        (McpMode::AllowList, McpMode::AllowList) => {
            (McpMode::AllowList, one.servers.intersection(&other.servers).cloned().collect())
        }
        (McpMode::AllowList, McpMode::DenyList) => {
            (McpMode::AllowList, one.servers.difference(&other.servers).cloned().collect())
        }
        (McpMode::DenyList, McpMode::AllowList) => {
            (McpMode::AllowList, other.servers.difference(&one.servers).cloned().collect())
        }
        (McpMode::DenyList, McpMode::DenyList) => {
            (McpMode::DenyList, one.servers.union(&other.servers).cloned().collect())
        }
    }
}

/// A server that only one side names has the tools that this side lists.
fn both_tools(
    one: &BTreeMap<Box<str>, BTreeSet<Box<str>>>,
    other: &BTreeMap<Box<str>, BTreeSet<Box<str>>>,
) -> BTreeMap<Box<str>, BTreeSet<Box<str>>> {
    let mut both = one.clone();
    for (server, tools) in other {
        both.entry(server.clone())
            .and_modify(|mine| mine.retain(|tool| tools.contains(tool)))
            .or_insert_with(|| tools.clone());
    }
    both
}

/// Of two ranges that meet, one lies in the other.
fn addresses(
    mine: Option<&BTreeSet<Cidr>>,
    theirs: Option<&BTreeSet<Cidr>>,
) -> Option<BTreeSet<Cidr>> {
    let (Some(mine), Some(theirs)) = (mine, theirs) else {
        return mine.or(theirs).cloned();
    };
    let inner =
        |range: &Cidr, others: &BTreeSet<Cidr>| others.iter().any(|outer| range.within(*outer));
    let of_mine = mine.iter().filter(|range| inner(range, theirs));
    let of_theirs = theirs.iter().filter(|range| inner(range, mine));
    Some(of_mine.chain(of_theirs).copied().collect())
}
