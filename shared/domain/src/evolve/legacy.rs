//! The legacy secrets that events begin and end, told before the events are applied.

use std::collections::BTreeMap;

use super::{Touched, organisation, touched};
use crate::event::Record;
use crate::id::KeyId;
use crate::secret::Digest;
use crate::state::Organisation;

/// The legacy secrets that `records` will have begun (`Some`: whose) and ended (`None`). No two
/// keys of all organisations may have the same one, so that they are listed beside the streams. A
/// secret whose overlap is over counts until its key has changed: no event says that it ended.
#[must_use]
pub fn legacy_after(state: &Organisation, records: &[Record]) -> Vec<(Digest, Option<KeyId>)> {
    let mut part = Organisation::new(state.id);
    for record in records {
        if let Touched::Key(id) = touched(&record.event) {
            part.keys.extend(state.keys.get(&id).map(|key| (id, key.clone())));
        }
    }
    let before = legacy_of(&part);
    for record in records {
        organisation(&mut part, record, [0; 32], state.head.position);
    }
    let after = legacy_of(&part);
    let ended = before.keys().filter(|digest| !after.contains_key(digest));
    let begun = after.iter().filter(|(digest, _)| !before.contains_key(digest));
    let begun = begun.map(|(digest, key)| (*digest, Some(*key)));
    ended.map(|digest| (*digest, None)).chain(begun).collect()
}

fn legacy_of(state: &Organisation) -> BTreeMap<Digest, KeyId> {
    let secrets = state.keys.values().flat_map(|key| key.secrets().map(|it| (it, key.id)));
    secrets
        .filter(|(secret, _)| secret.public_id.is_legacy())
        .map(|(secret, key)| (secret.digest, key))
        .collect()
}
