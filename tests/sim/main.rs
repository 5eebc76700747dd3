//! The whole house in one process under a hostile store, bus and clock: one seed, one life.
//!
//! # Fault model
//! One life is one seed: one thread, one runtime with paused time, seeded randomness, three
//! gateways, one or two control planes, one or two projectors, three organisations, 200 commands,
//! 1,000 requests, at least 20 faults, and in its midst the end of a day, a week and a month. All
//! of it is the code of the services but for their sockets: commands go to the executor, gateways
//! to the control plane's router, requests through identify, offer, budgets, lane and ticket.
//!
//! Injected: what [`turnpike_tests::hostile_kv`] and [`turnpike_tests::hostile_bus`] list, for
//! messages and for calls; a control plane that gateways cannot reach, or whose answers are lost;
//! days that step by up to an hour on every machine; processes that are killed, restarted in order,
//! and doubled; gateways that are fenced, that are silent until they are given up, or whose folder
//! is lost; callers that leave, providers that fail, report nothing, or nonsense. People set,
//! raise, lower and remove caps and rates of keys and projects, move keys between projects, top
//! wallets up, and release what lost gateways held.
//! A gateway whose machine was set back while it was down is allowed that much more staleness:
//! nothing tells it how long it was gone. A control plane whose day was set back may find gateways
//! that much ahead of it: they follow it to where their own machine's day is nearer.
//!
//! Not injected: bytes that change, disks that fail, a store that is restored, steady clocks that
//! disagree, threads that race (a gateway has one lane here).
//!
//! # What must hold
//! The ten invariants of the design, the first two at every commit and every admission, the sixth
//! at every admission, with what gateways have let pass by their shares; at rest every key with
//! budget left is served and no other; every command's effect once; `?wait=applied` claims nothing
//! that a gateway has not said; the log is dense and chained.
//! `SIM_SEED` lives one life again, `SIM_LIVES` chooses how many, and `SIM_LOG=warn` shows what the
//! services log.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a life that cannot be set up fails its test"
)]

mod accounts;
mod books;
mod chaos;
mod checks;
mod commands;
mod control;
mod crowd;
mod gateways;
mod house;
mod judgement;
mod life;
mod limits;
mod money;
mod pace;
mod probe;
mod reference;
mod requests;
mod run;
mod watch;
mod wishes;

use life::Flaw;
use turnpike_gateway::lease::mutation::mutate as outlive;
use turnpike_store::booking::{Commit, Mistake, mutate, plant};

/// Lives of a plain test run, in which nothing of ours is optimised; `make test` lives more.
const LIVES: u64 = 120;
/// Lives in which a mutation must be found.
const MUTANTS: u64 = 100;

#[test]
fn lives_keep_the_invariants() {
    run::log();
    let lives = run::number("SIM_LIVES").unwrap_or(LIVES);
    let seeds = run::number("SIM_SEED").map_or(1..=lives, |seed| seed..=seed);
    let whole = seeds.clone().count() > 100;
    let lived = run::lives(seeds);
    run::tell(&lived);
    assert!(lived.failures.is_empty(), "failed seeds: {:?}", lived.failures.keys());
    let never: Vec<_> = lived.tally.counts().into_iter().filter(|(_, n)| *n == 0).collect();
    assert!(!whole || never.is_empty(), "these faults never came: {never:?}");
}

#[test]
fn a_seed_decides_a_whole_life() {
    for seed in [3, 5, 8] {
        let lives = [(); 2].map(|()| life::live(seed));
        let traces = lives.map(|life| life.map(|report| (report.trace, report.simulated_ms)));
        assert_eq!(traces[0], traces[1], "seed {seed}");
    }
}

/// Books in one commit, their place in another: in some life the answer of the first is lost.
#[test]
fn a_booking_in_two_commits_is_found() {
    mutate(Commit::Split);
    let found = (1..=MUTANTS).find_map(|seed| life::live(seed).err());
    mutate(Commit::One);
    let found = found.expect("no life of the mutant has failed");
    let books = ["is booked", "not booked", "add up", "became", "has settled"];
    assert!(books.iter().any(|what| found.contains(what)), "{found}");
}

/// The first failure of lives in which the authority makes a mistake.
fn found_with(mistake: Mistake) -> String {
    plant(mistake);
    let found = (1..=MUTANTS).find_map(|seed| life::live(seed).err());
    plant(Mistake::None);
    found.expect("no life with the mistake has failed")
}

/// A word whose answer was lost is heard again and granted again, beside the accounts.
#[test]
fn a_double_grant_after_a_lost_answer_is_found() {
    let found = found_with(Mistake::GrantTwice);
    assert!(found.contains("its leases"), "{found}");
}

/// Time alone frees what a silent gateway holds, and its requests are still running.
#[test]
fn a_hold_freed_by_a_timer_is_found() {
    let found = found_with(Mistake::FreeWhenSilent);
    assert!(found.contains("more than it was granted"), "{found}");
}

#[test]
fn a_settlement_that_skips_an_ancestor_is_found() {
    let found = found_with(Mistake::SkipAncestor);
    assert!(found.contains("Wallet") && found.contains("its leases"), "{found}");
}

/// Neither the gateway nor the authority notices that the key's requests are counted elsewhere.
#[test]
fn a_lease_that_outlives_its_path_is_found() {
    outlive(true);
    let found = found_with(Mistake::OutlivePath);
    outlive(false);
    assert!(found.contains("outlived its path"), "{found}");
}

#[test]
fn a_booking_without_its_due_row_is_found() {
    let found = found_with(Mistake::ForgetDue);
    assert!(found.contains("nobody was told"), "{found}");
}

/// The watchers see a gateway that goes on with what was revoked long ago.
#[test]
fn a_gateway_that_is_not_told_is_found() {
    let found = (1..=MUTANTS).find_map(|seed| life::live_with(seed, Flaw::DeafGateway).err());
    let found = found.expect("no life with a deaf gateway has failed");
    assert!(found.contains("gateway 0"), "{found}");
}
