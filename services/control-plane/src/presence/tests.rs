//! Which gateways the mark of completeness and proofs wait for.

use std::sync::Arc;

use turnpike_domain::id::TokenId;
use turnpike_domain::time::{HOUR_MS, SECOND_MS};
use turnpike_runtime::clock::{Clock, PausedClock};
use turnpike_store::rows::Place;

use super::*;

const ORG: OrgId = OrgId(1);
const BUSY: GatewayId = GatewayId(1);
const OTHER: GatewayId = GatewayId(2);

struct House {
    clock: PausedClock,
    presence: Presence,
    organisation: Organisation,
}

impl House {
    fn new() -> Self {
        let clock = PausedClock::new(Timestamp(0));
        let presence = Presence::new(Arc::new(clock.clone()));
        let mut organisation = Organisation::new(ORG);
        for (gateway, name) in [(BUSY, "busy"), (OTHER, "other")] {
            let gateway_state = Gateway {
                name: name.into(),
                token: TokenId(1),
                joined_at: Timestamp(0),
                left: false,
                fenced: false,
                seq: 1,
            };
            organisation.gateways.insert(gateway, gateway_state);
        }
        Self { clock, presence, organisation }
    }

    /// A receipt, with a promise or in the form of before.
    fn hear(&self, gateway: GatewayId, promise: Option<(u64, &[(u128, u64)])>) {
        self.presence.hear(ORG, gateway, EpochId(1), Position(1), Timestamp(0));
        if let Some((complete_to, spent)) = promise {
            let spent = spent.iter().map(|(epoch, number)| (EpochId(*epoch), *number)).collect();
            let promise = Promise { complete_to: Timestamp(complete_to), spent };
            self.presence.promised(ORG, gateway, promise);
        }
    }

    /// A minute in which heartbeats come.
    async fn minute(&self) {
        for _ in 0..60 {
            self.clock.sleep(SECOND_MS).await;
            self.presence.beat();
        }
    }

    /// How many gateways a proof counts, how many have applied what all have, and who has not.
    async fn proof(&self, position: u128) -> (usize, usize, Vec<GatewayId>) {
        let gateways = || self.presence.gateways(&self.organisation, &Platform::default());
        let reach = self.presence.applied(Position(position), 1, gateways).await;
        (reach.online, reach.applied, reach.missing)
    }

    /// The mark, while so much of each epoch of the busy gateway is booked.
    fn mark(&self, booked: &[(u128, u64)]) -> Option<u64> {
        let place = |(epoch, number): &(u128, u64)| EpochPlace {
            gateway: BUSY,
            epoch: EpochId(*epoch),
            place: Place { number: *number, ..Place::default() },
        };
        let places: Vec<EpochPlace> = booked.iter().map(place).collect();
        let gateways = self.presence.gateways(&self.organisation, &Platform::default());
        self.presence.complete_up_to(ORG, &gateways, &places).map(|mark| mark.0)
    }
}

#[tokio::test(start_paused = true)]
async fn a_lane_that_is_not_booked_holds_the_mark_and_an_idle_gateway_does_not() {
    let house = House::new();
    assert_eq!(house.mark(&[]), None, "nobody has promised anything");
    house.hear(OTHER, Some((100, &[])));
    assert_eq!(house.mark(&[]), None, "the other may be serving");
    house.hear(BUSY, Some((50, &[(1, 4)])));
    assert_eq!(house.mark(&[(1, 3)]), None, "nothing that it promised is booked");
    assert_eq!(house.mark(&[(1, 4)]), Some(50));
    house.hear(BUSY, Some((90, &[(1, 4), (2, 8)])));
    assert_eq!(house.mark(&[(1, 4), (2, 7)]), Some(50), "the second lane is behind");
    house.hear(OTHER, Some((80, &[])));
    assert_eq!(house.mark(&[(1, 4), (2, 8)]), Some(90), "an older word takes nothing back");
}

#[tokio::test(start_paused = true)]
async fn a_gateway_of_before_promises_nothing() {
    let house = House::new();
    house.hear(OTHER, Some((100, &[])));
    house.hear(BUSY, None);
    assert_eq!(house.mark(&[(1, 4)]), None);
}

#[tokio::test(start_paused = true)]
async fn a_killed_gateway_holds_the_mark_until_it_is_offline_and_again_when_it_is_back() {
    let house = House::new();
    house.hear(OTHER, Some((100, &[])));
    house.hear(BUSY, Some((50, &[(1, 4)])));
    house.hear(BUSY, Some((60, &[(1, 5)])));
    assert_eq!(house.mark(&[(1, 4)]), Some(50));
    for minute in 1..=11 {
        house.minute().await;
        house.hear(OTHER, Some((100 + minute, &[])));
    }
    assert_eq!(house.mark(&[(1, 4)]), Some(111), "who is offline is not asked");
    house.hear(BUSY, Some((200, &[(1, 6), (2, 1)])));
    assert_eq!(house.mark(&[(1, 4), (2, 1)]), Some(50), "what it had left is not booked");
    assert_eq!(house.mark(&[(1, 6), (2, 1)]), Some(111));
}

#[tokio::test(start_paused = true)]
async fn who_hears_nobody_takes_nobody_for_gone_and_proves_nothing() {
    let house = House::new();
    let both = vec![BUSY, OTHER];
    house.clock.sleep(HOUR_MS).await;
    assert_eq!(house.proof(1).await, (2, 0, both.clone()), "cut off from its beginning on");
    house.presence.beat();
    house.hear(BUSY, None);
    house.hear(OTHER, None);
    assert_eq!((house.proof(1).await, house.presence.deaf_for_ms()), ((2, 2, vec![]), None));
    for _ in 0..9 {
        house.minute().await;
    }
    house.clock.sleep(HOUR_MS).await;
    assert_eq!(house.proof(2).await, (2, 0, both));
    assert_eq!(house.presence.deaf_for_ms(), Some(HOUR_MS + 1));
    // Heartbeats come again: silence goes on where it was.
    house.presence.beat();
    house.hear(OTHER, None);
    house.minute().await;
    assert_eq!(house.proof(1).await, (2, 2, vec![]));
    house.minute().await;
    assert_eq!(house.proof(1).await, (1, 1, vec![]), "the busy one is gone");
    house.clock.sleep(HOUR_MS).await;
    assert_eq!(house.proof(1).await, (1, 1, vec![]), "it is not back because nobody is heard");
}
