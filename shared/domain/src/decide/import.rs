//! Importing: keys of secrets that their callers have already.

use std::collections::BTreeSet;

use super::{By, World, key, name_taken};
use crate::command::ImportedKey;
use crate::event::Event;
use crate::refusal::Refusal;
use crate::secret::PublicId;
use crate::state::Role;

/// What rows that came before have taken.
#[derive(Debug, Default)]
pub struct Seen {
    names: BTreeSet<Box<str>>,
    secrets: BTreeSet<PublicId>,
}

/// What becomes of each row. Limits are as drafted: an import that names none sets none.
pub(super) fn rows(
    world: World<'_>,
    by: By<'_>,
    keys: &[ImportedKey],
    seen: &mut Seen,
) -> Result<Vec<Result<Event, Refusal>>, Refusal> {
    by.requester.at_least(Role::Admin)?;
    Ok(keys.iter().map(|row| imported(world, by, row, seen)).collect())
}

fn imported(
    world: World<'_>,
    by: By<'_>,
    row: &ImportedKey,
    seen: &mut Seen,
) -> Result<Event, Refusal> {
    let profile = key::drafted(world, by, row.key, &row.draft)?;
    if seen.names.contains(&profile.name) {
        return Err(name_taken("key", &profile.name));
    }
    if !seen.secrets.insert(row.secret.public_id) {
        return Err(Refusal::field("/secret", "is the secret of an earlier row"));
    }
    seen.names.insert(profile.name.clone());
    let (key, profile, secret) = (row.key, Box::new(profile), row.secret.clone());
    Ok(Event::KeyImported { key, profile, secret })
}
