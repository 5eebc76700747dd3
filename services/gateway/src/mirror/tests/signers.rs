//! The control plane's keys while they are renewed: learned by heartbeats, kept, and forgotten.

use turnpike_domain::ephemeral::Claims;
use turnpike_domain::id::EphemeralId;
use turnpike_domain::scope::Attenuation;
use turnpike_wire::ephemeral::sign;
use turnpike_wire::sign::{Signers, SigningKey, SigningKeys};

use super::*;

fn signing(version: u8) -> SigningKey {
    SigningKey::from_seed(&[8 + version; 32])
}

/// The keys that a control plane has; the first signs.
fn keys(versions: &[u8]) -> SigningKeys {
    let public = versions.iter().map(|version| signing(*version).verifying_key());
    SigningKeys::new(signing(versions[0]), public)
}

/// What a gateway says to a token of the first key that was signed with this version.
fn try_token(house: &House, version: u8) -> Result<(), Denial> {
    let organisation = house.fake.organisation(ORG);
    let parent = &organisation.keys[&key(1)];
    let claims = Claims {
        token: EphemeralId(1),
        org: ORG,
        key: key(1),
        public_id: parent.secret.public_id,
        generation: parent.generation,
        issued_at: DAY,
        expires_at: DAY.plus_ms(60 * MINUTE_MS),
        attenuation: Attenuation::default(),
        cost_cap: None,
        token_cap: None,
    };
    let text = sign(&claims, &signing(version)).unwrap();
    house.core.identify_token(text.expose()).map(drop).map_err(|denied| denied.denial)
}

async fn house() -> House {
    let house = House::new(Fake::new()).await;
    house.core.set_signers(joined().signers);
    house.tell(ORG, created(1)).await;
    assert_eq!(try_token(&house, 1), Ok(()));
    assert_eq!(try_token(&house, 2), Err(Denial::Unauthorized));
    house
}

#[tokio::test(start_paused = true)]
async fn a_coming_key_is_learned_before_it_signs_and_a_former_one_counts_until_it_is_removed() {
    let house = house().await;
    for (versions, accepted) in
        [(vec![1, 2], [true, true]), (vec![2, 1], [true, true]), (vec![2], [false, true])]
    {
        house.fake.set_keys(keys(&versions));
        house.beat().await;
        house.clock.sleep(SECOND_MS).await;
        for (version, accepted) in [1, 2].into_iter().zip(accepted) {
            let expected = if accepted { Ok(()) } else { Err(Denial::Unauthorized) };
            assert_eq!(try_token(&house, version), expected, "{versions:?} {version}");
        }
        assert_eq!(house.metrics.alarms.get(), 0, "{versions:?}");
        house.clock.sleep(30 * SECOND_MS).await;
    }
    let (_, data) = house.stop().await;
    let token = Secret::from(secrecy::SecretString::from("token"));
    let kept = disk::load(data.path(), &token).unwrap().joined.signers;
    assert_eq!(kept, Signers::from(signing(2).verifying_key()));
}

#[tokio::test(start_paused = true)]
async fn what_an_unknown_key_signs_is_not_believed_until_the_control_plane_names_it() {
    let house = house().await;
    house.fake.set_keys(keys(&[2, 1]));
    house.fake.set_unreachable(true);
    house.beat().await;
    assert_eq!(house.metrics.alarms.get(), 1);
    assert_eq!(try_token(&house, 2), Err(Denial::ControlPlaneStale), "it may count by now");
    assert_eq!(try_token(&house, 1), Ok(()));
    house.fake.set_unreachable(false);
    house.clock.sleep(20 * SECOND_MS).await;
    assert_eq!(try_token(&house, 2), Ok(()));
    house.beat().await;
    house.clock.sleep(SECOND_MS).await;
    assert_eq!(house.metrics.alarms.get(), 1, "heartbeats of the new key are heard");
    assert!(!house.core.is_stale());
}
