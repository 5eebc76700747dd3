//! `/orgs`: organisations and their settings.

use turnpike_domain::command::{Command, PlanChoice};
use turnpike_domain::id::OrgId;
use turnpike_domain::state::Role;
use turnpike_wire::api::org::{Org, OrgForm};

use super::ask::{Ask, PAGE, WAIT};
use super::cursor::Rank;
use super::execute::{Tries, Wanted};
use super::reply::Reply;
use super::route::{Answer, BASE, Gives, Route, Verb, shape};
use crate::auth::Caller;
use crate::problem::Problem;

pub(super) fn routes() -> Vec<Route> {
    let written = |created| Gives::Written { thing: shape::<Org>(), created, secret: false };
    vec![
        Route::new(Verb::Get, "/orgs", "listOrgs", list)
            .about("Lists the organisations that the caller reaches.")
            .query(&[PAGE])
            .gives(Gives::Page(shape::<Org>())),
        Route::new(Verb::Post, "/orgs", "createOrg", create)
            .about("Makes an organisation (operator).")
            .query(&[WAIT])
            .takes::<OrgForm>()
            .gives(written(true)),
        Route::new(Verb::Get, "/orgs/{org}", "getOrg", get)
            .about("Shows an organisation with its settings.")
            .gives(Gives::Thing(shape::<Org>())),
        Route::new(Verb::Patch, "/orgs/{org}", "changeOrg", change)
            .about("Changes settings (owner), or the plans to choose among (operator).")
            .query(&[WAIT])
            .takes::<OrgForm>()
            .gives(written(false)),
    ]
}

async fn list(ask: Ask, caller: Caller) -> Answer {
    let span = ask.span(false)?;
    let all = match caller.requester.role {
        Role::Operator => ask.app().directory.organisations(),
        Role::Viewer | Role::Member | Role::Admin | Role::Owner => vec![caller.home],
    };
    let page = span.page(all.into_iter().map(|org| ((Rank::Number(0), org.0), org)));
    let mut data = Vec::with_capacity(page.data.len());
    for org in page.data {
        data.push(ask.app().streams().organisation(org, Org::of).await?);
    }
    Reply::json(&turnpike_wire::api::page::Page { data, next_cursor: page.next_cursor })
}

async fn create(mut ask: Ask, caller: Caller) -> Answer {
    let form: OrgForm = ask.shape()?;
    let org = ask.new_org(&caller)?;
    let (name, settings) = (form.name.as_str().into(), form.settings());
    // Of the plans that it may use the oldest is the default, unless one is named.
    let oldest = form.allowed_plans.iter().flatten().min().copied();
    let named = OrgForm { default_plan: form.default_plan.or(oldest), ..form };
    let plans = Some(plans(&named)).filter(|plans| *plans != PlanChoice::default());
    ask.org = org;
    let command = Command::CreateOrg { name, settings, plans };
    let done = ask.execute(&caller, command).await?;
    let (thing, seq) = stand(&ask).await?;
    Ok(done.reply(thing)?.created(&location(org)).version(seq))
}

async fn get(ask: Ask, _: Caller) -> Answer {
    let (thing, seq) = stand(&ask).await?;
    Ok(Reply::json(&thing)?.version(seq))
}

async fn change(mut ask: Ask, caller: Caller) -> Answer {
    let mut tries = Tries::default();
    let done = loop {
        let (now, seq) = stand(&ask).await?;
        let standing = serde_json::to_value(OrgForm::of(&now));
        let standing = standing.map_err(|error| Problem::internal(&error))?;
        let form: OrgForm = ask.merged(standing)?;
        let (name, settings) = (Some(form.name.as_str().into()), Some(form.settings()));
        let other =
            (&form.allowed_plans, form.default_plan) != (&now.allowed_plans, now.default_plan);
        let plans = other.then(|| plans(&form));
        let command = Command::ChangeOrg { name, settings, plans };
        let wanted = Wanted::Organisation(ask.org, command);
        if let Some(done) = ask.change(&caller, wanted, seq, &mut tries).await? {
            break done;
        }
    };
    let (thing, seq) = stand(&ask).await?;
    Ok(done.reply(thing)?.version(seq))
}

fn plans(form: &OrgForm) -> PlanChoice {
    let allowed = form.allowed_plans.as_ref();
    PlanChoice {
        allowed: allowed.map(|plans| plans.iter().map(|plan| plan.0).collect()),
        default: form.default_plan.map(|plan| plan.0),
    }
}

async fn stand(ask: &Ask) -> Result<(Org, u64), Problem> {
    ask.read(|state| (Org::of(state), state.settings_seq)).await
}

fn location(org: OrgId) -> String {
    format!("{BASE}/orgs/{org}")
}
