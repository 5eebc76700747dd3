//! Values with a text form: ids, money, times, ranges of addresses and names of closed sets.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Error as _, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use turnpike_domain::id::{
    CommandId, EphemeralId, EpochId, EventId, GatewayId, KeyId, McpServerId, MemberId, OrgId,
    PlanId, Position, ProjectId, ProviderId, RequestId, TokenId, TopUpId,
};
use turnpike_domain::limit::Fit;
use turnpike_domain::money::{Multiplier, NanoUsd, PARTS_PER_ONE, Price};
use turnpike_domain::scope::{Cidr, McpMode};
use turnpike_domain::secret::SecretKind;
use turnpike_domain::spend::Source;
use turnpike_domain::state::{ProviderKind, RateFallback, RevokeReason, Role, SecretReveal};
use turnpike_domain::state::{Status, WalletMode};
use turnpike_domain::time::{Reset, Timestamp};
use utoipa::openapi::schema::{ObjectBuilder, SchemaFormat, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::ephemeral::KeyKind;
use crate::form::{Json, Named};
use crate::time::{parse, rfc3339};

/// The most decimals of a multiplier: it is kept in parts per million.
const MULTIPLIER_DECIMALS: usize = 6;

/// A value that stands in JSON as a string.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Text<T>(pub T);

/// How a type is written as a string and read again.
pub trait TextForm: Sized {
    /// Its name in the API's description.
    const NAME: &'static str;
    /// The pattern of its strings, as ECMA-262 has them; empty: any.
    const PATTERN: &'static str;
    /// The format of its strings, as JSON Schema has them; empty: none.
    const FORMAT: &'static str = "";
    /// What it is, and what is said where something else stands: "must be …".
    const WHAT: &'static str;

    /// The string.
    fn write(&self) -> String;

    /// The value.
    ///
    /// # Errors
    /// What is wrong with the text, as a sentence's end.
    fn read(text: &str) -> Result<Self, String>;

    /// All strings, if they are few.
    #[must_use]
    fn names() -> &'static [&'static str] {
        &[]
    }
}

macro_rules! id_texts {
    ($($alias:ident $id:ident $prefix:literal;)*) => {$(
        #[doc = concat!("An id of the form ", $prefix, " and 26 characters.")]
        pub type $alias = Text<$id>;

        impl TextForm for $id {
            const NAME: &'static str = stringify!($id);
            const PATTERN: &'static str = concat!("^", $prefix, "[0-7][0-9a-z]{25}$");
            const WHAT: &'static str = concat!("an id of the form ", $prefix, " and 26 characters");

            fn write(&self) -> String {
                self.to_string()
            }

            fn read(text: &str) -> Result<Self, String> {
                text.parse().map_err(|_| format!("must be {}", Self::WHAT))
            }
        }
    )*};
}

id_texts! {
    OrgRef OrgId "org_";
    MemberRef MemberId "mem_";
    ProjectRef ProjectId "prj_";
    KeyRef KeyId "key_";
    EphemeralRef EphemeralId "eph_";
    TokenRef TokenId "tok_";
    PlanRef PlanId "pln_";
    ProviderRef ProviderId "prv_";
    McpServerRef McpServerId "mcp_";
    GatewayRef GatewayId "gw_";
    EpochRef EpochId "epo_";
    RequestRef RequestId "req_";
    TopUpRef TopUpId "top_";
    EventRef EventId "evt_";
    CommandRef CommandId "cmd_";
}

macro_rules! names {
    ($($alias:ident $type:ident $what:literal;)*) => {$(
        #[doc = $what]
        pub type $alias = Text<$type>;

        impl TextForm for $type {
            const NAME: &'static str = stringify!($type);
            const PATTERN: &'static str = "";
            const WHAT: &'static str = $what;

            fn write(&self) -> String {
                Named::name(*self).to_owned()
            }

            fn read(text: &str) -> Result<Self, String> {
                let one_of = || format!("must be one of {}", Self::NAMES.join(", "));
                Self::from_name(text).ok_or_else(one_of)
            }

            fn names() -> &'static [&'static str] {
                Self::NAMES
            }
        }
    )*};
}

names! {
    RoleName Role "the name of a role";
    ResetName Reset "when counters begin anew";
    FitName Fit "what happens to a request that may not fit";
    McpModeName McpMode "how MCP servers are chosen";
    ReasonName RevokeReason "a reason to revoke";
    RevealName SecretReveal "whether secrets can be read again";
    FallbackName RateFallback "what gateways do about rates without their authority";
    WalletName WalletMode "whether the organisation has a budget of its own";
    DialectName ProviderKind "the dialect of a provider";
    CredentialName SecretKind "what a credential opens";
    SourceName Source "where a usage figure comes from";
    StatusName Status "what a key amounts to now";
    KindName KeyKind "what the credential of a key is";
}

impl Named for Status {
    const NOUN: &'static str = "status";
    const NAMES: &'static [&'static str] =
        &["active", "inactive", "expired", "revoked", "exhausted"];

    fn name(self) -> &'static str {
        Self::name(self)
    }

    fn from_name(name: &str) -> Option<Self> {
        let all = [Self::Active, Self::Inactive, Self::Expired, Self::Revoked, Self::Exhausted];
        all.into_iter().find(|status| status.name() == name)
    }
}

/// An amount in USD as a decimal string: `"25.00"`.
pub type Usd = Text<NanoUsd>;

impl TextForm for NanoUsd {
    const NAME: &'static str = "Usd";
    const PATTERN: &'static str = r"^-?[0-9]{1,10}(\.[0-9]{1,9})?$";
    const WHAT: &'static str = "an amount in USD as a decimal string, such as \"25.00\"";

    fn write(&self) -> String {
        self.to_string()
    }

    fn read(text: &str) -> Result<Self, String> {
        text.parse().map_err(|why: turnpike_domain::money::NotMoney| format!("is refused: {why}"))
    }
}

/// A price in USD per million tokens, as a decimal string.
pub type PriceText = Text<Price>;

impl TextForm for Price {
    const NAME: &'static str = "Price";
    const PATTERN: &'static str = NanoUsd::PATTERN;
    const WHAT: &'static str = "USD per million tokens as a decimal string, such as \"2.50\"";

    fn write(&self) -> String {
        NanoUsd(self.0).to_string()
    }

    fn read(text: &str) -> Result<Self, String> {
        <NanoUsd as TextForm>::read(text).map(|usd| Self(usd.0))
    }
}

/// A factor as a decimal string: `"1.25"`.
pub type Factor = Text<Multiplier>;

impl TextForm for Multiplier {
    const NAME: &'static str = "Factor";
    const PATTERN: &'static str = r"^[0-9]{1,3}(\.[0-9]{1,6})?$";
    const WHAT: &'static str = "a factor as a decimal string, such as \"1.25\"";

    fn write(&self) -> String {
        self.json().as_str().unwrap_or_default().to_owned()
    }

    fn read(text: &str) -> Result<Self, String> {
        let wrong = || format!("must be {}", Self::WHAT);
        let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
        let digits =
            |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(whole) || !digits(decimals) || decimals.len() > MULTIPLIER_DECIMALS {
            return Err(wrong());
        }
        let parts: u32 = format!("{decimals:0<6}").parse().map_err(|_| wrong())?;
        let whole: u32 = whole.parse().map_err(|_| wrong())?;
        let parts = whole.checked_mul(PARTS_PER_ONE).and_then(|sum| sum.checked_add(parts));
        parts.map(Self).ok_or_else(wrong)
    }
}

/// A moment: RFC 3339, written in UTC with milliseconds.
pub type Time = Text<Timestamp>;

impl TextForm for Timestamp {
    const NAME: &'static str = "Time";
    const PATTERN: &'static str = "";
    const FORMAT: &'static str = "date-time";
    const WHAT: &'static str = "a time as RFC 3339 has it, such as \"2027-01-31T00:00:00Z\"";

    fn write(&self) -> String {
        rfc3339(*self)
    }

    fn read(text: &str) -> Result<Self, String> {
        parse(text).map_err(|why| why.to_string())
    }
}

/// An address or a range of addresses.
pub type Range = Text<Cidr>;

impl TextForm for Cidr {
    const NAME: &'static str = "Range";
    const PATTERN: &'static str = "";
    const WHAT: &'static str = "an IP address or a range such as 10.0.0.0/8 or 2001:db8::/32";

    fn write(&self) -> String {
        self.to_string()
    }

    fn read(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| format!("must be {}", Self::WHAT))
    }
}

/// A place in the order of all commits: in JSON an integer of up to 96 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Place(pub Position);

impl Serialize for Place {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u128(self.0.0)
    }
}

impl<'de> Deserialize<'de> for Place {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        u128::deserialize(deserializer).map(Position).map(Self)
    }
}

impl PartialSchema for Place {
    fn schema() -> RefOr<Schema> {
        let what = "a place in the order of all commits, of up to 96 bits";
        ObjectBuilder::new().schema_type(Type::Integer).description(Some(what)).into()
    }
}

impl ToSchema for Place {}

impl<T: TextForm> Serialize for Text<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0.write())
    }
}

impl<'de, T: TextForm> Deserialize<'de> for Text<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Reading(PhantomData))
    }
}

struct Reading<T>(PhantomData<T>);

impl<T: TextForm> Visitor<'_> for Reading<T> {
    type Value = Text<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::WHAT)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Text<T>, E> {
        T::read(text).map(Text).map_err(E::custom)
    }
}

impl<T: TextForm> fmt::Display for Text<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.write())
    }
}

impl<T: TextForm> PartialSchema for Text<T> {
    fn schema() -> RefOr<Schema> {
        let mut object = ObjectBuilder::new().schema_type(Type::String).description(Some(T::WHAT));
        if !T::PATTERN.is_empty() {
            object = object.pattern(Some(T::PATTERN));
        }
        if !T::FORMAT.is_empty() {
            object = object.format(Some(SchemaFormat::Custom(T::FORMAT.to_owned())));
        }
        if !T::names().is_empty() {
            object = object.enum_values(Some(T::names().iter().copied()));
        }
        object.into()
    }
}

impl<T: TextForm> ToSchema for Text<T> {
    fn name() -> std::borrow::Cow<'static, str> {
        T::NAME.into()
    }
}

/// A percentage with two decimals, kept in hundredths of a percent: no float is computed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Percent(pub u32);

impl Percent {
    /// How much of `whole` is `part`; 0 of nothing.
    #[must_use]
    pub fn of(part: u64, whole: u64) -> Self {
        let hundredths = u128::from(part).saturating_mul(10_000).checked_div(u128::from(whole));
        Self(u32::try_from(hundredths.unwrap_or(0)).unwrap_or(u32::MAX))
    }
}

impl Serialize for Percent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = format!("{}.{:02}", self.0 / 100, self.0 % 100);
        serializer.serialize_f64(text.parse().unwrap_or(0.0))
    }
}

impl<'de> Deserialize<'de> for Percent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = format!("{:.2}", f64::deserialize(deserializer)?).replace('.', "");
        text.parse().map(Self).map_err(|_| D::Error::custom("expected a percentage"))
    }
}

impl PartialSchema for Percent {
    fn schema() -> RefOr<Schema> {
        let what = "a percentage with at most two decimals";
        ObjectBuilder::new().schema_type(Type::Number).description(Some(what)).into()
    }
}

impl ToSchema for Percent {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_go_there_and_back() {
        let time: Time = serde_json::from_str("\"2027-01-31T02:00:00+02:00\"").unwrap();
        assert_eq!(serde_json::to_string(&time).unwrap(), "\"2027-01-31T00:00:00.000Z\"");
        let factor: Factor = serde_json::from_str("\"1.25\"").unwrap();
        assert_eq!((factor.0, factor.to_string().as_str()), (Multiplier(1_250_000), "1.25"));
        let usd: Usd = serde_json::from_str("\"0.000000001\"").unwrap();
        assert_eq!(usd.0, NanoUsd(1));
        assert!(serde_json::from_str::<Usd>("25").is_err(), "numbers lose digits");
        assert!(serde_json::from_str::<RoleName>("\"Owner\"").is_err());
    }

    #[test]
    fn what_is_no_factor_is_refused() {
        for text in ["", ".5", "1.", "1.0000001", "-1", "1e3", "99999999999"] {
            assert!(Multiplier::read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn shares_are_numbers_without_arithmetic_on_floats() {
        assert_eq!(serde_json::to_string(&Percent::of(1, 3)).unwrap(), "33.33");
        assert_eq!(serde_json::to_string(&Percent::of(5, 5)).unwrap(), "100.0");
        assert_eq!(Percent::of(7, 0), Percent(0));
        assert_eq!(serde_json::from_str::<Percent>("33.33").unwrap(), Percent(3_333));
    }
}
