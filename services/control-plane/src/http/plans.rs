//! `/plans`: pricing groups, made by the operator, read by everybody.

use turnpike_domain::command::{PlanUsers, PlatformCommand};
use turnpike_domain::event::{Event, PlanSpec};
use turnpike_domain::id::PlanId;
use turnpike_domain::state::{Organisation, Plan as Known, Role};
use turnpike_runtime::entropy;
use turnpike_wire::api::key::{allow, list as names};
use turnpike_wire::api::plan::{Plan, PlanForm};
use turnpike_wire::api::propagation::Deleted;
use turnpike_wire::api::text::Text;

use super::ask::{Ask, PAGE, WAIT};
use super::cursor::Rank;
use super::execute::{Tries, Wanted};
use super::reply::Reply;
use super::route::{Answer, BASE, Gives, Route, Verb, shape};
use crate::auth::Caller;
use crate::problem::Problem;

pub(super) fn routes() -> Vec<Route> {
    let written = |created| Gives::Written { thing: shape::<Plan>(), created, secret: false };
    vec![
        Route::new(Verb::Get, "/plans", "listPlans", list)
            .about("Lists plans.")
            .query(&[PAGE])
            .gives(Gives::Page(shape::<Plan>())),
        Route::new(Verb::Post, "/plans", "createPlan", create)
            .about("Makes a plan (operator).")
            .query(&[WAIT])
            .takes::<PlanForm>()
            .gives(written(true)),
        Route::new(Verb::Get, "/plans/{plan}", "getPlan", get)
            .about("Shows a plan.")
            .gives(Gives::Thing(shape::<Plan>())),
        Route::new(Verb::Patch, "/plans/{plan}", "changePlan", change)
            .about("Changes a plan (operator).")
            .query(&[WAIT])
            .takes::<PlanForm>()
            .gives(written(false)),
        Route::new(Verb::Delete, "/plans/{plan}", "deletePlan", delete)
            .about("Removes a plan that no key and no organisation uses (operator).")
            .query(&[WAIT])
            .gives(Gives::Written { thing: shape::<Deleted>(), created: false, secret: false }),
    ]
}

async fn list(ask: Ask, _: Caller) -> Answer {
    let span = ask.span(false)?;
    let plans = ask.app().streams().platform(|state| state.plans.clone()).await?;
    let shown = plans.iter().map(|(id, plan)| ((Rank::Number(0), id.0), shown(*id, plan)));
    Reply::json(&span.page(shown))
}

async fn create(mut ask: Ask, caller: Caller) -> Answer {
    let form: PlanForm = ask.shape()?;
    let (plan, spec) = (PlanId(entropy::id(ask.now)), spec(&form));
    let command = PlatformCommand::ChangePlan { plan, spec };
    let done = ask.execute_platform(&caller, command).await?;
    let made = done.made(|event| {
        let Event::PlanChanged { plan, .. } = event else { return None };
        Some(*plan)
    })?;
    let (thing, seq) = stand(&ask, made).await?;
    Ok(done.reply(thing)?.created(&format!("{BASE}/plans/{made}")).version(seq))
}

async fn get(ask: Ask, _: Caller) -> Answer {
    let (thing, seq) = stand(&ask, ask.id("plan", "plan")?).await?;
    Ok(Reply::json(&thing)?.version(seq))
}

async fn change(mut ask: Ask, caller: Caller) -> Answer {
    let plan: PlanId = ask.id("plan", "plan")?;
    let mut tries = Tries::default();
    let done = loop {
        let (now, seq) = stand(&ask, plan).await?;
        let standing =
            PlanForm { name: now.name, models: now.models, multiplier: Some(now.multiplier) };
        let standing = serde_json::to_value(standing).map_err(|error| Problem::internal(&error))?;
        let form: PlanForm = ask.merged(standing)?;
        let spec = spec(&form);
        let wanted = Wanted::Platform(PlatformCommand::ChangePlan { plan, spec });
        if let Some(done) = ask.change(&caller, wanted, seq, &mut tries).await? {
            break done;
        }
    };
    let (thing, seq) = stand(&ask, plan).await?;
    Ok(done.reply(thing)?.version(seq))
}

async fn delete(ask: Ask, caller: Caller) -> Answer {
    let plan: PlanId = ask.id("plan", "plan")?;
    caller.requester.at_least(Role::Operator)?;
    let used_by = users(&ask, plan).await?;
    let command = PlatformCommand::DeletePlan { plan, used_by };
    ask.execute_platform(&caller, command).await?.deleted(plan)
}

/// Who uses a plan, over all organisations.
async fn users(ask: &Ask, plan: PlanId) -> Result<PlanUsers, Problem> {
    let mut users = PlanUsers::default();
    for org in ask.app().directory.organisations() {
        let of_one = |state: &Organisation| {
            let keys = state.keys.values().filter(|key| key.profile.plan == plan).count();
            let chosen = state.default_plan.iter().chain(state.allowed_plans.iter().flatten());
            (keys, usize::from(chosen.into_iter().any(|chosen| *chosen == plan)))
        };
        let (keys, organisations) = ask.app().streams().organisation(org, of_one).await?;
        users.keys = users.keys.saturating_add(keys);
        users.organisations = users.organisations.saturating_add(organisations);
    }
    Ok(users)
}

async fn stand(ask: &Ask, id: PlanId) -> Result<(Plan, u64), Problem> {
    let streams = ask.app().streams();
    let found = streams
        .platform(|state| state.plans.get(&id).map(|plan| (shown(id, plan), plan.seq)))
        .await?;
    found.ok_or_else(|| Problem::not_found("plan"))
}

fn shown(id: PlanId, plan: &Known) -> Plan {
    Plan {
        id: Text(id),
        name: plan.spec.name.to_string(),
        models: names(&plan.spec.models),
        multiplier: Text(plan.spec.multiplier),
    }
}

fn spec(form: &PlanForm) -> PlanSpec {
    PlanSpec {
        name: form.name.as_str().into(),
        models: allow(form.models.as_deref()),
        multiplier: form.multiplier.map(|factor| factor.0).unwrap_or_default(),
    }
}
