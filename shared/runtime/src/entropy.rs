//! Randomness from the operating system, with a seam for the simulation.

use std::cell::RefCell;
use std::sync::atomic::{AtomicU64, Ordering};

use turnpike_domain::time::Timestamp;

/// Numbers asked of the operating system at a time: a call for each costs more than the identifier
/// of a request may.
const POOL_NUMBERS: usize = 256;
/// Bytes of one number.
const NUMBER_BYTES: usize = 16;
/// Identifiers that one millisecond has room for: the twelve bits of UUIDv7's `rand_a`.
const IDS_PER_MS_BITS: u32 = 12;

/// The stamp of the last identifier of this process: milliseconds, then a counter.
static LAST_STAMP: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static SOURCE: RefCell<Source> = const { RefCell::new(Source::System { pool: Vec::new() }) };
}

enum Source {
    System { pool: Vec<u128> },
    Seeded { state: u64, last_stamp: u64 },
}

/// Fills `bytes` with what nobody can guess. For secrets and keys: nothing of it is kept.
pub fn fill(bytes: &mut [u8]) {
    SOURCE.with_borrow_mut(|source| match source {
        Source::System { .. } => fill_from_system(bytes),
        Source::Seeded { state, .. } => fill_from_seed(state, bytes),
    });
}

/// A number of 128 bits that nobody can guess. For identifiers; secrets come from [`fill`].
#[must_use]
pub fn number() -> u128 {
    SOURCE.with_borrow_mut(|source| match source {
        Source::System { pool } => pool.pop().unwrap_or_else(|| refill(pool)),
        Source::Seeded { state, .. } => {
            let mut bytes = [0; NUMBER_BYTES];
            fill_from_seed(state, &mut bytes);
            u128::from_be_bytes(bytes)
        }
    })
}

/// A UUIDv7: greater than every earlier one of this process, whatever the clock does.
///
/// Source: RFC 9562, section 5.7; `rand_a` is the counter of section 6.2, method 1, and a full
/// counter moves the time on.
#[must_use]
pub fn id(now: Timestamp) -> u128 {
    let stamp = next_stamp(now.0 << IDS_PER_MS_BITS);
    let time_ms = u128::from(stamp >> IDS_PER_MS_BITS);
    let counter = u128::from(stamp) & 0xfff;
    let random = number() & 0x3fff_ffff_ffff_ffff;
    (time_ms << 80) | (7 << 76) | (counter << 64) | (2 << 62) | random
}

/// A number from 0 to `n` - 1, each as likely as the others; 0 if `n` is 0.
///
/// Source: Lemire, "Fast Random Integer Generation in an Interval", 2019.
#[must_use]
pub fn below(n: u64) -> u64 {
    let Some(unfair) = n.wrapping_neg().checked_rem(n) else { return 0 };
    loop {
        let product = (number() >> 64) * u128::from(n);
        if product & u128::from(u64::MAX) >= u128::from(unfair) {
            return u64::try_from(product >> 64).unwrap_or(0);
        }
    }
}

/// A wait from 0 to `max` milliseconds, so that a thousand that failed at once do not return at
/// once.
#[must_use]
pub fn jitter_ms(max: u64) -> u64 {
    below(max.saturating_add(1))
}

/// Makes this thread's randomness a function of `seed`. For the simulation only: whatever is made
/// on this thread from now on can be guessed.
pub fn seed_this_thread(seed: u64) {
    SOURCE.set(Source::Seeded { state: seed, last_stamp: 0 });
}

/// Whether this thread belongs to a simulation.
pub(crate) fn is_seeded() -> bool {
    SOURCE.with_borrow(|source| matches!(source, Source::Seeded { .. }))
}

fn next_stamp(now: u64) -> u64 {
    let following = |last: u64| now.max(last + 1);
    SOURCE.with_borrow_mut(|source| match source {
        Source::System { .. } => {
            // The closure never declines, so both arms hold the stamp before this one.
            let (Ok(last) | Err(last)) =
                LAST_STAMP.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| {
                    Some(following(last))
                });
            following(last)
        }
        // Its own stamp: another thread's identifiers must not change this thread's life.
        Source::Seeded { last_stamp, .. } => {
            *last_stamp = following(*last_stamp);
            *last_stamp
        }
    })
}

/// Fills the pool and answers with one number more.
fn refill(pool: &mut Vec<u128>) -> u128 {
    let mut bytes = [[0; NUMBER_BYTES]; POOL_NUMBERS];
    fill_from_system(bytes.as_flattened_mut());
    let [first, rest @ ..] = bytes.map(u128::from_be_bytes);
    pool.extend(rest);
    first
}

#[expect(clippy::panic, reason = "a secret that can be guessed is worse than a failed task")]
fn fill_from_system(bytes: &mut [u8]) {
    #[expect(clippy::disallowed_methods, reason = "this is the one source of randomness")]
    if let Err(error) = getrandom::fill(bytes) {
        panic!("the operating system gave no randomness: {error}");
    }
}

/// Source: Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", 2014
/// (`SplitMix64`).
fn fill_from_seed(state: &mut u64, bytes: &mut [u8]) {
    for chunk in bytes.chunks_mut(8) {
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = *state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        chunk.copy_from_slice(&mixed.to_le_bytes()[..chunk.len()]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_version_seven_and_rise_even_when_the_clock_steps_back() {
        let now = Timestamp(1_795_000_000_000);
        let mut last = id(now);
        assert_eq!(u64::try_from(last >> 80).unwrap(), now.0);
        for step in 0..10_000_u64 {
            let next = id(Timestamp(now.0 - step));
            assert!(next > last);
            assert_eq!((next >> 76) & 0xf, 7, "version");
            assert_eq!((next >> 62) & 0b11, 0b10, "variant");
            last = next;
        }
    }

    #[test]
    fn numbers_do_not_repeat_over_the_end_of_a_pool() {
        let drawn: std::collections::HashSet<u128> = (0..1_000).map(|_| number()).collect();
        assert_eq!(drawn.len(), 1_000);
    }

    #[test]
    fn a_seed_decides_everything_that_follows() {
        let life = |seed| {
            seed_this_thread(seed);
            let mut bytes = [0; 13];
            fill(&mut bytes);
            (bytes, number(), id(Timestamp(5)), id(Timestamp(5)), below(1_000_000))
        };
        assert_eq!(life(1), life(1));
        assert_ne!(life(1), life(2));
    }

    #[test]
    fn below_stays_below_and_reaches_everything() {
        assert_eq!((below(0), below(1)), (0, 0));
        let mut seen = [0_u32; 7];
        for _ in 0..7_000 {
            seen[usize::try_from(below(7)).unwrap()] += 1;
        }
        assert!(seen.iter().all(|count| (800..1_200).contains(count)), "{seen:?}");
        assert!((0..100).all(|_| jitter_ms(3) <= 3 && below(u64::MAX) < u64::MAX));
    }
}
