//! A mirror whose messages have waited: because the gateway stood still, or because they are slow.

use turnpike_domain::time::{HOUR_MS, Timestamp};

use super::*;

/// How long a process is stopped: longer than what makes a mirror stale.
const STOPPED_MS: u64 = 45 * SECOND_MS;

/// Heartbeats of `count` seconds that have waited, and arrive together.
async fn waited(house: &House, since: Timestamp, count: u64) {
    for second in 1..=count {
        house.fake.beat(&*house.bus, since.plus_ms(second * SECOND_MS)).await;
    }
}

fn ends_at(n: u8, end: Timestamp) -> Event {
    let Event::KeyCreated { key, mut profile, secret, recoverable } = created(n) else {
        panic!("it makes a key")
    };
    profile.expires_at = Some(end);
    Event::KeyCreated { key, profile, secret, recoverable }
}

#[tokio::test(start_paused = true)]
async fn heartbeats_that_have_waited_neither_turn_time_back_nor_make_fresh() {
    let house = House::new(Fake::new()).await;
    let began = house.clock.now();
    house.tell(ORG, ends_at(1, began.plus_ms(20 * SECOND_MS))).await;
    house.tell(ORG, created(2)).await;
    house.beat().await;
    // Nobody polls the mirror while its process is stopped; here nothing comes to it.
    house.clock.sleep(STOPPED_MS).await;
    assert_eq!(house.try_key(&secret(1, 0)), Err(Denial::KeyExpired));
    assert!(house.core.is_stale());
    house.fake.set_unreachable(true);
    waited(&house, began, 30).await;
    house.soon().await;
    assert_eq!(house.try_key(&secret(1, 0)), Err(Denial::KeyExpired), "time goes on");
    assert!(house.core.is_stale(), "what it has heard is old");
    assert_eq!(house.try_key(&secret(3, 0)), Err(Denial::ControlPlaneStale), "it may be new");
    assert_eq!(house.try_key(&secret(2, 0)), Ok(()));
    // Age goes on from the moment of which the last of them speaks.
    house.clock.sleep(10 * MINUTE_MS - 10 * SECOND_MS).await;
    assert_eq!(house.try_key(&secret(2, 0)), Err(Denial::ControlPlaneStale));
    house.fake.set_unreachable(false);
    house.beat().await;
    house.clock.sleep(SECOND_MS).await;
    assert!(!house.core.is_stale());
    assert_eq!(house.try_key(&secret(3, 0)), Err(Denial::Unauthorized));
}

/// Ten seconds with a control plane whose day is so far behind the machine's.
async fn ten_seconds(house: &House, behind_ms: u64) {
    house.fake.set_clock(Arc::new(house.clock.clone()), behind_ms);
    for second in 0..10 {
        let at = Timestamp(house.clock.now().0 - behind_ms);
        house.fake.beat(&*house.bus, at).await;
        house.clock.sleep(SECOND_MS).await;
        assert!(!house.core.is_stale(), "second {second}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_day_that_is_set_right_is_followed_and_one_that_is_set_back_is_not() {
    let house = House::new(Fake::new()).await;
    house.tell(ORG, ends_at(1, house.clock.now().plus_ms(SECOND_MS))).await;
    // The control plane's day is an hour behind: what has ended does not begin again.
    ten_seconds(&house, HOUR_MS).await;
    assert_eq!(house.core.now(), house.clock.now());
    assert_eq!(house.try_key(&secret(1, 0)), Err(Denial::KeyExpired));
    // It was an hour ahead, as this machine's, and both are set right.
    house.clock.step_day(-i64::try_from(HOUR_MS).unwrap());
    ten_seconds(&house, 0).await;
    assert_eq!(house.core.now(), house.clock.now());
    // Forward it is followed at once.
    house.clock.step_day(i64::try_from(HOUR_MS).unwrap());
    house.beat().await;
    assert_eq!(house.core.now(), house.clock.now());
}

#[tokio::test(start_paused = true)]
async fn a_mirror_whose_heartbeats_are_slow_is_as_fresh_as_its_answers() {
    let house = House::new(Fake::new()).await;
    house.tell(ORG, created(1)).await;
    house.beat().await;
    house.fake.set_clock(Arc::new(house.clock.clone()), 0);
    for _ in 0..20 {
        house.clock.sleep(SECOND_MS).await;
        // Each comes twenty seconds after it was sent, and the control plane answers.
        let sent = Timestamp(house.clock.now().0 - 20 * SECOND_MS);
        house.fake.beat(&*house.bus, sent).await;
        assert!(!house.core.is_stale());
        assert_eq!(house.core.now(), house.clock.now());
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_goes_on_while_it_is_fetched_stands_still_for_the_second_time() {
    let house = House::new(Fake::new()).await;
    house.tell(ORG, created(1)).await;
    house.fake.set_slow(Arc::new(house.clock.clone()), 200);
    publish(&*house.bus, &house.fake.commit_unreadable(ORG, revoked(1))).await;
    house.soon().await;
    assert_eq!(house.try_key(&secret(1, 0)), Err(Denial::ControlPlaneStale), "it may be revoked");
    for n in 2..20 {
        house.tell(ORG, created(n)).await;
    }
    assert_eq!(house.try_key(&secret(1, 0)), Err(Denial::KeyRevoked));
    house.clock.sleep(SECOND_MS).await;
    assert_eq!((house.core.keys(), house.metrics.alarms.get()), (19, 1));
    assert_eq!(house.metrics.gaps.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_fetch_that_fails_keeps_no_revocation_waiting() {
    let house = House::new(Fake::new()).await;
    house.tell(ORG, created(1)).await;
    house.tell(ORG, created(2)).await;
    house.fake.set_slow(Arc::new(house.clock.clone()), 200);
    publish(&*house.bus, &house.fake.commit_unreadable(ORG, revoked(1))).await;
    house.soon().await;
    house.tell(ORG, created(3)).await;
    // The first answer is too old by now; the second question is never answered.
    house.fake.set_unreachable(true);
    house.clock.sleep(200).await;
    house.tell(ORG, revoked(2)).await;
    house.clock.sleep(300).await;
    assert_eq!(house.try_key(&secret(2, 0)), Err(Denial::KeyRevoked));
}

#[tokio::test(start_paused = true)]
async fn the_disk_knows_soon_what_was_stopped() {
    let house = House::new(Fake::new()).await;
    house.tell(ORG, created(1)).await;
    house.clock.sleep(11 * SECOND_MS).await;
    house.tell(ORG, revoked(1)).await;
    house.clock.sleep(2 * SECOND_MS).await;
    // The process is killed here: whatever starts again in an outage knows no more than this.
    let token = Secret::from(secrecy::SecretString::from("token"));
    let streams = disk::load(house.data.path(), &token).unwrap().streams;
    let known = streams.iter().find_map(|snapshot| match &snapshot.state {
        turnpike_wire::snapshot::State::Organisation(state) => state.keys.get(&key(1)),
        turnpike_wire::snapshot::State::Platform(_) => None,
    });
    assert!(known.is_some_and(|key| key.standing.revoked.is_some()));
}
