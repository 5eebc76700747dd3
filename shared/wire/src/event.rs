//! Forms of events: for each its name, the version that is written, and its fields by number.
//!
//! A form that changes in a way that an old reader cannot pass over gets a new version; the old one
//! is read for ever. In every event about a key, field 1 is the key: so a reader knows which key to
//! hold back when it cannot read the rest.

use serde_json::{Map, Value};
use turnpike_domain::event::Event;
use turnpike_domain::limit::Unit;
use turnpike_domain::money::NanoUsd;

use crate::cbor::{Malformed, Reader, Writer};
use crate::form::Json;

/// Why an event's data cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unknown {
    /// This name in this version is of a later Turnpike.
    #[error("this version does not know such an event")]
    Form,
    /// The name is known, the data are not its form.
    #[error(transparent)]
    Data(#[from] Malformed),
}

macro_rules! events {
    ($($name:literal $version:literal $case:ident {
        $($number:literal $field:ident $json:literal),* $(,)?
    })+) => {
        /// Names and versions of all forms that are written.
        pub const FORMS: &[(&str, u16)] = &[$(($name, $version)),+];

        /// The version of the form that is written for an event.
        #[must_use]
        pub const fn version(event: &Event) -> u16 {
            match event { $(Event::$case { .. } => $version),+ }
        }

        pub(crate) fn write(event: &Event, out: &mut Writer) {
            match event {
                $(Event::$case { $($field),* } => {
                    crate::write_fields!(out, $($number ($field)),*);
                })+
            }
        }

        pub(crate) fn read(
            name: &str,
            version: u16,
            from: &mut Reader<'_>,
        ) -> Result<Event, Unknown> {
            match (name, version) {
                $(($name, $version) => {
                    crate::read_fields!(from, $name, $($number $field),*);
                    Ok(Event::$case { $($field),* })
                })+
                _ => Err(Unknown::Form),
            }
        }

        fn fields(event: &Event) -> Map<String, Value> {
            match event {
                $(Event::$case { $($field),* } => {
                    let mut map = Map::new();
                    $(map.insert($json.to_owned(), $field.json());)*
                    map
                })+
            }
        }
    };
}

events! {
    "OrgCreated" 1 OrgCreated { 1 name "name", 2 settings "settings" }
    "OrgSettingsChanged" 1 OrgSettingsChanged { 1 name "name", 2 settings "settings" }
    "MemberInvited" 1 MemberInvited {
        1 member "member_id", 2 email "email", 3 name "name", 4 role "role",
        5 invitation "invitation",
    }
    "MemberJoined" 1 MemberJoined { 1 member "member_id", 2 password "password" }
    "MemberRoleChanged" 1 MemberRoleChanged { 1 member "member_id", 2 role "role" }
    "MemberRemoved" 1 MemberRemoved { 1 member "member_id" }
    "ProjectCreated" 1 ProjectCreated { 1 project "project_id", 2 name "name", 3 limits "limits" }
    "ProjectChanged" 1 ProjectChanged { 1 project "project_id", 2 name "name", 3 limits "limits" }
    "ProjectDeleted" 1 ProjectDeleted { 1 project "project_id" }
    "KeyCreated" 1 KeyCreated {
        1 key "key_id", 2 profile "profile", 3 secret "secret", 4 recoverable "recoverable",
    }
    "KeyImported" 1 KeyImported { 1 key "key_id", 2 profile "profile", 3 secret "secret" }
    "KeyMigrated" 1 KeyMigrated {
        1 key "key_id", 2 secret "secret", 3 recoverable "recoverable",
    }
    "KeyChanged" 1 KeyChanged { 1 key "key_id", 2 profile "profile" }
    "KeyRotated" 1 KeyRotated {
        1 key "key_id", 2 secret "secret", 3 recoverable "recoverable",
        4 overlap_until "overlap_until",
    }
    "KeyDisabled" 1 KeyDisabled { 1 key "key_id" }
    "KeyEnabled" 1 KeyEnabled { 1 key "key_id" }
    "KeyRevoked" 1 KeyRevoked { 1 key "key_id", 2 reason "reason" }
    "KeyActivated" 1 KeyActivated { 1 key "key_id" }
    "KeyDeleted" 1 KeyDeleted { 1 key "key_id" }
    "SecretRevealed" 1 SecretRevealed { 1 key "key_id" }
    "EphemeralIssued" 1 EphemeralIssued { 1 key "key_id", 2 token "token_id", 3 grant "grant" }
    "EphemeralRevoked" 1 EphemeralRevoked { 1 key "key_id", 2 token "token_id" }
    "TokenCreated" 1 TokenCreated {
        1 token "token_id", 2 name "name", 3 kind "kind", 4 role "role", 5 owner "owner_id",
        6 secret "secret", 7 expires_at "expires_at",
    }
    "TokenDeleted" 1 TokenDeleted { 1 token "token_id" }
    "PlanAssigned" 1 PlanAssigned { 1 allowed "allowed_plans", 2 default "default_plan" }
    "QuotaHit" 1 QuotaHit {
        1 account "account", 2 unit "unit", 3 window "window", 4 revision "revision", 5 cap "cap",
        6 settled "settled",
    }
    "AlertRaised" 1 AlertRaised {
        1 account "account", 2 unit "unit", 3 window "window", 4 revision "revision",
        5 percent "percent", 6 cap "cap", 7 settled "settled",
    }
    "WalletToppedUp" 1 WalletToppedUp { 1 top_up "top_up_id", 2 amount "amount_usd", 3 note "note" }
    "WalletExhausted" 1 WalletExhausted { 1 revision "revision" }
    "WalletRestored" 1 WalletRestored { 1 revision "revision" }
    "GatewayJoined" 1 GatewayJoined { 1 gateway "gateway_id", 2 name "name", 3 token "token_id" }
    "GatewayLeft" 1 GatewayLeft { 1 gateway "gateway_id" }
    "GatewayFenced" 1 GatewayFenced { 1 gateway "gateway_id" }
    "LeaseAbandoned" 1 LeaseAbandoned {
        1 gateway "gateway_id", 2 account "account", 3 unit "unit", 4 amount "amount",
    }
    "ProviderChanged" 1 ProviderChanged { 1 provider "provider_id", 2 spec "spec" }
    "McpServerChanged" 1 McpServerChanged { 1 server "server_id", 2 spec "spec" }
    "PlanChanged" 1 PlanChanged { 1 plan "plan_id", 2 spec "spec" }
    "ModelPriced" 1 ModelPriced { 1 model "model", 2 spec "spec" }
}

/// The event's data as JSON. Amounts of budgets are decimal strings where their unit is USD, and
/// integers where it is tokens.
#[must_use]
pub fn json(event: &Event) -> Value {
    let mut fields = fields(event);
    if fields.get("unit") == Some(&Unit::Usd.json()) {
        for name in ["cap", "settled", "amount"] {
            if let Some(amount) = fields.get_mut(name)
                && let Some(nano) = amount.as_i64()
            {
                *amount = NanoUsd(nano).json();
            }
        }
    }
    Value::Object(fields)
}
