//! What single events do to state, where deciding does not show it.

use std::sync::Arc;

use turnpike_domain::event::{Event, KeyProfile};
use turnpike_domain::evolve::{self, Touched};
use turnpike_domain::id::{GatewayId, KeyId, MemberId, OrgId, ProjectId, ProviderId, TokenId};
use turnpike_domain::limit::{Account, Unit};
use turnpike_domain::state::{Role, Settings};
use turnpike_domain::time::Window;

use crate::house::{House, KEY, ORG, capped, fresh, hash, position, provider, record};

fn applied(house: &mut House, event: Event) -> Touched {
    let record = record(ORG, house.org.head.seq + 1, house.now, event);
    evolve::organisation(&mut house.org, &record, hash(record.seq), position(record.seq))
}

#[test]
fn an_event_about_nothing_moves_only_the_head() {
    let key = KeyId(77);
    let profile = House::furnished().org.keys[&KEY].profile.clone();
    let events = [
        Event::MemberRoleChanged { member: MemberId(77), role: Role::Owner },
        Event::MemberRemoved { member: MemberId(77) },
        Event::ProjectDeleted { project: ProjectId(77) },
        Event::ProjectChanged { project: ProjectId(77), name: "x".into(), limits: capped(1) },
        Event::KeyChanged { key, profile: Box::new(KeyProfile { limits: capped(1), ..profile }) },
        Event::KeyDisabled { key },
        Event::KeyDeleted { key },
        Event::TokenDeleted { token: TokenId(77) },
        Event::GatewayFenced { gateway: GatewayId(77) },
        Event::ProviderChanged { provider: ProviderId(77), spec: None },
        Event::ModelPriced { model: "echo-9".into(), spec: None },
    ];
    for event in events {
        let mut house = House::furnished();
        let before = house.org.clone();
        applied(&mut house, event.clone());
        assert_eq!(house.org.head.seq, before.head.seq + 1, "{event:?}");
        assert_eq!(house.org.head.hash, hash(house.org.head.seq));
        assert_eq!(house.org.head.position, position(house.org.head.seq));
        house.org.head = before.head;
        assert_eq!(house.org, before, "{event:?}");
    }
}

#[test]
fn making_something_again_does_not_reset_it() {
    let mut house = House::furnished();
    applied(&mut house, Event::KeyDisabled { key: KEY });
    let before = house.org.clone();
    let secret = fresh(9).stored;
    let profile = Box::new(before.keys[&KEY].profile.clone());
    applied(&mut house, Event::KeyCreated { key: KEY, profile, secret, recoverable: None });
    let (name, settings) = ("other".into(), Settings::default());
    applied(&mut house, Event::OrgCreated { name, settings });
    house.org.head = before.head;
    assert_eq!(house.org, before);
}

#[test]
fn who_holds_a_key_keeps_what_was_seen() {
    let mut house = House::furnished();
    let held = Arc::clone(&house.org.keys[&KEY]);
    assert_eq!(applied(&mut house, Event::KeyDisabled { key: KEY }), Touched::Key(KEY));
    assert!(!held.standing.disabled && house.org.keys[&KEY].standing.disabled);
}

#[test]
fn indexes_are_told_what_to_look_at() {
    let mut house = House::furnished();
    let (account, unit) = (Account::Key(KEY), Unit::Usd);
    let (window, revision, cap, settled) = (Window(0), 1, 5, 5);
    let hit = Event::QuotaHit { account, unit, window, revision, cap, settled };
    let spec = Some(Box::new(provider("own")));
    let (project, token) = (ProjectId(3), TokenId(3));
    let cases = [
        (hit, Touched::Key(KEY)),
        (Event::ProviderChanged { provider: ProviderId(3), spec }, Touched::Routing),
        (Event::ProjectDeleted { project }, Touched::Project(project)),
        (Event::TokenDeleted { token }, Touched::Tokens),
        (Event::WalletExhausted { revision }, Touched::Other),
    ];
    for (event, touched) in cases {
        assert_eq!(applied(&mut house, event.clone()), touched, "{event:?}");
    }
}

#[test]
fn each_stream_ignores_the_other_ones_events() {
    let mut house = House::furnished();
    let before = house.platform.clone();
    let event = Event::KeyDeleted { key: KEY };
    let record = record(OrgId::PLATFORM, before.head.seq + 1, house.now, event);
    evolve::platform(&mut house.platform, &record, hash(record.seq), position(record.seq));
    assert_eq!(house.platform.head.seq, before.head.seq + 1);
    house.platform.head = before.head;
    assert_eq!(house.platform, before);
}
