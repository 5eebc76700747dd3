//! Tests of tokens at the gateway: accepted without having been heard of, dead with their key.

use std::sync::Arc;

use turnpike_domain::event::{Actor, EphemeralGrant, Event, KeyProfile, Record, Who};
use turnpike_domain::evolve;
use turnpike_domain::id::{CommandId, EphemeralId, EventId, KeyId, OrgId, Position};
use turnpike_domain::limit::Limits;
use turnpike_domain::money::NanoUsd;
use turnpike_domain::scope::{Allow, Attenuation, Scopes};
use turnpike_domain::state::{Organisation, RevokeReason};
use turnpike_runtime::clock::PausedClock;
use turnpike_wire::ephemeral::sign;
use turnpike_wire::sign::SigningKey;

use super::*;
use crate::config::ServeOptions;
use crate::fake::{self, DAY, GATEWAY, ORG};
use crate::view::{OrgCell, OrgView};

const TOKEN: EphemeralId = EphemeralId(0xe9);
const LIFE_MS: u64 = 60_000;

/// A gateway's core with one key, and who signs tokens.
struct House {
    clock: PausedClock,
    core: Core,
    org: Organisation,
    cell: Arc<OrgCell>,
    signing: SigningKey,
}

impl House {
    fn new() -> Self {
        let clock = PausedClock::new(DAY);
        let (peppers, decisions) = (fake::peppers(), fake::decisions());
        let shared = Arc::new(clock.clone());
        let core = Core::new(shared, ServeOptions::default(), peppers, decisions, GATEWAY);
        let signing = SigningKey::from_seed(&[9; 32]);
        core.set_signers(signing.verifying_key().into());
        core.set_now(DAY);
        core.set_fresh_at(DAY.plus_ms(10 * LIFE_MS));
        core.set_in_step(true);
        let org = Organisation::new(ORG);
        let cell = Arc::new(OrgCell::new(OrgView::of(&org, false)));
        let mut house = Self { clock, core, org, cell, signing };
        house.hear(fake::created(1));
        house
    }

    /// Something happens, and the mirror applies it.
    fn hear(&mut self, event: Event) {
        let seq = self.org.head.seq + 1;
        let actor = Actor { who: Who::System, address: None };
        let (id, command) = (EventId(seq.into()), CommandId(seq.into()));
        let record = Record { id, org: ORG, seq, at: DAY, actor, command, event };
        let before = self.org.keys.get(&fake::key(1)).cloned();
        evolve::organisation(&mut self.org, &record, [0; 32], Position(seq.into()));
        let after = self.org.keys.get(&fake::key(1));
        self.core.table.replace(&self.cell, &self.org, false, before.as_deref(), after);
    }

    fn claims(&self) -> Claims {
        let key = &self.org.keys[&fake::key(1)];
        Claims {
            token: TOKEN,
            org: ORG,
            key: key.id,
            public_id: key.secret.public_id,
            generation: key.generation,
            issued_at: DAY,
            expires_at: DAY.plus_ms(LIFE_MS),
            attenuation: Attenuation::default(),
            cost_cap: None,
            token_cap: None,
        }
    }

    fn text(&self, claims: &Claims) -> String {
        sign(claims, &self.signing).unwrap().expose().to_owned()
    }

    /// The code that a token is refused with; none if it works.
    fn refused(&self, text: &str) -> Option<&'static str> {
        self.core.identify_token(text).err().map(|denied| denied.denial.code())
    }
}

fn profile(scopes: Scopes) -> Box<KeyProfile> {
    let Event::KeyCreated { profile, .. } = fake::created(1) else { panic!("a key") };
    Box::new(KeyProfile { scopes, ..*profile })
}

fn only(names: &[&str]) -> Allow {
    Allow::Only(names.iter().map(|name| (*name).into()).collect())
}

fn revoked() -> [Event; 2] {
    let key = fake::key(1);
    let grant = Box::new(EphemeralGrant {
        name: None,
        generation: 1,
        expires_at: DAY.plus_ms(LIFE_MS),
        attenuation: Attenuation::default(),
        cost_cap: None,
        token_cap: None,
        alone: false,
    });
    [
        Event::EphemeralIssued { key, token: TOKEN, grant },
        Event::EphemeralRevoked { key, token: TOKEN },
    ]
}

#[test]
fn a_token_works_before_its_issue_was_heard_of() {
    let house = House::new();
    let entry = house.core.identify_token(&house.text(&house.claims())).unwrap();
    assert_eq!((entry.key.id, entry.org_id()), (fake::key(1), ORG));
    assert_eq!(entry.token.as_ref().unwrap().claims.token, TOKEN);
    assert_eq!(entry.key.profile.expires_at, Some(DAY.plus_ms(LIFE_MS)));
    assert_eq!(entry.payer().profile.expires_at, None, "its key goes on");
    assert_eq!(entry.denied(Denial::ModelNotAllowed, DAY).token, Some(TOKEN));
}

#[test]
fn whatever_ends_its_key_ends_the_token_at_once() {
    let key = fake::key(1);
    let ends: [(&[Event], &str); 6] = [
        (&[Event::KeyDisabled { key }], "key_disabled"),
        (&[Event::KeyRevoked { key, reason: RevokeReason::Other }], "key_revoked"),
        (
            &[Event::KeyRevoked { key, reason: RevokeReason::Other }, Event::KeyActivated { key }],
            "key_revoked",
        ),
        (&[fake::rotated(1, 1)], "key_revoked"),
        (&[Event::KeyDeleted { key }], "key_revoked"),
        (&revoked(), "key_revoked"),
    ];
    for (events, code) in ends {
        let mut house = House::new();
        let text = house.text(&house.claims());
        assert_eq!(house.refused(&text), None, "and it is remembered");
        events.iter().for_each(|event| house.hear(event.clone()));
        assert_eq!(house.refused(&text), Some(code), "{events:?}");
        assert_eq!(house.core.tokens.remembered(), 1);
    }
}

#[test]
fn an_overlap_of_secrets_is_none_of_tokens() {
    let mut house = House::new();
    let text = house.text(&house.claims());
    let Event::KeyRotated { key, secret, recoverable, .. } = fake::rotated(1, 1) else {
        panic!("a rotation")
    };
    let overlap_until = Some(DAY.plus_ms(LIFE_MS));
    house.hear(Event::KeyRotated { key, secret, recoverable, overlap_until });
    assert_eq!(house.refused(&text), Some("key_revoked"));
    assert_eq!(house.refused(&house.text(&house.claims())), None, "one of the new secret works");
}

#[tokio::test(start_paused = true)]
async fn a_token_ends_by_the_mirrors_time() {
    let house = House::new();
    let text = house.text(&house.claims());
    house.core.set_now(DAY.plus_ms(LIFE_MS - 1));
    assert_eq!(house.refused(&text), None);
    house.core.set_now(DAY.plus_ms(LIFE_MS));
    assert_eq!(house.refused(&text), Some("key_expired"));
    house.clock.step_day(-3_600_000);
    assert_eq!(house.refused(&text), Some("key_expired"), "the machine's day does not matter");
}

#[test]
fn a_generation_that_was_not_heard_of_cannot_be_checked() {
    let house = House::new();
    let claims = Claims { generation: 2, ..house.claims() };
    assert_eq!(house.refused(&house.text(&claims)), Some("control_plane_stale"));
    let claims = Claims { key: KeyId(77), ..house.claims() };
    assert_eq!(house.refused(&house.text(&claims)), Some("key_revoked"), "no such key any more");
    house.core.set_in_step(false);
    assert_eq!(house.refused(&house.text(&claims)), Some("control_plane_stale"));
}

#[test]
fn nobody_else_makes_tokens() {
    let house = House::new();
    let foreign = sign(&house.claims(), &SigningKey::from_seed(&[8; 32])).unwrap();
    assert_eq!(house.refused(foreign.expose()), Some("unauthorized"));
    let other_org = Claims { org: OrgId(99), ..house.claims() };
    assert_eq!(house.refused(&house.text(&other_org)), Some("key_revoked"));
    let text = house.text(&house.claims());
    let changed = text.replace(&text[20..22], "zz");
    for text in ["ek-tp-", "ek-tp-000000", changed.as_str(), &"x".repeat(3_000)] {
        assert_eq!(house.refused(text), Some("unauthorized"), "{text}");
    }
    assert_eq!(house.core.tokens.remembered(), 1, "only what was signed takes memory");
}

#[test]
fn a_key_that_was_narrowed_narrows_its_tokens() {
    let mut house = House::new();
    let attenuation = Attenuation { models: only(&["a", "b"]), ..Attenuation::default() };
    let (cost_cap, token_cap) = (Some(NanoUsd(7)), Some(70));
    let text = house.text(&Claims { attenuation, cost_cap, token_cap, ..house.claims() });
    let models = |house: &House| {
        let entry = house.core.identify_token(&text).unwrap();
        let again = house.core.identify_token(&text).unwrap();
        assert!(Arc::ptr_eq(&entry.key, &again.key), "worked out once");
        let limits = Limits { cost: cost_cap, tokens: token_cap, ..Limits::default() };
        assert_eq!(entry.key.profile.limits, limits);
        assert_eq!(entry.payer().profile.limits.cost, None);
        entry.key.profile.scopes.models.clone()
    };
    assert_eq!(models(&house), only(&["a", "b"]));
    let scopes = Scopes { models: only(&["b", "c"]), ..Scopes::default() };
    house.hear(Event::KeyChanged { key: fake::key(1), profile: profile(scopes) });
    assert_eq!(models(&house), only(&["b"]));
    house.hear(Event::KeyChanged { key: fake::key(1), profile: profile(Scopes::default()) });
    assert_eq!(models(&house), only(&["a", "b"]));
}

#[test]
fn what_is_remembered_goes_with_its_signer() {
    let house = House::new();
    for number in 0..3 {
        let token = EphemeralId(number);
        assert_eq!(house.refused(&house.text(&Claims { token, ..house.claims() })), None);
    }
    assert_eq!(house.core.tokens.remembered(), 3);
    house.core.set_signers(Signers::default());
    assert_eq!(house.refused(&house.text(&house.claims())), Some("unauthorized"));
    assert_eq!(house.core.tokens.remembered(), 0);
}
