//! Identifiers: 128-bit numbers with a TypeID text form (`key_01h455vb4pex5vsknk084sn02q`).
//!
//! The text form is that of the TypeID specification 0.3: a prefix, `_`, and 26 characters of
//! Crockford's base32 in lower case, most significant bit first.

use std::fmt;

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// Characters of the suffix: 130 bits, of which the first two are zero.
const SUFFIX_CHARS: usize = 26;

/// Why a text is not an identifier of the expected kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAnId {
    /// The prefix that was expected.
    pub expected: &'static str,
}

impl fmt::Display for NotAnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected an id of the form {}_ and 26 characters", self.expected)
    }
}

impl std::error::Error for NotAnId {}

fn write_suffix(number: u128, text: &mut [u8]) {
    let mut rest = number;
    for place in text.iter_mut().rev() {
        let low = usize::try_from(rest & 31).unwrap_or(0);
        *place = ALPHABET[low];
        rest >>= 5;
    }
}

fn read_suffix(text: &str) -> Option<u128> {
    if text.len() != SUFFIX_CHARS || text.as_bytes()[0] > b'7' {
        return None;
    }
    let mut number = 0_u128;
    for byte in text.bytes() {
        let digit = ALPHABET.iter().position(|letter| *letter == byte)?;
        number = (number << 5) | u128::try_from(digit).ok()?;
    }
    Some(number)
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub u128);

        impl $name {
            /// What stands before the underscore.
            pub const PREFIX: &'static str = $prefix;

            /// The sixteen bytes, big endian.
            #[must_use]
            pub const fn bytes(self) -> [u8; 16] {
                self.0.to_be_bytes()
            }

            /// The text form, without memory of its own: every answer tells one.
            #[must_use]
            pub fn text(self) -> [u8; $prefix.len() + 1 + SUFFIX_CHARS] {
                let mut text = [b'_'; $prefix.len() + 1 + SUFFIX_CHARS];
                text[..$prefix.len()].copy_from_slice($prefix.as_bytes());
                write_suffix(self.0, &mut text[$prefix.len() + 1..]);
                text
            }

            /// From sixteen bytes, big endian.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(u128::from_be_bytes(bytes))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(std::str::from_utf8(&self.text()).unwrap_or_default())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl std::str::FromStr for $name {
            type Err = NotAnId;

            fn from_str(text: &str) -> Result<Self, NotAnId> {
                text.strip_prefix(concat!($prefix, "_"))
                    .and_then(read_suffix)
                    .map(Self)
                    .ok_or(NotAnId { expected: $prefix })
            }
        }
    )*};
}

ids! {
    /// An organisation. Zero is the platform's own stream.
    OrgId = "org";
    /// A member of an organisation.
    MemberId = "mem";
    /// A project: a group of keys.
    ProjectId = "prj";
    /// A model key.
    KeyId = "key";
    /// An ephemeral token.
    EphemeralId = "eph";
    /// A management token or a gateway's join token.
    TokenId = "tok";
    /// A plan (pricing group).
    PlanId = "pln";
    /// A provider of models.
    ProviderId = "prv";
    /// A registered MCP server.
    McpServerId = "mcp";
    /// A webhook.
    WebhookId = "whk";
    /// A gateway; it keeps its id over restarts.
    GatewayId = "gw";
    /// One run of a gateway, a UUIDv7 made at its start.
    EpochId = "epo";
    /// A request through a gateway.
    RequestId = "req";
    /// The explanation of one refusal.
    DecisionId = "dec";
    /// A lease of budget.
    LeaseId = "lse";
    /// A top-up of a wallet.
    TopUpId = "top";
    /// An event.
    EventId = "evt";
    /// A command, named by its caller (`Idempotency-Key`).
    CommandId = "cmd";
    /// One life of a store; a restored store gets a new one.
    IncarnationId = "inc";
}

impl OrgId {
    /// The stream of the platform: plans, models, prices, the operator's providers.
    pub const PLATFORM: Self = Self(0);
}

/// The place of an event in the order of all commits: the commit's ten-byte stamp and a two-byte
/// index, read as one big-endian number of 96 bits. Positions of one store are comparable; 0 stands
/// before everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Position(pub u128);

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form_is_that_of_the_typeid_specification() {
        // From the specification's valid.json: prefix_01890a5d-ac96-774b-bcce-b302099a8057.
        let id = KeyId(0x0189_0a5d_ac96_774b_bcce_b302_099a_8057);
        assert_eq!(id.to_string(), "key_01h455vb4pex5vsknk084sn02q");
        assert_eq!("key_01h455vb4pex5vsknk084sn02q".parse(), Ok(id));
        assert_eq!(KeyId(u128::MAX).to_string(), "key_7zzzzzzzzzzzzzzzzzzzzzzzzz");
    }

    #[test]
    fn other_kinds_shapes_and_overflows_are_not_ids() {
        for text in [
            "org_01h455vb4pex5vsknk084sn02q",
            "key_01h455vb4pex5vsknk084sn02",
            "key_01H455VB4PEX5VSKNK084SN02Q",
            "key_8zzzzzzzzzzzzzzzzzzzzzzzzz",
            "key_01h455vb4pex5vsknk084sn02u",
            "key",
            "",
        ] {
            assert_eq!(text.parse::<KeyId>(), Err(NotAnId { expected: "key" }), "{text}");
        }
    }
}
