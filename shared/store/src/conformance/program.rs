//! Random programs, run on a store and on the model side by side.

use std::sync::Arc;

use super::{Broken, Outcome, append, bytes, delete, put, range, same};
use crate::kv::{Batch, CommitError, Entry, Kv, Scan, Snapshot, Write};
use crate::memory::Memory;

/// Programs, each with a seed of its own, on one store one after the other.
const PROGRAMS: u64 = 20;
/// Steps of one program. Few enough that an engine that keeps history for seconds keeps it.
const STEPS: u32 = 60;
/// Snapshots that a program may decide on and read.
const SNAPSHOTS: usize = 6;
/// Keys are few, so that commits meet.
const KEYS: [&str; 8] = ["a", "b", "ba", "c", "log/", "log0", "x", "xx"];

/// Both at the same moment: the store and the model.
type Pair = (Arc<dyn Snapshot>, Arc<dyn Snapshot>);

pub(super) async fn random_programs_match_the_model(kv: Arc<dyn Kv>) -> Outcome {
    let model = Memory::new();
    for seed in 1..=PROGRAMS {
        run(&*kv, &model, Chance(seed))
            .await
            .map_err(|Broken(text)| Broken(format!("the program of seed {seed}: {text}")))?;
    }
    Ok(())
}

async fn run(kv: &dyn Kv, model: &Memory, mut chance: Chance) -> Outcome {
    let mut pairs = vec![moment(kv, model).await?];
    for _ in 0..STEPS {
        let (real, modelled) = pairs[chance.below(pairs.len())].clone();
        match chance.below(4) {
            0 => {
                if pairs.len() == SNAPSHOTS {
                    pairs.remove(0);
                }
                pairs.push(moment(kv, model).await?);
            }
            1 => {
                let key = chance.key();
                let expected = modelled.get(key.as_bytes()).await?;
                same(&format!("get {key}"), real.get(key.as_bytes()).await?, expected)?;
            }
            2 => {
                let scan = chance.scan();
                let expected = modelled.scan(scan.clone()).await?;
                let found = real.scan(scan.clone()).await?;
                same(&format!("{scan:?}"), without_stamps(found), without_stamps(expected))?;
            }
            _ => {
                let (unchanged, writes) = chance.batch();
                let batch = |read_at| Batch {
                    read_at,
                    unchanged: unchanged.clone(),
                    writes: writes.clone(),
                };
                let expected = outcome(model.commit(batch(modelled.version())).await)?;
                let found = outcome(kv.commit(batch(real.version())).await)?;
                same(&format!("{:?}", batch(real.version())), found, expected)?;
            }
        }
    }
    let (real, modelled) = moment(kv, model).await?;
    let all = range("", [0xff], usize::MAX);
    let expected = without_stamps(modelled.scan(all.clone()).await?);
    same("all rows at the end", without_stamps(real.scan(all).await?), expected)
}

async fn moment(kv: &dyn Kv, model: &Memory) -> Result<Pair, Broken> {
    Ok((kv.snapshot().await?, model.snapshot().await?))
}

/// Whether the commit happened; a failure ends the program.
fn outcome<T>(answer: Result<T, CommitError>) -> Result<bool, Broken> {
    match answer {
        Ok(_) => Ok(true),
        Err(CommitError::Conflict) => Ok(false),
        Err(other) => Err(other.into()),
    }
}

/// The stamps of two stores differ, the order and the number within the batch do not.
fn without_stamps(mut entries: Vec<Entry>) -> Vec<Entry> {
    for (key, _) in &mut entries {
        if let Some(suffix) = key.strip_prefix(b"log/")
            && let Some(number) = suffix.get(10..)
        {
            *key = bytes([b"log/", number].concat());
        }
    }
    entries
}

/// A stream of numbers that only the seed decides (`SplitMix64`; Steele, Lea and Flood, 2014): a
/// failing program is run again by its seed.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`, which is small and not zero.
    fn below(&mut self, limit: usize) -> usize {
        let bits = usize::from(u16::try_from(self.next() >> 48).unwrap_or_default());
        bits.checked_rem(limit).unwrap_or_default()
    }

    fn key(&mut self) -> &'static str {
        KEYS[self.below(KEYS.len())]
    }

    fn scan(&mut self) -> Scan {
        let limit = self.below(8);
        Scan { reverse: self.below(2) == 0, ..range(self.key(), self.key(), limit) }
    }

    fn batch(&mut self) -> (Vec<bytes::Bytes>, Vec<Write>) {
        let unchanged = (0..self.below(3)).map(|_| bytes(self.key())).collect();
        let writes = (0..self.below(5)).map(|_| self.write()).collect();
        (unchanged, writes)
    }

    fn write(&mut self) -> Write {
        let value = [u8::try_from(self.below(256)).unwrap_or_default()];
        match self.below(4) {
            0 => delete(self.key()),
            1 => append("log/", value),
            _ => put(self.key(), value),
        }
    }
}
