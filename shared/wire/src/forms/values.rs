//! Forms of ids, money, time, addresses and what is kept of secrets.

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde_json::Value;
use turnpike_domain::id::{
    CommandId, EphemeralId, EpochId, EventId, GatewayId, IncarnationId, KeyId, LeaseId,
    McpServerId, MemberId, OrgId, PlanId, Position, ProjectId, ProviderId, RequestId, TokenId,
    TopUpId,
};
use turnpike_domain::money::{Multiplier, NanoUsd, PARTS_PER_ONE, Price};
use turnpike_domain::scope::{Allow, Cidr};
use turnpike_domain::secret::{Digest, PepperVersion, PublicId, Sealed};
use turnpike_domain::time::{Timestamp, Window};

use crate::cbor::{Malformed, Reader, Writer};
use crate::form::{Form, Json};
use crate::time::rfc3339;

macro_rules! ids {
    ($($type:ident)+) => {$(
        impl Form for $type {
            fn write(&self, out: &mut Writer) {
                out.bytes(&self.bytes());
            }

            fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
                Form::read(from).map(Self::from_bytes)
            }
        }

        impl Json for $type {
            fn json(&self) -> Value {
                Value::from(self.to_string())
            }
        }
    )+};
}

ids!(
    CommandId EphemeralId EpochId EventId GatewayId IncarnationId KeyId LeaseId McpServerId
    MemberId OrgId PlanId ProjectId ProviderId RequestId TokenId TopUpId
);

macro_rules! newtypes {
    ($($type:ident)+) => {$(
        impl Form for $type {
            fn write(&self, out: &mut Writer) {
                self.0.write(out);
            }

            fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
                Form::read(from).map(Self)
            }
        }
    )+};
}

newtypes!(NanoUsd Price Multiplier Timestamp Window Digest PublicId PepperVersion);

impl Form for Position {
    fn write(&self, out: &mut Writer) {
        out.bytes(&self.0.to_be_bytes());
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        Form::read(from).map(u128::from_be_bytes).map(Self)
    }
}

impl Json for NanoUsd {
    fn json(&self) -> Value {
        Value::from(self.to_string())
    }
}

/// In USD per million tokens.
impl Json for Price {
    fn json(&self) -> Value {
        NanoUsd(self.0).json()
    }
}

/// As a decimal text: `1.25`.
impl Json for Multiplier {
    fn json(&self) -> Value {
        let (whole, parts) = (self.0 / PARTS_PER_ONE, self.0 % PARTS_PER_ONE);
        let parts = format!("{parts:06}");
        let kept = parts.trim_end_matches('0').len().max(2);
        Value::from(format!("{whole}.{}", &parts[..kept]))
    }
}

impl Json for Timestamp {
    fn json(&self) -> Value {
        Value::from(rfc3339(*self))
    }
}

/// The time at which the window began; null where the account never begins anew.
impl Json for Window {
    fn json(&self) -> Value {
        if self.0 == 0 { Value::Null } else { Timestamp(self.0).json() }
    }
}

impl Json for i64 {
    fn json(&self) -> Value {
        Value::from(*self)
    }
}

/// Null for a legacy secret, whose id is a part of its digest.
impl Json for PublicId {
    fn json(&self) -> Value {
        let public = !self.is_legacy();
        public.then(|| String::from_utf8_lossy(&self.0).into_owned()).into()
    }
}

impl Json for PepperVersion {
    fn json(&self) -> Value {
        Value::from(self.0)
    }
}

impl Form for Sealed {
    fn write(&self, out: &mut Writer) {
        out.bytes(&self.0);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self(from.bytes()?.into()))
    }
}

/// Sealed bytes leave in CBOR only; JSON says that they are there.
impl Json for Sealed {
    fn json(&self) -> Value {
        Value::Bool(true)
    }
}

impl Form for IpAddr {
    fn write(&self, out: &mut Writer) {
        match self {
            Self::V4(v4) => out.bytes(&v4.octets()),
            Self::V6(v6) => out.bytes(&v6.octets()),
        }
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        let bytes = from.bytes()?;
        let v4 = <[u8; 4]>::try_from(bytes).map(Self::from);
        let address = v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(Self::from));
        address.map_err(|_| Malformed::Range("an address of 4 or 16 bytes"))
    }
}

impl Json for IpAddr {
    fn json(&self) -> Value {
        Value::from(self.to_string())
    }
}

impl Form for Cidr {
    fn write(&self, out: &mut Writer) {
        let (network, bits) = self.parts();
        (network.to_be_bytes(), bits).write(out);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        let (network, bits) = Form::read(from)?;
        Self::from_parts(u128::from_be_bytes(network), bits)
            .ok_or(Malformed::Range("a prefix of at most 128 bits"))
    }
}

impl Json for Cidr {
    fn json(&self) -> Value {
        Value::from(self.to_string())
    }
}

/// Absent where there is no restriction.
impl Form for Allow {
    fn write(&self, out: &mut Writer) {
        match self {
            Self::All => out.null(),
            Self::Only(names) => names.write(out),
        }
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        if from.null() { Ok(Self::All) } else { BTreeSet::read(from).map(Self::Only) }
    }

    fn is_absent(&self) -> bool {
        matches!(self, Self::All)
    }

    fn absent() -> Option<Self> {
        Some(Self::All)
    }
}

impl Json for Allow {
    fn json(&self) -> Value {
        match self {
            Self::All => Value::Null,
            Self::Only(names) => names.json(),
        }
    }
}
