//! What the look-up of a legacy secret costs among a million keys, found or not.

use std::sync::Arc;

use turnpike_domain::event::{Actor, Event, Record, Who};
use turnpike_domain::evolve;
use turnpike_domain::id::{CommandId, EventId, KeyId, Position};
use turnpike_domain::secret::{Digest, PepperVersion, PublicId, StoredSecret};
use turnpike_domain::state::{Key, Organisation};
use turnpike_runtime::clock::{PausedClock, system};
use turnpike_wire::secret::Legacy;

use super::*;
use crate::fake::{self, DAY, GATEWAY, ORG};
use crate::view::{OrgCell, OrgView};

const FEW: u32 = 1_000;
const MANY: u32 = 1_000_000;
/// Keys that are looked up, spread over all of them.
const SOUGHT: u32 = 500;
const BATCHES: usize = 40;
/// What a look-up may cost more among many keys than among few, in nanoseconds: 300 in a release,
/// and this is none.
const MOST_NS: u64 = 3_000;

fn text(number: u32) -> String {
    format!("acme-prod-{number:010}")
}

fn stored(number: u32) -> StoredSecret {
    let text = text(number);
    let plain = Legacy::read(&text).unwrap();
    fake::peppers().stored_legacy(plain.hash(), Some(plain)).0
}

/// A secret that nobody has, which costs no hash to make.
fn filler(number: u32) -> StoredSecret {
    let mut digest = [0; 32];
    digest[..16].copy_from_slice(
        &u128::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835).to_le_bytes(),
    );
    digest[16..].copy_from_slice(&u128::from(number).to_le_bytes());
    let digest = Digest(digest);
    let public_id = PublicId::of_digest(&digest);
    StoredSecret { public_id, digest, pepper: PepperVersion(1), preview: "".into() }
}

/// An imported key as all others are made of it.
fn imported(state: &mut Organisation) -> Key {
    let Event::KeyCreated { key, profile, .. } = fake::created(1) else { unreachable!() };
    let actor = Actor { who: Who::System, address: None };
    let event = Event::KeyImported { key, profile, secret: stored(0) };
    let (id, command) = (EventId(1), CommandId(1));
    let record = Record { id, org: ORG, seq: 1, at: DAY, actor, command, event };
    evolve::organisation(state, &record, [0; 32], Position(1));
    (*state.keys.remove(&key).unwrap()).clone()
}

/// A gateway that knows so many keys with legacy secrets.
fn core(keys: u32) -> Core {
    let clock = Arc::new(PausedClock::new(DAY));
    let (peppers, decisions) = (fake::peppers(), fake::decisions());
    let core = Core::new(clock, ServeOptions::default(), peppers, decisions, GATEWAY);
    core.set_now(DAY);
    core.set_fresh_at(DAY);
    core.set_in_step(true);
    let mut state = Organisation::new(ORG);
    let key = imported(&mut state);
    let cell = Arc::new(OrgCell::new(OrgView::of(&state, false)));
    let every = keys / SOUGHT;
    for number in 0..keys {
        let secret = if number % every == 0 { stored(number / every) } else { filler(number) };
        let key = Arc::new(Key { id: KeyId(number.into()), secret, ..key.clone() });
        core.table.replace(&cell, &state, false, None, Some(&key));
    }
    core
}

/// Nanoseconds of a look-up, in the quietest batch: what other processes take is no cost of ours.
fn look_up_ns(core: &Core, texts: &[String], known: bool) -> u64 {
    let clock = system();
    let batch = || {
        let begun_us = clock.boot_us();
        for text in texts {
            let found = core.identify_legacy(Legacy::read(text).unwrap());
            assert_eq!(found.is_ok(), known, "{text}");
        }
        clock.boot_us() - begun_us
    };
    let quietest_us = (0..BATCHES).map(|_| batch()).min().unwrap_or_default();
    quietest_us * 1_000 / u64::from(SOUGHT)
}

#[expect(clippy::print_stderr, reason = "a figure is read by a person")]
#[test]
fn a_legacy_secret_is_found_among_a_million_keys_as_among_a_thousand() {
    let known: Vec<String> = (0..SOUGHT).map(text).collect();
    let unknown: Vec<String> = (MANY..MANY + SOUGHT).map(text).collect();
    let [few, many] = [FEW, MANY].map(|keys| {
        let core = core(keys);
        assert_eq!(core.keys(), usize::try_from(keys).unwrap());
        (look_up_ns(&core, &known, true), look_up_ns(&core, &unknown, false))
    });
    let told = |(found, not): (u64, u64)| format!("{found} ns found, {not} ns not");
    eprintln!("a legacy look-up among {FEW} keys: {}; among {MANY}: {}", told(few), told(many));
    for (few, many) in [(few.0, many.0), (few.1, many.1)] {
        assert!(many <= few + MOST_NS, "{many} ns among many, {few} ns among few");
    }
}
