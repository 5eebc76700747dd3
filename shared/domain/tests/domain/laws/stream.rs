//! Laws of folding: total, repeatable, the same from any cut.

use proptest::collection::vec;
use proptest::prelude::*;
use turnpike_domain::event::Event;
use turnpike_domain::evolve;
use turnpike_domain::id::OrgId;
use turnpike_domain::state::{Organisation, Platform};

use crate::arbitrary::{cases, event};
use crate::house::{House, NOW, ORG, hash, position, record};

fn fold(state: &mut Organisation, events: &[Event]) {
    for event in events {
        let record = record(ORG, state.head.seq + 1, NOW, event.clone());
        evolve::organisation(state, &record, hash(record.seq), position(record.seq));
    }
}

fn names_follow_keys(state: &Organisation) -> bool {
    state
        .key_names
        .iter()
        .all(|(name, id)| state.keys.get(id).is_some_and(|key| key.profile.name == *name))
}

/// Events whose repetition says nothing new. A rotation counts secrets, a migration turns them, a
/// revocation stops, a repeated removal has nothing left to remove.
fn is_idempotent(event: &Event) -> bool {
    !matches!(
        event,
        Event::KeyRotated { .. } | Event::KeyRevoked { .. } | Event::KeyMigrated { .. }
    )
}

proptest! {
    #![proptest_config(cases(256))]

    #[test]
    fn evolving_is_total_and_always_moves_the_head(events in vec(event(), 0..60)) {
        let mut org = House::furnished().org;
        let start = org.head.seq;
        fold(&mut org, &events);
        prop_assert_eq!(org.head.seq, start + u64::try_from(events.len()).expect("few"));
        prop_assert_eq!(org.head.hash, hash(org.head.seq));
        prop_assert_eq!(org.head.position, position(org.head.seq));
        prop_assert!(names_follow_keys(&org));
        prop_assert!(org.hits.keys().chain(org.caps.keys()).count() <= 64, "ids are few");
    }

    #[test]
    fn the_platform_is_folded_from_anything(events in vec(event(), 0..30)) {
        let mut platform = Platform::default();
        for (seq, event) in (1..).zip(&events) {
            let record = record(OrgId::PLATFORM, seq, NOW, event.clone());
            evolve::platform(&mut platform, &record, hash(seq), position(seq));
            prop_assert_eq!(platform.head.seq, seq);
        }
    }

    #[test]
    fn a_snapshot_and_the_tail_are_the_fold(events in vec(event(), 0..60), cut in 0_usize..60) {
        let cut = cut.min(events.len());
        let mut whole = Organisation::new(ORG);
        fold(&mut whole, &events);
        let mut snapshot = Organisation::new(ORG);
        fold(&mut snapshot, &events[..cut]);
        let mut rest = snapshot.clone();
        fold(&mut rest, &events[cut..]);
        prop_assert_eq!(rest, whole);
        let mut again = Organisation::new(ORG);
        fold(&mut again, &events[..cut]);
        prop_assert_eq!(again, snapshot, "folding on changes no snapshot");
    }

    #[test]
    fn twice_is_once(events in vec(event(), 0..20), last in event()) {
        prop_assume!(is_idempotent(&last));
        let mut once = House::furnished().org;
        fold(&mut once, &events);
        let record = record(ORG, once.head.seq + 1, NOW, last);
        let (seal, place) = (hash(record.seq), position(record.seq));
        evolve::organisation(&mut once, &record, seal, place);
        let mut twice = once.clone();
        evolve::organisation(&mut twice, &record, seal, place);
        prop_assert_eq!(twice, once);
    }
}
