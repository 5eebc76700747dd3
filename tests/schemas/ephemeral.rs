//! One of each form of ephemeral tokens, for its golden.

use std::collections::BTreeSet;

use turnpike_domain::ephemeral::Claims;
use turnpike_domain::event::{EphemeralGrant, Event};
use turnpike_domain::id::{EphemeralId, EpochId, KeyId, LeaseId, OrgId};
use turnpike_domain::ledger::Word;
use turnpike_domain::limit::Unit;
use turnpike_domain::money::NanoUsd;
use turnpike_domain::scope::{Allow, Attenuation, McpMode, McpScope};
use turnpike_domain::secret::PublicId;
use turnpike_domain::state::{Ephemeral, Organisation};
use turnpike_domain::time::Timestamp;
use turnpike_wire::authority::{Call, LeaseCall};
use turnpike_wire::ephemeral::{sign, verify};
use turnpike_wire::form::{decode, encode};
use turnpike_wire::sign::{Signers, SigningKey};

const AT: Timestamp = Timestamp(1_795_000_000_000);
const END: Timestamp = Timestamp(1_795_003_600_000);
const KEY: KeyId = KeyId(4);
const TOKEN: EphemeralId = EphemeralId(0xe9);

/// Events, with the case of each.
pub(crate) fn events() -> Vec<(&'static str, Event)> {
    let least = EphemeralGrant {
        name: None,
        attenuation: Attenuation::default(),
        cost_cap: None,
        alone: false,
        ..grant()
    };
    let issued = |grant| Event::EphemeralIssued { key: KEY, token: TOKEN, grant: Box::new(grant) };
    vec![
        ("", issued(grant())),
        ("", Event::EphemeralRevoked { key: KEY, token: TOKEN }),
        ("least", issued(least.clone())),
        ("tokens", issued(EphemeralGrant { token_cap: Some(9_000), ..least })),
    ]
}

/// The name of each golden and what it should hold.
pub(crate) fn all() -> Vec<(&'static str, Vec<u8>)> {
    let key = SigningKey::from_seed(&[1; 32]);
    let text = |claims| sign(&claims, &key).unwrap().expose().as_bytes().to_vec();
    vec![
        ("ephemeral-token.v1.txt", text(claims())),
        ("ephemeral-token-tokens.v1.txt", text(counted())),
        ("lease-call-token.v1.cbor", encode(&lease_call())),
    ]
}

/// Checks what a golden of [`all`] means; false for any other.
pub(crate) fn read(name: &str, bytes: &[u8]) -> bool {
    match name {
        "ephemeral-token.v1.txt" => assert_eq!(verified(bytes), claims()),
        "ephemeral-token-tokens.v1.txt" => assert_eq!(verified(bytes), counted()),
        "lease-call-token.v1.cbor" => assert_eq!(decode(bytes), Ok(lease_call())),
        _ => return false,
    }
    true
}

fn verified(text: &[u8]) -> Claims {
    let signers = Signers::new([SigningKey::from_seed(&[1; 32]).verifying_key()]);
    verify(std::str::from_utf8(text).unwrap(), &signers).unwrap()
}

/// An organisation's state with a token.
pub(crate) fn issue(state: &mut Organisation) {
    let token = Ephemeral { grant: grant(), created_at: AT, revoked: true, seq: 40 };
    state.ephemeral_ends.insert((END, KEY, TOKEN));
    state.ephemerals.insert((KEY, TOKEN), token);
}

fn attenuation() -> Attenuation {
    let names = |names: &[&str]| names.iter().map(|name| (*name).into()).collect::<BTreeSet<_>>();
    Attenuation {
        models: Allow::Only(names(&["echo-1"])),
        providers: Allow::Only(names(&["echo"])),
        addresses: Some(["192.0.2.0/24".parse().unwrap(), "2001:db8::7".parse().unwrap()].into()),
        mcp: Some(McpScope {
            enabled: true,
            mode: McpMode::AllowList,
            servers: names(&["files"]),
            tools: [("files".into(), names(&["read"]))].into(),
        }),
    }
}

fn grant() -> EphemeralGrant {
    EphemeralGrant {
        name: Some("job 7".into()),
        generation: 3,
        expires_at: END,
        attenuation: attenuation(),
        cost_cap: Some(NanoUsd(1_500_000_000)),
        token_cap: None,
        alone: true,
    }
}

fn claims() -> Claims {
    Claims {
        token: TOKEN,
        org: OrgId(1),
        key: KEY,
        public_id: PublicId(*b"AbCdEfGhIjKlMnOp"),
        generation: 3,
        issued_at: AT,
        expires_at: END,
        attenuation: attenuation(),
        cost_cap: Some(NanoUsd(1_500_000_000)),
        token_cap: None,
    }
}

fn counted() -> Claims {
    Claims { token_cap: Some(9_000), ..claims() }
}

fn lease_call() -> Call {
    Call::Lease(LeaseCall {
        epoch: EpochId(0xe0),
        lease: LeaseId(0x1e),
        key: KEY,
        unit: Unit::Usd,
        word: Word { n: 1, total: 2_000_000_000, least: 1_000_000_000 },
        token: Some(TOKEN),
    })
}
