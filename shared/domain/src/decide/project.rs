//! Projects: groups of keys, made and changed by admins.

use super::mistakes::Mistakes;
use super::{By, Decision, World, conflict, limits, name_taken};
use crate::event::Event;
use crate::id::ProjectId;
use crate::limit::Limits;
use crate::refusal::Refusal;
use crate::state::{Organisation, Project, Role};

pub(super) fn create(
    world: World<'_>,
    by: By<'_>,
    id: ProjectId,
    name: &str,
    limits: &Limits,
) -> Decision {
    by.requester.at_least(Role::Admin)?;
    if world.organisation.projects.contains_key(&id) {
        return Err(conflict("a project with this id exists"));
    }
    check(world.organisation, name, None, limits)?;
    Ok(vec![Event::ProjectCreated { project: id, name: name.into(), limits: limits.clone() }])
}

pub(super) fn change(
    world: World<'_>,
    by: By<'_>,
    id: ProjectId,
    name: Option<&str>,
    limits: Option<&Limits>,
) -> Decision {
    let project = find(world.organisation, by, id)?;
    let name = name.unwrap_or(&project.name);
    let limits = limits.unwrap_or(&project.limits);
    if (name, limits) == (&*project.name, &project.limits) {
        return Ok(Vec::new());
    }
    check(world.organisation, name, Some(id), limits)?;
    Ok(vec![Event::ProjectChanged { project: id, name: name.into(), limits: limits.clone() }])
}

pub(super) fn delete(world: World<'_>, by: By<'_>, id: ProjectId) -> Decision {
    find(world.organisation, by, id)?;
    if world.organisation.keys.values().any(|key| key.profile.project == Some(id)) {
        return Err(conflict("the project still has keys: move or delete them first"));
    }
    Ok(vec![Event::ProjectDeleted { project: id }])
}

fn find<'a>(state: &'a Organisation, by: By<'_>, id: ProjectId) -> Result<&'a Project, Refusal> {
    by.requester.at_least(Role::Admin)?;
    let project = state.projects.get(&id).ok_or(Refusal::NotFound { noun: "project" })?;
    by.has_seen(project.seq)?;
    Ok(project)
}

fn check(
    state: &Organisation,
    name: &str,
    own: Option<ProjectId>,
    limits: &Limits,
) -> Result<(), Refusal> {
    let mut mistakes = Mistakes::default();
    mistakes.name(name);
    limits::check(limits, &mut mistakes);
    mistakes.finish()?;
    let mut projects = state.projects.iter();
    if projects.any(|(id, project)| *project.name == *name && Some(*id) != own) {
        return Err(name_taken("project", name));
    }
    Ok(())
}
