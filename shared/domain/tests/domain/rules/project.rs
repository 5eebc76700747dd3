//! Projects: made, changed, deleted by admins.

use turnpike_domain::command::{Command, KeyPatch};
use turnpike_domain::id::ProjectId;
use turnpike_domain::limit::{Account, Limits, Unit};

use crate::house::{House, PROJECT, admin, capped, member, owner, patched, viewer};

const NEW: ProjectId = ProjectId(2);

fn create(project: ProjectId, name: &str, limits: Limits) -> Command {
    Command::CreateProject { project, name: name.into(), limits }
}

fn change(name: Option<&str>, limits: Option<Limits>) -> Command {
    Command::ChangeProject { project: PROJECT, name: name.map(Into::into), limits }
}

#[test]
fn admins_make_projects_of_different_names() {
    House::furnished().answers(vec![
        (admin(), create(NEW, "bridge", capped(1)), "ProjectCreated"),
        (owner(), create(NEW, "bridge", capped(1)), "ProjectCreated"),
        (member(), create(NEW, "bridge", capped(1)), "needs admin"),
        (viewer(), create(NEW, "bridge", capped(1)), "needs admin"),
        (admin(), create(NEW, "tower", capped(1)), "name_taken"),
        (admin(), create(PROJECT, "bridge", capped(1)), "state_conflict"),
        (admin(), create(NEW, "", capped(-1)), "/name /limits/cost_usd"),
    ]);
}

#[test]
fn a_change_is_an_event_only_where_something_differs() {
    let mut house = House::furnished();
    house.done(admin(), create(NEW, "bridge", Limits::default()));
    house.answers(vec![
        (admin(), change(Some("tower"), None), "nothing"),
        (admin(), change(None, Some(Limits::default())), "nothing"),
        (admin(), change(Some("tower 2"), None), "ProjectChanged"),
        (admin(), change(None, Some(capped(5))), "ProjectChanged"),
        (admin(), change(Some("bridge"), None), "name_taken"),
        (admin(), change(None, Some(capped(-5))), "/limits/cost_usd"),
        (member(), change(Some("tower 2"), None), "needs admin"),
    ]);
    house.expected = Some(1);
    house.answers(vec![(admin(), change(Some("tower 2"), None), "etag_mismatch")]);
}

#[test]
fn a_project_with_keys_stays() {
    let mut house = House::furnished();
    let delete = Command::DeleteProject { project: PROJECT };
    house.done(admin(), change(None, Some(capped(5))));
    house.done(member(), patched(KeyPatch { project: Some(Some(PROJECT)), ..KeyPatch::default() }));
    house.answers(vec![(admin(), delete.clone(), "state_conflict")]);
    house.done(member(), patched(KeyPatch { project: Some(None), ..KeyPatch::default() }));
    house.answers(vec![
        (admin(), delete.clone(), "ProjectDeleted"),
        (member(), delete.clone(), "needs admin"),
        (admin(), Command::DeleteProject { project: NEW }, "not_found"),
    ]);
    house.done(admin(), delete);
    let cap = house.org.caps[&(Account::Project(PROJECT), Unit::Usd)];
    assert_eq!((cap.amount, cap.revision), (None, 2), "the revision outlives the project");
}
