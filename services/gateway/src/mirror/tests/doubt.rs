//! Events that are well made and nobody's, and a source that is set back.

use turnpike_domain::event::Record;
use turnpike_domain::id::Position;
use turnpike_wire::heartbeat::{LostChange, LostKind};
use turnpike_wire::record;

use super::super::proof::UNNAMED_MS;
use super::*;

/// Three seconds of a control plane that lives.
async fn some_beats(house: &House) {
    for _ in 0..=UNNAMED_MS / SECOND_MS {
        house.clock.sleep(SECOND_MS).await;
        house.beat().await;
    }
}

/// A control plane with the same past.
fn liar() -> Fake {
    let liar = Fake::new();
    liar.commit(ORG, created(1));
    liar
}

#[tokio::test(start_paused = true)]
async fn a_chain_that_somebody_else_goes_on_with_is_undone_with_an_alarm() {
    for forged in [1, 3] {
        let house = House::new(Fake::new()).await;
        house.tell(ORG, created(1)).await;
        house.tell(ORG, revoked(1)).await;
        house.beat().await;
        let liar = liar();
        liar.commit(ORG, revoked(1));
        for _ in 0..forged {
            let sent = liar.commit(ORG, Event::KeyActivated { key: key(1) }).sent;
            // Who forges says of an event that it stands behind all others.
            let received = record::receive(&sent).unwrap();
            let stored = record::encode(&received.record.unwrap(), received.prev_hash).unwrap();
            let sent = record::send(&stored.bytes, Position(u128::MAX), &stored.hash).unwrap();
            let topic = Topic::Events { org: ORG, kind: "KeyActivated".to_owned() };
            publish_on(&*house.bus, topic, sent).await;
        }
        house.soon().await;
        let mut reader = house.bus.read(Feed::Receipts(Some(ORG)), Start::Now).await.unwrap();
        some_beats(&house).await;
        assert_eq!(house.try_key(&secret(1, 0)), Err(Denial::KeyRevoked));
        assert!(house.metrics.alarms.get() > 0);
        house.beat().await;
        let told = last_receipt(&mut *reader);
        assert!(told.quarantine.is_some_and(|told| !told.stands) && told.lost.is_empty());
        assert!(told.position < Position(100), "what was forged proves nothing");
        // The true stream goes on as if nothing had been.
        house.tell(ORG, created(2)).await;
        house.tell(ORG, Event::KeyActivated { key: key(1) }).await;
        assert_eq!((house.try_key(&secret(1, 0)), house.try_key(&secret(2, 0))), (Ok(()), Ok(())));
        some_beats(&house).await;
        assert_eq!(house.try_key(&secret(1, 0)), Ok(()));
    }
}

#[tokio::test(start_paused = true)]
async fn true_events_overtake_a_forged_chain() {
    let house = House::new(Fake::new()).await;
    house.tell(ORG, created(1)).await;
    house.beat().await;
    let liar = liar();
    for event in [revoked(1), created(7), created(8), created(9)] {
        publish(&*house.bus, &liar.commit(ORG, event)).await;
    }
    house.soon().await;
    assert_eq!(house.try_key(&secret(1, 0)), Err(Denial::KeyRevoked), "believed for a moment");
    house.tell(ORG, created(2)).await;
    house.beat().await;
    house.clock.sleep(SECOND_MS).await;
    for n in [1, 2] {
        assert_eq!(house.try_key(&secret(n, 0)), Ok(()));
    }
    assert_eq!(house.try_key(&secret(7, 0)), Err(Denial::Unauthorized));
}

#[tokio::test(start_paused = true)]
async fn an_event_in_the_place_of_one_that_was_named_changes_nothing() {
    let house = House::new(Fake::new()).await;
    house.tell(ORG, created(1)).await;
    house.beat().await;
    let fetched = house.metrics.fetched.get();
    let liar = Fake::new();
    publish(&*house.bus, &liar.commit(ORG, created(7))).await;
    house.soon().await;
    some_beats(&house).await;
    assert_eq!(house.try_key(&secret(1, 0)), Ok(()));
    assert_eq!(house.try_key(&secret(7, 0)), Err(Denial::Unauthorized));
    assert_eq!((house.metrics.alarms.get(), house.metrics.fetched.get()), (1, fetched));
}

#[tokio::test(start_paused = true)]
async fn an_organisation_that_does_not_exist_goes_with_its_keys() {
    let ghost = OrgId(99);
    let house = House::new(Fake::new()).await;
    let liar = Fake::new();
    let settings = Settings::default();
    publish(&*house.bus, &liar.commit(ghost, Event::OrgCreated { name: "Ghost".into(), settings }))
        .await;
    publish(&*house.bus, &liar.commit(ghost, created(7))).await;
    house.soon().await;
    assert_eq!(house.try_key(&secret(7, 0)), Ok(()), "believed for a moment");
    some_beats(&house).await;
    assert_eq!(house.try_key(&secret(7, 0)), Err(Denial::Unauthorized));
    assert!(house.metrics.alarms.get() > 0);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_was_set_back_is_followed_and_what_it_lost_is_told() {
    let house = House::new(Fake::new()).await;
    for n in 1..=5 {
        house.tell(ORG, created(n)).await;
    }
    house.tell(OTHER, created(9)).await;
    let lost = [
        revoked(1),
        Event::KeyDisabled { key: key(2) },
        Event::KeyDeleted { key: key(3) },
        rotated(4, 1),
        created(6),
    ];
    let count = lost.len();
    for event in lost {
        house.tell(ORG, event).await;
    }
    house.beat().await;
    assert_eq!(house.try_key(&secret(1, 0)), Err(Denial::KeyRevoked));
    let mut reader = house.bus.read(Feed::Receipts(Some(ORG)), Start::Now).await.unwrap();
    house.fake.set_back(count);
    some_beats(&house).await;
    for n in 1..=5 {
        assert_eq!(house.try_key(&secret(n, 0)), Ok(()), "as the store has it: key {n}");
    }
    for secret in [secret(4, 1), secret(6, 0)] {
        assert_eq!(house.try_key(&secret), Err(Denial::Unauthorized));
    }
    let told = |key_number, kind| LostChange { key: key(key_number), kind };
    let all = [
        told(1, LostKind::Revoked),
        told(2, LostKind::Disabled),
        told(3, LostKind::Deleted),
        told(4, LostKind::Rotated),
    ];
    assert_eq!(last_receipt(&mut *reader).lost, all);
    assert_eq!(house.metrics.lost.get(), 4);
    let written = std::fs::read_to_string(house.data.path().join("audit.jsonl")).unwrap();
    assert!(written.contains("\"RevocationLost\"") && written.contains("\"DeletionLost\""));
    // What is made again is told no longer.
    house.tell(ORG, revoked(1)).await;
    house.tell(ORG, Event::KeyDeleted { key: key(3) }).await;
    house.beat().await;
    assert_eq!(house.try_key(&secret(1, 0)), Err(Denial::KeyRevoked));
    assert_eq!(last_receipt(&mut *reader).lost, [all[1], all[3]]);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_was_set_back_and_has_gone_on_since_is_followed_too() {
    for (gone, since) in [(1, 1), (1, 2), (2, 1), (2, 2), (2, 3)] {
        let house = House::new(Fake::new()).await;
        house.tell(ORG, created(1)).await;
        let lost = [Event::KeyDisabled { key: key(1) }, revoked(1)];
        for event in lost.into_iter().rev().take(gone).rev() {
            house.tell(ORG, event).await;
        }
        house.beat().await;
        house.fake.set_back(gone);
        for n in 0..since {
            house.tell(ORG, created(10 + n)).await;
        }
        some_beats(&house).await;
        assert_eq!(house.try_key(&secret(1, 0)), Ok(()), "{gone} gone, {since} since");
        assert_eq!(house.try_key(&secret(10, 0)), Ok(()), "{gone} gone, {since} since");
        assert_eq!(house.metrics.lost.get(), 1, "{gone} gone, {since} since");
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_far_ahead_is_asked_for_once_and_holds_nothing_up() {
    let house = House::new(Fake::new()).await;
    house.tell(ORG, created(1)).await;
    house.beat().await;
    let fetched = house.metrics.fetched.get();
    let sent = liar().commit(ORG, revoked(1)).sent;
    let received = record::receive(&sent).unwrap();
    let ahead = Record { seq: u64::MAX, ..received.record.unwrap() };
    let stored = record::encode(&ahead, received.prev_hash).unwrap();
    let sent = record::send(&stored.bytes, Position(9), &stored.hash).unwrap();
    let topic = Topic::Events { org: ORG, kind: "KeyRevoked".to_owned() };
    publish_on(&*house.bus, topic, sent).await;
    house.soon().await;
    for n in 2..=4 {
        house.tell(ORG, created(n)).await;
        assert_eq!(house.try_key(&secret(n, 0)), Ok(()));
    }
    some_beats(&house).await;
    assert_eq!(house.metrics.fetched.get(), fetched + 1);
    assert_eq!(house.try_key(&secret(1, 0)), Ok(()));
}
