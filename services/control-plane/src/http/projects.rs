//! `/orgs/{org}/projects`: groups of keys with limits of their own.

use turnpike_domain::command::Command;
use turnpike_domain::event::Event;
use turnpike_domain::id::ProjectId;
use turnpike_domain::limit::{Account, Limits};
use turnpike_domain::state::Organisation;
use turnpike_runtime::entropy;
use turnpike_wire::api::key::{KeyUsage, LimitsForm};
use turnpike_wire::api::page::Page;
use turnpike_wire::api::project::{Project, ProjectForm};
use turnpike_wire::api::propagation::Deleted;
use turnpike_wire::api::text::Text;

use super::ask::{Ask, PAGE, WAIT};
use super::balances::{self, Balance};
use super::cursor::Rank;
use super::execute::{Tries, Wanted};
use super::figures::complete_up_to;
use super::reply::Reply;
use super::route::{Answer, BASE, Gives, Route, Verb, shape};
use crate::auth::Caller;
use crate::problem::Problem;

pub(super) fn routes() -> Vec<Route> {
    let written = |created| Gives::Written { thing: shape::<Project>(), created, secret: false };
    vec![
        Route::new(Verb::Get, "/orgs/{org}/projects", "listProjects", list)
            .about("Lists projects.")
            .query(&[PAGE])
            .gives(Gives::Page(shape::<Project>())),
        Route::new(Verb::Post, "/orgs/{org}/projects", "createProject", create)
            .about("Makes a project (admin).")
            .query(&[WAIT])
            .takes::<ProjectForm>()
            .gives(written(true)),
        Route::new(Verb::Get, "/orgs/{org}/projects/{project}", "getProject", get)
            .about("Shows a project.")
            .gives(Gives::Thing(shape::<Project>())),
        Route::new(Verb::Patch, "/orgs/{org}/projects/{project}", "changeProject", change)
            .about("Changes a project (admin).")
            .query(&[WAIT])
            .takes::<ProjectForm>()
            .gives(written(false)),
        Route::new(Verb::Delete, "/orgs/{org}/projects/{project}", "deleteProject", delete)
            .about("Deletes a project without keys (admin).")
            .query(&[WAIT])
            .gives(Gives::Written { thing: shape::<Deleted>(), created: false, secret: false }),
    ]
}

async fn list(ask: Ask, caller: Caller) -> Answer {
    let span = ask.span(false)?;
    let page = |state: &Organisation| {
        let known = state.projects.keys();
        span.page(known.map(|id| ((Rank::Number(0), id.0), *id)))
    };
    let page = ask.read(page).await?;
    let data =
        show(&ask, &caller, &page.data).await?.into_iter().map(|(project, _)| project).collect();
    Reply::json(&Page::<Project> { data, next_cursor: page.next_cursor })
}

async fn create(mut ask: Ask, caller: Caller) -> Answer {
    let form: ProjectForm = ask.shape()?;
    let command = Command::CreateProject {
        project: ProjectId(entropy::id(ask.now)),
        name: form.name.as_str().into(),
        limits: limits(&form),
    };
    let done = ask.execute(&caller, command).await?;
    let made = done.made(|event| {
        let Event::ProjectCreated { project, .. } = event else { return None };
        Some(*project)
    })?;
    let (thing, seq) = stand(&ask, &caller, made).await?;
    let place = format!("{BASE}/orgs/{}/projects/{made}", ask.org);
    Ok(done.reply(thing)?.created(&place).version(seq))
}

async fn get(ask: Ask, caller: Caller) -> Answer {
    let (thing, seq) = stand(&ask, &caller, ask.id("project", "project")?).await?;
    Ok(Reply::json(&thing)?.version(seq))
}

async fn change(mut ask: Ask, caller: Caller) -> Answer {
    let project = ask.id("project", "project")?;
    let mut tries = Tries::default();
    let done = loop {
        let (now, seq) = stand(&ask, &caller, project).await?;
        let standing = ProjectForm { name: now.name, limits: Some(now.limits) };
        let standing = serde_json::to_value(standing).map_err(|error| Problem::internal(&error))?;
        let form: ProjectForm = ask.merged(standing)?;
        let (name, limits) = (Some(form.name.as_str().into()), Some(limits(&form)));
        let command = Command::ChangeProject { project, name, limits };
        let wanted = Wanted::Organisation(ask.org, command);
        if let Some(done) = ask.change(&caller, wanted, seq, &mut tries).await? {
            break done;
        }
    };
    let (thing, seq) = stand(&ask, &caller, project).await?;
    Ok(done.reply(thing)?.version(seq))
}

async fn delete(ask: Ask, caller: Caller) -> Answer {
    let project: ProjectId = ask.id("project", "project")?;
    ask.execute(&caller, Command::DeleteProject { project }).await?.deleted(project)
}

fn limits(form: &ProjectForm) -> Limits {
    form.limits.as_ref().map(Limits::from).unwrap_or_default()
}

async fn stand(ask: &Ask, caller: &Caller, id: ProjectId) -> Result<(Project, u64), Problem> {
    show(ask, caller, &[id]).await?.pop().ok_or_else(|| Problem::not_found("project"))
}

/// Those of the projects that are there, with what their keys used and their versions.
async fn show(
    ask: &Ask,
    caller: &Caller,
    ids: &[ProjectId],
) -> Result<Vec<(Project, u64)>, Problem> {
    let place = |state: &Organisation, id: &ProjectId| {
        Some((Account::Project(*id), state.projects.get(id)?.limits.reset))
    };
    let places = |state: &Organisation| ids.iter().filter_map(|id| place(state, id)).collect();
    let balances = balances::read(ask, ask.read(places).await?).await?;
    let complete_up_to = complete_up_to(ask).await?;
    let shown = |state: &Organisation| {
        let usage =
            |balance: &Balance| caller.reads_all().is_ok().then(|| balance.usage(complete_up_to));
        let shown = |balance: &Balance| shown(state, balance.account, usage(balance));
        balances.iter().filter_map(shown).collect()
    };
    ask.read(shown).await
}

fn shown(
    state: &Organisation,
    account: Account,
    usage: Option<KeyUsage>,
) -> Option<(Project, u64)> {
    let Account::Project(id) = account else { return None };
    let project = state.projects.get(&id)?;
    let keys = state.keys.values().filter(|key| key.profile.project == Some(id)).count();
    let shown = Project {
        id: Text(id),
        name: project.name.to_string(),
        limits: LimitsForm::from(&project.limits),
        keys,
        usage,
        created_at: Text(project.created_at),
    };
    Some((shown, project.seq))
}
