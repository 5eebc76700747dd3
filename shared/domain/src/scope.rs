//! What a key may touch: one algebra of sets for models, providers, addresses and MCP tools.
//!
//! Every scope is a set. A child's scope is a subset of its parent's ([`Scopes::within`]), and the
//! rights of a chain are the intersection of its links.

mod attenuation;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

pub use attenuation::Attenuation;

/// A set of names: all of them, or those listed.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Allow {
    /// No restriction.
    #[default]
    All,
    /// Only these.
    Only(BTreeSet<Box<str>>),
}

/// A range of addresses, v4 kept as v4-mapped v6 so that one address has one form.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cidr {
    network: u128,
    /// Of the 128-bit form: a v4 `/24` is 120 here.
    bits: u8,
}

/// How MCP servers are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum McpMode {
    /// Every server.
    #[default]
    AllowAll,
    /// No server.
    DenyAll,
    /// Only the listed servers.
    AllowList,
    /// Every server but the listed.
    DenyList,
}

/// What a key may do with MCP.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct McpScope {
    /// Off: no MCP at all.
    pub enabled: bool,
    /// How `servers` is read.
    pub mode: McpMode,
    /// The list of the two list modes.
    pub servers: BTreeSet<Box<str>>,
    /// Per server, the tools that may be called; a server that is not named here has all its tools.
    pub tools: BTreeMap<Box<str>, BTreeSet<Box<str>>>,
}

/// Everything that a key may touch.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Scopes {
    /// Models by name, within those of the plan.
    pub models: Allow,
    /// Providers by name.
    pub providers: Allow,
    /// Client addresses; `None` is any.
    pub addresses: Option<BTreeSet<Cidr>>,
    /// MCP servers and tools.
    pub mcp: McpScope,
}

impl Allow {
    /// Whether the set holds `name`.
    #[must_use]
    pub fn holds(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(names) => names.contains(name),
        }
    }

    /// Whether every member of this set is in `other`.
    #[must_use]
    pub fn within(&self, other: &Self) -> bool {
        match (self, other) {
            (_, Self::All) => true,
            (Self::All, Self::Only(_)) => false,
            (Self::Only(mine), Self::Only(theirs)) => mine.is_subset(theirs),
        }
    }
}

impl Cidr {
    /// The range of one address.
    #[must_use]
    pub fn single(address: IpAddr) -> Self {
        Self { network: mapped(address), bits: 128 }
    }

    /// From an address and the length of the prefix in the address's own family. Host bits are
    /// cleared.
    #[must_use]
    pub fn new(address: IpAddr, prefix: u8) -> Option<Self> {
        let bits = match address {
            IpAddr::V4(_) if prefix <= 32 => 96 + prefix,
            IpAddr::V6(_) if prefix <= 128 => prefix,
            IpAddr::V4(_) | IpAddr::V6(_) => return None,
        };
        Some(Self { network: mapped(address) & mask(bits), bits })
    }

    /// From the stored form; `None` if it is none.
    #[must_use]
    pub fn from_parts(network: u128, bits: u8) -> Option<Self> {
        (bits <= 128).then(|| Self { network: network & mask(bits), bits })
    }

    /// The stored form: network and prefix length of the 128-bit form.
    #[must_use]
    pub const fn parts(self) -> (u128, u8) {
        (self.network, self.bits)
    }

    /// Whether the range holds `address`, in whichever family it is written.
    #[must_use]
    pub fn holds(self, address: IpAddr) -> bool {
        mapped(address) & mask(self.bits) == self.network
    }

    /// Whether every address of this range is in `other`.
    #[must_use]
    pub fn within(self, other: Self) -> bool {
        self.bits >= other.bits && self.network & mask(other.bits) == other.network
    }
}

impl std::str::FromStr for Cidr {
    type Err = NotACidr;

    /// Reads `10.0.0.0/8`, `2001:db8::/32` or a single address.
    fn from_str(text: &str) -> Result<Self, NotACidr> {
        let Some((address, prefix)) = text.split_once('/') else {
            return text.parse().map(Self::single).map_err(|_| NotACidr);
        };
        let plain = !prefix.is_empty() && prefix.len() <= 3 && !prefix.starts_with('+');
        let prefix = prefix.parse().ok().filter(|_| plain).ok_or(NotACidr)?;
        address.parse().ok().and_then(|address| Self::new(address, prefix)).ok_or(NotACidr)
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let v6 = std::net::Ipv6Addr::from(self.network);
        match v6.to_ipv4_mapped() {
            Some(v4) if self.bits == 128 => write!(f, "{v4}"),
            Some(v4) if self.bits >= 96 => write!(f, "{v4}/{}", self.bits - 96),
            _ if self.bits == 128 => write!(f, "{v6}"),
            _ => write!(f, "{v6}/{}", self.bits),
        }
    }
}

impl fmt::Debug for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text is not an address or a range of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotACidr;

impl fmt::Display for NotACidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("must be an IP address or a range such as 10.0.0.0/8 or 2001:db8::/32")
    }
}

impl std::error::Error for NotACidr {}

impl McpScope {
    /// Whether requests to `server` may pass at all.
    #[must_use]
    pub fn server(&self, server: &str) -> bool {
        self.enabled
            && match self.mode {
                McpMode::AllowAll => true,
                McpMode::DenyAll => false,
                McpMode::AllowList => self.servers.contains(server),
                McpMode::DenyList => !self.servers.contains(server),
            }
    }

    /// Whether `tool` of `server` may be listed and called.
    #[must_use]
    pub fn tool(&self, server: &str, tool: &str) -> bool {
        self.server(server) && self.tools.get(server).is_none_or(|tools| tools.contains(tool))
    }

    /// Whether only some tools of `server` may be listed and called.
    #[must_use]
    pub fn names_tools(&self, server: &str) -> bool {
        self.tools.contains_key(server)
    }

    /// Whether this allows nothing that `other` does not allow, whatever servers exist.
    #[must_use]
    pub fn within(&self, other: &Self) -> bool {
        let named = self.servers.iter().chain(self.tools.keys());
        let mut named = named.chain(other.servers.iter()).chain(other.tools.keys());
        self.unnamed_within(other) && named.all(|server| self.server_within(other, server))
    }

    /// The rule for every server that neither side names.
    fn unnamed_within(&self, other: &Self) -> bool {
        let open = |scope: &Self| {
            scope.enabled && matches!(scope.mode, McpMode::AllowAll | McpMode::DenyList)
        };
        !open(self) || open(other)
    }

    fn server_within(&self, other: &Self, server: &str) -> bool {
        if !self.server(server) {
            return true;
        }
        other.server(server)
            && match (self.tools.get(server), other.tools.get(server)) {
                (_, None) => true,
                (None, Some(_)) => false,
                (Some(mine), Some(theirs)) => mine.is_subset(theirs),
            }
    }
}

impl Scopes {
    /// Whether a request from `address` may pass.
    #[must_use]
    pub fn address(&self, address: IpAddr) -> bool {
        self.addresses.as_ref().is_none_or(|ranges| ranges.iter().any(|range| range.holds(address)))
    }

    /// Whether this allows nothing that `other` does not allow.
    #[must_use]
    pub fn within(&self, other: &Self) -> bool {
        let addresses = match (&self.addresses, &other.addresses) {
            (_, None) => true,
            (None, Some(_)) => false,
            (Some(mine), Some(theirs)) => {
                mine.iter().all(|range| theirs.iter().any(|outer| range.within(*outer)))
            }
        };
        addresses
            && self.models.within(&other.models)
            && self.providers.within(&other.providers)
            && self.mcp.within(&other.mcp)
    }
}

fn mapped(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(v4.to_ipv6_mapped()),
        IpAddr::V6(v6) => u128::from(v6),
    }
}

fn mask(bits: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0)
}
