//! The key table: from what a secret is looked up by to its key, read by every core without a lock.

use std::collections::BTreeSet;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use turnpike_domain::id::EphemeralId;
use turnpike_domain::limit::{Account, Unit};
use turnpike_domain::secret::{PublicId, StoredSecret};
use turnpike_domain::state::{Cap, Key, Organisation};
use turnpike_domain::time::{Timestamp, Window};

use crate::view::OrgCell;

/// Keys by public id; legacy secrets stand under a part of their digest. One key stands under two
/// ids while a rotation overlaps or a migration runs.
#[derive(Default)]
pub(crate) struct Table {
    slots: papaya::HashMap<PublicId, Slot, BuildHasherDefault<IdHasher>>,
}

/// What stands under a public id.
#[derive(Clone)]
pub(crate) struct Slot {
    pub(crate) org: Arc<OrgCell>,
    pub(crate) key: Arc<Key>,
    /// The last event of the organisation when the key, or what was hit of its budgets, was set.
    pub(crate) seq: u64,
    /// The key's own budgets that were hit.
    pub(crate) used_up: UsedUp,
    /// Those of the key's ephemeral tokens that were revoked and have not ended long ago; most keys
    /// have none.
    revoked: Option<Arc<BTreeSet<EphemeralId>>>,
    /// The key's last event could not be read: what is known of it may be wrong.
    pub(crate) held: bool,
}

/// The window in which a key's own budget was hit under its present cap, per unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct UsedUp {
    cost: Option<(Spent, Window)>,
    tokens: Option<(Spent, Window)>,
}

/// A budget that is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spent {
    /// In which unit.
    pub unit: Unit,
    /// Its cap.
    pub cap: Cap,
    /// What was settled when that was said, in the unit.
    pub settled: Option<i64>,
}

impl Table {
    /// What stands under `id`.
    pub(crate) fn get(&self, id: &PublicId) -> Option<Slot> {
        self.read(id, |slot| slot.cloned())
    }

    /// Looks at what stands under `id` without a copy: what a copy counts up, other cores that use
    /// the same key would wait for.
    pub(crate) fn read<T>(&self, id: &PublicId, look: impl FnOnce(Option<&Slot>) -> T) -> T {
        look(self.slots.pin().get(id))
    }

    /// Keys of all organisations; a key whose rotation overlaps counts twice.
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Puts `after` in the place of `before`: the ids that `after` has no more are gone first, so
    /// that no moment knows both an old secret and a new state.
    pub(crate) fn replace(
        &self,
        org: &Arc<OrgCell>,
        state: &Organisation,
        held: bool,
        before: Option<&Key>,
        after: Option<&Arc<Key>>,
    ) {
        let slots = self.slots.pin();
        for id in before.into_iter().flat_map(public_ids) {
            if !after.is_some_and(|key| public_ids(key).any(|kept| kept == id)) {
                slots.remove(&id);
            }
        }
        let Some(key) = after else { return };
        let used_up = UsedUp::of(state, key);
        let revoked = state.tokens_of(key.id).filter(|(_, token)| token.revoked);
        let revoked: BTreeSet<EphemeralId> = revoked.map(|(id, _)| id).collect();
        let revoked = (!revoked.is_empty()).then(|| Arc::new(revoked));
        for id in public_ids(key) {
            let (org, key) = (Arc::clone(org), Arc::clone(key));
            let (seq, revoked) = (state.head.seq, revoked.clone());
            let slot = Slot { org, key, seq, used_up, revoked, held };
            slots.insert(id, slot);
        }
    }
}

impl Slot {
    /// Whether an ephemeral token of the key was revoked.
    pub(crate) fn revokes(&self, token: EphemeralId) -> bool {
        self.revoked.as_ref().is_some_and(|revoked| revoked.contains(&token))
    }

    /// The secret whose public id is `id`.
    pub(crate) fn secret(&self, id: PublicId) -> Option<&StoredSecret> {
        self.key.secrets().find(|secret| secret.public_id == id)
    }
}

impl UsedUp {
    fn of(state: &Organisation, key: &Key) -> Self {
        let hit = |unit| {
            let cap = state.caps.get(&(Account::Key(key.id), unit))?;
            let hit = state.hits.get(&(Account::Key(key.id), unit))?;
            let stands = cap.amount.is_some() && hit.exhausted && hit.revision == cap.revision;
            let spent = Spent { unit, cap: *cap, settled: hit.settled };
            stands.then_some((spent, hit.window))
        };
        Self { cost: hit(Unit::Usd), tokens: hit(Unit::Tokens) }
    }

    /// The budget that is used up at `now`: the window that was hit still runs.
    pub(crate) fn at(&self, now: Timestamp) -> Option<Spent> {
        let runs = |(spent, window): (Spent, Window)| {
            (spent.cap.reset.window(now) == window).then_some(spent)
        };
        self.cost.and_then(runs).or_else(|| self.tokens.and_then(runs))
    }
}

fn public_ids(key: &Key) -> impl Iterator<Item = PublicId> {
    key.secrets().map(|secret| secret.public_id)
}

/// Folds the sixteen bytes of a public id, which are random already, into a hash.
///
/// Base62 leaves every byte with the same few high bits, so that the bytes alone would fill few
/// buckets: one multiplication spreads them (the folded multiply of wyhash, Wang Yi, 2019). Nobody
/// can choose what is in the table, so that the hash needs no key.
#[derive(Default)]
pub(crate) struct IdHasher(u64);

impl Hasher for IdHasher {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(16) {
            let mut block = [0; 16];
            block[..chunk.len()].copy_from_slice(chunk);
            let block = u128::from_le_bytes(block);
            let low = u64::try_from(block & u128::from(u64::MAX)).unwrap_or_default();
            let high = u64::try_from(block >> 64).unwrap_or_default();
            let product = u128::from(low ^ 0xa076_1d64_78bd_642f)
                .wrapping_mul(u128::from(high ^ 0xe703_7ed1_a0b4_28db));
            let folded = (product >> 64) ^ (product & u128::from(u64::MAX));
            self.0 ^= u64::try_from(folded).unwrap_or_default();
        }
    }

    /// The length of the id, which is always the same.
    fn write_usize(&mut self, _: usize) {}

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::hash::BuildHasher;

    use super::*;

    #[test]
    fn ids_that_differ_in_one_letter_fall_far_apart() {
        let hasher = BuildHasherDefault::<IdHasher>::default();
        let mut low = HashSet::new();
        let mut high = HashSet::new();
        for place in 0..16 {
            for letter in b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz" {
                let mut id = [b'a'; 16];
                id[place] = *letter;
                let hash = hasher.hash_one(PublicId(id));
                low.insert(hash & 0xfff);
                high.insert(hash >> 52);
            }
        }
        // 977 ids into 4,096 buckets: chance fills about 868 of them.
        assert!(low.len() > 750 && high.len() > 750, "{} {}", low.len(), high.len());
    }
}
