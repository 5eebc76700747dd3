//! Changes of keys that the mirror had applied and that its source no longer knows.

use std::collections::BTreeMap;
use std::sync::Arc;

use turnpike_domain::id::KeyId;
use turnpike_domain::state::{Key, Organisation};
use turnpike_domain::time::Timestamp;
use turnpike_wire::heartbeat::{LostChange, LostKind, MAX_LOST};

/// Those of one organisation, until each key is changed again.
#[derive(Default)]
pub(super) struct Lost {
    /// What was lost, and the seq of the key as it is without it.
    keys: BTreeMap<KeyId, (LostKind, u64)>,
}

impl Lost {
    /// Finds what `after` lacks of `before`, which was known up to `known_at`; answers with what is
    /// new.
    ///
    /// The seq of a key grows with its events: where it does not, another history has taken the
    /// place of the one that was mirrored. A key that the mirror did not have, though it is as old
    /// as what the mirror knew, had been deleted.
    pub(super) fn find(
        &mut self,
        (before, known_at): (&Organisation, Timestamp),
        after: &Organisation,
    ) -> Vec<LostChange> {
        let mut found = Vec::new();
        for (id, key) in &after.keys {
            let kind = match before.keys.get(id) {
                None if key.seq <= before.head.seq && key.created_at <= known_at => {
                    Some(LostKind::Deleted)
                }
                Some(old) if key.seq < old.seq => kind(old, key),
                None | Some(_) => None,
            };
            if let Some(kind) = kind {
                self.keys.insert(*id, (kind, key.seq));
                found.push(LostChange { key: *id, kind });
            }
        }
        found
    }

    /// What still stands in `state` as it stood without the change, as far as a receipt takes it.
    pub(super) fn told(&self, state: &Organisation) -> Vec<LostChange> {
        let stands = |(id, (_, seq)): &(&KeyId, &(LostKind, u64))| {
            state.keys.get(id).is_some_and(|key| key.seq == *seq)
        };
        let change =
            |(id, (kind, _)): (&KeyId, &(LostKind, u64))| LostChange { key: *id, kind: *kind };
        self.keys.iter().filter(stands).map(change).take(MAX_LOST).collect()
    }
}

/// What of `old` is not so any more; the gravest, if it is more than one.
fn kind(old: &Arc<Key>, new: &Arc<Key>) -> Option<LostKind> {
    if old.standing.revoked.is_some() && new.standing.revoked.is_none() {
        Some(LostKind::Revoked)
    } else if old.standing.disabled && !new.standing.disabled {
        Some(LostKind::Disabled)
    } else if old.generation != new.generation || old.secret != new.secret {
        Some(LostKind::Rotated)
    } else if old.profile != new.profile || old.standing != new.standing {
        Some(LostKind::Changed)
    } else {
        None
    }
}

/// What the local audit log calls it.
pub(super) const fn name(kind: LostKind) -> &'static str {
    match kind {
        LostKind::Revoked => "RevocationLost",
        LostKind::Disabled => "DisablingLost",
        LostKind::Deleted => "DeletionLost",
        LostKind::Rotated => "RotationLost",
        LostKind::Changed => "ChangeLost",
    }
}
