//! Projects.

use std::collections::btree_map::Entry;

use super::budget;
use crate::event::Record;
use crate::id::ProjectId;
use crate::limit::{Account, Limits};
use crate::state::{Organisation, Project};

pub(super) fn created(
    state: &mut Organisation,
    id: ProjectId,
    name: &str,
    limits: &Limits,
    record: &Record,
) {
    let Entry::Vacant(place) = state.projects.entry(id) else {
        return;
    };
    let (created_at, seq) = (record.at, record.seq);
    place.insert(Project { name: name.into(), limits: limits.clone(), created_at, seq });
    budget::caps(state, Account::Project(id), limits);
}

pub(super) fn changed(
    state: &mut Organisation,
    id: ProjectId,
    name: &str,
    limits: &Limits,
    seq: u64,
) {
    let Some(project) = state.projects.get_mut(&id) else {
        return;
    };
    project.name = name.into();
    project.limits.clone_from(limits);
    project.seq = seq;
    budget::caps(state, Account::Project(id), limits);
}

pub(super) fn deleted(state: &mut Organisation, id: ProjectId) {
    if state.projects.remove(&id).is_some() {
        budget::no_caps(state, Account::Project(id));
    }
}
