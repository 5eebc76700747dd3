//! Legacy secrets at a gateway: looked up by digest, under every pepper, for as long as they work.

use turnpike_domain::secret::{PepperVersion, StoredSecret};
use turnpike_wire::secret::{Legacy, Pepper};

use super::*;

const TEXT: &str = "acme-prod-0123456789";
const OTHER_TEXT: &str = "acme-prod-0123456780";

fn stored(peppers: &Peppers, text: &str) -> StoredSecret {
    let plain = Legacy::read(text).unwrap();
    peppers.stored_legacy(plain.hash(), Some(plain)).0
}

fn imported(n: u8, secret: StoredSecret) -> Event {
    let Event::KeyCreated { key, profile, .. } = created(n) else { unreachable!() };
    Event::KeyImported { key, profile, secret }
}

fn migrated(n: u8, turn: u8) -> Event {
    let secret = Some(peppers().stored(&secret(n, turn)));
    Event::KeyMigrated { key: key(n), secret, recoverable: None }
}

fn finished(n: u8) -> Event {
    Event::KeyMigrated { key: key(n), secret: None, recoverable: None }
}

/// Whether the text opens a key, and as its legacy secret.
fn try_text(house: &House, text: &str) -> Result<bool, Denial> {
    let entry = house.core.identify_legacy(Legacy::read(text).unwrap());
    entry.map(|entry| entry.legacy).map_err(|denied| denied.denial)
}

#[tokio::test(start_paused = true)]
async fn a_legacy_secret_works_beside_a_new_one_until_it_is_ended() {
    let house = House::new(Fake::new()).await;
    assert_eq!(try_text(&house, TEXT), Err(Denial::Unauthorized));
    house.tell(ORG, imported(1, stored(&peppers(), TEXT))).await;
    assert_eq!(try_text(&house, TEXT), Ok(true));
    assert_eq!(try_text(&house, OTHER_TEXT), Err(Denial::Unauthorized));

    house.tell(ORG, migrated(1, 1)).await;
    assert_eq!((try_text(&house, TEXT), house.try_key(&secret(1, 1))), (Ok(true), Ok(())));
    assert_eq!(house.core.keys(), 2);
    house.tell(ORG, rotated(1, 2)).await;
    let secrets = (house.try_key(&secret(1, 1)), house.try_key(&secret(1, 2)));
    assert_eq!(secrets, (Err(Denial::Unauthorized), Ok(())));
    assert_eq!(try_text(&house, TEXT), Ok(true), "a migration goes on over a rotation");

    house.tell(ORG, Event::KeyDisabled { key: key(1) }).await;
    assert_eq!(try_text(&house, TEXT), Err(Denial::KeyDisabled));
    house.tell(ORG, Event::KeyEnabled { key: key(1) }).await;
    house.tell(ORG, finished(1)).await;
    assert_eq!(try_text(&house, TEXT), Err(Denial::Unauthorized));
    assert_eq!((house.try_key(&secret(1, 2)), house.core.keys()), (Ok(()), 1));
}

#[tokio::test(start_paused = true)]
async fn a_legacy_secret_outlives_a_restart_and_ends_with_its_key() {
    let house = House::new(Fake::new()).await;
    house.tell(ORG, imported(1, stored(&peppers(), TEXT))).await;
    house.tell(ORG, migrated(1, 1)).await;
    house.beat().await;
    let (fake, data) = house.stop().await;
    fake.set_unreachable(true);
    let house = House::start(fake, data).await;
    assert_eq!((try_text(&house, TEXT), house.try_key(&secret(1, 1))), (Ok(true), Ok(())));
    let unknown = try_text(&house, OTHER_TEXT);
    assert_eq!(unknown, Err(Denial::ControlPlaneStale), "it may have been imported meanwhile");

    let house = House::new(Fake::new()).await;
    house.tell(ORG, imported(1, stored(&peppers(), TEXT))).await;
    house.tell(ORG, Event::KeyDeleted { key: key(1) }).await;
    assert_eq!((try_text(&house, TEXT), house.core.keys()), (Err(Denial::Unauthorized), 0));
}

#[tokio::test(start_paused = true)]
async fn a_secret_is_looked_up_under_every_pepper_in_use() {
    let pepper = |version: u8| Pepper::new(PepperVersion(version.into()), &[6 + version; 32]);
    let newer = Peppers::new(vec![pepper(1).unwrap(), pepper(2).unwrap()]).unwrap();
    let fake = Fake::new();
    fake.commit(ORG, imported(1, stored(&peppers(), TEXT)));
    fake.commit(ORG, imported(2, stored(&newer, OTHER_TEXT)));
    let data = || Arc::new(tempfile::tempdir().unwrap());
    let both = House::under(newer, fake.clone(), data()).await;
    both.beat().await;
    assert_eq!((try_text(&both, TEXT), try_text(&both, OTHER_TEXT)), (Ok(true), Ok(true)));
    let old = House::start(fake, data()).await;
    old.beat().await;
    let found = (try_text(&old, TEXT), try_text(&old, OTHER_TEXT));
    assert_eq!(found, (Ok(true), Err(Denial::Unauthorized)), "the other's pepper is not here");
}
